//! The members of a request that only this dialect has: kept by name, so that whoever translates can say what is lost.

use std::cell::RefCell;

use crate::call::Extra;
use crate::json::read::Object;

/// Collects members that no field of a call stands for.
///
/// The reading functions share it, and each name is kept once: a request repeats the same member in many blocks.
#[derive(Default)]
pub(super) struct Extras(RefCell<Vec<Extra>>);

impl Extras {
    /// Keeps the members of `object` that are not `known`, under `prefix`.
    pub(super) fn keep(&self, prefix: &str, object: &Object<'_>, known: &[&str]) {
        for name in object.names().filter(|name| !known.contains(name)) {
            if let Some(raw) = object.written(name) {
                self.keep_one(format!("{prefix}{name}"), raw.get());
            }
        }
    }

    /// Keeps one member.
    pub(super) fn keep_one(&self, name: String, json: &str) {
        let mut kept = self.0.borrow_mut();
        if kept.iter().all(|extra| extra.name != name) {
            kept.push(Extra { name, json: json.to_owned() });
        }
    }

    /// Returns everything that was kept, in order.
    pub(super) fn into_inner(self) -> Vec<Extra> {
        self.0.into_inner()
    }
}
