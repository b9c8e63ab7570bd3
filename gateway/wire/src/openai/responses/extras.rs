//! Collects the fields that only this dialect has, each name once.
//!
//! A field of an item or a part is named as `input[].phase`: which of a thousand items had it matters to nobody.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::call::Extra;
use crate::json::read::Object;

/// Fields without a place in a call, in order.
#[derive(Default)]
pub(super) struct Extras {
    fields: Vec<Extra>,
    names: HashSet<String>,
}

impl Extras {
    /// Keeps the field `name`, unless it was kept before.
    pub(super) fn keep(&mut self, name: String, raw: &RawValue) {
        if self.names.insert(name.clone()) {
            self.fields.push(Extra { name, json: raw.get().to_owned() });
        }
    }

    /// Keeps the members of `object` that are not `known` and not null, each under `prefix` and its own name.
    pub(super) fn keep_rest(&mut self, prefix: &str, object: &Object<'_>, known: &[&str]) {
        for name in object.names().filter(|name| !known.contains(name)) {
            match object.written(name) {
                Some(raw) if raw.get() != "null" => self.keep(format!("{prefix}{name}"), raw),
                _ => {}
            }
        }
    }

    /// Returns what was kept.
    pub(super) fn into_fields(self) -> Vec<Extra> {
        self.fields
    }
}
