//! The error object of the `OpenAI` API: `{"error":{"message","type","param","code"}}`.
//!
//! All four keys are always written, because client libraries index them. HTTP status codes are
//! not decided here.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::ParseError;
use crate::json::read::{self, Object};
use crate::sse;

/// The request itself is wrong; sending it again unchanged will fail again.
pub const INVALID_REQUEST: &str = "invalid_request_error";
/// The caller did not prove who it is.
pub const AUTHENTICATION: &str = "authentication_error";
/// The caller is known and may not do this.
pub const PERMISSION: &str = "permission_error";
/// The model or path does not exist for this caller.
pub const NOT_FOUND: &str = "not_found_error";
/// A limit of rate or money is reached; later it may work.
pub const RATE_LIMIT: &str = "rate_limit_error";
/// The service or an upstream of it failed.
pub const SERVER: &str = "server_error";

/// One error as clients of the `OpenAI` API expect it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// What happened and what to do about it, for a person.
    pub message: String,
    /// The class of the error; one of this module's constants unless an upstream chose it.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The offending field of the request, if it is one field.
    pub param: Option<String>,
    /// The precise error, for a program.
    pub code: Option<Cow<'static, str>>,
}

#[derive(Serialize)]
struct Wrapped<'a> {
    error: &'a ErrorBody,
}

impl ErrorBody {
    /// Creates an error of the class `kind` that concerns no single field.
    pub fn new(kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: kind.into(), param: None, code: Some(code.into()) }
    }

    /// Reads the error that an upstream answered with, whole body or stream event.
    ///
    /// Understands the standard object, a bare `{"error":"text"}`, and the flat
    /// `{"object":"error","message":…}` of older servers; a numeric code becomes text. Nothing is
    /// returned for anything else, such as an HTML page of a proxy.
    pub fn from_upstream(body: &[u8]) -> Option<Self> {
        Self::of_document(&Object::read_document(body).ok()?)
    }

    /// Returns the body of an HTTP response.
    pub fn to_json(&self) -> Bytes {
        to_json(&Wrapped { error: self })
    }

    /// Returns the event that ends a stream which failed after it had begun.
    ///
    /// No `[DONE]` may follow it: the stream must not look finished.
    pub fn to_event(&self) -> Bytes {
        sse::encode_data(&self.to_json())
    }

    /// Reads the error of a parsed document; `"error": null` is none.
    pub(super) fn of_document(top: &Object<'_>) -> Option<Self> {
        match top.written("error") {
            Some(error) => Self::read(error),
            None if text(top, "object").as_deref() == Some("error") => Self::read_object(top),
            None => None,
        }
    }

    fn read(error: &RawValue) -> Option<Self> {
        match read::string(error) {
            Ok(message) => Some(Self { message, kind: SERVER.into(), param: None, code: None }),
            Err(_) => Self::read_object(&Object::read(error).ok()?),
        }
    }

    fn read_object(error: &Object<'_>) -> Option<Self> {
        Some(Self {
            message: text(error, "message")?,
            kind: text(error, "type").map_or(Cow::Borrowed(SERVER), Cow::Owned),
            param: text(error, "param"),
            code: text(error, "code").or_else(|| number_text(error, "code")).map(Cow::Owned),
        })
    }
}

impl From<&ParseError> for ErrorBody {
    fn from(error: &ParseError) -> Self {
        Self {
            message: error.to_string(),
            kind: INVALID_REQUEST.into(),
            param: error.param().map(str::to_owned),
            code: Some(error.code().into()),
        }
    }
}

fn text(object: &Object<'_>, name: &str) -> Option<String> {
    object.optional(name, read::string).ok().flatten()
}

fn number_text(object: &Object<'_>, name: &str) -> Option<String> {
    let number = object.optional(name, read::integer(i64::MIN..=i64::MAX)).ok().flatten();
    number.map(|number| number.to_string())
}

/// Serialises a body of ours.
///
/// # Panics
/// Never for the types of this crate: they hold strings, numbers and lists only.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("strings, numbers and lists always serialise"))
}
