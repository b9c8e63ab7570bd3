//! An answer of a model that this process serves itself.

use axum::http::HeaderMap;
use engine::{ConstraintError, Engine, Event, Events, FinishReason, SubmitError};
use policy::Hop;
use routing::Failure;
use wire::reply::{Begin, Delta, Finish, FinishReason as Wire, Open};
use wire::{Request, Usage};

use super::claim::claim;
use super::streaming::{Source, collected, streamed};
use super::{Conversation, to_engine};
use crate::error::ApiError;
use crate::pipeline::{Attempt, Back, Call};
use crate::record::Record;

/// Sends the call to the engine of `hop`'s model.
pub(crate) async fn attempt(call: Call<Request>, hop: &Hop, mut record: Record) -> (Attempt, Back<Request>) {
    let (events, conversation) = match submit(&call, hop, &mut record).await {
        Ok(submitted) => submitted,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    let mut source = Source::Engine(Box::new(EngineSource::new(events)));
    let seen = match source.begin(call.deadline).await {
        Ok(seen) => seen,
        Err(error) => return (Attempt::Failed(error), Some((call, record))),
    };
    let is_streamed = call.question.is_streamed();
    let holding = super::holding(call, hop, conversation, record);
    if is_streamed {
        return (Attempt::began(streamed(source, seen, holding, HeaderMap::new())), None);
    }
    // The record is closed in any case; nothing is left to fall back with.
    let collected = collected(source, seen, holding).await;
    (collected.map_or_else(Attempt::Refused, Attempt::began), None)
}

/// The engine of a model that writes text.
pub(crate) fn generator<'a, Q>(call: &'a Call<Q>, hop: &Hop) -> Result<&'a engine::Handle, Attempt> {
    match call.active.engine(hop.model()) {
        Some(Engine::Generator(generator)) => Ok(generator),
        Some(Engine::Encoder(_)) => Err(wrong_kind(hop)),
        None => Err(Attempt::Failed(ApiError::internal())),
    }
}

async fn submit(
    call: &Call<Request>,
    hop: &Hop,
    record: &mut Record,
) -> Result<(Events, Conversation), Attempt> {
    let generator = generator(call, hop)?;
    let (conversation, request, lost) = to_engine::asked(call).map_err(Attempt::Refused)?;
    super::must_survive(call, hop, &lost).map_err(Attempt::Failed)?;
    record.lost(&lost);
    let events = generator.submit_as(claim(call), request).await.map_err(|error| refusal(&error))?;
    Ok((events, conversation))
}

/// Another model of the route may well be of the right kind.
fn wrong_kind(hop: &Hop) -> Attempt {
    let text = format!(
        "the model `{}` cannot chat: it turns texts into vectors or labels; name another model, or send texts to /v1/embeddings",
        hop.model()
    );
    Attempt::Failed(ApiError::invalid("model_does_not_chat", text).with_param("model"))
}

/// Why the engine did not take a request, in the client's terms.
pub(crate) fn refusal(error: &SubmitError) -> Attempt {
    let text = error.to_string();
    let refused = |code, text, param| Attempt::Refused(ApiError::invalid(code, text).with_param(param));
    match error {
        SubmitError::Overloaded => Attempt::Failed(ApiError::unavailable("engine_overloaded", text)),
        SubmitError::TooLate { retry_after, .. } => {
            let error =
                ApiError::too_late("engine_too_slow", text).meaning(Failure::Pressed(Some(*retry_after)));
            Attempt::Failed(error.with_retry_after(retry_after.as_secs() + 1))
        }
        SubmitError::Stopped => Attempt::Failed(ApiError::unavailable("engine_stopped", text)),
        SubmitError::NeverFits { .. } => {
            let hint = format!("{text}; shorten the conversation or ask for fewer tokens");
            refused("context_length_exceeded", hint, "messages")
        }
        SubmitError::NothingAsked => refused("invalid_value", text, "max_tokens"),
        SubmitError::Sampling(wrong) => refused("invalid_value", text, wrong.setting),
        SubmitError::UnknownToken(_) | SubmitError::EmptyPrompt => refused("invalid_value", text, "messages"),
        SubmitError::Text(_) => refused("template_refused", text, "messages"),
        SubmitError::Constraint(wrong) => match wrong {
            ConstraintError::NoTools | ConstraintError::UnknownTool(_) | ConstraintError::NoToolForm => {
                refused("invalid_value", text, "tool_choice")
            }
            ConstraintError::Invalid { what, .. } | ConstraintError::TooLarge { what, .. }
                if what.contains("tool") =>
            {
                refused("invalid_value", text, "tools")
            }
            _ => refused("invalid_value", text, "response_format"),
        },
    }
}

/// The engine's events as deltas.
pub(super) struct EngineSource {
    events: Events,
    has_begun: bool,
    open: Option<Words>,
}

/// The kinds of blocks that are words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Text,
    Reasoning,
}

impl EngineSource {
    fn new(events: Events) -> Self {
        Self { events, has_begun: false, open: None }
    }

    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ApiError> {
        let event = self.events.next().await;
        if !self.has_begun {
            self.has_begun = true;
            let usage = Some(Usage::of(self.events.prompt_tokens() as u64, 0));
            deltas.push(Delta::Begin(Begin { id: None, usage }));
        }
        match event {
            Some(Event::Text(text)) => self.words(Words::Text, text, deltas),
            Some(Event::Reasoning(text)) => self.words(Words::Reasoning, text, deltas),
            Some(Event::ToolCallBegin { name }) => {
                self.close(deltas);
                let id = format!("call_{}", uuid::Uuid::now_v7().simple());
                deltas.push(Delta::Open(Open::ToolCall { id, name }));
            }
            Some(Event::ToolArguments(more)) => deltas.push(Delta::Append(more)),
            Some(Event::ToolCallEnd) => deltas.push(Delta::Close),
            Some(Event::Finished { reason, matched_stop, usage }) => {
                self.close(deltas);
                deltas
                    .push(Delta::Finish(Finish { reason: wire_reason(reason), stop_sequence: matched_stop }));
                deltas.push(Delta::Usage(wire_usage(usage)));
                deltas.push(Delta::End);
            }
            Some(Event::Failed) | None => {
                let message = "the model failed while it answered; try again";
                return Err(ApiError::unavailable("engine_failed", message));
            }
        }
        Ok(())
    }

    fn words(&mut self, kind: Words, text: String, deltas: &mut Vec<Delta>) {
        if self.open != Some(kind) {
            self.close(deltas);
            self.open = Some(kind);
            deltas.push(Delta::Open(if kind == Words::Text { Open::Text } else { Open::Reasoning }));
        }
        deltas.push(Delta::Append(text));
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) {
        if self.open.take().is_some() {
            deltas.push(Delta::Close);
        }
    }
}

fn wire_usage(usage: engine::Usage) -> Usage {
    let engine::Usage { prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens } = usage;
    let (reasoning_tokens, cached_tokens) = (Some(reasoning_tokens as u64), Some(cached_tokens as u64));
    Usage { reasoning_tokens, cached_tokens, ..Usage::of(prompt_tokens as u64, completion_tokens as u64) }
}

fn wire_reason(reason: FinishReason) -> Wire {
    match reason {
        FinishReason::Stop => Wire::Stop,
        FinishReason::Length => Wire::Length,
        FinishReason::ToolCalls => Wire::ToolCalls,
    }
}
