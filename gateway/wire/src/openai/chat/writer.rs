//! An answer as the stream of a chat completion, one event at a time.
//!
//! What clients insist on holds by construction: one `id` for all chunks, `role` once, `finish_reason` always present
//! and null until the end, tool calls numbered, with `id` and name on the first fragment only. A stream that fails ends
//! in an error event and has no `[DONE]`.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::finish::word;
use crate::openai::error::ErrorBody;
use crate::openai::usage::UsageBody;
use crate::reply::{Delta, Envelope, Fault, Open, StreamWriter};
use crate::{Usage, UsageChunk, sse};

/// Writes the events of one streamed chat completion.
#[derive(Debug)]
pub struct Writer {
    id: String,
    created_s: u64,
    model: String,
    usage_chunk: UsageChunk,
    has_begun: bool,
    /// The member of a delta that the open block appends to.
    member: Member,
    tool_calls: u32,
    usage: Option<Usage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Content,
    Reasoning,
    Refusal,
    /// The arguments of a call, of which nothing has come so far.
    NoArguments,
    Arguments,
    Nothing,
}

/// A member that is present and may be null, where an absent one would mean something else.
#[derive(Serialize)]
#[serde(untagged)]
enum Nullable<T> {
    Null,
    Value(T),
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// Absent unless the caller asked; then null on all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Nullable<UsageBody>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: ChoiceDelta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct ChoiceDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Nullable<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolFragment<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolFragment<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: FunctionFragment<'a>,
}

#[derive(Serialize)]
struct FunctionFragment<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl StreamWriter for Writer {
    fn write(&mut self, delta: &Delta, out: &mut BytesMut) {
        match delta {
            Delta::Open(open) => self.open(open, out),
            Delta::Append(more) => self.append(more, out),
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Begin(begin) => self.usage = begin.usage,
            Delta::Finish(finish) => {
                let reason =
                    if self.tool_calls > 0 { finish.reason.with_tool_calls() } else { finish.reason };
                self.delta(ChoiceDelta::default(), Some(word(reason)), out);
            }
            Delta::Ping => self.keep_alive(out),
            Delta::End => self.end(out),
            // Clients parse the arguments of a call, and nothing is no JSON.
            Delta::Close if self.member == Member::NoArguments => self.append("{}", out),
            // The dialect has neither a place for seals nor an end of a block.
            Delta::Seal(_) | Delta::Close => {}
        }
    }

    fn fail(&mut self, fault: &Fault, out: &mut BytesMut) {
        out.extend_from_slice(&ErrorBody::from(fault).to_event());
    }

    fn keep_alive(&mut self, out: &mut BytesMut) {
        out.put_slice(b": keep-alive\n\n");
    }
}

impl Writer {
    /// Creates the writer of the reply that `envelope` identifies.
    pub fn new(envelope: &Envelope, usage_chunk: UsageChunk) -> Self {
        Self {
            id: super::id_of(envelope),
            created_s: envelope.created_s,
            model: envelope.model.clone(),
            usage_chunk,
            has_begun: false,
            member: Member::Nothing,
            tool_calls: 0,
            usage: None,
        }
    }

    fn open(&mut self, open: &Open, out: &mut BytesMut) {
        self.member = match open {
            Open::Text => Member::Content,
            Open::Reasoning => Member::Reasoning,
            Open::RedactedReasoning => Member::Nothing,
            Open::Refusal => Member::Refusal,
            Open::ToolCall { id, name } => {
                let function = FunctionFragment { name: Some(name), arguments: "" };
                let fragment =
                    ToolFragment { index: self.tool_calls, id: Some(id), kind: Some("function"), function };
                self.tool_calls += 1;
                self.delta(ChoiceDelta { tool_calls: Some([fragment]), ..ChoiceDelta::default() }, None, out);
                Member::NoArguments
            }
        };
    }

    fn append(&mut self, more: &str, out: &mut BytesMut) {
        if more.is_empty() {
            return;
        }
        let delta = match self.member {
            Member::Content => ChoiceDelta { content: Some(Nullable::Value(more)), ..ChoiceDelta::default() },
            Member::Reasoning => ChoiceDelta { reasoning_content: Some(more), ..ChoiceDelta::default() },
            Member::Refusal => ChoiceDelta { refusal: Some(more), ..ChoiceDelta::default() },
            Member::NoArguments | Member::Arguments => {
                self.member = Member::Arguments;
                let function = FunctionFragment { name: None, arguments: more };
                let index = self.tool_calls.saturating_sub(1);
                let fragment = ToolFragment { index, id: None, kind: None, function };
                ChoiceDelta { tool_calls: Some([fragment]), ..ChoiceDelta::default() }
            }
            Member::Nothing => return,
        };
        self.delta(delta, None, out);
    }

    fn delta(&mut self, mut delta: ChoiceDelta<'_>, finish_reason: Option<&'static str>, out: &mut BytesMut) {
        if !self.has_begun {
            self.has_begun = true;
            delta.role = Some("assistant");
            // Null says "no text so far", as the API itself sends it.
            let is_other = delta.tool_calls.is_some() || delta.refusal.is_some();
            let empty = if is_other || delta.reasoning_content.is_some() {
                Nullable::Null
            } else {
                Nullable::Value("")
            };
            delta.content.get_or_insert(empty);
        }
        let choices = [Choice { index: 0, delta, logprobs: None, finish_reason }];
        self.chunk(&choices, Nullable::Null, out);
    }

    fn end(&mut self, out: &mut BytesMut) {
        if let (UsageChunk::Wanted, Some(usage)) = (self.usage_chunk, &self.usage) {
            self.chunk(&[], Nullable::Value(UsageBody::from(usage)), out);
        }
        out.put_slice(b"data: [DONE]\n\n");
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Nullable<UsageBody>, out: &mut BytesMut) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created_s,
            model: &self.model,
            choices,
            usage: (self.usage_chunk == UsageChunk::Wanted).then_some(usage),
        };
        sse::put_json(out, None, &chunk);
    }
}
