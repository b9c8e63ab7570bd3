//! The keys `health` and `breaker` of a provider as written: how to tell that it does not work.

use std::time::Duration;

use super::fields::Fields;
use super::node::Node;
use super::scalar;
use crate::diagnostic::{Findings, Spanned};
use crate::provider::{BreakerRule, Probe};

/// From one question to the next where the file does not say.
const INTERVAL: Duration = Duration::from_secs(10);
/// Longest path of a probe, in bytes.
const PATH_BYTES_MAX: usize = 200;
/// Most failures that a breaker may wait for.
const FAILURES_MAX: u32 = 1000;
/// Longest interval and window: what is longer does not tell how a service is now.
const TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Reads `health`.
pub(super) fn probe(node: &Node, findings: &mut Findings) -> Option<Probe> {
    let mut fields = Fields::open(node, "`health`", findings)?;
    let path = fields.required("path", findings).and_then(|node| path(node, findings));
    let interval = fields.read("every", findings, |node, findings| {
        let interval = scalar::duration_up_to(TIME_MAX, node, findings)?;
        if interval < Duration::from_secs(1) {
            let message = "a provider is asked at most once in a second";
            findings.error_with_hint(node.at, message, "write `1s` or more");
            return None;
        }
        Some(interval)
    });
    fields.close(&[], findings);
    Some(Probe { path: path?, interval: interval.ok()?.unwrap_or(INTERVAL) })
}

/// Reads `breaker`; each of its keys has a default.
pub(super) fn breaker(node: &Node, findings: &mut Findings) -> Option<BreakerRule> {
    let mut fields = Fields::open(node, "`breaker`", findings)?;
    let failures = fields.read("failures", findings, |node, f| scalar::count_up_to(FAILURES_MAX, node, f));
    let mut duration = |key| fields.read(key, findings, |node, f| scalar::duration_up_to(TIME_MAX, node, f));
    let [window, open_for] = ["window", "open_for"].map(&mut duration);
    fields.close(&[], findings);
    let default = BreakerRule::default();
    Some(BreakerRule {
        failures: failures.ok()?.unwrap_or(default.failures),
        window: window.ok()?.unwrap_or(default.window),
        open_for: open_for.ok()?.unwrap_or(default.open_for),
    })
}

/// A path means one thing to every reader: no part of it is empty, escaped, or a way back up.
fn path(node: &Node, findings: &mut Findings) -> Option<String> {
    let Spanned { value, at } = scalar::text(node, findings)?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let mut parts = value.split('/');
    let is_path = parts.next() == Some("") && !parts.any(|part| matches!(part, "" | "." | ".."));
    if !is_path || !value.bytes().all(is_plain) {
        let hint = "write it as `/health`, from the root of the host, without a query";
        findings.error_with_hint(at, format!("`{value}` is not a plain path"), hint);
        return None;
    }
    if value.len() > PATH_BYTES_MAX {
        let message = format!("a path has at most {PATH_BYTES_MAX} characters");
        findings.error_with_hint(at, message, "write the short path that answers whether the service works");
        return None;
    }
    Some(value)
}
