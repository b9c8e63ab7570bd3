//! A provider's streamed chat completion as deltas.
//!
//! The dialect lets tool calls interleave, numbers them and sends name and id once; some servers number nothing, send
//! content as a list, or think in a field of their own. All of it becomes one block after the other.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::slots::{Fragment, Slots};
use crate::openai::error::ErrorBody;
use crate::openai::usage::read_usage;
use crate::reply::{Begin, Delta, EventReader, Finish, FinishReason, Open, Unreadable};
use crate::sse::Event;

/// Reads the events of one streamed chat completion; of several choices, the first.
#[derive(Debug, Default)]
pub struct Reader {
    id: Option<String>,
    has_begun: bool,
    open: Option<Words>,
    slots: Slots,
    has_finished: bool,
    is_usage_alone: bool,
}

/// The kinds of blocks that are words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Text,
    Reasoning,
    Refusal,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    delta: Option<ChoiceDelta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ChoiceDelta<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Fragment<'a>>>,
    #[serde(borrow, default)]
    function_call: Option<super::slots::Called<'a>>,
}

/// A part of content that came as a list.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    thinking: Option<Vec<Part<'a>>>,
}

impl EventReader for Reader {
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        self.is_usage_alone = false;
        let data = event.data().trim_ascii();
        // The whole field is compared: a model may well write `[DONE]` in its text.
        if data == "[DONE]" {
            return self.done(deltas);
        }
        let chunk: Chunk<'_> =
            serde_json::from_str(data).map_err(|_| Unreadable::Malformed("a chunk is not one"))?;
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            let fault = ErrorBody::of_member(error).map(|error| error.to_fault(None));
            return Err(fault.map_or(Unreadable::Malformed("an error is not one"), Unreadable::Fault));
        }
        let usage = chunk.usage.and_then(read_usage);
        let choices = chunk.choices.unwrap_or_default();
        self.is_usage_alone = usage.is_some() && choices.is_empty();
        self.begin(chunk.id, deltas);
        for choice in choices.into_iter().filter(|choice| choice.index == 0) {
            self.choice(choice, deltas)?;
        }
        deltas.extend(usage.map(Delta::Usage));
        Ok(())
    }
}

impl Reader {
    /// Creates a reader of a stream that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether the last event held usage and nothing else, which a caller who did not ask must not see.
    pub fn is_usage_alone(&self) -> bool {
        self.is_usage_alone
    }

    fn begin(&mut self, id: Option<Cow<'_, str>>, deltas: &mut Vec<Delta>) {
        if !self.has_begun {
            self.has_begun = true;
            self.id = id.map(Cow::into_owned).filter(|id| !id.is_empty());
            deltas.push(Delta::Begin(Begin { id: self.id.clone(), usage: None }));
        }
    }

    fn choice(&mut self, choice: Choice<'_>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if self.has_finished {
            return Ok(());
        }
        if let Some(delta) = choice.delta {
            self.delta(delta, deltas)?;
        }
        let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) else { return Ok(()) };
        self.close_words(deltas);
        self.slots.finish(deltas);
        self.has_finished = true;
        let mut reason = finish_reason(&reason);
        if self.slots.has_calls() {
            reason = reason.with_tool_calls();
        }
        deltas.push(Delta::Finish(Finish::from(reason)));
        Ok(())
    }

    fn delta(&mut self, delta: ChoiceDelta<'_>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if let Some(thought) = delta.reasoning_content.or_else(|| delta.reasoning.and_then(text)) {
            self.words(Words::Reasoning, &thought, deltas);
        }
        if let Some(content) = delta.content {
            self.content(content, deltas)?;
        }
        if let Some(refusal) = delta.refusal {
            self.words(Words::Refusal, &refusal, deltas);
        }
        // The retired form has one call and no number.
        let retired = delta.function_call.map(Fragment::of_function_call);
        for fragment in delta.tool_calls.unwrap_or_default().into_iter().chain(retired) {
            self.close_words(deltas);
            self.slots.take(fragment, self.id.as_deref(), deltas);
        }
        Ok(())
    }

    fn content(&mut self, content: &RawValue, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if let Some(text) = text(content) {
            self.words(Words::Text, &text, deltas);
            return Ok(());
        }
        if content.get() == "null" {
            return Ok(());
        }
        let parts: Vec<Part<'_>> = serde_json::from_str(content.get())
            .map_err(|_| Unreadable::Malformed("content is neither text nor a list of parts"))?;
        for part in parts {
            for thought in part.thinking.unwrap_or_default() {
                self.words(Words::Reasoning, &thought.text.unwrap_or_default(), deltas);
            }
            self.words(Words::Text, &part.text.unwrap_or_default(), deltas);
        }
        Ok(())
    }

    fn words(&mut self, kind: Words, words: &str, deltas: &mut Vec<Delta>) {
        if words.is_empty() {
            return;
        }
        if self.open != Some(kind) {
            self.close_words(deltas);
            // Text after a call: the call has had its say.
            self.slots.finish(deltas);
            deltas.push(Delta::Open(match kind {
                Words::Text => Open::Text,
                Words::Reasoning => Open::Reasoning,
                Words::Refusal => Open::Refusal,
            }));
            self.open = Some(kind);
        }
        deltas.push(Delta::Append(words.to_owned()));
    }

    fn close_words(&mut self, deltas: &mut Vec<Delta>) {
        if self.open.take().is_some() {
            deltas.push(Delta::Close);
        }
    }

    fn done(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if !self.has_begun {
            return Err(Unreadable::Malformed("it ends before it begins"));
        }
        if !self.has_finished {
            // Some servers forget the reason; the end itself was said.
            self.close_words(deltas);
            self.slots.finish(deltas);
            let reason = if self.slots.has_calls() { FinishReason::ToolCalls } else { FinishReason::Other };
            self.has_finished = true;
            deltas.push(Delta::Finish(reason.into()));
        }
        deltas.push(Delta::End);
        Ok(())
    }
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    // Borrows where nothing is escaped, which `Cow` alone would not.
    #[derive(Deserialize)]
    struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
    raw.get()
        .starts_with('"')
        .then(|| serde_json::from_str::<Borrowed<'_>>(raw.get()).ok())?
        .map(|text| text.0)
}

/// Upstreams invent words, and everybody else needs a closed set.
pub(in crate::openai) fn finish_reason(word: &str) -> FinishReason {
    match word {
        "stop" => FinishReason::Stop,
        "length" | "model_length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}
