//! Why a request body could not be read, in words that tell its sender what to change.
//!
//! Dialect-neutral: each dialect turns this into its own error body. Messages name fields, types
//! and limits, never values, so that no prompt text can reach a log through them.

use crate::json::{JsonError, Path};

/// A request body that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    kind: ParseErrorKind,
    param: Path,
    reason: String,
}

/// What is wrong with a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// The bytes are not one JSON document.
    InvalidJson,
    /// An object has the same key twice.
    DuplicateKey,
    /// The document is nested too deeply or has too many values.
    TooComplex,
    /// A required field is absent.
    Missing,
    /// A field has the wrong JSON type.
    InvalidType,
    /// A field has the right type and a value that is not allowed.
    InvalidValue,
}

impl ParseError {
    /// Returns what is wrong.
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// Returns the path of the offending field, such as `messages[0].role`, if it is one field.
    pub fn param(&self) -> Option<&str> {
        self.param.as_str()
    }

    /// Returns the machine-readable code, from a closed set.
    pub fn code(&self) -> &'static str {
        match self.kind {
            ParseErrorKind::InvalidJson => "invalid_json",
            ParseErrorKind::DuplicateKey => "duplicate_key",
            ParseErrorKind::TooComplex => "json_too_complex",
            ParseErrorKind::Missing => "missing_required_parameter",
            ParseErrorKind::InvalidType => "invalid_type",
            ParseErrorKind::InvalidValue => "invalid_value",
        }
    }

    pub(crate) fn missing() -> Self {
        Self::new(ParseErrorKind::Missing, "is required")
    }

    pub(crate) fn wrong_type(expected: &str, found: &str) -> Self {
        Self::new(ParseErrorKind::InvalidType, format!("must be {expected}, not {found}"))
    }

    pub(crate) fn not_an_object() -> Self {
        Self::new(ParseErrorKind::InvalidType, "the request body must be a JSON object")
    }

    pub(crate) fn not_a_conversation() -> Self {
        Self::new(ParseErrorKind::InvalidValue, "the request holds no conversation")
    }

    pub(crate) fn bad_value(reason: impl Into<String>) -> Self {
        Self::new(ParseErrorKind::InvalidValue, reason)
    }

    /// Places the error one member deeper: it happened at `key` of the caller's object.
    pub(crate) fn under_key(mut self, key: &str) -> Self {
        self.param.prepend_key(key);
        self
    }

    /// Places the error one element deeper: it happened at `index` of the caller's list.
    pub(crate) fn under_index(mut self, index: usize) -> Self {
        self.param.prepend_index(index);
        self
    }

    fn new(kind: ParseErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, param: Path::default(), reason: reason.into() }
    }
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.param.as_str() {
            // The sentence about a duplicate key names it already.
            Some(param) if self.kind != ParseErrorKind::DuplicateKey => {
                write!(formatter, "{param}: {}", self.reason)
            }
            _ => formatter.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ParseError {}

impl From<JsonError> for ParseError {
    fn from(error: JsonError) -> Self {
        let reason = error.to_string();
        let (kind, param) = match error {
            JsonError::Syntax { .. } => (ParseErrorKind::InvalidJson, Path::default()),
            JsonError::DuplicateKey { path, .. } => (ParseErrorKind::DuplicateKey, path),
            JsonError::TooDeep { .. } | JsonError::TooMany { .. } => {
                (ParseErrorKind::TooComplex, Path::default())
            }
        };
        Self { kind, param, reason: format!("the request body is not acceptable JSON: {reason}") }
    }
}
