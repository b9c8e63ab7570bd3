//! The whole answer of Converse, and what it shares with the stream: why it ended and what it took.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Usage;
use crate::call::{Block, Content, Reasoning, Seal, ToolCall};
use crate::json::compact::compact;
use crate::reply::{Finish, FinishReason, Reply, Told, Unreadable};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    stop_reason: String,
    usage: Option<Counts>,
    additional_model_response_fields: Option<Value>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Said<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<Call<'a>>,
    reasoning_content: Option<Thought>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    tool_use_id: String,
    name: String,
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thought {
    reasoning_text: Option<Words>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    text: String,
    signature: Option<String>,
}

/// The tokens of a call, those from a cache not among the input.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Counts {
    #[serde(rename = "inputTokens")]
    input: u64,
    #[serde(rename = "outputTokens")]
    output: u64,
    #[serde(rename = "cacheReadInputTokens")]
    cache_read: Option<u64>,
    #[serde(rename = "cacheWriteInputTokens")]
    cache_write: Option<u64>,
}

impl Counts {
    pub(super) fn usage(self) -> Usage {
        let Self { input, output, cache_read, cache_write } = self;
        let cached = cache_read.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
        Usage {
            cached_tokens: cache_read,
            cache_write_tokens: cache_write,
            ..Usage::of(input.saturating_add(cached), output)
        }
    }
}

/// Where a Claude says which stop string it met; the API hands on what it is asked for, and leaves out what is not there.
pub(super) const STOP_SEQUENCE_PATHS: [&str; 2] = ["/stop_sequence", "/delta/stop_sequence"];

/// Reads a `stopReason`.
pub(super) fn finish(reason: &str, fields: Option<&Value>, has_calls: bool) -> Finish {
    let read = match reason {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "guardrail_intervened" | "content_filtered" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    };
    // Where it stood in the model's own answer: the whole one, or the event of a stream.
    let met = fields
        .filter(|_| reason == "stop_sequence")
        .and_then(|fields| STOP_SEQUENCE_PATHS.iter().find_map(|path| fields.pointer(path)));
    let stop_sequence = met.and_then(Value::as_str).map(str::to_owned);
    Finish { reason: if has_calls { read.with_tool_calls() } else { read }, stop_sequence }
}

/// Reads the body of an answer of Converse; its seals are those of `provider`.
///
/// # Errors
/// Returns that the body is no such answer.
pub fn read_reply(body: &[u8], provider: &str) -> Result<Reply, Unreadable> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|_| Unreadable::Malformed("it is no answer of Converse"))?;
    let blocks: Vec<Block> =
        answer.output.message.content.into_iter().filter_map(|said| block(said, provider)).collect();
    let has_calls = blocks.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    Ok(Reply {
        id: None,
        blocks,
        finish: finish(&answer.stop_reason, answer.additional_model_response_fields.as_ref(), has_calls),
        usage: answer.usage.map(Counts::usage),
        told: Told::default(),
        others: Vec::new(),
    })
}

fn block(said: Said<'_>, provider: &str) -> Option<Block> {
    let content = match said {
        Said { text: Some(text), .. } => Content::Text(text),
        Said { tool_use: Some(call), .. } => Content::ToolCall(ToolCall {
            id: call.tool_use_id,
            name: call.name,
            arguments: compact(call.input.get()),
        }),
        Said { reasoning_content: Some(thought), .. } => Content::Reasoning(reasoning(thought, provider)?),
        _ => return None,
    };
    Some(content.into())
}

fn reasoning(thought: Thought, provider: &str) -> Option<Reasoning> {
    match (thought.reasoning_text, thought.redacted_content) {
        (Some(Words { text, signature }), _) => {
            let seal = signature.map(|signature| Seal::of(provider, signature));
            Some(Reasoning { text, seal, is_redacted: false })
        }
        (None, Some(data)) => {
            Some(Reasoning { text: String::new(), seal: Some(Seal::of(provider, data)), is_redacted: true })
        }
        (None, None) => None,
    }
}
