//! Embeddings from a model that this process serves itself.
//!
//! An answer is whole or nothing: a vector that is missing in the middle of a list would be taken for another's.

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use engine::{EmbedRequest, Embeddings, EncodeError, Engine, Input, Overflow};
use policy::Hop;
use tokio::time::timeout_at;
use wire::Usage;
use wire::openai::embeddings::{self, Answer, Request, Truncation};

use crate::error::ApiError;
use crate::fleet::Lease;
use crate::pipeline::{Attempt, Back, Call};
use crate::record::{Completion, Record};

/// Sends the call to the engine of `hop`'s model.
pub(crate) async fn attempt(call: Call<Request>, hop: &Hop, mut record: Record) -> (Attempt, Back<Request>) {
    let Embeddings { vectors, prompt_tokens } = match embed(&call, hop).await {
        Ok(embeddings) => embeddings,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    let (model, encoding) = (hop.model().to_string(), call.question.encoding);
    let prompt_tokens = prompt_tokens as u64;
    let Ok(document) = write(Answer { model, vectors, encoding, prompt_tokens }).await else {
        return (Attempt::Failed(ApiError::internal()), Some((call, record)));
    };
    record.output();
    let usage = Usage::of(prompt_tokens, 0);
    match record.complete(Completion { status: 200, finish: None, usage: Some(usage) }).await {
        Ok(()) => (Attempt::began(super::json(StatusCode::OK, document, HeaderMap::new())), None),
        // The record is closed already; nothing is left to fall back with.
        Err(unrecorded) => (Attempt::Refused(unrecorded), None),
    }
}

/// Writes the answer off the async threads: two million numbers take a while.
async fn write(answer: Answer) -> Result<Bytes, tokio::task::JoinError> {
    tokio::task::spawn_blocking(move || answer.to_json()).await
}

async fn embed(call: &Call<Request>, hop: &Hop) -> Result<Embeddings, Attempt> {
    let Lease { engine, mut end } = super::engine::lease(call, hop).await?;
    let Engine::Encoder(encoder) = engine else {
        return Err(wrong_kind(hop, "it writes text and gives no vectors"));
    };
    let embedding = encoder.embed(to_engine(&call.question));
    let embedded = tokio::select! {
        embedded = timeout_at(call.deadline, embedding) => embedded,
        () = end.come() => return Err(Attempt::Failed(super::engine::given_up())),
    };
    match embedded {
        Ok(Ok(embeddings)) => Ok(embeddings),
        Ok(Err(error)) => Err(refusal(&error, hop)),
        Err(_) => Err(Attempt::Failed(super::timed_out())),
    }
}

/// Another model of the route may well be of the right kind.
fn wrong_kind(hop: &Hop, reason: &str) -> Attempt {
    let text = format!("the model `{}` cannot embed: {reason}; name an embedding model", hop.model());
    Attempt::Failed(ApiError::invalid("model_does_not_embed", text).with_param("model"))
}

fn to_engine(request: &Request) -> EmbedRequest {
    let inputs = match &request.input {
        embeddings::Input::Texts(texts) => texts.iter().cloned().map(Input::Text).collect(),
        embeddings::Input::Tokens(texts) => texts.iter().cloned().map(Input::Tokens).collect(),
    };
    let overflow = match request.truncation {
        Truncation::Refuse => Overflow::Refuse,
        Truncation::ToModel => Overflow::Cut,
        Truncation::To(tokens) => Overflow::CutTo(tokens as usize),
    };
    EmbedRequest { inputs, overflow, dimensions: request.dimensions.map(|width| width as usize) }
}

fn refusal(error: &EncodeError, hop: &Hop) -> Attempt {
    let text = error.to_string();
    let invalid = |code, text, param| Attempt::Refused(ApiError::invalid(code, text).with_param(param));
    match error {
        EncodeError::Overloaded => Attempt::Failed(ApiError::unavailable("engine_overloaded", text)),
        EncodeError::Stopped => Attempt::Failed(ApiError::unavailable("engine_stopped", text)),
        EncodeError::Failed => Attempt::Failed(ApiError::unavailable(
            "engine_failed",
            "the model failed on this input; try again",
        )),
        EncodeError::DoesNotEmbed | EncodeError::DoesNotClassify => wrong_kind(hop, "it gives labels"),
        EncodeError::TooLong { .. } => {
            let hint = format!("{text}; shorten it, or send `truncate_prompt_tokens: -1` to have it cut");
            invalid("context_length_exceeded", hint, "input")
        }
        EncodeError::Dimensions { .. } => invalid("invalid_value", text, "dimensions"),
        EncodeError::CutTooShort { .. } => invalid("invalid_value", text, "truncate_prompt_tokens"),
        EncodeError::Count { .. }
        | EncodeError::Empty { .. }
        | EncodeError::UnknownToken { .. }
        | EncodeError::Text(_) => invalid("invalid_value", text, "input"),
    }
}
