//! The words in which a dialect's table says what a request may hold.
//!
//! Tables are constants, so that what an API takes can be read, and compared with its documentation, at one place.

use super::IndirectKind;
use crate::json::read::Object;

/// What is known of a value.
pub(super) enum Shape {
    /// A string, a number or a switch that is the caller's data.
    Scalar,
    /// Any JSON that is the caller's data, or settings among which nothing leads anywhere.
    Data,
    /// A JSON Schema, or settings with one: data, unless it refers to a document elsewhere.
    Schema,
    /// Where the bytes of a part are. Only a `data:` URL has them in itself.
    Url,
    /// The bytes of a part, as base64 or a `data:` URL; some servers take any URL in their place.
    Bytes,
    /// Makes others act, whatever it says; what else is in it is read along the second shape.
    Asks(IndirectKind, &'static Shape),
    /// Makes others act unless it is `false`: many servers take `1` and `"true"` for `true`.
    Switch(IndirectKind),
    /// What nobody here knows: judged by its names and its looks.
    Foreign,
    /// An object with these members and no other.
    Object(&'static [Field]),
    /// A list.
    List(&'static Shape),
    /// A string of the first shape, or something else of the second.
    Either(&'static Shape, &'static Shape),
    /// An object that says itself what it is.
    Union(&'static Union),
}

/// The name of a member, and what is known of its value.
pub(super) type Field = (&'static str, Shape);

/// Objects of several types.
pub(super) struct Union {
    /// The member that has the type.
    pub(super) tag: &'static str,
    /// The type of an object that does not say it.
    pub(super) untyped: fn(&Object<'_>) -> Option<&'static str>,
    /// What an object of any other type is.
    pub(super) unknown: IndirectKind,
    /// Members of objects of every type.
    pub(super) common: &'static [Field],
    /// The types; of several that fit, the first.
    pub(super) types: &'static [Type],
}

/// A type of a union, and what is known of objects of it. Members of an [`Shape::Object`] stand beside the tag and
/// those that all types have.
pub(super) type Type = (Name, Shape);

/// The names of a type.
pub(super) enum Name {
    /// This one.
    Is(&'static str),
    /// This one with a date behind it, such as `bash_20250124` or `web_search_preview_2025_03_11`.
    Dated(&'static str),
    /// Whatever begins like this: the next version of what makes others act will too.
    Begins(&'static str),
}

impl Union {
    /// Returns what is known of the type `name`.
    pub(super) fn shape(&self, name: &str) -> Option<&'static Shape> {
        self.types.iter().find(|(names, _)| names.include(name)).map(|(_, shape)| shape)
    }
}

impl Name {
    fn include(&self, name: &str) -> bool {
        match self {
            Self::Is(whole) => *whole == name,
            Self::Dated(stem) => name.strip_prefix(stem).is_some_and(|rest| {
                let is_date = |date: &str| date.bytes().all(|b| b.is_ascii_digit() || b == b'_');
                rest.strip_prefix('_').is_some_and(|date| !date.is_empty() && is_date(date))
            }),
            Self::Begins(stem) => name.starts_with(stem),
        }
    }
}

/// For unions whose objects always say their type.
pub(super) fn never(_: &Object<'_>) -> Option<&'static str> {
    None
}

/// The type of an object that has no business here: nothing but its tag is known.
pub(super) const NOTHING: Shape = Shape::Object(&[]);
