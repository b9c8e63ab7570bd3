//! The edge where failures become HTTP: one status, one public message, one private cause.
//!
//! Causes are logged here, once, and never shown to the client. Messages say what to do.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use routing::Failure;
use wire::reply::{Fault, FaultKind};
use wire::{Dialect, client};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failed call as the client will see it. Boxed: most calls do not fail, and need not carry its size.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.fault.message)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    fault: Fault,
    headers: HeaderMap,
    /// The code for records and metrics, from a closed set: never an upstream's or a client's word.
    code: &'static str,
    cause: Option<Cause>,
    /// What it says of the upstream.
    failure: Failure,
    /// The body of an upstream that speaks the client's dialect, which passes as it is.
    passed: Option<Bytes>,
}

/// What the body of a response is to say, until the edge knows in which dialect and under which id.
#[derive(Debug, Clone)]
struct Told {
    fault: Fault,
    passed: Option<Bytes>,
}

impl ApiError {
    fn new(status: StatusCode, kind: FaultKind, code: &'static str, message: impl Into<String>) -> Self {
        Self::of(status, Fault::new(kind, code, message), code)
    }

    fn of(status: StatusCode, fault: Fault, code: &'static str) -> Self {
        Self(Box::new(Parts {
            status,
            fault,
            headers: HeaderMap::new(),
            code,
            cause: None,
            failure: Failure::Blameless,
            passed: None,
        }))
    }

    /// 400: the request itself is wrong.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, FaultKind::InvalidRequest, code, message)
    }

    /// 400: a body that cannot be read.
    pub(crate) fn unreadable(error: &wire::ParseError) -> Self {
        Self::of(StatusCode::BAD_REQUEST, Fault::from(error), error.code())
    }

    /// 401: the caller is not known.
    pub(crate) fn unauthenticated(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, FaultKind::Authentication, code, message)
    }

    /// 403: the caller is known and may not do this.
    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, FaultKind::Permission, code, message)
    }

    /// 404: no such path or model.
    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, FaultKind::NotFound, code, message)
    }

    /// 405: the path exists, the method does not.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "this path does not take that method; calls are POST, listings are GET";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, FaultKind::InvalidRequest, "method_not_allowed", message)
    }

    /// 409: not in the state that things are in.
    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, FaultKind::InvalidRequest, code, message)
    }

    /// 413: the body is longer than the workflow allows.
    pub(crate) fn too_large(limit_bytes: u64) -> Self {
        let message =
            format!("the request body is larger than the {limit_bytes} bytes that this workflow allows");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, FaultKind::TooLarge, "body_too_large", message)
    }

    /// 500: a fault of ours.
    pub(crate) fn internal() -> Self {
        let message = "the gateway failed; the request id names its log entry";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, FaultKind::Server, "internal", message)
    }

    /// 503 that passes: try again.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, FaultKind::Overloaded, code, message);
        error.with_header(RETRY_AFTER, "1")
    }

    /// 429: the caller waits less than it would take.
    pub(crate) fn too_late(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, FaultKind::RateLimit, code, message)
    }

    /// 502 or 504: an upstream gave no usable answer.
    pub(crate) fn bad_gateway(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::GATEWAY_TIMEOUT => FaultKind::Timeout,
            StatusCode::FORBIDDEN => FaultKind::Permission,
            _ => FaultKind::Server,
        };
        Self::new(status, kind, code, message)
    }

    /// An upstream's own error: its status and message, our code for the record. `passed` is the body, if it is one of
    /// the client's dialect.
    pub(crate) fn of_upstream(status: StatusCode, fault: Fault, passed: Option<Bytes>) -> Self {
        let mut error = Self::of(status, fault, "upstream_status");
        error.0.passed = passed;
        error
    }

    /// An error that an upstream reported inside an answer that had begun well.
    pub(crate) fn of_upstream_event(fault: Fault) -> Self {
        let status = match fault.kind {
            FaultKind::InvalidRequest => StatusCode::BAD_REQUEST,
            FaultKind::RateLimit | FaultKind::Billing => StatusCode::TOO_MANY_REQUESTS,
            FaultKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            FaultKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let failure = match fault.kind {
            FaultKind::RateLimit | FaultKind::Overloaded => Failure::Pressed(None),
            FaultKind::Server | FaultKind::Timeout => Failure::Broken,
            _ => Failure::Blameless,
        };
        Self::of(status, fault, "upstream_error_event").meaning(failure)
    }

    /// Names the field of the request that is wrong.
    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.0.fault.param = Some(param.into());
        self
    }

    /// Adds the private cause, for the log.
    pub(crate) fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says what it means for the upstream; without that, somebody else is to blame.
    pub(crate) fn meaning(mut self, failure: Failure) -> Self {
        self.0.failure = failure;
        self
    }

    pub(crate) fn failure(&self) -> Failure {
        self.0.failure
    }

    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers);
        self
    }

    /// Says when it is worth to try again.
    pub(crate) fn with_retry_after(mut self, seconds: u64) -> Self {
        self.0.headers.insert(RETRY_AFTER, seconds.into());
        self
    }

    fn with_header(mut self, name: axum::http::HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, axum::http::HeaderValue::from_static(value));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// What the client of a stream that had begun hears.
    pub(crate) fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// Writes the cause to the log, once.
    pub(crate) fn log(&self) {
        if let Some(cause) = &self.0.cause {
            tracing::warn!(status = self.0.status.as_u16(), code = self.0.code, cause = %with_causes(&**cause), "call failed");
        }
    }
}

impl IntoResponse for ApiError {
    /// Everything but the body, which [`speak`] writes.
    fn into_response(self) -> Response {
        self.log();
        let Parts { status, fault, headers, passed, .. } = *self.0;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(Told { fault, passed });
        response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
        response
    }
}

/// Gives a response that is an error its body, in the client's dialect; leaves any other as it is.
pub(crate) fn speak(response: &mut Response, dialect: Dialect, request_id: &str) {
    let Some(Told { fault, passed }) = response.extensions_mut().remove() else { return };
    let body = passed.unwrap_or_else(|| client::write_fault(dialect, &fault, request_id));
    *response.body_mut() = Body::from(body);
}

/// An error with its sources, in one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        // Some libraries repeat the source in their own text.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}
