//! The metadata of a GGUF file, read without losing a key.
//!
//! Like a `config.json`: whoever translates an architecture asks for what it understands, every question is
//! remembered, and a key of the architecture that nobody asked for is an error at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::ModelError;

/// One value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Whole(i128),
    Number(f64),
    Flag(bool),
    Text(String),
    List(List),
}

/// A list of values of one type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum List {
    Whole(Vec<i64>),
    Numbers(Vec<f32>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
}

impl Value {
    /// A whole number that is not negative.
    pub(super) fn as_size(&self) -> Option<u64> {
        match self {
            Self::Whole(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(out),
            Self::Number(number) => number.fmt(out),
            Self::Flag(flag) => flag.fmt(out),
            Self::Text(text) => write!(out, "{text:?}"),
            Self::List(_) => out.write_str("a list"),
        }
    }
}

/// The metadata of a model and which of its keys were asked for.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    values: BTreeMap<String, Value>,
    asked: RefCell<BTreeSet<String>>,
}

impl Metadata {
    pub(super) fn new(values: BTreeMap<String, Value>) -> Self {
        Self { values, asked: RefCell::default() }
    }

    fn find<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        self.asked.borrow_mut().insert(key.to_owned());
        match self.values.get(key) {
            None => Ok(None),
            Some(value) => {
                convert(value).map(Some).ok_or(ModelError::Metadata { name: key.to_owned(), expected })
            }
        }
    }

    /// A whole number, if present.
    pub(crate) fn find_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.find(key, "a whole number", |value| value.as_size().and_then(|n| usize::try_from(n).ok()))
    }

    /// A whole number that must be there.
    pub(crate) fn size(&self, key: &str) -> Result<usize, ModelError> {
        let expected = "a whole number";
        self.find_size(key)?.ok_or(ModelError::Metadata { name: key.to_owned(), expected })
    }

    /// A number, if present.
    pub(crate) fn find_number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.find(key, "a number", |value| match value {
            Value::Number(number) => Some(*number),
            Value::Whole(number) => Some(*number as f64),
            _ => None,
        })
    }

    /// A number that must be there.
    pub(crate) fn number(&self, key: &str) -> Result<f64, ModelError> {
        let expected = "a number";
        self.find_number(key)?.ok_or(ModelError::Metadata { name: key.to_owned(), expected })
    }

    /// A flag, if present.
    pub(crate) fn find_flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.find(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A text, if present.
    pub(crate) fn find_text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        self.find(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A list of texts, if present.
    pub(crate) fn find_texts(&self, key: &str) -> Result<Option<&[String]>, ModelError> {
        self.find(key, "a list of texts", |value| match value {
            Value::List(List::Texts(texts)) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// A list of numbers, if present.
    pub(crate) fn find_numbers(&self, key: &str) -> Result<Option<&[f32]>, ModelError> {
        self.find(key, "a list of numbers", |value| match value {
            Value::List(List::Numbers(numbers)) => Some(numbers.as_slice()),
            _ => None,
        })
    }

    /// A list of whole numbers, if present.
    pub(crate) fn find_wholes(&self, key: &str) -> Result<Option<&[i64]>, ModelError> {
        self.find(key, "a list of whole numbers", |value| match value {
            Value::List(List::Whole(numbers)) => Some(numbers.as_slice()),
            _ => None,
        })
    }

    /// Keys that begin with `prefix`, without asking for them.
    pub(crate) fn keys_below(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str).filter(move |key| key.starts_with(prefix))
    }

    /// Marks a key as known to be without effect.
    pub(crate) fn skip(&self, key: &str) {
        self.asked.borrow_mut().insert(key.to_owned());
    }

    /// Demands that every key that begins with `prefix` was asked for.
    pub(crate) fn finish(&self, prefix: &str) -> Result<(), ModelError> {
        let asked = self.asked.borrow();
        let left: Vec<String> = self
            .values
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && !asked.contains(*key))
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        if left.is_empty() { Ok(()) } else { Err(ModelError::UnreadMetadata { keys: left.join(", ") }) }
    }
}
