//! The whole answer of the local engine to a request that is not streamed.

use bytes::Bytes;
use serde::Serialize;

use super::finish::FinishReason;
use super::stream_writer::Envelope;
use super::tool::FunctionCall;
use crate::Usage;
use crate::openai::error::to_json;
use crate::openai::usage::UsageBody;

/// One of the answers to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text, perhaps empty.
    pub text: String,
    /// The calls that the model makes.
    pub tool_calls: Vec<FunctionCall>,
    /// Why it ended; `Stop` is reported as `ToolCalls` if there are any.
    pub finish_reason: FinishReason,
}

/// All answers to a request, in order of their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What identifies the reply.
    pub envelope: Envelope,
    /// The answers.
    pub answers: Vec<Answer>,
    /// What they consumed together.
    pub usage: Usage,
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: UsageBody,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: FinishReason,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [FunctionCall],
}

impl Completion {
    /// Returns the body of the HTTP response.
    pub fn to_json(&self) -> Bytes {
        to_json(&Body {
            id: self.envelope.id(),
            object: "chat.completion",
            created: self.envelope.created_s(),
            model: self.envelope.model(),
            choices: self.answers.iter().enumerate().map(Choice::of).collect(),
            usage: UsageBody::from(&self.usage),
        })
    }
}

impl<'a> Choice<'a> {
    fn of((index, answer): (usize, &'a Answer)) -> Self {
        let calls_tools = !answer.tool_calls.is_empty();
        // Clients tell "only called tools" from "said nothing" by the null.
        let content = if calls_tools && answer.text.is_empty() { None } else { Some(answer.text.as_str()) };
        let finish_reason =
            if calls_tools { answer.finish_reason.with_tool_calls() } else { answer.finish_reason };
        let message = Message { role: "assistant", content, refusal: None, tool_calls: &answer.tool_calls };
        Self { index, message, logprobs: None, finish_reason }
    }
}
