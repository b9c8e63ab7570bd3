//! Errors of Bedrock: as the body of an HTTP answer, whose kind stands in a header, and as an event of a stream.
//!
//! Names and statuses from AWS's model of the service and from its page of common errors; those of the front door, such as
//! `UnrecognizedClientException`, can come from any service of AWS.

use std::borrow::Cow;

use serde::Deserialize;

use crate::reply::{Fault, FaultKind};

#[derive(Deserialize)]
struct Body {
    message: Option<String>,
    /// As the front door spells it.
    #[serde(rename = "Message")]
    capital_message: Option<String>,
    #[serde(rename = "__type")]
    kind: Option<String>,
}

/// Reads the body of an answer that reports an error; `error_type` is its header `x-amzn-errortype`.
///
/// Nothing is returned for what is no error of the API, such as an HTML page of a proxy.
pub fn read_fault(body: &[u8], error_type: Option<&str>) -> Option<Fault> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let kind = error_type.map(str::to_owned).or(body.kind);
    let message = body.message.or(body.capital_message);
    if kind.is_none() && message.is_none() {
        return None;
    }
    // As in `com.amazon.coral.service#AccessDeniedException:http://…`.
    let kind = kind.as_deref().unwrap_or("unknown");
    let kind = kind.split(':').next().unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or_default();
    Some(fault(kind, message))
}

/// Reads the event `name`, if it is an error.
pub(super) fn fault_of_event(name: &str, data: &str) -> Option<Fault> {
    let kind = name.strip_prefix("exception.").or_else(|| name.strip_prefix("error."))?;
    let message = serde_json::from_str::<Body>(data).ok().and_then(|body| body.message);
    Some(fault(kind, message))
}

fn fault(kind: &str, message: Option<String>) -> Fault {
    let message = message.unwrap_or_else(|| "the provider gave no reason".to_owned());
    let is_too_long = ["too long", "context window", "maximum context length"];
    let code = if is_too_long.iter().any(|words| message.contains(words)) {
        Cow::Borrowed("context_length_exceeded")
    } else {
        Cow::Owned(kind.to_owned())
    };
    Fault { kind: class(kind), code: Some(code), message, param: None }
}

fn class(kind: &str) -> FaultKind {
    // Events begin with a small letter, headers with a capital one.
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    let any = |names: &[&str]| names.iter().any(|name| is(name));
    if any(&["ThrottlingException", "TooManyRequestsException", "ServiceQuotaExceededException"]) {
        FaultKind::RateLimit
    } else if any(&["ServiceUnavailableException", "ModelNotReadyException", "ServiceUnavailable"]) {
        FaultKind::Overloaded
    } else if is("ModelTimeoutException") {
        FaultKind::Timeout
    } else if any(&["ValidationException", "SerializationException"]) {
        FaultKind::InvalidRequest
    } else if is("ResourceNotFoundException") {
        FaultKind::NotFound
    } else if any(&["AccessDeniedException", "OptInRequired"]) {
        FaultKind::Permission
    } else if is("ConflictException") {
        FaultKind::Conflict
    } else if is("RequestEntityTooLargeException") {
        FaultKind::TooLarge
    } else if any(&[
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "IncompleteSignatureException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "MissingAuthenticationTokenException",
        "MissingAuthenticationToken",
        "ExpiredTokenException",
        "NotAuthorized",
    ]) {
        FaultKind::Authentication
    } else {
        FaultKind::Server
    }
}
