//! A chat completion that is not streamed, both ways.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::finish::word;
use super::reader::read_whole;
use crate::call::{Content, Reasoning, ToolCall};
use crate::openai::error::to_json;
use crate::openai::logprobs::{ChatLogprobs, ids};
use crate::openai::usage::UsageBody;
use crate::reply::{Assembler, Envelope, Reply, Shown, Unreadable};

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<Vec<u32>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<ChatLogprobs>,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<Vec<u32>>,
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

/// Writes a whole answer, with as much of its tokens as is `shown`.
pub fn write_reply(reply: &Reply, envelope: &Envelope, shown: Shown) -> Bytes {
    let choices = std::iter::once(reply).chain(&reply.others).enumerate();
    to_json(&Body {
        id: &super::id_of(envelope),
        object: "chat.completion",
        created: envelope.created_s,
        model: &envelope.model,
        choices: choices.map(|(index, reply)| choice(index, reply, shown)).collect(),
        usage: reply.usage.as_ref().map(UsageBody::from),
        prompt_token_ids: shown.token_ids.then(|| ids(&reply.told.prompt)),
    })
}

fn choice(index: usize, reply: &Reply, shown: Shown) -> Choice<'_> {
    let (mut text, mut thoughts, mut refusal, mut tool_calls) = (None, None, None, Vec::new());
    for block in &reply.blocks {
        match &block.content {
            Content::Text(more) => append(&mut text, more),
            Content::Reasoning(Reasoning { text: more, .. }) if !more.is_empty() => {
                append(&mut thoughts, more);
            }
            Content::Refusal(more) => append(&mut refusal, more),
            Content::ToolCall(ToolCall { id, name, arguments }) => {
                // Clients parse the arguments of a call, and nothing is no JSON.
                let arguments = if arguments.is_empty() { "{}" } else { arguments };
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
    Choice {
        index,
        message,
        logprobs: shown.logprobs.then(|| ChatLogprobs::of(&reply.told.tokens)),
        finish_reason: word(reason),
        token_ids: shown.token_ids.then(|| ids(&reply.told.tokens)),
    }
}

fn append<'a>(all: &mut Option<Cow<'a, str>>, more: &'a str) {
    match all {
        Some(all) => all.to_mut().push_str(more),
        None => *all = Some(Cow::Borrowed(more)),
    }
}

/// Reads a provider's whole answer; of several choices, the first.
///
/// # Errors
/// Returns the error that an answer with a good status holds, or that it is no completion.
pub fn read_reply(body: &[u8]) -> Result<Reply, Unreadable> {
    // The API has no seals, so nobody asks whose they are.
    let nobody =
        Envelope { unique: String::new(), created_s: 0, model: String::new(), provider: String::new() };
    let mut assembler = Assembler::default();
    for delta in read_whole(body.trim_ascii())? {
        assembler.push(delta, &nobody);
    }
    assembler.finish().ok_or(Unreadable::Malformed("it has no end"))
}
