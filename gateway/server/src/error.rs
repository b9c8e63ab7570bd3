//! The edge where failures become HTTP: one status, one public message, one private cause.
//!
//! Causes are logged here, once, and never shown to the client. Messages say what to do.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use wire::openai::error::{self as openai, ErrorBody};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failed call as the client will see it. Boxed: most calls do not fail, and need not carry its size.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.body.message)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    body: ErrorBody,
    headers: HeaderMap,
    /// The code for records and metrics, from a closed set: never an upstream's or a client's word.
    code: &'static str,
    cause: Option<Cause>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        let body = ErrorBody::new(kind, code, message);
        Self(Box::new(Parts { status, body, headers: HeaderMap::new(), code, cause: None }))
    }

    /// 400: the request itself is wrong.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, openai::INVALID_REQUEST, code, message)
    }

    /// 401: the caller is not known.
    pub(crate) fn unauthenticated(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, openai::AUTHENTICATION, code, message)
    }

    /// 403: the caller is known and may not do this.
    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, openai::PERMISSION, code, message)
    }

    /// 404: no such path or model.
    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, openai::NOT_FOUND, code, message)
    }

    /// 405: the path exists, the method does not.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "this path does not take that method; calls are POST, listings are GET";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, openai::INVALID_REQUEST, "method_not_allowed", message)
    }

    /// 413: the body is longer than the workflow allows.
    pub(crate) fn too_large(limit_bytes: u64) -> Self {
        let message =
            format!("the request body is larger than the {limit_bytes} bytes that this workflow allows");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, openai::INVALID_REQUEST, "body_too_large", message)
    }

    /// 500: a fault of ours.
    pub(crate) fn internal() -> Self {
        let message = "the gateway failed; the request id names its log entry";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, openai::SERVER, "internal", message)
    }

    /// 503 that passes: try again.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, openai::SERVER, code, message);
        error.with_header(RETRY_AFTER, "1")
    }

    /// 502 or 504: an upstream gave no usable answer.
    pub(crate) fn bad_gateway(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, openai::SERVER, code, message)
    }

    /// An upstream's own error, in our shape: its status and message, our code for the record.
    pub(crate) fn of_upstream(status: StatusCode, body: ErrorBody) -> Self {
        Self(Box::new(Parts {
            status,
            body,
            headers: HeaderMap::new(),
            code: "upstream_status",
            cause: None,
        }))
    }

    /// Names the field of the request that is wrong.
    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.0.body.param = Some(param.into());
        self
    }

    /// Adds the private cause, for the log.
    pub(crate) fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers);
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

    /// The event that ends a stream which had begun.
    pub(crate) fn to_event(&self) -> bytes::Bytes {
        self.0.body.to_event()
    }

    /// Writes the cause to the log, once.
    pub(crate) fn log(&self) {
        if let Some(cause) = &self.0.cause {
            tracing::warn!(status = self.0.status.as_u16(), code = self.0.code, cause = %with_causes(&**cause), "call failed");
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let mut response = Response::new(Body::from(self.0.body.to_json()));
        *response.status_mut() = self.0.status;
        response.headers_mut().extend(self.0.headers);
        response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
        response
    }
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
