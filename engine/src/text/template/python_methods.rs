//! Methods of Python's texts and lists that templates call and the template engine's own set leaves out.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Longest text that padding makes, in characters.
const WIDTH_MAX: usize = 4096;

/// Calls a method that the template engine does not know.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let ours = match value.kind() {
        ValueKind::String => of_text(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq if method == "index" => Some(index_of(value, args)?),
        _ => None,
    };
    ours.map_or_else(|| unknown_method_callback(state, value, method, args), Ok)
}

fn of_text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            parts(text.split_once(separator), [text, "", ""], separator)
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            parts(text.rsplit_once(separator), ["", "", text], separator)
        }
        "rsplit" => rsplit(text, args)?,
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let at = if method == "index" { text.find(what) } else { text.rfind(what) };
            let at = at.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "substring not found"))?;
            Value::from(text[..at].chars().count())
        }
        "title" => Value::from(title(text)),
        "casefold" => Value::from(text.to_lowercase()),
        "swapcase" => Value::from(text.chars().flat_map(swapped).collect::<String>()),
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            Value::from(format!("{sign}{}{digits}", padding(width, text, '0')?))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            let padding = padding(width, text, fill.unwrap_or(' '))?;
            Value::from(match method {
                "ljust" => format!("{text}{padding}"),
                "rjust" => format!("{padding}{text}"),
                _ => centred(text, width, &padding),
            })
        }
        _ => return Ok(None),
    }))
}

/// What `partition` gives: the parts around the separator, or the text as `whole` has it.
fn parts(found: Option<(&str, &str)>, whole: [&str; 3], separator: &str) -> Value {
    let parts = found.map_or(whole, |(before, after)| [before, separator, after]);
    Value::from(Tuple::new(parts.into_iter().map(Value::from).collect()))
}

/// Capitals wherever letters begin, also behind a digit or a bracket.
fn title(text: &str) -> String {
    let mut is_within = false;
    let cased = text.chars().flat_map(|character| {
        let is_first = !std::mem::replace(&mut is_within, character.is_alphabetic());
        if is_first {
            character.to_uppercase().collect::<Vec<_>>()
        } else {
            character.to_lowercase().collect()
        }
    });
    cased.collect()
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most, named): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = if separator.is_some() { separator } else { named.get("sep")? };
    let most = if most.is_some() { most } else { named.get("maxsplit")? };
    named.assert_all_used()?;
    // A negative number is no limit.
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX).saturating_add(1);
    let mut found: Vec<&str> = match separator {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) => text.rsplitn(most, separator).collect(),
        None => rsplit_space(text, most),
    };
    found.reverse();
    Ok(found.into_iter().map(Value::from).collect())
}

/// Words from the end, and what is before them.
fn rsplit_space(text: &str, most: usize) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text.trim_end());
    while !rest.is_empty() {
        let Some(at) = rest.rfind(char::is_whitespace).filter(|_| words.len() + 1 < most) else {
            words.push(rest);
            break;
        };
        let word = at + rest[at..].chars().next().map_or(0, char::len_utf8);
        words.push(&rest[word..]);
        rest = rest[..at].trim_end();
    }
    words
}

fn swapped(character: char) -> Vec<char> {
    if character.is_uppercase() {
        character.to_lowercase().collect()
    } else {
        character.to_uppercase().collect()
    }
}

fn padding(width: usize, text: &str, fill: char) -> Result<String, Error> {
    if width > WIDTH_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "a text is padded to 4096 characters at most"));
    }
    Ok(std::iter::repeat_n(fill, width.saturating_sub(text.chars().count())).collect())
}

/// Python puts the odd one on the left where the width is odd.
fn centred(text: &str, width: usize, padding: &str) -> String {
    let fill: Vec<char> = padding.chars().collect();
    let left = fill.len() / 2 + (fill.len() & width & 1);
    let (before, after) = fill.split_at(left.min(fill.len()));
    before.iter().copied().chain(text.chars()).chain(after.iter().copied()).collect()
}

fn index_of(list: &Value, args: &[Value]) -> Result<Value, Error> {
    let (what,): (Value,) = from_args(args)?;
    let at = list.try_iter()?.position(|item| item == what);
    at.map(Value::from).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the list has no such element"))
}
