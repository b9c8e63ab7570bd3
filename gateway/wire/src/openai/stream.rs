//! What a pass-through learns from an upstream's answer without changing it.
//!
//! Tolerant on purpose: whatever cannot be read is passed on and teaches nothing. Only one kind of
//! event is ever held back, the usage chunk that the gateway asked for and the caller did not.

use serde_json::value::RawValue;

use super::chat::UsageChunk;
use super::error::ErrorBody;
use super::usage::read_usage;
use crate::Usage;
use crate::json::read::{self, Object};
use crate::sse::Event;

/// Watches the events of one streamed chat completion.
#[derive(Debug)]
pub struct Observer {
    usage_chunk: UsageChunk,
    summary: Summary,
    is_done: bool,
}

/// What an upstream said about its answer as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The tokens it counted; the last report counts, because reports are cumulative.
    pub usage: Option<Usage>,
    /// Why it ended: one of the API's reasons, or `other` for a word of the upstream's own.
    pub finish_reason: Option<&'static str>,
    /// The error it reported inside an answer that had status 200.
    pub error: Option<ErrorBody>,
}

/// What one event means for the pass-through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Whether it goes on to the caller.
    pub verdict: Verdict,
    /// What it carries.
    pub carries: Carries,
}

/// Whether an event goes on to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does, byte for byte.
    Pass,
    /// It does not: it holds only the usage that the caller did not ask for.
    Hide,
}

/// What an event carries, for the time to the first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Text, reasoning or a part of a tool call.
    Output,
    /// Anything else: roles, ends, usage, errors.
    Nothing,
}

impl Observer {
    /// Starts to watch a stream whose caller wants the usage chunk or not.
    pub fn new(usage_chunk: UsageChunk) -> Self {
        Self { usage_chunk, summary: Summary::default(), is_done: false }
    }

    /// Learns from the next event and says what to do with it.
    pub fn observe(&mut self, event: &Event) -> Observed {
        // The whole field is compared: a model may well write `[DONE]` in its text.
        if event.data().trim_ascii() == "[DONE]" {
            self.is_done = true;
            return Observed { verdict: Verdict::Pass, carries: Carries::Nothing };
        }
        let seen = Seen::read(event.data().as_bytes());
        let hide = seen.is_usage_alone() && self.usage_chunk == UsageChunk::Unwanted;
        let carries = if seen.has_output { Carries::Output } else { Carries::Nothing };
        self.summary.update(seen);
        Observed { verdict: if hide { Verdict::Hide } else { Verdict::Pass }, carries }
    }

    /// Returns what the upstream has said so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Returns whether `[DONE]` has come; a stream that ends before was cut.
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

impl Summary {
    /// Reads an answer that was not streamed.
    pub fn of_body(body: &[u8]) -> Self {
        let mut summary = Self::default();
        summary.update(Seen::read(body));
        summary
    }

    fn update(&mut self, seen: Seen) {
        self.usage = seen.usage.or(self.usage);
        self.finish_reason = seen.finish_reason.or(self.finish_reason);
        // The first error is the cause; later ones are its echo.
        self.error = self.error.take().or(seen.error);
    }
}

/// What one JSON document of the upstream says.
#[derive(Default)]
struct Seen {
    has_choices: bool,
    has_output: bool,
    usage: Option<Usage>,
    finish_reason: Option<&'static str>,
    error: Option<ErrorBody>,
}

impl Seen {
    fn read(document: &[u8]) -> Self {
        let Ok(top) = Object::read_document(document) else { return Self::default() };
        let mut seen = Self {
            usage: top.written("usage").and_then(read_usage),
            error: ErrorBody::of_document(&top),
            ..Self::default()
        };
        let choices = top.optional("choices", |raw| read::each(raw, Object::read));
        for choice in choices.ok().flatten().unwrap_or_default() {
            seen.has_choices = true;
            seen.has_output |= choice.written("delta").is_some_and(has_output);
            let reason = choice.optional("finish_reason", read::string).ok().flatten();
            seen.finish_reason = reason.map(|reason| closed(&reason)).or(seen.finish_reason);
        }
        seen
    }

    fn is_usage_alone(&self) -> bool {
        self.usage.is_some() && !self.has_choices && self.error.is_none()
    }
}

fn has_output(delta: &RawValue) -> bool {
    // `reasoning_content` and `reasoning` are names that open servers chose; the API has neither.
    const OUTPUT: [&str; 6] =
        ["content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call"];
    let Ok(delta) = Object::read(delta) else { return false };
    OUTPUT
        .iter()
        .filter_map(|name| delta.written(name))
        .any(|raw| !matches!(raw.get(), "null" | "\"\"" | "[]"))
}

/// Upstreams invent words, and records and metrics need a closed set.
fn closed(reason: &str) -> &'static str {
    ["stop", "length", "tool_calls", "content_filter", "function_call"]
        .into_iter()
        .find(|known| *known == reason)
        .unwrap_or("other")
}
