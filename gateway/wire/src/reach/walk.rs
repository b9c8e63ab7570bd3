//! Reads a request along the table of its dialect.
//!
//! Each object and list on the way is taken apart once; what a table calls data is not looked into at all. A place is a
//! chain of borrows, and becomes text only where something is found.

use serde_json::value::RawValue;

use super::foreign::{self, Look};
use super::shape::{Field, Shape, Union};
use super::{Indirect, IndirectKind};
use crate::json::read::{self, Object};
use crate::json::{Path, Text};

/// Where a value stands.
pub(super) enum Place<'p> {
    /// It is the request.
    Root,
    /// It is the member of an object.
    Member(&'p Place<'p>, &'p str),
    /// It is an element of a list.
    Element(&'p Place<'p>, usize),
}

impl Place<'_> {
    fn path(&self) -> String {
        let (mut path, mut place) = (Path::default(), self);
        loop {
            place = match place {
                Self::Root => return path.to_string(),
                Self::Member(outer, name) => {
                    path.prepend_key(name);
                    outer
                }
                Self::Element(outer, index) => {
                    path.prepend_index(*index);
                    outer
                }
            };
        }
    }
}

/// The first of each kind that was met.
#[derive(Default)]
pub(super) struct Found(Vec<Indirect>);

impl Found {
    pub(super) fn note(&mut self, kind: IndirectKind, at: &Place<'_>) {
        if self.0.iter().all(|found| found.kind != kind) {
            self.0.push(Indirect { kind, path: at.path() });
        }
    }
}

/// Reads `body`, whose members stand in one of `tables`.
pub(super) fn request(body: &[u8], tables: &[&'static [Field]]) -> Vec<Indirect> {
    let mut found = Found::default();
    if let Ok(top) = Object::read_document(body) {
        members(&top, tables, &Place::Root, &mut found);
    }
    found.0
}

fn members(object: &Object<'_>, tables: &[&'static [Field]], at: &Place<'_>, found: &mut Found) {
    for (name, raw) in object.members() {
        let at = Place::Member(at, name);
        match tables.iter().copied().flatten().find(|(known, _)| *known == name) {
            Some((_, shape)) => value(raw, shape, &at, found),
            None if says_nothing(raw) => {}
            None => {
                for kind in foreign::meaning(name).filter(|_| raw.get() != "false") {
                    found.note(kind, &at);
                }
                strange(raw, IndirectKind::UnknownField, &at, found);
            }
        }
    }
}

fn value(raw: &RawValue, shape: &'static Shape, at: &Place<'_>, found: &mut Found) {
    if says_nothing(raw) {
        return;
    }
    let is_known = match shape {
        Shape::Data => true,
        Shape::Scalar => !raw.get().starts_with(['{', '[']),
        Shape::Schema => {
            foreign::search(raw, Look::References, at, found);
            true
        }
        Shape::Foreign => {
            foreign::search(raw, Look::Anything, at, found);
            true
        }
        Shape::Url => with_text(raw, |text| text.starts_with("data:"), at, found),
        Shape::Bytes => with_text(raw, are_bytes, at, found),
        Shape::Asks(kind, inner) => {
            found.note(*kind, at);
            value(raw, inner, at, found);
            true
        }
        Shape::Switch(kind) => {
            if raw.get() != "false" {
                found.note(*kind, at);
            }
            true
        }
        Shape::Object(fields) => {
            let object = Object::read(raw).ok();
            object.is_some_and(|object| {
                members(&object, &[fields], at, found);
                true
            })
        }
        Shape::List(element) => {
            let elements = read::each(raw, Ok).ok();
            elements.is_some_and(|elements| {
                for (index, raw) in elements.into_iter().enumerate() {
                    value(raw, element, &Place::Element(at, index), found);
                }
                true
            })
        }
        Shape::Either(text, other) => {
            value(raw, if raw.get().starts_with('"') { text } else { other }, at, found);
            true
        }
        Shape::Union(union) => {
            let object = Object::read(raw).ok();
            object.is_some_and(|object| {
                typed((raw, &object), union, at, found);
                true
            })
        }
    };
    if !is_known {
        strange(raw, IndirectKind::UnknownField, at, found);
    }
}

/// Reads an object that says itself what it is.
fn typed((raw, object): (&RawValue, &Object<'_>), union: &'static Union, at: &Place<'_>, found: &mut Found) {
    let tag = object.written(union.tag).filter(|tag| !says_nothing(tag));
    let said = tag.map(|tag| Text::of(tag).map(Text::into_owned));
    let name = match &said {
        Some(said) => said.as_deref(),
        None => (union.untyped)(object),
    };
    match name.and_then(|name| union.shape(name)) {
        Some(shape) => of_type((raw, object), union, shape, at, found),
        None if said.is_some() => {
            found.note(union.unknown, &Place::Member(at, union.tag));
            foreign::search(raw, Look::Anything, at, found);
        }
        None => strange(raw, union.unknown, at, found),
    }
}

fn of_type(
    (raw, object): (&RawValue, &Object<'_>),
    union: &'static Union,
    shape: &'static Shape,
    at: &Place<'_>,
    found: &mut Found,
) {
    match shape {
        Shape::Object(fields) => {
            let tag: &'static [Field] = match union.tag {
                "name" => &[("name", Shape::Data)],
                _ => &[("type", Shape::Data)],
            };
            members(object, &[fields, union.common, tag], at, found);
        }
        Shape::Asks(kind, inner) => {
            found.note(*kind, at);
            of_type((raw, object), union, inner, at, found);
        }
        other => value(raw, other, at, found),
    }
}

/// Notes that nobody here knows what a value means, and what it looks like.
fn strange(raw: &RawValue, kind: IndirectKind, at: &Place<'_>, found: &mut Found) {
    found.note(kind, at);
    foreign::search(raw, Look::Anything, at, found);
}

/// Returns whether the value is a string; one that is not `inline` has to be fetched.
fn with_text(raw: &RawValue, inline: fn(&str) -> bool, at: &Place<'_>, found: &mut Found) -> bool {
    let text = Text::of(raw);
    if text.as_deref().is_some_and(|text| !inline(text)) {
        found.note(IndirectKind::RemoteUrl, at);
    }
    text.is_some()
}

/// Returns whether `text` is itself the bytes that it stands for. No URL has only letters of base64.
fn are_bytes(text: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || b"+/=-_".contains(&b);
    text.starts_with("data:") || text.bytes().all(is_letter)
}

/// A null stands for an absent value in every API, and a list of nothing asks for nothing.
fn says_nothing(raw: &RawValue) -> bool {
    raw.get() == "null" || is_empty_list(raw.get())
}

fn is_empty_list(json: &str) -> bool {
    json.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inside| inside.trim().is_empty())
}
