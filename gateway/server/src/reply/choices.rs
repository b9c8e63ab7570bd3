//! The engine's events as deltas: the choices of one answer side by side, each as it comes.
//!
//! A completion's echo is written here, as the first words of its choice: to everybody behind, it is text like any other.

use std::future::poll_fn;
use std::task::{Context, Poll};

use engine::{Event, Events, FinishReason};
use wire::Usage;
use wire::reply::{self, Begin, Delta, Finish, FinishReason as Wire, Open};

use super::engine::given_up;
use crate::error::ApiError;
use crate::fleet::LeaseEnd;

/// The choices of an answer.
pub(super) struct EngineSource {
    choices: Vec<Choice>,
    has_begun: bool,
    /// The choice that the last delta was of.
    current: usize,
    /// Comes if the engine is given up, which may be because its thread never comes back.
    end: LeaseEnd,
    /// How many follow each other for each prompt, whose tokens the first of them is counted for.
    per_prompt: usize,
    /// What the choices that have ended took.
    usage: Usage,
}

/// One of them.
pub(super) struct Choice {
    events: Events,
    /// The prompt, until it is repeated.
    echo: Option<String>,
    open: Option<Words>,
    has_ended: bool,
}

/// The kinds of blocks that are words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Text,
    Reasoning,
}

impl EngineSource {
    /// Of `choices`, of which `per_prompt` follow each other for each prompt.
    pub(super) fn new(choices: Vec<Choice>, per_prompt: usize, end: LeaseEnd) -> Self {
        // The prompt's tokens are counted once, however many choices continue it.
        let per_prompt = per_prompt.max(1);
        let prompts = choices.iter().step_by(per_prompt);
        let prompt_tokens: usize = prompts.map(|choice| choice.events.prompt_tokens()).sum();
        let usage = Usage::of(prompt_tokens as u64, 0);
        Self { choices, end, per_prompt, has_begun: false, current: 0, usage }
    }

    /// Waits for the next event of any choice. Cancel safe.
    pub(super) async fn next(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ApiError> {
        let (index, event) = tokio::select! {
            biased;
            next = poll_fn(|context| poll(&mut self.choices, self.current, context)) => next,
            () = self.end.come() => return Err(given_up()),
        };
        if !self.has_begun {
            self.has_begun = true;
            deltas.push(Delta::Begin(Begin { id: None, usage: Some(self.usage) }));
        }
        if index != self.current {
            self.current = index;
            deltas.push(Delta::Choice(index as u32));
        }
        let usage = self.choices[index].take(event, deltas)?;
        if let Some(usage) = usage {
            self.usage.completion_tokens += usage.completion_tokens as u64;
            let thought = self.usage.reasoning_tokens.unwrap_or(0) + usage.reasoning_tokens as u64;
            self.usage.reasoning_tokens = Some(thought);
            if index.is_multiple_of(self.per_prompt) {
                let cached = self.usage.cached_tokens.unwrap_or(0) + usage.cached_tokens as u64;
                self.usage.cached_tokens = Some(cached);
            }
            if self.choices.iter().all(|choice| choice.has_ended) {
                deltas.extend([Delta::Usage(self.usage), Delta::End]);
            }
        }
        Ok(())
    }
}

/// The next event of any choice that has not ended, beginning with the one after the last: none waits for another.
fn poll(choices: &mut [Choice], current: usize, context: &mut Context<'_>) -> Poll<(usize, Option<Event>)> {
    let count = choices.len();
    for index in (1..=count).map(|step| (current + step) % count) {
        let choice = &mut choices[index];
        if choice.has_ended {
            continue;
        }
        if let Poll::Ready(event) = choice.events.poll_next(context) {
            return Poll::Ready((index, event));
        }
    }
    Poll::Pending
}

impl Choice {
    /// A choice that repeats `echo` before its own words.
    pub(super) fn new(events: Events, echo: Option<String>) -> Self {
        Self { events, echo, open: None, has_ended: false }
    }

    /// Says what an event says; at the end, returns what the choice took.
    fn take(
        &mut self,
        event: Option<Event>,
        deltas: &mut Vec<Delta>,
    ) -> Result<Option<engine::Usage>, ApiError> {
        if let Some(Event::Prompt(prompt)) = event {
            deltas.push(Delta::Prompt(prompt.into_iter().map(wire_token).collect()));
            return Ok(None);
        }
        if let Some(echo) = self.echo.take().filter(|echo| !echo.is_empty()) {
            self.words(Words::Text, echo, deltas);
        }
        match event {
            Some(Event::Text(text)) => self.words(Words::Text, text, deltas),
            Some(Event::Reasoning(text)) => self.words(Words::Reasoning, text, deltas),
            Some(Event::Token(token)) => deltas.push(Delta::Token(wire_token(token))),
            Some(Event::ToolCallBegin { name }) => {
                self.close(deltas);
                let id = format!("call_{}", uuid::Uuid::now_v7().simple());
                deltas.push(Delta::Open(Open::ToolCall { id, name }));
            }
            Some(Event::ToolArguments(more)) => deltas.push(Delta::Append(more)),
            Some(Event::ToolCallEnd) => deltas.push(Delta::Close),
            Some(Event::Finished { reason, matched_stop, usage }) => {
                self.has_ended = true;
                self.close(deltas);
                deltas
                    .push(Delta::Finish(Finish { reason: wire_reason(reason), stop_sequence: matched_stop }));
                return Ok(Some(usage));
            }
            Some(Event::Failed | Event::Prompt(_)) | None => {
                let message = "the model failed while it answered; try again";
                return Err(ApiError::unavailable("engine_failed", message));
            }
        }
        Ok(None)
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

fn wire_token(token: engine::Token) -> reply::Token {
    let engine::Token { id, bytes, logprob, alternatives } = token;
    let alternative = |alternative: engine::Alternative| {
        let engine::Alternative { id, bytes, logprob } = alternative;
        reply::Alternative { id, bytes, logprob }
    };
    reply::Token { id, bytes, logprob, alternatives: alternatives.into_iter().map(alternative).collect() }
}

fn wire_reason(reason: FinishReason) -> Wire {
    match reason {
        FinishReason::Stop => Wire::Stop,
        FinishReason::Length => Wire::Length,
        FinishReason::ToolCalls => Wire::ToolCalls,
    }
}
