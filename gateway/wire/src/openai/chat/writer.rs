//! An answer as the stream of a chat completion, one event at a time.
//!
//! What clients insist on holds by construction: one `id` for all chunks, `role` once, `finish_reason` always present
//! and null until the end, tool calls numbered, with `id` and name on the first fragment only; all of it for each choice.
//! Tokens stand on the chunk with the text that they complete, those without text on the choice's last chunk. A stream
//! that fails ends in an error event and has no `[DONE]`.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::finish::word;
use crate::openai::error::ErrorBody;
use crate::openai::logprobs::{ChatLogprobs, ids};
use crate::openai::usage::UsageBody;
use crate::reply::{Delta, Envelope, Fault, Open, Shown, StreamWriter, Token};
use crate::{Usage, UsageChunk, sse};

/// Writes the events of one streamed chat completion.
#[derive(Debug)]
pub struct Writer {
    id: String,
    created_s: u64,
    model: String,
    usage_chunk: UsageChunk,
    shown: Shown,
    /// By index, as far as something was said of them.
    choices: Vec<Said>,
    current: usize,
    usage: Option<Usage>,
}

/// Where one choice stands.
#[derive(Debug, Default)]
struct Said {
    has_begun: bool,
    /// The member of a delta that the open block appends to.
    member: Member,
    tool_calls: u32,
    /// Tokens that stand on no chunk yet.
    tokens: Vec<Token>,
    /// The prompt's numbers, until they stand on a chunk.
    prompt_ids: Option<Vec<u32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Member {
    Content,
    Reasoning,
    Refusal,
    /// The arguments of a call, of which nothing has come so far.
    NoArguments,
    Arguments,
    #[default]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<Vec<u32>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    delta: ChoiceDelta<'a>,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<Vec<u32>>,
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
                let has_calls = self.said().tool_calls > 0;
                let reason = if has_calls { finish.reason.with_tool_calls() } else { finish.reason };
                self.delta(ChoiceDelta::default(), Some(word(reason)), out);
            }
            Delta::Ping => self.keep_alive(out),
            Delta::End => self.end(out),
            // Clients parse the arguments of a call, and nothing is no JSON.
            Delta::Close if self.said().member == Member::NoArguments => self.append("{}", out),
            Delta::Choice(index) => self.current = *index as usize,
            Delta::Prompt(prompt) => self.said().prompt_ids = Some(ids(prompt)),
            Delta::Token(token) => self.said().tokens.push(token.clone()),
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
            shown: Shown::default(),
            choices: Vec::new(),
            current: 0,
            usage: None,
        }
    }

    /// Shows so much of the tokens.
    #[must_use]
    pub fn showing(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }

    fn said(&mut self) -> &mut Said {
        if self.choices.len() <= self.current {
            self.choices.resize_with(self.current + 1, Said::default);
        }
        &mut self.choices[self.current]
    }

    fn open(&mut self, open: &Open, out: &mut BytesMut) {
        let member = match open {
            Open::Text => Member::Content,
            Open::Reasoning => Member::Reasoning,
            Open::RedactedReasoning => Member::Nothing,
            Open::Refusal => Member::Refusal,
            Open::ToolCall { id, name } => {
                let function = FunctionFragment { name: Some(name), arguments: "" };
                let said = self.said();
                let index = said.tool_calls;
                said.tool_calls += 1;
                let fragment = ToolFragment { index, id: Some(id), kind: Some("function"), function };
                self.delta(ChoiceDelta { tool_calls: Some([fragment]), ..ChoiceDelta::default() }, None, out);
                Member::NoArguments
            }
        };
        self.said().member = member;
    }

    fn append(&mut self, more: &str, out: &mut BytesMut) {
        if more.is_empty() {
            return;
        }
        let delta = match self.said().member {
            Member::Content => ChoiceDelta { content: Some(Nullable::Value(more)), ..ChoiceDelta::default() },
            Member::Reasoning => ChoiceDelta { reasoning_content: Some(more), ..ChoiceDelta::default() },
            Member::Refusal => ChoiceDelta { refusal: Some(more), ..ChoiceDelta::default() },
            Member::NoArguments | Member::Arguments => {
                let said = self.said();
                said.member = Member::Arguments;
                let function = FunctionFragment { name: None, arguments: more };
                let index = said.tool_calls.saturating_sub(1);
                let fragment = ToolFragment { index, id: None, kind: None, function };
                ChoiceDelta { tool_calls: Some([fragment]), ..ChoiceDelta::default() }
            }
            Member::Nothing => return,
        };
        self.delta(delta, None, out);
    }

    fn delta(&mut self, mut delta: ChoiceDelta<'_>, finish_reason: Option<&'static str>, out: &mut BytesMut) {
        let (shown, current) = (self.shown, self.current);
        let said = self.said();
        let tokens = std::mem::take(&mut said.tokens);
        let prompt_ids = said.prompt_ids.take().filter(|_| shown.token_ids);
        if !said.has_begun {
            said.has_begun = true;
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
        let logprobs = (shown.logprobs && !tokens.is_empty()).then(|| ChatLogprobs::of(&tokens));
        let token_ids = shown.token_ids.then(|| ids(&tokens));
        let choices = [Choice { index: current, delta, logprobs, finish_reason, token_ids }];
        self.chunk(&choices, Nullable::Null, prompt_ids, out);
    }

    fn end(&mut self, out: &mut BytesMut) {
        if let (UsageChunk::Wanted, Some(usage)) = (self.usage_chunk, &self.usage) {
            self.chunk(&[], Nullable::Value(UsageBody::from(usage)), None, out);
        }
        out.put_slice(b"data: [DONE]\n\n");
    }

    fn chunk(
        &self,
        choices: &[Choice<'_>],
        usage: Nullable<UsageBody>,
        prompt_token_ids: Option<Vec<u32>>,
        out: &mut BytesMut,
    ) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created_s,
            model: &self.model,
            choices,
            usage: (self.usage_chunk == UsageChunk::Wanted).then_some(usage),
            prompt_token_ids,
        };
        sse::put_json(out, None, &chunk);
    }
}
