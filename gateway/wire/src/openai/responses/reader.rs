//! Reads the stream of a provider.
//!
//! Text is taken from deltas; where none came, from the event that says a part or item is done, and where no item
//! came, from the answer that the last event repeats. Items of hosted tools say nothing.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::{fault_of, read_fault};
use super::incoming::{Block, Response, read_begun_call, read_item};
use super::lanes::{Key, Lane, Lanes};
use crate::openai::error::{ErrorBody, SERVER};
use crate::reply::{Begin, Delta, EventReader, Fault, FinishReason, Unreadable};
use crate::sse::Event;

/// Reads one answer.
#[derive(Default)]
pub struct Reader {
    lanes: Lanes,
    reasoning: Option<ReasoningPart>,
    has_begun: bool,
    has_ended: bool,
}

/// Where the reasoning that is being read comes from: an item has a summary, its words, or both.
#[derive(Clone, Copy, PartialEq)]
struct ReasoningPart {
    item: usize,
    is_summary: bool,
    index: u32,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Fragment<'a> {
    #[serde(default)]
    output_index: usize,
    #[serde(default, deserialize_with = "index")]
    content_index: u32,
    #[serde(default, deserialize_with = "index")]
    summary_index: u32,
    #[serde(borrow)]
    delta: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(default)]
    output_index: usize,
    #[serde(default, deserialize_with = "index")]
    content_index: u32,
    #[serde(borrow, alias = "refusal", alias = "arguments", alias = "input")]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ItemEvent<'a> {
    #[serde(default)]
    output_index: usize,
    #[serde(borrow)]
    item: &'a RawValue,
}

#[derive(Deserialize)]
struct Lifecycle<'a> {
    #[serde(borrow)]
    response: Response<'a>,
}

/// The event `error` in its flat form.
#[derive(Deserialize)]
struct FlatError {
    message: String,
    code: Option<String>,
    param: Option<String>,
}

impl Reader {
    /// Creates the reader of one stream.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, id: Option<String>, deltas: &mut Vec<Delta>) {
        if !self.has_begun {
            self.has_begun = true;
            deltas.push(Delta::Begin(Begin { id, usage: None }));
        }
    }

    fn fragment(&mut self, kind: &str, data: &str) -> Result<(), Unreadable> {
        let fragment: Fragment<'_> = parse(data, "a delta is malformed")?;
        let part = (fragment.output_index, fragment.content_index);
        let whole = (fragment.output_index, 0);
        match kind {
            "response.output_text.delta" => self.lanes.append(part, &Lane::Text, &fragment.delta),
            "response.refusal.delta" => self.lanes.append(part, &Lane::Refusal, &fragment.delta),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.lanes.append(whole, &nameless(), &fragment.delta)
            }
            "response.reasoning_summary_text.delta" => self.reasoning(&fragment, true),
            "response.reasoning_text.delta" => self.reasoning(&fragment, false),
            _ => Ok(()),
        }
    }

    fn reasoning(&mut self, fragment: &Fragment<'_>, is_summary: bool) -> Result<(), Unreadable> {
        let index = if is_summary { fragment.summary_index } else { fragment.content_index };
        let part = ReasoningPart { item: fragment.output_index, is_summary, index };
        let key = (part.item, 0);
        match self.reasoning {
            // The other form of what is being read says the same again.
            Some(before) if before.item == part.item && before.is_summary != is_summary => return Ok(()),
            Some(before) if before.item == part.item && before.index != index && is_summary => {
                self.lanes.append(key, &Lane::Reasoning, "\n\n")?;
            }
            _ => {}
        }
        self.reasoning = Some(part);
        self.lanes.append(key, &Lane::Reasoning, &fragment.delta)
    }

    fn done(&mut self, kind: &str, data: &str) -> Result<(), Unreadable> {
        let done: Whole<'_> = parse(data, "the end of a part is malformed")?;
        let (key, lane): (Key, Lane) = match kind {
            "response.output_text.done" => ((done.output_index, done.content_index), Lane::Text),
            "response.refusal.done" => ((done.output_index, done.content_index), Lane::Refusal),
            // A call is complete with its item: only that surely says which tool it is for.
            _ => return self.lanes.settle((done.output_index, 0), &nameless(), &done.text),
        };
        self.lanes.settle(key, &lane, &done.text)?;
        self.lanes.complete(key);
        Ok(())
    }

    fn item_begun(&mut self, data: &str) -> Result<(), Unreadable> {
        let event: ItemEvent<'_> = parse(data, "the beginning of an item is malformed")?;
        match read_begun_call(event.item) {
            Some((id, name)) => self.lanes.begin((event.output_index, 0), Lane::ToolCall { id, name }),
            None => Ok(()),
        }
    }

    fn item_done(&mut self, index: usize, item: &RawValue) -> Result<(), Unreadable> {
        for (part, block) in (0..).zip(read_item(item)?) {
            let key = (index, part);
            match block {
                Block::Text(text) => self.lanes.settle(key, &Lane::Text, &text)?,
                Block::Refusal(text) => self.lanes.settle(key, &Lane::Refusal, &text)?,
                Block::Reasoning { text, seal } => {
                    self.lanes.settle(key, &Lane::Reasoning, &text)?;
                    if let Some(seal) = seal {
                        self.lanes.seal(key, &Lane::Reasoning, seal)?;
                    }
                }
                Block::ToolCall { id, name, arguments } => {
                    let lane = Lane::ToolCall { id, name };
                    self.lanes.begin(key, lane.clone())?;
                    self.lanes.settle(key, &lane, &arguments)?;
                }
            }
        }
        self.lanes.complete_item(index);
        Ok(())
    }

    fn ended(&mut self, data: &str, is_complete: bool, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        let Lifecycle { response } = parse(data, "the end of the answer is malformed")?;
        if self.lanes.are_unused() {
            for (index, item) in response.output.iter().flatten().enumerate() {
                self.item_done(index, item)?;
            }
        }
        self.lanes.complete_all();
        self.lanes.drain(deltas);
        let reason = response.finish(self.lanes.have_tool_calls());
        // The event is the better witness, should the object contradict it.
        let is_contradicted = !is_complete && matches!(reason, FinishReason::Stop | FinishReason::ToolCalls);
        let reason = if is_contradicted { FinishReason::Other } else { reason };
        deltas.push(Delta::Finish(reason.into()));
        deltas.extend(response.usage().map(Delta::Usage));
        deltas.push(Delta::End);
        self.has_ended = true;
        Ok(())
    }
}

impl EventReader for Reader {
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        let data = event.data();
        // Some servers end every stream alike, and after its own end a stream has nothing to say.
        if self.has_ended || data.trim_ascii() == "[DONE]" {
            return Ok(());
        }
        let head: Head<'_> = parse(data, "an event is not a JSON object")?;
        let kind = if head.kind.is_empty() { event.name().unwrap_or_default() } else { head.kind.as_ref() };
        match kind {
            "error" | "" => {
                // An object without type is an error or nothing.
                return error(data).map_or(Ok(()), |fault| Err(Unreadable::Fault(fault)));
            }
            "response.failed" | "response.cancelled" => {
                let Lifecycle { response } = parse(data, "the end of the answer is malformed")?;
                return Err(Unreadable::Fault(response.fault_or_unknown()));
            }
            "response.created" | "response.queued" | "response.in_progress" => {
                let Lifecycle { response } = parse(data, "the beginning of the answer is malformed")?;
                self.begin(response.id.map(Cow::into_owned), deltas);
                return Ok(());
            }
            _ => self.begin(None, deltas),
        }
        match kind {
            "response.output_item.added" => self.item_begun(data)?,
            "response.output_item.done" => {
                let event: ItemEvent<'_> = parse(data, "the end of an item is malformed")?;
                self.item_done(event.output_index, event.item)?;
            }
            "response.output_text.done"
            | "response.refusal.done"
            | "response.function_call_arguments.done"
            | "response.custom_tool_call_input.done" => self.done(kind, data)?,
            "response.completed" => return self.ended(data, true, deltas),
            "response.incomplete" => return self.ended(data, false, deltas),
            "keepalive" => deltas.push(Delta::Ping),
            "response.output_text.delta"
            | "response.refusal.delta"
            | "response.function_call_arguments.delta"
            | "response.custom_tool_call_input.delta"
            | "response.reasoning_summary_text.delta"
            | "response.reasoning_text.delta" => self.fragment(kind, data)?,
            _ => {}
        }
        self.lanes.drain(deltas);
        Ok(())
    }
}

/// Reads a place inside an item; servers of open models have been seen to count from -1.
fn index<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    i64::deserialize(deserializer).map(|index| u32::try_from(index).unwrap_or(0))
}

fn nameless() -> Lane {
    Lane::ToolCall { id: String::new(), name: String::new() }
}

fn error(data: &str) -> Option<Fault> {
    read_fault(data.as_bytes()).or_else(|| {
        let FlatError { message, code, param } = serde_json::from_str(data).ok()?;
        Some(fault_of(&ErrorBody { message, kind: SERVER.into(), param, code: code.map(Cow::Owned) }))
    })
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str, reason: &'static str) -> Result<T, Unreadable> {
    serde_json::from_str(data).map_err(|_| Unreadable::Malformed(reason))
}
