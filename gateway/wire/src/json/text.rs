//! A string of a document, copied only if it holds escapes.

use std::borrow::Cow;
use std::ops::Deref;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A string; unlike `Option<Cow<str>>`, an optional one borrows too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Text<'a> {
    /// Reads `raw` if it is a string.
    pub(crate) fn of(raw: &'a RawValue) -> Option<Self> {
        raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok())?
    }

    /// Reads `raw` as it is if it is an object, and its content if it is a string.
    pub(crate) fn of_text_or_object(raw: &'a RawValue) -> Option<Self> {
        if raw.get().starts_with('{') { Some(Self(Cow::Borrowed(raw.get()))) } else { Self::of(raw) }
    }

    pub(crate) fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}
