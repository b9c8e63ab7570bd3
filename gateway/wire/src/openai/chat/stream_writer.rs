//! The streamed answer of the local engine, one event at a time.
//!
//! What clients insist on holds by construction: one `id` for all chunks, `role` once per choice,
//! `finish_reason` always present and null until the choice ends, tool calls numbered, with `id`
//! and name on the first fragment only. A stream that fails ends in
//! [`ErrorBody::to_event`](crate::openai::error::ErrorBody::to_event) instead of [`StreamWriter::end`].

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::finish::FinishReason;
use super::request::UsageChunk;
use crate::Usage;
use crate::openai::error::to_json;
use crate::openai::usage::UsageBody;
use crate::sse;

/// What identifies one reply, the same in all its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    id: String,
    created_s: u64,
    model: String,
}

impl Envelope {
    /// Creates the envelope of the reply that `unique` identifies, from `model`, begun `created_s`
    /// seconds after the Unix epoch.
    pub fn new(unique: &str, created_s: u64, model: &str) -> Self {
        Self { id: format!("chatcmpl-{unique}"), created_s, model: model.to_owned() }
    }

    /// Returns the id that clients see.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn created_s(&self) -> u64 {
        self.created_s
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }
}

/// Writes the events of one streamed reply.
#[derive(Debug)]
pub struct StreamWriter {
    envelope: Envelope,
    usage_chunk: UsageChunk,
    choices: Vec<Progress>,
}

/// How far one choice has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    has_begun: bool,
    has_ended: bool,
    tool_calls: u32,
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
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<FinishReason>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Nullable<&'a str>>,
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

impl StreamWriter {
    /// Starts a reply with `choices` answers.
    pub fn new(envelope: Envelope, choices: u32, usage_chunk: UsageChunk) -> Self {
        Self { envelope, usage_chunk, choices: vec![Progress::default(); choices as usize] }
    }

    /// Returns the event that appends `text` to the answer `choice`.
    ///
    /// # Panics
    /// If there is no such choice or it has ended.
    pub fn text(&mut self, choice: u32, text: &str) -> Bytes {
        self.delta(choice, Delta { content: Some(Nullable::Value(text)), ..Delta::default() })
    }

    /// Returns the event that begins the next tool call of the answer `choice`.
    ///
    /// # Panics
    /// If there is no such choice or it has ended.
    pub fn begin_tool_call(&mut self, choice: u32, id: &str, name: &str) -> Bytes {
        let index = self.progress(choice).tool_calls;
        self.progress(choice).tool_calls += 1;
        let function = FunctionFragment { name: Some(name), arguments: "" };
        let fragment = ToolFragment { index, id: Some(id), kind: Some("function"), function };
        self.delta(choice, Delta { tool_calls: Some([fragment]), ..Delta::default() })
    }

    /// Returns the event that appends `fragment` to the arguments of the latest tool call.
    ///
    /// # Panics
    /// If there is no such choice, it has ended, or it has begun no tool call.
    pub fn tool_arguments(&mut self, choice: u32, fragment: &str) -> Bytes {
        let begun = self.progress(choice).tool_calls;
        let index = begun.checked_sub(1).expect("arguments follow the beginning of their call");
        let function = FunctionFragment { name: None, arguments: fragment };
        let fragment = ToolFragment { index, id: None, kind: None, function };
        self.delta(choice, Delta { tool_calls: Some([fragment]), ..Delta::default() })
    }

    /// Returns the event that ends the answer `choice`.
    ///
    /// `Stop` becomes `ToolCalls` if the answer made any.
    ///
    /// # Panics
    /// If there is no such choice or it has ended.
    pub fn finish(&mut self, choice: u32, reason: FinishReason) -> Bytes {
        let delta = self.with_role(choice, Delta::default());
        let progress = self.progress(choice);
        progress.has_ended = true;
        let reason = if progress.tool_calls > 0 { reason.with_tool_calls() } else { reason };
        self.event(choice, delta, Some(reason))
    }

    /// Returns the last events of a reply that succeeded: usage if asked for, then `[DONE]`.
    ///
    /// # Panics
    /// If a choice has not ended: the reply would look finished and not be.
    pub fn end(self, usage: &Usage) -> Bytes {
        assert!(self.choices.iter().all(|choice| choice.has_ended), "a choice has not ended");
        let mut bytes = BytesMut::new();
        if self.usage_chunk == UsageChunk::Wanted {
            let chunk = self.chunk(&[], Nullable::Value(UsageBody::from(usage)));
            bytes.extend_from_slice(&sse::encode_data(&to_json(&chunk)));
        }
        bytes.extend_from_slice(&sse::encode_data(b"[DONE]"));
        bytes.freeze()
    }

    fn delta(&mut self, choice: u32, delta: Delta<'_>) -> Bytes {
        let delta = self.with_role(choice, delta);
        self.event(choice, delta, None)
    }

    /// Adds what only the first delta of a choice carries.
    fn with_role<'a>(&mut self, choice: u32, mut delta: Delta<'a>) -> Delta<'a> {
        let progress = self.progress(choice);
        if !progress.has_begun {
            progress.has_begun = true;
            delta.role = Some("assistant");
            // Null says "only tool calls so far", as the API itself sends it.
            let empty = if delta.tool_calls.is_some() { Nullable::Null } else { Nullable::Value("") };
            delta.content.get_or_insert(empty);
        }
        delta
    }

    fn event(&self, choice: u32, delta: Delta<'_>, finish_reason: Option<FinishReason>) -> Bytes {
        let choices = [Choice { index: choice, delta, logprobs: None, finish_reason }];
        sse::encode_data(&to_json(&self.chunk(&choices, Nullable::Null)))
    }

    fn chunk<'a>(&'a self, choices: &'a [Choice<'a>], usage: Nullable<UsageBody>) -> Chunk<'a> {
        Chunk {
            id: &self.envelope.id,
            object: "chat.completion.chunk",
            created: self.envelope.created_s,
            model: &self.envelope.model,
            choices,
            usage: (self.usage_chunk == UsageChunk::Wanted).then_some(usage),
        }
    }

    fn progress(&mut self, choice: u32) -> &mut Progress {
        let progress = &mut self.choices[choice as usize];
        assert!(!progress.has_ended, "choice {choice} has ended");
        progress
    }
}
