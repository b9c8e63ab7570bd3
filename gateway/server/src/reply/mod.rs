//! The kinds of destination: a model of our own that chats or embeds, and somebody else's API.

pub(crate) mod encoder;
pub(crate) mod engine;
pub(crate) mod upstream;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;

use crate::error::ApiError;

/// Tells a buffering proxy in front of us to let events through as they come.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An engine that was not done when the workflow's time was over.
fn engine_timeout() -> ApiError {
    let message = "the reply took longer than this workflow allows";
    ApiError::bad_gateway(StatusCode::GATEWAY_TIMEOUT, "engine_timeout", message)
}

/// A whole JSON document.
fn json(status: StatusCode, document: Bytes, headers: HeaderMap) -> Response {
    let mut response = Response::new(Body::from(document));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A stream of events that ends when `events` does. It cannot fail: failures are events.
fn event_stream(events: impl Stream<Item = Bytes> + Send + 'static, headers: HeaderMap) -> Response {
    use futures_util::StreamExt;
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    let mut response = Response::new(body);
    response.headers_mut().extend(headers);
    let fixed = [
        (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (NO_BUFFERING, "no"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
