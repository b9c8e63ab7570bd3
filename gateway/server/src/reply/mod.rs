//! The kinds of destination: a model of our own that chats or embeds, and somebody else's API.
//!
//! What they share is here: the conversation that is asked, what an answer holds until its end, and the forms of a
//! response.

mod choices;
mod claim;
pub(crate) mod encoder;
pub(crate) mod engine;
mod frames;
pub(crate) mod headers;
mod source;
mod streaming;
mod templated;
pub(crate) mod to_engine;
pub(crate) mod upstream;
pub(crate) mod vectors;
pub(crate) mod way;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use policy::Hop;
use wire::call::Lost;
use wire::client::Asked;
use wire::openai::responses;
use wire::reply::{Envelope, Shown};
use wire::{Dialect, Request};

use crate::clock;
use crate::error::ApiError;
use crate::pipeline::Call;
use crate::record::{Purpose, Record, tokens_estimate};
use crate::stored::Keeper;
use streaming::Holding;

/// Tells a buffering proxy in front of us to let events through as they come.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What is asked, in no dialect's words.
pub(crate) struct Conversation {
    pub(crate) call: wire::call::Call,
    /// What of the tokens is shown to the client.
    pub(crate) shown: Shown,
}

impl Conversation {
    /// That of a request whose bytes pass through; it is read only where it has to be kept.
    fn unread(call: &Call<Request>) -> Self {
        let keeps =
            call.question.dialect() == Dialect::OpenAiResponses && call.admitted.stored_responses().is_some();
        let read = if keeps { call.question.call().ok() } else { None };
        Self { call: read.unwrap_or_default(), shown: Shown::default() }
    }
}

/// Reads what is asked; a call that continues an earlier one begins with that.
fn conversation(call: &Call<Request>) -> Result<Conversation, ApiError> {
    let request = &call.question;
    let mut asked = request.call().map_err(|error| ApiError::unreadable(&error))?;
    if let Some(id) = &request.previous_response {
        let param = "previous_response_id";
        if call.admitted.stored_responses().is_none() {
            let message = "this workflow keeps no answers; send the whole conversation in `input`, or have `stored_responses` set in the policy";
            return Err(ApiError::invalid("stored_state_refused", message).with_param(param));
        }
        let missing = "no answer with this id is kept for this caller; it may have expired: send the whole conversation in `input`";
        let missing = || ApiError::invalid("previous_response_not_found", missing).with_param(param);
        let stored = call.app.stored.get(&call.owner, id).ok_or_else(missing)?;
        asked = stored.continued_by(asked);
    }
    if let Some(untranslatable) = responses::untranslatable(&asked) {
        let error = ApiError::invalid("stored_state_refused", untranslatable.to_string());
        return Err(error.with_param(&untranslatable.param));
    }
    Ok(Conversation { call: asked, shown: Shown::default() })
}

/// Refuses a destination that could not be told what the workflow wants every destination to know.
fn must_survive(call: &Call<Request>, hop: &Hop, lost: &Lost) -> Result<(), ApiError> {
    let Some(field) = call.admitted.must_survive().iter().find(|field| lost.covers(field)) else {
        return Ok(());
    };
    let message = format!(
        "`{field}` has to reach the model (`must_survive`), and the API behind `{}` has no place for it",
        hop.model()
    );
    Err(ApiError::invalid("field_would_be_lost", message).with_param(field))
}

/// Takes everything that an answer needs out of a call.
fn holding(call: Call<Request>, hop: &Hop, conversation: Conversation, record: Record) -> Holding {
    let envelope = Envelope {
        unique: uuid::Uuid::now_v7().simple().to_string(),
        created_s: clock::unix_s(),
        model: hop.model().to_string(),
        provider: hop.provider().to_string(),
    };
    let Conversation { call: asked, shown } = conversation;
    let keeps = call.question.dialect() == Dialect::OpenAiResponses
        && asked.store != Some(false)
        && call.purpose == Purpose::Answer;
    let keeper = call.admitted.stored_responses().filter(|_| keeps).map(|limits| {
        let bytes = call.question.body().len();
        Keeper::new(&call.app.stored, limits, &call.owner, (asked.clone(), bytes))
    });
    let names_a_number = call.question.dialect() == Dialect::AnthropicMessages;
    let prompt_estimate = names_a_number.then(|| tokens_estimate(&call.question));
    let asked = Asked::of(&call.question, asked).showing(shown);
    Holding {
        record,
        asked,
        envelope,
        keeper,
        deadline: call.deadline,
        prompt_estimate,
        _kept: (call.active, call.place),
    }
}

/// An answer that was not complete when the workflow's time was over.
pub(crate) fn timed_out() -> ApiError {
    let message = "the reply took longer than this workflow allows";
    ApiError::bad_gateway(StatusCode::GATEWAY_TIMEOUT, "reply_timeout", message)
}

/// A whole JSON document.
pub(crate) fn json(status: StatusCode, document: Bytes, headers: HeaderMap) -> Response {
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
