//! The key `tools` as written, of a workflow or of the defaults: what may be offered to a model.

use super::fields::{self, Fields};
use super::node::Node;
use super::scalar;
use crate::diagnostic::{Findings, Spanned};

/// The patterns that were written.
#[derive(Debug, Default)]
pub(crate) struct ToolsFile {
    /// Absent where the key is; an empty list is a list.
    pub(crate) allow: Option<Vec<Spanned<String>>>,
    pub(crate) deny: Vec<Spanned<String>>,
}

/// Longest pattern, in bytes: twice the longest name of a tool that a format allows.
const PATTERN_BYTES_MAX: usize = 256;

/// Reads `tools`.
pub(super) fn tools(node: &Node, findings: &mut Findings) -> Option<ToolsFile> {
    let mut fields = Fields::open(node, "`tools`", findings)?;
    let allow = fields.read("allow", findings, patterns);
    let deny = fields.read("deny", findings, patterns);
    fields.later(&[("pin_definitions", "leave it out; only names are compared")], findings);
    let written_count = fields.len();
    fields.close(&[], findings);
    if written_count == 0 {
        let hint = "write `deny: [\"shell*\"]`, or `allow: [\"search_*\"]`, or leave it out";
        findings.error_with_hint(node.at, "`tools` has neither `allow` nor `deny`", hint);
        return None;
    }
    Some(ToolsFile { allow: allow.ok()?, deny: deny.ok()?.unwrap_or_default() })
}

fn patterns(node: &Node, findings: &mut Findings) -> Option<Vec<Spanned<String>>> {
    fields::list(node, findings, pattern)
}

fn pattern(node: &Node, findings: &mut Findings) -> Option<Spanned<String>> {
    let pattern = scalar::text(node, findings)?;
    if !pattern.value.bytes().all(|b| b.is_ascii_graphic()) {
        let hint = "use visible ASCII characters without spaces; `*` stands for any text";
        findings.error_with_hint(pattern.at, "no tool has such a name", hint);
        return None;
    }
    if pattern.value.len() > PATTERN_BYTES_MAX {
        let message = format!("a pattern has at most {PATTERN_BYTES_MAX} characters");
        findings.error_with_hint(pattern.at, message, "write `*` for a part of it");
        return None;
    }
    Some(pattern)
}
