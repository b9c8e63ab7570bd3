//! A chat completion that is not streamed, both ways.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::finish::word;
use super::reader::finish_reason;
use crate::call::{Block, Content, Reasoning, ToolCall};
use crate::openai::error::{ErrorBody, to_json};
use crate::openai::usage::{UsageBody, read_usage};
use crate::reply::{Envelope, Finish, FinishReason, Reply, Unreadable};

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<Cow<'a, str>>,
    refusal: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called<'a>>,
}

#[derive(Serialize)]
struct Called<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// Writes a whole answer.
pub fn write_reply(reply: &Reply, envelope: &Envelope) -> Bytes {
    let (mut text, mut thoughts, mut refusal, mut tool_calls) = (None, None, None, Vec::new());
    for block in &reply.blocks {
        match &block.content {
            Content::Text(more) => append(&mut text, more),
            Content::Reasoning(Reasoning { text: more, .. }) if !more.is_empty() => {
                append(&mut thoughts, more);
            }
            Content::Refusal(more) => append(&mut refusal, more),
            Content::ToolCall(ToolCall { id, name, arguments }) => {
                tool_calls.push(Called { id, kind: "function", function: Function { name, arguments } });
            }
            _ => {}
        }
    }
    let mut reason = reply.finish.reason;
    if tool_calls.is_empty() {
        // Clients tell "only called tools" and "declined" from "said nothing" by the null.
        text = text.or_else(|| refusal.is_none().then_some(Cow::Borrowed("")));
    } else {
        reason = reason.with_tool_calls();
        text = text.filter(|text| !text.is_empty());
    }
    let message =
        Message { role: "assistant", content: text, reasoning_content: thoughts, refusal, tool_calls };
    to_json(&Body {
        id: &super::id_of(envelope),
        object: "chat.completion",
        created: envelope.created_s,
        model: &envelope.model,
        choices: [Choice { index: 0, message, logprobs: None, finish_reason: word(reason) }],
        usage: reply.usage.as_ref().map(UsageBody::from),
    })
}

fn append<'a>(all: &mut Option<Cow<'a, str>>, more: &'a str) {
    match all {
        Some(all) => all.to_mut().push_str(more),
        None => *all = Some(Cow::Borrowed(more)),
    }
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    choices: Vec<ReadChoice>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReadChoice {
    message: ReadMessage,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ReadMessage {
    #[serde(default)]
    content: Option<ReadContent>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ReadCall>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ReadContent {
    Text(String),
    Parts(Vec<ReadPart>),
}

#[derive(Deserialize)]
struct ReadPart {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thinking: Option<Vec<ReadPart>>,
}

#[derive(Deserialize)]
struct ReadCall {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<ReadFunction>,
    #[serde(default)]
    custom: Option<ReadCustom>,
}

#[derive(Deserialize)]
struct ReadFunction {
    name: String,
    #[serde(default)]
    arguments: String,
}

#[derive(Deserialize)]
struct ReadCustom {
    name: String,
    #[serde(default)]
    input: String,
}

/// Reads a provider's whole answer; of several choices, the first.
///
/// # Errors
/// Returns the error that an answer with a good status holds, or that it is no completion.
pub fn read_reply(body: &[u8]) -> Result<Reply, Unreadable> {
    if let Some(error) = ErrorBody::from_upstream(body) {
        return Err(Unreadable::Fault(error.to_fault(None)));
    }
    let malformed = Unreadable::Malformed("the answer is no chat completion");
    let read: Read<'_> = serde_json::from_slice(body).map_err(|_| malformed.clone())?;
    let choice = read.choices.into_iter().next().ok_or(malformed)?;
    let reason = choice.finish_reason.as_deref().map_or(FinishReason::Other, finish_reason);
    let blocks = blocks_of(choice.message, read.id.as_deref());
    let calls_tools = blocks.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    let reason = if calls_tools { reason.with_tool_calls() } else { reason };
    Ok(Reply { id: read.id, blocks, finish: Finish::from(reason), usage: read.usage.and_then(read_usage) })
}

fn blocks_of(message: ReadMessage, reply_id: Option<&str>) -> Vec<Block> {
    let thought = |text: String| Content::Reasoning(Reasoning { text, ..Reasoning::default() });
    let mut contents: Vec<Content> = Vec::new();
    contents.extend(message.reasoning_content.or(message.reasoning).map(thought));
    match message.content {
        Some(ReadContent::Text(text)) => contents.push(Content::Text(text)),
        Some(ReadContent::Parts(parts)) => {
            for part in parts {
                let thoughts = part.thinking.unwrap_or_default().into_iter().filter_map(|part| part.text);
                contents.extend(thoughts.map(thought));
                contents.extend(part.text.map(Content::Text));
            }
        }
        None => {}
    }
    contents.extend(message.refusal.map(Content::Refusal));
    let is_empty = |content: &Content| match content {
        Content::Text(text) | Content::Refusal(text) => text.is_empty(),
        Content::Reasoning(reasoning) => reasoning.text.is_empty(),
        _ => false,
    };
    contents.retain(|content| !is_empty(content));
    let calls = message.tool_calls.unwrap_or_default().into_iter().enumerate();
    contents.extend(calls.filter_map(|(number, call)| {
        let (name, arguments) = match (call.function, call.custom) {
            (Some(function), _) => (function.name, function.arguments),
            (None, Some(custom)) => (custom.name, custom.input),
            (None, None) => return None,
        };
        let made = || format!("call_{}_{number}", reply_id.unwrap_or("0"));
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(made);
        Some(Content::ToolCall(ToolCall { id, name, arguments }))
    }));
    contents.into_iter().map(Block::from).collect()
}
