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
use crate::reply::{Fault, FaultKind};
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
/// Money is missing.
pub const BILLING: &str = "insufficient_quota";
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

    /// Returns the error in no dialect's words; `status` is that of the response, if it was one.
    pub fn to_fault(&self, status: Option<u16>) -> Fault {
        Fault {
            kind: status.map_or_else(|| kind_of(&self.kind), FaultKind::of_status),
            code: self.code.clone(),
            message: self.message.clone(),
            param: self.param.clone(),
        }
    }

    /// Reads the error of a parsed document; `"error": null` is none.
    fn of_document(top: &Object<'_>) -> Option<Self> {
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

impl From<&Fault> for ErrorBody {
    fn from(fault: &Fault) -> Self {
        Self {
            message: fault.message.clone(),
            kind: word_of(fault.kind).into(),
            param: fault.param.clone(),
            code: fault.code.clone(),
        }
    }
}

/// The word of the API for a class of errors.
fn word_of(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::InvalidRequest | FaultKind::TooLarge | FaultKind::Conflict => INVALID_REQUEST,
        FaultKind::Authentication => AUTHENTICATION,
        FaultKind::Billing => BILLING,
        FaultKind::Permission => PERMISSION,
        FaultKind::NotFound => NOT_FOUND,
        FaultKind::RateLimit => RATE_LIMIT,
        FaultKind::Overloaded | FaultKind::Timeout | FaultKind::Server => SERVER,
    }
}

/// The class that a word of the API, or of a server that speaks it, stands for.
fn kind_of(word: &str) -> FaultKind {
    match word {
        INVALID_REQUEST | "BadRequestError" => FaultKind::InvalidRequest,
        AUTHENTICATION => FaultKind::Authentication,
        BILLING => FaultKind::Billing,
        PERMISSION => FaultKind::Permission,
        NOT_FOUND | "NotFoundError" => FaultKind::NotFound,
        RATE_LIMIT | "rate_limit_exceeded" | "tokens" | "requests" => FaultKind::RateLimit,
        "overloaded_error" | "service_unavailable_error" => FaultKind::Overloaded,
        _ => FaultKind::Server,
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
