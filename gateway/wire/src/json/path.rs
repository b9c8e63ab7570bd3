//! The place of a value inside a JSON document, written as `messages[0].content`.
//!
//! Built from the inside out while an error travels up, so that a correct document pays nothing.

use std::fmt;

/// Longest part of one key that is shown, in characters; keys come from the sender.
const KEY_CHARS_MAX: usize = 64;

/// A place inside a JSON document; empty for the document itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// Returns the path as text, or nothing for the document itself.
    pub fn as_str(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }

    pub(crate) fn prepend_key(&mut self, key: &str) {
        let shown: String = key.chars().take(KEY_CHARS_MAX).collect();
        let ellipsis = if shown.len() < key.len() { "…" } else { "" };
        self.0 = format!("{shown}{ellipsis}{}{}", self.joint(), self.0);
    }

    pub(crate) fn prepend_index(&mut self, index: usize) {
        self.0 = format!("[{index}]{}{}", self.joint(), self.0);
    }

    fn joint(&self) -> &'static str {
        if self.0.is_empty() || self.0.starts_with('[') { "" } else { "." }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
