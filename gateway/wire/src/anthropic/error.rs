//! The error object of the Anthropic API: `{"type":"error","error":{"type","message"},"request_id"}`.
//!
//! | class | `type` | HTTP status |
//! |---|---|---|
//! | invalid request | `invalid_request_error` | 400 |
//! | authentication | `authentication_error` | 401 |
//! | billing | `billing_error` | 402 |
//! | permission | `permission_error` | 403 |
//! | not found | `not_found_error` | 404 |
//! | conflict | `conflict_error` | 409 |
//! | too large | `request_too_large` | 413 |
//! | rate limit | `rate_limit_error` | 429 |
//! | server | `api_error` | 500 |
//! | timeout | `timeout_error` | 504 |
//! | overloaded | `overloaded_error` | 529 |
//!
//! Deliberately absent when writing: `param` and `code`, which the dialect does not have; the message names the field.
//! The `details` of newer versions, whose codes are a closed set of the API's own, are read only.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use crate::json::read::{self, Object};
use crate::openai::error::to_json;
use crate::reply::{Fault, FaultKind};

/// The code, neutral between dialects, of a prompt that is longer than the model can take.
const CONTEXT_EXCEEDED: &str = "context_length_exceeded";
/// How the API begins its message about such a prompt. Agents look for these words, and shorten their history.
const PROMPT_TOO_LONG: &str = "prompt is too long";
/// The API's other message about it: prompt and answer together.
const INPUT_AND_ANSWER_TOO_LONG: &str = "input length and `max_tokens` exceed context limit";

/// Each class with its word on the wire.
const TYPES: [(FaultKind, &str); 11] = [
    (FaultKind::InvalidRequest, "invalid_request_error"),
    (FaultKind::Authentication, "authentication_error"),
    (FaultKind::Billing, "billing_error"),
    (FaultKind::Permission, "permission_error"),
    (FaultKind::NotFound, "not_found_error"),
    (FaultKind::Conflict, "conflict_error"),
    (FaultKind::TooLarge, "request_too_large"),
    (FaultKind::RateLimit, "rate_limit_error"),
    (FaultKind::Server, "api_error"),
    (FaultKind::Timeout, "timeout_error"),
    (FaultKind::Overloaded, "overloaded_error"),
];

#[derive(Serialize)]
pub(super) struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Detail<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Detail<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: Cow<'a, str>,
}

impl<'a> Body<'a> {
    /// Creates the error object; inside a stream there is no request id, the headers have said it.
    pub(super) fn of(fault: &'a Fault, request_id: Option<&'a str>) -> Self {
        let detail = Detail { kind: type_of(fault.kind), message: message_of(fault) };
        Self { kind: "error", error: detail, request_id }
    }
}

/// Returns the body of an HTTP error; `request_id` is what the header `request-id` says.
pub fn write_fault(fault: &Fault, request_id: &str) -> Bytes {
    to_json(&Body::of(fault, Some(request_id)))
}

/// Returns the HTTP status that the API answers with for errors of the class `kind`.
///
/// 529 is no registered status; the dialect's clients take it, and no other, for an overloaded service.
pub fn status(kind: FaultKind) -> u16 {
    match kind {
        FaultKind::InvalidRequest => 400,
        FaultKind::Authentication => 401,
        FaultKind::Billing => 402,
        FaultKind::Permission => 403,
        FaultKind::NotFound => 404,
        FaultKind::Conflict => 409,
        FaultKind::TooLarge => 413,
        FaultKind::RateLimit => 429,
        FaultKind::Server => 500,
        FaultKind::Timeout => 504,
        FaultKind::Overloaded => 529,
    }
}

/// Reads the error that a provider answered with; nothing for anything that is not the API's error object.
pub fn read_fault(body: &[u8]) -> Option<Fault> {
    let top = Object::read_document(body).ok()?;
    let error = top.written("error").and_then(|raw| Object::read(raw).ok())?;
    of_detail(&error)
}

/// Reads the member `error` of the object.
pub(super) fn of_detail(error: &Object<'_>) -> Option<Fault> {
    let text = |name| error.optional(name, read::string).ok().flatten();
    let (kind, message) = (text("type")?, text("message")?);
    let known = TYPES.iter().find(|(_, word)| *word == kind).map(|(kind, _)| *kind);
    let is_too_long =
        [PROMPT_TOO_LONG, INPUT_AND_ANSWER_TOO_LONG].iter().any(|start| message.starts_with(start));
    let details = error.written("details").and_then(|raw| Object::read(raw).ok());
    let precise = details.and_then(|details| details.optional("error_code", read::string).ok().flatten());
    let code =
        if is_too_long { Cow::Borrowed(CONTEXT_EXCEEDED) } else { Cow::Owned(precise.unwrap_or(kind)) };
    Some(Fault { kind: known.unwrap_or(FaultKind::Server), code: Some(code), message, param: None })
}

fn type_of(kind: FaultKind) -> &'static str {
    let known = TYPES.iter().find(|(known, _)| *known == kind);
    known.map_or("api_error", |(_, word)| word)
}

fn message_of(fault: &Fault) -> Cow<'_, str> {
    let is_too_long = fault.code.as_deref() == Some(CONTEXT_EXCEEDED);
    if is_too_long && !fault.message.starts_with(PROMPT_TOO_LONG) {
        return Cow::Owned(format!("{PROMPT_TOO_LONG}: {}", fault.message));
    }
    Cow::Borrowed(&fault.message)
}
