//! Reading the keys of one mapping, so that none is overlooked.
//!
//! A reader asks for the keys it knows and then closes the mapping. Whatever was not asked for is a mistake: a
//! key of a later version, one that belongs elsewhere, or a slip of the pen.

use super::node::{Entry, Node, NodeKind};
use crate::diagnostic::{Findings, Position, Spanned};

/// A value is wrong, and the findings say so. It keeps a wrong value apart from one that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// The keys of one mapping.
pub(super) struct Fields<'n> {
    what: &'static str,
    at: Position,
    entries: &'n [Entry],
    asked: Vec<&'static str>,
    /// Keys that were reported and need no second message.
    reported: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Opens `node`, which is `what` (such as "a provider"), if it is a mapping.
    pub(super) fn open(node: &'n Node, what: &'static str, findings: &mut Findings) -> Option<Self> {
        let entries = entries(node, what, findings)?;
        Some(Self { what, at: node.at, entries, asked: Vec::new(), reported: Vec::new() })
    }

    /// Returns the value of `key`, if the mapping has it.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        self.entries.iter().find(|entry| entry.key.value == key).map(|entry| &entry.value)
    }

    /// Reads the value of `key`, if the mapping has it.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
        read: impl FnOnce(&'n Node, &mut Findings) -> Option<T>,
    ) -> Result<Option<T>, Reported> {
        match self.optional(key) {
            Some(node) => read(node, findings).map(Some).ok_or(Reported),
            None => Ok(None),
        }
    }

    /// Returns whether the mapping has `key`, without asking for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key.value == key)
    }

    /// Returns how many keys the mapping has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the value of `key`; its absence is an error.
    pub(super) fn required(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'n Node> {
        let value = self.optional(key);
        if value.is_none() {
            let message = format!("`{key}` is missing in {}", self.what);
            findings.error_with_hint(self.at, message, format!("add `{key}: …`"));
        }
        value
    }

    /// Reports keys that the format specifies and this version does not support, each with what to do meanwhile.
    /// What nothing enforces must not load.
    pub(super) fn later(&mut self, keys: &[(&'static str, &str)], findings: &mut Findings) {
        for (key, hint) in keys {
            if let Some(entry) = self.entries.iter().find(|entry| entry.key.value == *key) {
                let message = format!("`{key}` is specified but not supported yet");
                findings.error_with_hint(entry.key.at, message, *hint);
                self.reported.push(*key);
            }
        }
    }

    /// Reports every key that nobody asked for. `refused` lists keys that the format knows, each with the
    /// reason why it may not stand here.
    pub(super) fn close(self, refused: &[(&'static str, &str)], findings: &mut Findings) {
        self.close_with_hint(refused, "remove it", findings);
    }

    /// Does what [`Self::close`] does, with what to do instead about the keys of `refused`.
    pub(super) fn close_with_hint(
        self,
        refused: &[(&'static str, &str)],
        hint: &str,
        findings: &mut Findings,
    ) {
        for Entry { key: Spanned { value: key, at }, .. } in self.entries {
            if self.asked.contains(&key.as_str()) || self.reported.contains(&key.as_str()) {
                continue;
            }
            if let Some((_, reason)) = refused.iter().find(|(known, _)| known == key) {
                findings.error_with_hint(*at, format!("`{key}` {reason}"), hint);
            } else {
                let message = format!("unknown key `{key}` in {}", self.what);
                findings.unknown(*at, message, key, self.asked.iter().copied());
            }
        }
    }
}

/// Returns the entries of `node`, which is `what`, if it is a mapping.
pub(super) fn entries<'n>(node: &'n Node, what: &str, findings: &mut Findings) -> Option<&'n [Entry]> {
    let NodeKind::Map(entries) = &node.kind else {
        let message = format!("{what} is a mapping, not {}", node.describe());
        findings.error_with_hint(node.at, message, "write `{ key: value, … }`, or each key on a line");
        return None;
    };
    Some(entries)
}

/// Reads each item of a list with `read`. Returns `None` if any is wrong, after reading them all.
pub(super) fn list<T>(
    node: &Node,
    findings: &mut Findings,
    read: impl FnMut(&Node, &mut Findings) -> Option<T>,
) -> Option<Vec<T>> {
    items(node, findings, read)?.into_iter().collect()
}

/// Reads each item of a list with `read`, and keeps the places of those that are wrong.
pub(super) fn items<T>(
    node: &Node,
    findings: &mut Findings,
    mut read: impl FnMut(&Node, &mut Findings) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    let NodeKind::List(nodes) = &node.kind else {
        let message = format!("expected a list, not {}", node.describe());
        findings.error_with_hint(node.at, message, "write `[…]`");
        return None;
    };
    Some(nodes.iter().map(|node| read(node, findings)).collect())
}
