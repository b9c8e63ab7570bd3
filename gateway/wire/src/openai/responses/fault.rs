//! Errors: the body of an HTTP answer, the code inside a stream that failed, and what providers say.
//!
//! The one program that reads the code inside a stream is an agent: it compacts on `context_length_exceeded`, waits
//! as long as the message of `rate_limit_exceeded` says ("try again in 1.5s"), gives up on `insufficient_quota` and
//! `invalid_prompt`, and tries again on everything else.

use bytes::Bytes;

use crate::openai::error::{
    AUTHENTICATION, ErrorBody, INVALID_REQUEST, NOT_FOUND, PERMISSION, RATE_LIMIT, SERVER,
};
use crate::reply::{Fault, FaultKind};

/// Codes that clients act upon, and the classes that they mean.
const CODES: [(&str, FaultKind); 16] = [
    ("context_length_exceeded", FaultKind::InvalidRequest),
    ("invalid_prompt", FaultKind::InvalidRequest),
    ("rate_limit_exceeded", FaultKind::RateLimit),
    ("insufficient_quota", FaultKind::Billing),
    ("usage_not_included", FaultKind::Billing),
    ("billing_hard_limit_reached", FaultKind::Billing),
    ("server_is_overloaded", FaultKind::Overloaded),
    ("slow_down", FaultKind::Overloaded),
    ("server_error", FaultKind::Server),
    ("invalid_api_key", FaultKind::Authentication),
    ("model_not_found", FaultKind::NotFound),
    ("cyber_policy", FaultKind::Permission),
    ("bio_policy", FaultKind::Permission),
    ("content_filter", FaultKind::Permission),
    ("image_content_policy_violation", FaultKind::Permission),
    ("invalid_encrypted_content", FaultKind::InvalidRequest),
];

/// Words that stand as the type of an error, and the classes that they mean.
const TYPES: [(&str, FaultKind); 14] = [
    (INVALID_REQUEST, FaultKind::InvalidRequest),
    ("BadRequestError", FaultKind::InvalidRequest),
    (AUTHENTICATION, FaultKind::Authentication),
    (PERMISSION, FaultKind::Permission),
    (NOT_FOUND, FaultKind::NotFound),
    ("NotFoundError", FaultKind::NotFound),
    (RATE_LIMIT, FaultKind::RateLimit),
    ("tokens", FaultKind::RateLimit),
    ("requests", FaultKind::RateLimit),
    ("too_many_requests", FaultKind::RateLimit),
    ("insufficient_quota", FaultKind::Billing),
    ("service_unavailable_error", FaultKind::Overloaded),
    ("timeout", FaultKind::Timeout),
    (SERVER, FaultKind::Server),
];

/// Returns the body of an HTTP answer; the API names the request in a header and not here.
pub fn write_fault(fault: &Fault, _request_id: &str) -> Bytes {
    let kind = match fault.kind {
        FaultKind::InvalidRequest | FaultKind::Conflict | FaultKind::TooLarge => INVALID_REQUEST,
        FaultKind::Authentication => AUTHENTICATION,
        FaultKind::Permission => PERMISSION,
        FaultKind::NotFound => NOT_FOUND,
        FaultKind::RateLimit => RATE_LIMIT,
        FaultKind::Billing => "insufficient_quota",
        FaultKind::Overloaded => "service_unavailable_error",
        FaultKind::Timeout | FaultKind::Server => SERVER,
    };
    let body = ErrorBody {
        message: fault.message.clone(),
        kind: kind.into(),
        param: fault.param.clone(),
        code: fault.code.clone(),
    };
    body.to_json()
}

/// Reads the error that a provider answered with; nothing for a body that is no error of the API.
pub fn read_fault(body: &[u8]) -> Option<Fault> {
    ErrorBody::from_upstream(body).map(fault_of)
}

/// Returns what an error object of the API means.
pub(super) fn fault_of(error: ErrorBody) -> Fault {
    let ErrorBody { message, kind, param, code } = error;
    let class = |table: &[(&str, FaultKind)], word: &str| {
        table.iter().find(|(known, _)| *known == word).map(|(_, class)| *class)
    };
    let by_code = code.as_deref().and_then(|code| class(&CODES, code).or_else(|| class_of_number(code)));
    let kind = by_code.or_else(|| class(&TYPES, &kind)).unwrap_or(FaultKind::Server);
    Fault { kind, code, message, param }
}

/// Open servers put the HTTP status where the API has a word.
fn class_of_number(code: &str) -> Option<FaultKind> {
    code.parse().ok().filter(|status| (400..600).contains(status)).map(FaultKind::of_status)
}

/// Returns the code inside a stream that failed.
pub(super) fn failure(fault: &Fault) -> &str {
    match &fault.code {
        Some(code) if CODES.iter().any(|(known, _)| known == code) => code,
        _ => match fault.kind {
            FaultKind::RateLimit => "rate_limit_exceeded",
            FaultKind::Billing => "insufficient_quota",
            FaultKind::Overloaded => "server_is_overloaded",
            FaultKind::Timeout | FaultKind::Server => "server_error",
            // A second try would fail alike, and clients do not make one on this code.
            FaultKind::InvalidRequest
            | FaultKind::Authentication
            | FaultKind::Permission
            | FaultKind::NotFound
            | FaultKind::Conflict
            | FaultKind::TooLarge => "invalid_prompt",
        },
    }
}
