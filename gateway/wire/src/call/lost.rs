//! What a translation gives, and what it could not carry.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Extra;

/// Longest name of a lost field that is kept, in bytes; names of unknown fields are the caller's own words.
const NAME_BYTES_MAX: usize = 64;
/// Most names that are kept.
const NAMES_MAX: usize = 64;

/// For whom a call is written.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The provider's name in the policy: only its own seals go to it.
    pub provider: &'a str,
    /// The model's name as the provider knows it.
    pub model: &'a str,
}

/// A call in an API's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The body to send.
    pub body: Bytes,
    /// What it does not say.
    pub lost: Lost,
}

/// The names of what could not be carried to an API, sorted.
///
/// Names only: paths of fields such as `seed` or `tools[].strict`, and blocks as `content.audio`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost(BTreeSet<String>);

/// Why a call cannot be written for an API at all: without it, the answer would be to another question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Untranslatable {
    /// The field that the API has no counterpart of.
    pub param: String,
    /// Why, and what to do instead.
    pub reason: String,
}

impl Lost {
    /// Notes that `name` is not carried.
    pub fn note(&mut self, name: &str) {
        if self.0.len() < NAMES_MAX && !name.is_empty() {
            let end = (0..=name.len().min(NAME_BYTES_MAX)).rev().find(|end| name.is_char_boundary(*end));
            self.0.insert(name[..end.unwrap_or(0)].to_owned());
        }
    }

    /// Notes that `name` is not carried, if `value` is there.
    pub fn note_if<T>(&mut self, name: &str, value: Option<&T>) {
        if value.is_some() {
            self.note(name);
        }
    }

    /// Notes all `extras` that say something.
    pub fn note_extras(&mut self, extras: &[Extra]) {
        extras.iter().filter(|extra| extra.says_something()).for_each(|extra| self.note(&extra.name));
    }

    /// Returns the names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Returns whether everything was carried.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `field`, or a part of it, was lost.
    pub fn covers(&self, field: &str) -> bool {
        let is_part = |name: &str| {
            name.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.names().any(is_part)
    }
}

impl Untranslatable {
    /// Creates the refusal of the field `param`.
    pub fn new(param: &str, reason: impl Into<String>) -> Self {
        Self { param: param.to_owned(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::Lost;

    #[test]
    fn a_field_is_lost_with_any_of_its_parts() {
        let mut lost = Lost::default();
        lost.note("text.verbosity");
        lost.note("tools[].strict");
        assert!(lost.covers("text") && lost.covers("tools") && lost.covers("text.verbosity"));
        assert!(!lost.covers("tex") && !lost.covers("store"));
    }

    #[test]
    fn a_callers_long_name_is_cut_at_a_character() {
        let mut lost = Lost::default();
        lost.note(&"ß".repeat(100));
        assert_eq!(lost.names().next().map(str::len), Some(64));
    }
}
