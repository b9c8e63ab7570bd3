//! Errors of Google's APIs: `{"error":{"code","message","status","details"}}`, in a list of one from streams that are lists.
//!
//! The words of `status` are those of `google.rpc.Code`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::reply::{Fault, FaultKind};

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    // First: an object can be read from a list of its members, too.
    List([Wrapped; 1]),
    One(Wrapped),
}

#[derive(Deserialize)]
struct Wrapped {
    error: Status,
}

/// An error as it stands in a body or in an event.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    code: Option<u16>,
    message: String,
    #[serde(rename = "status")]
    word: Option<String>,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    reason: Option<String>,
}

/// Reads the body of an answer that reports an error.
///
/// Nothing is returned for what is no error of the API, such as an HTML page of a proxy.
pub fn read_fault(body: &[u8]) -> Option<Fault> {
    match serde_json::from_slice(body).ok()? {
        Body::One(Wrapped { error }) | Body::List([Wrapped { error }]) => Some(error.fault()),
    }
}

impl Status {
    pub(super) fn fault(self) -> Fault {
        let is_bad_key =
            self.details.iter().any(|detail| detail.reason.as_deref() == Some("API_KEY_INVALID"));
        let kind = if is_bad_key { FaultKind::Authentication } else { self.class() };
        let code = if self.message.contains("exceeds the maximum number of tokens") {
            Cow::Borrowed("context_length_exceeded")
        } else {
            Cow::Owned(self.word.unwrap_or_else(|| "unknown".to_owned()))
        };
        Fault { kind, code: Some(code), message: self.message, param: None }
    }

    fn class(&self) -> FaultKind {
        match self.word.as_deref() {
            Some("INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" | "UNIMPLEMENTED") => {
                FaultKind::InvalidRequest
            }
            Some("UNAUTHENTICATED") => FaultKind::Authentication,
            Some("PERMISSION_DENIED") => FaultKind::Permission,
            Some("NOT_FOUND") => FaultKind::NotFound,
            Some("ABORTED" | "ALREADY_EXISTS") => FaultKind::Conflict,
            Some("RESOURCE_EXHAUSTED") => FaultKind::RateLimit,
            Some("UNAVAILABLE") => FaultKind::Overloaded,
            Some("DEADLINE_EXCEEDED") => FaultKind::Timeout,
            _ => self.code.map_or(FaultKind::Server, FaultKind::of_status),
        }
    }
}
