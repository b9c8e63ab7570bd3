//! Whole answers, both ways.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::error::of_detail;
use super::block::{Written, input_of};
use super::finish::{self, Held};
use super::usage::{Counts, UsageBody};
use super::writer::message_id;
use crate::ParseError;
use crate::call::{Block, Content, Reasoning, Seal, ToolCall};
use crate::json::read::{self, Object};
use crate::openai::error::to_json;
use crate::reply::{Envelope, FinishReason, Reply, Told, Unreadable};

#[derive(Serialize)]
struct Message<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Written<'a>>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: UsageBody,
}

/// Returns the body of a whole answer; nothing in this dialect depends on what was asked.
pub fn write_reply(reply: &Reply, envelope: &Envelope) -> Bytes {
    let content: Vec<_> = reply.blocks.iter().filter_map(|block| write_block(block, envelope)).collect();
    let held = Held {
        tool_calls: content.iter().any(|block| matches!(block, Written::ToolUse { .. })),
        refusal: reply.blocks.iter().any(|block| matches!(block.content, Content::Refusal(_))),
    };
    let stop_reason = finish::word(&reply.finish, held);
    to_json(&Message {
        id: message_id(envelope),
        kind: "message",
        role: "assistant",
        model: &envelope.model,
        content,
        stop_reason,
        stop_sequence: reply.finish.stop_sequence.as_deref().filter(|_| stop_reason == "stop_sequence"),
        usage: UsageBody::of(reply.usage.as_ref()),
    })
}

/// Writes a block, unless it says nothing: clients send it back, and the API refuses empty ones.
fn write_block<'a>(block: &'a Block, envelope: &Envelope) -> Option<Written<'a>> {
    match &block.content {
        Content::Text(text) | Content::Refusal(text) => {
            (!text.is_empty()).then_some(Written::Text { text, cache_control: None })
        }
        Content::ToolCall(call) => Some(Written::ToolUse {
            id: Cow::Borrowed(&call.id),
            name: &call.name,
            input: input_of(call),
            cache_control: None,
        }),
        Content::Reasoning(Reasoning { seal, is_redacted: true, .. }) => {
            seal.as_ref().map(|seal| Written::RedactedThinking { data: seal.to_client().into() })
        }
        Content::Reasoning(Reasoning { text, seal, .. }) => {
            let says_something = !text.is_empty() || seal.is_some();
            let signature = match seal {
                Some(seal) => seal.to_client(),
                None => Seal::of(&envelope.provider, "").to_client(),
            };
            says_something.then_some(Written::Thinking { thinking: text, signature: signature.into() })
        }
        // Answers hold nothing else; see `Reply::blocks`.
        _ => None,
    }
}

/// Reads a provider's whole answer; its seals are those of `provider`.
///
/// Blocks of the provider's own tools are no part of an answer here and are passed over.
///
/// # Errors
/// Returns the error that the body is instead, or what of it is not as the API promises.
pub fn read_reply(body: &[u8], provider: &str) -> Result<Reply, Unreadable> {
    let top =
        Object::read_document(body).map_err(|_| Unreadable::Malformed("the answer is no JSON object"))?;
    let fault =
        top.written("error").and_then(|raw| Object::read(raw).ok()).and_then(|error| of_detail(&error));
    if let Some(fault) = fault {
        return Err(Unreadable::Fault(fault));
    }
    let blocks = top
        .required("content", |raw| read::each(raw, |raw| read_block(raw, provider)))
        .map_err(|_| Unreadable::Malformed("the answer has no readable `content`"))?;
    let mut counts = Counts::default();
    if let Some(usage) = top.written("usage") {
        counts.update(usage);
    }
    let text = |name| top.optional(name, read::string).ok().flatten();
    let finish = match text("stop_reason") {
        Some(reason) => finish::read(&reason, text("stop_sequence")),
        None => FinishReason::Other.into(),
    };
    Ok(Reply {
        id: text("id"),
        blocks: blocks.into_iter().flatten().collect(),
        finish,
        usage: counts.usage(),
        told: Told::default(),
        others: Vec::new(),
    })
}

fn read_block(raw: &RawValue, provider: &str) -> Result<Option<Block>, ParseError> {
    let block = Object::read(raw)?;
    let text = |name| block.required(name, read::string);
    let seal_of = |data: String| (!data.is_empty()).then(|| Seal::of(provider, data));
    let content = match text("type")?.as_str() {
        "text" => Content::Text(text("text")?),
        "thinking" => Content::Reasoning(Reasoning {
            text: text("thinking")?,
            seal: block.optional("signature", read::string)?.and_then(seal_of),
            is_redacted: false,
        }),
        "redacted_thinking" => Content::Reasoning(Reasoning {
            text: String::new(),
            seal: seal_of(text("data")?),
            is_redacted: true,
        }),
        "tool_use" => Content::ToolCall(ToolCall {
            id: block.required("id", read::non_empty_string)?,
            name: text("name")?,
            arguments: block.optional("input", |raw| Ok(raw.get().to_owned()))?.unwrap_or_default(),
        }),
        _ => return Ok(None),
    };
    Ok(Some(content.into()))
}
