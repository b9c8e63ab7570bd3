//! Which tools a call may offer to a model.
//!
//! By name alone: what a tool does is the agent's business, and what its description says is the agent's word.

use crate::glob::Glob;

/// The rules of a workflow, those of the defaults among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ToolRules {
    /// Lists of patterns, each sorted: a tool matches one pattern of every list.
    pub(crate) allow: Vec<Vec<Glob>>,
    /// Patterns in lower case, sorted: a tool matches none, in whatever case it is written.
    pub(crate) deny: Vec<Glob>,
}

impl ToolRules {
    /// Returns the first of `names` that may not be offered. Deny wins.
    pub(crate) fn refused<'n>(&self, names: &'n [String]) -> Option<&'n str> {
        if self.allow.is_empty() && self.deny.is_empty() {
            return None;
        }
        names.iter().map(String::as_str).find(|name| !self.permits(name))
    }

    fn permits(&self, name: &str) -> bool {
        // Letters that look alike, or that nobody sees, would make a name another one. No format needs them.
        let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        let is_allowed = || self.allow.iter().all(|list| list.iter().any(|pattern| pattern.matches(name)));
        is_plain && !self.denies(name) && is_allowed()
    }

    fn denies(&self, name: &str) -> bool {
        if self.deny.is_empty() {
            return false;
        }
        let name = name.to_ascii_lowercase();
        self.deny.iter().any(|pattern| pattern.matches(&name))
    }
}
