//! A provider's streamed chat completion as deltas.
//!
//! The dialect lets tool calls interleave, numbers them and sends name and id once; some servers number nothing, send
//! content as a list, or think in a field of their own. All of it becomes one block after the other.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::slots::{Called, Fragment, Slots};
use crate::json::Text;
use crate::openai::chunk::Chunk;
use crate::openai::stage::Stage;
use crate::openai::usage::read_usage;
use crate::reply::{Begin, Delta, EventReader, Finish, FinishReason, Open, Unreadable};
use crate::sse::Event;

/// Reads the events of one streamed chat completion; of several choices, the first.
#[derive(Debug, Default)]
pub struct Reader {
    id: Option<String>,
    stage: Stage,
    open: Option<Words>,
    slots: Slots,
    /// Words that came while a call was not whole.
    late: Vec<(Words, String)>,
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
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    /// The message of an answer that is not streamed has the same members.
    #[serde(borrow, default, alias = "message")]
    delta: Option<ChoiceDelta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ChoiceDelta<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Fragment<'a>>>,
    #[serde(borrow, default)]
    function_call: Option<Called<'a>>,
}

/// A part of content that came as a list.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Vec<Part<'a>>>,
}

impl EventReader for Reader {
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        self.is_usage_alone = false;
        if self.stage == Stage::Ended {
            return Ok(());
        }
        let data = event.data().trim_ascii();
        // The whole field is compared: a model may well write `[DONE]` in its text.
        if data == "[DONE]" {
            return self.done(deltas);
        }
        let chunk = Chunk::<Choice<'_>>::read(data.as_bytes())?;
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

/// Reads an answer that is not streamed, of several choices the first, as what its stream would have been.
pub(super) fn read_whole(body: &[u8]) -> Result<Vec<Delta>, Unreadable> {
    let chunk = Chunk::<Choice<'_>>::read(body)?;
    let choice = chunk.choices.into_iter().flatten().min_by_key(|choice| choice.index);
    let mut choice = choice.ok_or(Unreadable::Malformed("it has no choice"))?;
    let message = choice.delta.as_mut().ok_or(Unreadable::Malformed("it has no message"))?;
    // Some servers number nothing, and here each call is whole.
    let calls = message.tool_calls.take().unwrap_or_default().into_iter().enumerate();
    message.tool_calls = Some(calls.map(|(index, call)| call.numbered(index)).collect());
    let (mut reader, mut deltas) = (Reader::new(), Vec::new());
    reader.begin(chunk.id, &mut deltas);
    reader.choice(choice, &mut deltas)?;
    deltas.extend(chunk.usage.and_then(read_usage).map(Delta::Usage));
    reader.done(&mut deltas)?;
    Ok(deltas)
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

    fn begin(&mut self, id: Option<Text<'_>>, deltas: &mut Vec<Delta>) {
        if self.stage == Stage::Silent {
            self.stage = Stage::Begun;
            self.id = id.map(Text::into_owned).filter(|id| !id.is_empty());
            deltas.push(Delta::Begin(Begin { id: self.id.clone(), usage: None }));
        }
    }

    fn choice(&mut self, choice: Choice<'_>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if self.stage >= Stage::Finished {
            return Ok(());
        }
        if let Some(delta) = choice.delta {
            self.delta(delta, deltas)?;
        }
        let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) else { return Ok(()) };
        self.finish_blocks(deltas);
        self.stage = Stage::Finished;
        let mut reason = finish_reason(&reason);
        if self.slots.has_calls() {
            reason = reason.with_tool_calls();
        }
        deltas.push(Delta::Finish(Finish::from(reason)));
        Ok(())
    }

    fn delta(&mut self, delta: ChoiceDelta<'_>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        // Some servers send the same thoughts under both names.
        let thought = delta.reasoning_content.filter(|thought| !thought.is_empty());
        if let Some(thought) = thought.or_else(|| delta.reasoning.and_then(Text::of)) {
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
        if let Some(text) = Text::of(content) {
            self.words(Words::Text, &text, deltas);
            return Ok(());
        }
        if content.get() == "null" {
            return Ok(());
        }
        let parts: Vec<Part<'_>> = serde_json::from_str(content.get())
            .map_err(|_| Unreadable::Malformed("content is neither text nor a list of parts"))?;
        for part in parts {
            for thought in part.thinking.into_iter().flatten().filter_map(|part| part.text) {
                self.words(Words::Reasoning, &thought, deltas);
            }
            if let Some(text) = part.text {
                self.words(Words::Text, &text, deltas);
            }
        }
        Ok(())
    }

    fn words(&mut self, kind: Words, words: &str, deltas: &mut Vec<Delta>) {
        if words.is_empty() {
            return;
        }
        // A call that is closed too early would run with half of its arguments.
        if self.slots.is_busy() {
            match self.late.last_mut() {
                Some((last, text)) if *last == kind => text.push_str(words),
                _ => self.late.push((kind, words.to_owned())),
            }
            return;
        }
        if self.open != Some(kind) {
            self.finish_blocks(deltas);
        }
        self.say(kind, words.to_owned(), deltas);
    }

    fn say(&mut self, kind: Words, words: String, deltas: &mut Vec<Delta>) {
        if self.open != Some(kind) {
            self.close_words(deltas);
            deltas.push(Delta::Open(match kind {
                Words::Text => Open::Text,
                Words::Reasoning => Open::Reasoning,
                Words::Refusal => Open::Refusal,
            }));
            self.open = Some(kind);
        }
        deltas.push(Delta::Append(words));
    }

    fn close_words(&mut self, deltas: &mut Vec<Delta>) {
        if self.open.take().is_some() {
            deltas.push(Delta::Close);
        }
    }

    /// Closes whatever is open, and says what waited for that.
    fn finish_blocks(&mut self, deltas: &mut Vec<Delta>) {
        self.close_words(deltas);
        self.slots.finish(deltas);
        for (kind, words) in std::mem::take(&mut self.late) {
            self.say(kind, words, deltas);
        }
        self.close_words(deltas);
    }

    fn done(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if self.stage == Stage::Silent {
            return Err(Unreadable::Malformed("it ends before it begins"));
        }
        if self.stage < Stage::Finished {
            // Some servers forget the reason; the end itself was said.
            self.finish_blocks(deltas);
            let reason = if self.slots.has_calls() { FinishReason::ToolCalls } else { FinishReason::Other };
            self.stage = Stage::Finished;
            deltas.push(Delta::Finish(reason.into()));
        }
        self.stage = Stage::Ended;
        deltas.push(Delta::End);
        Ok(())
    }
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
