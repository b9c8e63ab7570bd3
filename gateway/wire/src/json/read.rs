//! Typed reading of checked JSON, one value at a time, with errors that name the field.
//!
//! Works on raw slices of the body instead of a parsed tree: fields that nobody reads are never
//! built, and each slice still knows where in the body it stands. `null` counts as absent, as
//! the APIs themselves treat it.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::ParseError;

/// The members of one JSON object, in the order they were written.
pub(crate) struct Object<'a> {
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads `raw` as an object.
    pub(crate) fn read(raw: &'a RawValue) -> Result<Self, ParseError> {
        typed(raw, "an object")
    }

    /// Reads a whole document as an object.
    pub(crate) fn read_document(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let document = serde_json::from_slice(bytes);
        // A checked document can only be of the wrong type; who reads an unchecked one, from an
        // upstream, does not ask for the reason.
        document.map_err(|_| ParseError::not_an_object())
    }

    /// Returns the names of all members, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// Returns all members as they were written, in order.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, raw)| (name.as_str(), *raw))
    }

    /// Returns the member `name` as it was written, `null` included.
    pub(crate) fn written(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, raw)| *raw)
    }

    /// Returns whether the member `name` is there and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Reads the member `name` with `read` if it is there and not `null`.
    pub(crate) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.value(name).map(|raw| read(raw).map_err(|error| error.under_key(name))).transpose()
    }

    /// Reads the member `name` with `read`; absent and `null` are errors.
    pub(crate) fn required<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.optional(name, read)?.ok_or_else(|| ParseError::missing().under_key(name))
    }

    fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.written(name).filter(|raw| raw.get() != "null")
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Reads each element of the list `raw` with `read`.
pub(crate) fn each<'a, T>(
    raw: &'a RawValue,
    read: impl Fn(&'a RawValue) -> Result<T, ParseError>,
) -> Result<Vec<T>, ParseError> {
    let elements: Vec<&'a RawValue> = typed(raw, "a list")?;
    elements
        .into_iter()
        .enumerate()
        .map(|(index, element)| read(element).map_err(|error| error.under_index(index)))
        .collect()
}

/// Reads a string.
pub(crate) fn string(raw: &RawValue) -> Result<String, ParseError> {
    typed(raw, "a string")
}

/// Reads a string that says something.
pub(crate) fn non_empty_string(raw: &RawValue) -> Result<String, ParseError> {
    let text = string(raw)?;
    if text.is_empty() { Err(ParseError::bad_value("must not be empty")) } else { Ok(text) }
}

/// Reads any value into a tree, keys in order.
pub(crate) fn value(raw: &RawValue) -> Result<serde_json::Value, ParseError> {
    typed(raw, "a JSON value")
}

/// Reads `true` or `false`.
pub(crate) fn boolean(raw: &RawValue) -> Result<bool, ParseError> {
    typed(raw, "a boolean")
}

/// Reads a number within `range`.
pub(crate) fn number(range: RangeInclusive<f64>) -> impl FnOnce(&RawValue) -> Result<f64, ParseError> {
    move |raw| {
        let value: f64 = typed(raw, "a number")?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(ParseError::bad_value(format!("must be between {} and {}", range.start(), range.end())))
    }
}

/// Reads an integer within `range`; `16.0` is not an integer.
pub(crate) fn integer(range: RangeInclusive<i64>) -> impl FnOnce(&RawValue) -> Result<i64, ParseError> {
    move |raw| {
        // Reading as a number first tells "not a number" from "too large for 64 bits".
        typed::<f64>(raw, "an integer")?;
        let value = serde_json::from_str::<i64>(raw.get()).ok();
        match value.filter(|value| range.contains(value)) {
            Some(value) => Ok(value),
            None if raw.get().contains(['.', 'e', 'E']) => {
                Err(ParseError::wrong_type("an integer", "a number with a fraction or an exponent"))
            }
            None => Err(ParseError::bad_value(format!(
                "must be an integer between {} and {}",
                range.start(),
                range.end()
            ))),
        }
    }
}

/// Reads an integer within `range` that needs no more than 32 bits.
pub(crate) fn count(range: RangeInclusive<u32>) -> impl Fn(&RawValue) -> Result<u32, ParseError> {
    move |raw| {
        let value = integer(i64::from(*range.start())..=i64::from(*range.end()))(raw)?;
        Ok(u32::try_from(value).expect("the range was checked"))
    }
}

/// Returns the JSON type of `raw` with its article.
pub(crate) fn type_name(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn typed<'a, T: Deserialize<'a>>(raw: &'a RawValue, expected: &str) -> Result<T, ParseError> {
    // The parser's own text would quote the value, which may be prompt text.
    serde_json::from_str(raw.get()).map_err(|_| ParseError::wrong_type(expected, type_name(raw)))
}
