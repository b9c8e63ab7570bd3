//! Reading single values: text, switches, numbers, quantities and names.
//!
//! Every reader returns `None` after reporting what is wrong, so that reading goes on with the next value.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::node::{Node, NodeKind};
use crate::diagnostic::{Findings, Spanned};
use crate::digest::Digest;
use crate::host::HostPattern;
use crate::moment::Moment;
use crate::name::NameError;
use crate::unit::{self, QuantityError};

/// Plain words that one version of YAML reads as a boolean or as nothing and another as text.
const AMBIGUOUS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Reads text; plain words that could be something else must be quoted.
pub(super) fn text(node: &Node, findings: &mut Findings) -> Option<Spanned<String>> {
    if let NodeKind::Plain(text) = &node.kind
        && is_number(text)
    {
        let message = format!("`{text}` without quotes is a number to readers of YAML, and this is a text");
        findings.error_with_hint(node.at, message, format!("write \"{text}\""));
        return None;
    }
    text_or_number(node, findings)
}

fn text_or_number(node: &Node, findings: &mut Findings) -> Option<Spanned<String>> {
    match &node.kind {
        NodeKind::Plain(text) if AMBIGUOUS.contains(&text.to_ascii_lowercase().as_str()) => {
            let message =
                format!("`{text}` without quotes is text to some readers of YAML and not to others");
            findings.error_with_hint(node.at, message, format!("write \"{text}\""));
            None
        }
        NodeKind::Plain(text) | NodeKind::Quoted(text) if text.chars().any(char::is_control) => {
            let message = "the text holds a line break or another control character";
            findings.error_with_hint(node.at, message, "write it on one line, without escapes");
            None
        }
        NodeKind::Quoted(text) if text.is_empty() => {
            findings.error_with_hint(node.at, "the text is empty", "write it, or remove the key");
            None
        }
        NodeKind::Plain(text) | NodeKind::Quoted(text) if !node.is_nothing() => {
            Some(Spanned { value: text.clone(), at: node.at })
        }
        _ => {
            let message = format!("expected text, not {}", describe(node));
            findings.error_with_hint(node.at, message, "write one text, in quotes if it may look like more");
            None
        }
    }
}

/// Reads the path of a file, as it is written.
pub(super) fn path(node: &Node, findings: &mut Findings) -> Option<Spanned<PathBuf>> {
    let Spanned { value, at } = text(node, findings)?;
    Some(Spanned { value: value.into(), at })
}

/// Reads `true` or `false`, and no other spelling of them.
pub(super) fn switch(node: &Node, findings: &mut Findings) -> Option<bool> {
    match &node.kind {
        NodeKind::Plain(text) if text == "true" => return Some(true),
        NodeKind::Plain(text) if text == "false" => return Some(false),
        NodeKind::Plain(text) if AMBIGUOUS.contains(&text.to_ascii_lowercase().as_str()) => {
            let message = format!("`{text}` is not a boolean");
            findings.error_with_hint(node.at, message, "write `true` or `false`");
        }
        _ => {
            let message = format!("expected `true` or `false`, not {}", describe(node));
            findings.error_with_hint(node.at, message, "write `true` or `false`, without quotes");
        }
    }
    None
}

/// Reads a whole number of at least one.
pub(super) fn count(node: &Node, findings: &mut Findings) -> Option<u32> {
    count_up_to(u32::MAX, node, findings)
}

/// Reads a whole number from one to `max`.
pub(super) fn count_up_to(max: u32, node: &Node, findings: &mut Findings) -> Option<u32> {
    if let NodeKind::Plain(text) = &node.kind
        && !text.starts_with(['+', '0'])
        && let Ok(number) = text.parse()
        && number <= max
    {
        return Some(number);
    }
    let message = format!("expected a whole number from 1 to {max}, not {}", describe(node));
    let is_in_digits =
        matches!(&node.kind, NodeKind::Plain(text) if text.bytes().all(|b| b.is_ascii_digit()));
    let hint = if is_in_digits && !node.is_nothing() {
        "write a number of that range, without zeros before it"
    } else {
        "write it in digits alone, without a unit and without quotes"
    };
    findings.error_with_hint(node.at, message, hint);
    None
}

/// Reads a share such as `20%`, of at least one in a hundred.
pub(super) fn percent(node: &Node, findings: &mut Findings) -> Option<u32> {
    if let NodeKind::Plain(text) | NodeKind::Quoted(text) = &node.kind
        && let Some(number) = text.strip_suffix('%')
        && !number.starts_with(['+', '0'])
        && let Ok(number @ 1..=100) = number.parse()
    {
        return Some(number);
    }
    let message = format!("expected a share from 1% to 100%, not {}", describe(node));
    findings.error_with_hint(node.at, message, "write it as `20%`");
    None
}

/// Reads a price in dollars, in millionths of a dollar.
pub(super) fn micro_usd(node: &Node, findings: &mut Findings) -> Option<u64> {
    if let NodeKind::Plain(text) = &node.kind
        && let Some(price) = unit::micro_usd(text)
    {
        return Some(price);
    }
    let message = format!("expected a price from 0 to 1000000 dollars, not {}", describe(node));
    let hint = "write it as `5.00`, with at most six digits behind the point";
    findings.error_with_hint(node.at, message, hint);
    None
}

/// Reads a duration of at most `max`.
pub(super) fn duration_up_to(max: Duration, node: &Node, findings: &mut Findings) -> Option<Duration> {
    let Spanned { value, at } = duration(node, findings)?;
    if value > max {
        let (value, max) = (unit::show_duration(value), unit::show_duration(max));
        let message = format!("`{value}` is more than the {max} that are allowed here");
        findings.error_with_hint(at, message, format!("write at most `{max}`"));
        return None;
    }
    Some(value)
}

/// Reads a date, for its first moment, or a moment in UTC.
pub(super) fn moment(node: &Node, findings: &mut Findings) -> Option<Spanned<Moment>> {
    let parse = |text: &str| Moment::parse(text).ok_or("is neither a date nor a moment in UTC");
    parsed(&text(node, findings)?, findings, parse, "write it as `2027-01-31`, or `2027-01-31T06:00:00Z`")
}

/// Reads one of a closed list of words.
pub(super) fn word<T: Copy>(
    node: &Node,
    findings: &mut Findings,
    words: &[T],
    as_str: fn(T) -> &'static str,
) -> Option<Spanned<T>> {
    // What other readers take for a boolean or a number is no word of the list, and that is all there is to say.
    let Spanned { value, at } = match &node.kind {
        NodeKind::Plain(word) if !node.is_nothing() => Spanned { value: word.clone(), at: node.at },
        _ => text(node, findings)?,
    };
    let found = words.iter().copied().find(|word| as_str(*word) == value);
    if found.is_none() {
        let choice: Vec<String> = words.iter().map(|word| format!("`{}`", as_str(*word))).collect();
        let message = format!("`{value}` is not one of {}", choice.join(", "));
        findings.unknown(at, message, &value, words.iter().copied().map(as_str));
    }
    found.map(|value| Spanned { value, at })
}

/// Reads a duration with its unit.
pub(super) fn duration(node: &Node, findings: &mut Findings) -> Option<Spanned<Duration>> {
    quantity(node, findings, unit::duration)
}

/// Reads a size with its unit, in bytes.
pub(super) fn size_bytes(node: &Node, findings: &mut Findings) -> Option<Spanned<u64>> {
    quantity(node, findings, unit::size_bytes)
}

fn quantity<T>(
    node: &Node,
    findings: &mut Findings,
    read: fn(&str) -> Result<T, QuantityError>,
) -> Option<Spanned<T>> {
    // A number is a quantity that lacks its unit, and that is what the message should say.
    let Spanned { value, at } = text_or_number(node, findings)?;
    match read(&value) {
        Ok(quantity) => Some(Spanned { value: quantity, at }),
        Err(error) => {
            findings.error_with_hint(at, format!("`{value}` {error}"), error.hint);
            None
        }
    }
}

/// Reads a name with `parse`, the constructor of its type.
pub(super) fn name<T>(
    node: &Node,
    findings: &mut Findings,
    parse: fn(&str) -> Result<T, NameError>,
) -> Option<Spanned<T>> {
    name_of(&text(node, findings)?, findings, parse)
}

/// Checks text that was already read, such as a key, as a name.
pub(super) fn name_of<T>(
    text: &Spanned<String>,
    findings: &mut Findings,
    parse: fn(&str) -> Result<T, NameError>,
) -> Option<Spanned<T>> {
    match parse(&text.value) {
        Ok(value) => Some(Spanned { value, at: text.at }),
        Err(error) => {
            let message = format!("`{}` is not a name: {error}", text.value);
            findings.error_with_hint(text.at, message, "write it as `docs-update`");
            None
        }
    }
}

/// Reads a host or a pattern over hosts.
pub(super) fn host_pattern(node: &Node, findings: &mut Findings) -> Option<Spanned<HostPattern>> {
    let hint = "write a lower-case name, an address, or `*.` and a domain of at least two labels";
    parsed(&text(node, findings)?, findings, HostPattern::parse, hint)
}

/// Reads a network in its plain form, with no bits set behind the prefix.
pub(super) fn network(node: &Node, findings: &mut Findings) -> Option<Spanned<IpNet>> {
    let text = text(node, findings)?;
    let parse = |text: &str| text.parse::<IpNet>().map_err(|_| "is not a network");
    let Spanned { value: network, at } = parsed(&text, findings, parse, "write it as `10.20.0.0/16`")?;
    if network != network.trunc() {
        let hint = format!("write `{}`", network.trunc());
        findings.error_with_hint(at, format!("`{}` has bits set behind its prefix", text.value), hint);
        return None;
    }
    Some(Spanned { value: network, at })
}

/// Reads 64 lower-case hexadecimal digits behind `prefix`. A text that is none of that is not repeated: it may be
/// the key whose hash belongs here.
pub(super) fn sha256(node: &Node, findings: &mut Findings, prefix: &'static str) -> Option<Spanned<Digest>> {
    let Spanned { value, at } = text(node, findings)?;
    let digest = value.strip_prefix(prefix).and_then(Digest::from_hex);
    if digest.is_none() {
        let message = "this is not a SHA-256 of 64 lower-case hexadecimal digits";
        findings.error_with_hint(at, message, format!("write it as \"{prefix}0123…cdef\""));
    }
    digest.map(|value| Spanned { value, at })
}

fn parsed<T, E: Display>(
    text: &Spanned<String>,
    findings: &mut Findings,
    parse: fn(&str) -> Result<T, E>,
    hint: &str,
) -> Option<Spanned<T>> {
    match parse(&text.value) {
        Ok(value) => Some(Spanned { value, at: text.at }),
        Err(error) => {
            findings.error_with_hint(text.at, format!("`{}` {error}", text.value), hint);
            None
        }
    }
}

/// Returns whether YAML 1.2 takes plain `text` for a number.
pub(super) fn is_number(text: &str) -> bool {
    let is_all = |digits: &str, is_digit: fn(&u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| is_digit(&byte))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return is_all(digits, u8::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return is_all(digits, |byte| (b'0'..=b'7').contains(byte));
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    // Rust reads the same decimal forms, and a few words that are text here.
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok()
}

fn describe(node: &Node) -> String {
    match &node.kind {
        NodeKind::Quoted(text) => format!("the text \"{text}\""),
        NodeKind::Plain(text) if !node.is_nothing() => format!("`{text}`"),
        _ => node.describe().to_owned(),
    }
}
