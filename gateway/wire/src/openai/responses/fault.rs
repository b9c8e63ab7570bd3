//! Errors: the body of an HTTP answer, the code inside a stream that failed, and what providers say.
//!
//! The one program that reads the code inside a stream is an agent: it compacts on `context_length_exceeded`, waits
//! as long as the message of `rate_limit_exceeded` says ("try again in 1.5s"), gives up on `insufficient_quota` and
//! `invalid_prompt`, and tries again on everything else.

use bytes::Bytes;

use crate::openai::error::ErrorBody;
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

/// Returns the body of an HTTP answer; the API names the request in a header and not here.
pub fn write_fault(fault: &Fault, _request_id: &str) -> Bytes {
    ErrorBody::from(fault).to_json()
}

/// Reads the error that a provider answered with; nothing for a body that is no error of the API.
pub fn read_fault(body: &[u8]) -> Option<Fault> {
    ErrorBody::from_upstream(body).as_ref().map(fault_of)
}

/// Returns what an error object of the API means: its code says more than its class.
pub(super) fn fault_of(error: &ErrorBody) -> Fault {
    let code = error.code.as_deref().unwrap_or_default();
    let known = CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class);
    // Open servers put the HTTP status where the API has a word.
    let number = || code.parse().ok().filter(|status| (400..600).contains(status)).map(FaultKind::of_status);
    let fault = error.to_fault(None);
    Fault { kind: known.or_else(number).unwrap_or(fault.kind), ..fault }
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
