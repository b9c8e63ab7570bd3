//! The blocks of a stream, put in order.
//!
//! The API gives its blocks one after the other. Servers that imitate it do not always: blocks overlap, have no
//! beginning, or change their kind. Whatever comes, what goes out is one block after the other, each of one kind.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::reply::{Delta, Open, Unreadable};

/// Most bytes of blocks that came too early, before the stream is given up.
const HELD_BYTES_MAX: usize = 4 << 20;

/// The blocks that have begun and not been closed.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// In the order of their beginnings; only what the first one says goes out at once.
    open: VecDeque<Block>,
    /// The numbers of blocks that are no part of an answer.
    passed: Vec<u64>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Block {
    index: u64,
    kind: Kind,
    /// What it said while another block was open.
    held: Vec<Delta>,
    is_stopped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Redacted,
    /// A tool's call, and its arguments if the beginning held them all.
    ToolCall(Option<String>),
    /// One that is no part of an answer.
    Passed,
}

/// How a block begins.
#[derive(Debug)]
pub(super) struct Start {
    kind: Kind,
    deltas: Vec<Delta>,
}

#[derive(Deserialize)]
struct Beginning<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct More<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    partial_json: Option<String>,
    #[serde(default)]
    signature: Option<String>,
}

impl Start {
    /// Reads `content_block`.
    pub(super) fn read(raw: &RawValue) -> Result<Self, Unreadable> {
        let block: Beginning<'_> = serde_json::from_str(raw.get())
            .map_err(|_| Unreadable::Malformed("a block lacks a member or has one of the wrong type"))?;
        let mut deltas = Vec::new();
        let mut begin = |open: Open, text: Option<String>| {
            deltas.push(Delta::Open(open));
            deltas.extend(append(text));
        };
        let kind = match &*block.kind {
            "text" => {
                begin(Open::Text, block.text);
                Kind::Text
            }
            "thinking" => {
                begin(Open::Reasoning, block.thinking);
                deltas.extend(seal(block.signature));
                Kind::Reasoning
            }
            "redacted_thinking" => {
                begin(Open::RedactedReasoning, None);
                deltas.extend(seal(block.data));
                Kind::Redacted
            }
            "tool_use" => {
                let (Some(id), Some(name)) = (block.id.filter(|id| !id.is_empty()), block.name) else {
                    return Err(Unreadable::Malformed("a call of a tool has no `id` or no `name`"));
                };
                begin(Open::ToolCall { id, name }, None);
                Kind::ToolCall(block.input.map(RawValue::get).and_then(whole_input))
            }
            _ => Kind::Passed,
        };
        Ok(Self { kind, deltas })
    }
}

impl Blocks {
    /// Begins the block `index`.
    pub(super) fn start(&mut self, index: u64, start: Start, out: &mut Vec<Delta>) {
        // The same number again: the block before it has ended without a word.
        self.stop(index, out);
        if start.kind == Kind::Passed {
            self.passed.push(index);
            return;
        }
        let is_first = self.open.is_empty();
        let mut block = Block { index, kind: start.kind, held: Vec::new(), is_stopped: false };
        (if is_first { out } else { &mut block.held }).extend(start.deltas);
        self.open.push_back(block);
    }

    /// Reads more of the block `index`.
    pub(super) fn append(
        &mut self,
        index: u64,
        raw: &RawValue,
        out: &mut Vec<Delta>,
    ) -> Result<(), Unreadable> {
        let more: More<'_> = serde_json::from_str(raw.get())
            .map_err(|_| Unreadable::Malformed("a delta lacks a member or has one of the wrong type"))?;
        if self.passed.contains(&index) {
            return Ok(());
        }
        if self.position(index).is_none() {
            let Some(start) = begins_of_itself(&more.kind) else { return Ok(()) };
            self.start(index, start, out);
        }
        let Some(position) = self.position(index) else { return Ok(()) };
        if position > 0 {
            self.held_bytes += raw.get().len();
            if self.held_bytes > HELD_BYTES_MAX {
                return Err(Unreadable::Malformed(
                    "too much of later blocks comes before the first has ended",
                ));
            }
        }
        let Block { kind, held, .. } = &mut self.open[position];
        kind.take(more, if position == 0 { out } else { held });
        Ok(())
    }

    /// Ends the block `index`.
    pub(super) fn stop(&mut self, index: u64, out: &mut Vec<Delta>) {
        self.passed.retain(|passed| *passed != index);
        let Some(position) = self.position(index) else { return };
        self.open[position].is_stopped = true;
        while self.open.front().is_some_and(|first| first.is_stopped) {
            self.close_first(out);
        }
    }

    /// Ends all blocks, in order: nothing more can come of them.
    pub(super) fn close_all(&mut self, out: &mut Vec<Delta>) {
        while !self.open.is_empty() {
            self.close_first(out);
        }
        self.passed.clear();
    }

    fn position(&self, index: u64) -> Option<usize> {
        self.open.iter().position(|block| block.index == index && !block.is_stopped)
    }

    /// Closes the first block and lets out what the next one has said so far.
    fn close_first(&mut self, out: &mut Vec<Delta>) {
        if let Some(Block { kind: Kind::ToolCall(input), .. }) = self.open.pop_front() {
            out.extend(input.map(Delta::Append));
        }
        out.push(Delta::Close);
        if let Some(next) = self.open.front_mut() {
            out.append(&mut next.held);
        }
        if self.open.len() < 2 {
            self.held_bytes = 0;
        }
    }
}

impl Kind {
    /// Reads more of a block of this kind; a block that turns from text to thoughts or back becomes two.
    fn take(&mut self, more: More<'_>, sink: &mut Vec<Delta>) {
        match (&*more.kind, &*self) {
            ("text_delta", Self::Reasoning) => self.turn_into(Self::Text, Open::Text, sink),
            ("thinking_delta", Self::Text) => self.turn_into(Self::Reasoning, Open::Reasoning, sink),
            _ => {}
        }
        match (&*more.kind, self) {
            ("text_delta", Self::Text) => sink.extend(append(more.text)),
            ("thinking_delta", Self::Reasoning) => sink.extend(append(more.thinking)),
            ("signature_delta", Self::Reasoning) => sink.extend(seal(more.signature)),
            ("input_json_delta", Self::ToolCall(input)) => {
                let fragment = append(more.partial_json);
                if fragment.is_some() {
                    *input = None;
                }
                sink.extend(fragment);
            }
            _ => {}
        }
    }

    fn turn_into(&mut self, kind: Self, open: Open, sink: &mut Vec<Delta>) {
        sink.extend([Delta::Close, Delta::Open(open)]);
        *self = kind;
    }
}

/// Returns the beginning of a block whose first word is a delta, if that says what it is.
fn begins_of_itself(delta_kind: &str) -> Option<Start> {
    let (kind, open) = match delta_kind {
        "text_delta" => (Kind::Text, Open::Text),
        "thinking_delta" => (Kind::Reasoning, Open::Reasoning),
        _ => return None,
    };
    Some(Start { kind, deltas: vec![Delta::Open(open)] })
}

fn append(text: Option<String>) -> Option<Delta> {
    text.filter(|text| !text.is_empty()).map(Delta::Append)
}

fn seal(data: Option<String>) -> Option<Delta> {
    data.filter(|data| !data.is_empty()).map(Delta::Seal)
}

/// Returns the arguments that a call begins with, unless they are the empty object that stands for those to come.
fn whole_input(json: &str) -> Option<String> {
    let inside = json.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))?;
    (!inside.trim().is_empty()).then(|| json.to_owned())
}
