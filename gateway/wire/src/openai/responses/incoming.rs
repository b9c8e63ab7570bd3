//! What a provider writes: its items, its counts and why it ended; shared by streams and whole answers.
//!
//! Tolerant: items of hosted tools and of later kinds are left out, and so are members that nobody reads.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::fault_of;
use crate::Usage;
use crate::call::Namespace;
use crate::openai::error::{ErrorBody, SERVER};
use crate::reply::{FinishReason, Unreadable};

/// A whole answer.
pub(super) struct Answer {
    pub(super) id: Option<String>,
    pub(super) blocks: Vec<Block>,
    pub(super) finish: FinishReason,
    pub(super) usage: Option<Usage>,
}

/// What an item consists of.
pub(super) enum Block {
    Text(String),
    Refusal(String),
    /// Has words, a seal, or both.
    Reasoning {
        text: String,
        seal: Option<String>,
    },
    ToolCall {
        id: String,
        name: String,
        arguments: String,
    },
}

/// The members of the response object that matter.
#[derive(Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) output: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
struct ReasoningItem<'a> {
    #[serde(borrow)]
    summary: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    content: Option<Vec<Part<'a>>>,
    encrypted_content: Option<String>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct CallItem<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    call_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    arguments: Option<String>,
    input: Option<String>,
}

#[derive(Deserialize)]
struct UsageIn {
    input_tokens: u64,
    output_tokens: u64,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

/// Reads a whole answer.
pub(super) fn read_answer(body: &[u8]) -> Result<Answer, Unreadable> {
    const NOT_AN_ANSWER: Unreadable = Unreadable::Malformed("the answer is no response object");
    let response: Response<'_> = serde_json::from_slice(body).map_err(|_| NOT_AN_ANSWER)?;
    let Some(output) = &response.output else {
        return Err(response.fault().map_or(NOT_AN_ANSWER, Unreadable::Fault));
    };
    if matches!(response.status.as_deref(), Some("failed" | "cancelled")) {
        return Err(Unreadable::Fault(response.fault_or_unknown()));
    }
    if matches!(response.status.as_deref(), Some("queued" | "in_progress")) {
        return Err(Unreadable::Malformed("the answer is not finished"));
    }
    let mut blocks = Vec::new();
    for item in output {
        blocks.extend(read_item(item)?.into_iter().filter(Block::says_something));
    }
    let calls_tools = blocks.iter().any(|block| matches!(block, Block::ToolCall { .. }));
    let finish = response.finish(calls_tools);
    let usage = response.usage();
    Ok(Answer { id: response.id.map(Cow::into_owned), blocks, finish, usage })
}

/// Reads the parts of an item; none for one that is no part of the answer.
pub(super) fn read_item(raw: &RawValue) -> Result<Vec<Block>, Unreadable> {
    let kind: Kind<'_> = parse(raw, "an item has no type")?;
    match kind.kind.as_ref() {
        "message" => {
            let message: Message<'_> = parse(raw, "a message is malformed")?;
            Ok(message.content.unwrap_or_default().into_iter().map(Part::block).collect())
        }
        "reasoning" => {
            let item: ReasoningItem<'_> = parse(raw, "a reasoning item is malformed")?;
            Ok(item.block().into_iter().collect())
        }
        "function_call" | "custom_tool_call" => {
            let item: CallItem<'_> = parse(raw, "a tool call is malformed")?;
            let (id, name) = item.identity();
            if id.is_empty() || name.is_empty() {
                return Err(Unreadable::Malformed("a tool call has no id or no name"));
            }
            let arguments = item.arguments.or(item.input).unwrap_or_default();
            Ok(vec![Block::ToolCall { id, name, arguments }])
        }
        _ => Ok(Vec::new()),
    }
}

/// Reads what an item that has just begun says of a tool call: its id and name, each perhaps still empty.
pub(super) fn read_begun_call(raw: &RawValue) -> Option<(String, String)> {
    let kind: Kind<'_> = serde_json::from_str(raw.get()).ok()?;
    if !matches!(kind.kind.as_ref(), "function_call" | "custom_tool_call") {
        return None;
    }
    let item: CallItem<'_> = serde_json::from_str(raw.get()).ok()?;
    Some(item.identity())
}

impl Part<'_> {
    /// A part of a later kind is a text that says nothing, so that the parts behind it keep their places.
    fn block(self) -> Block {
        match (self.text, self.refusal) {
            (None, Some(refusal)) => Block::Refusal(refusal.into_owned()),
            (text, _) => Block::Text(text.map_or_else(String::new, Cow::into_owned)),
        }
    }
}

impl Block {
    fn says_something(&self) -> bool {
        !matches!(self, Self::Text(text) | Self::Refusal(text) if text.is_empty())
    }
}

impl ReasoningItem<'_> {
    fn block(self) -> Option<Block> {
        let texts = |parts: Option<Vec<Part<'_>>>, between: &str| {
            let texts = parts.unwrap_or_default().into_iter().filter_map(|part| part.text);
            texts.collect::<Vec<_>>().join(between)
        };
        let whole = texts(self.content, "");
        let text = if whole.is_empty() { texts(self.summary, "\n\n") } else { whole };
        let seal = self.encrypted_content.filter(|seal| !seal.is_empty());
        (!text.is_empty() || seal.is_some()).then_some(Block::Reasoning { text, seal })
    }
}

impl CallItem<'_> {
    fn identity(&self) -> (String, String) {
        let filled =
            |text: &Option<Cow<'_, str>>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        // Open servers have been seen without `call_id`; the result will refer to whatever stands here.
        let id = filled(&self.call_id).or_else(|| filled(&self.id)).unwrap_or_default();
        let name = filled(&self.name).unwrap_or_default();
        match filled(&self.namespace) {
            Some(namespace) if !name.is_empty() => (id, Namespace::flat_name(&namespace, &name)),
            _ => (id, name),
        }
    }
}

impl Response<'_> {
    /// Why the answer ended.
    pub(super) fn finish(&self, calls_tools: bool) -> FinishReason {
        if self.status.as_deref() != Some("incomplete") {
            return if calls_tools { FinishReason::ToolCalls } else { FinishReason::Stop };
        }
        let details =
            self.incomplete_details.and_then(|raw| serde_json::from_str::<Incomplete<'_>>(raw.get()).ok());
        match details.and_then(|details| details.reason).as_deref() {
            Some("max_output_tokens" | "max_tokens") => FinishReason::Length,
            Some("content_filter") => FinishReason::ContentFilter,
            _ => FinishReason::Other,
        }
    }

    /// What the answer consumed; a count of another shape is none.
    pub(super) fn usage(&self) -> Option<Usage> {
        let usage: UsageIn = serde_json::from_str(self.usage?.get()).ok()?;
        let input = usage.input_tokens_details;
        Some(Usage {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            cached_tokens: input.as_ref().and_then(|details| details.cached_tokens),
            cache_write_tokens: input.as_ref().and_then(|details| details.cache_write_tokens),
            reasoning_tokens: usage.output_tokens_details.and_then(|details| details.reasoning_tokens),
        })
    }

    /// The error of an answer that failed, also if it does not say which.
    pub(super) fn fault_or_unknown(&self) -> crate::reply::Fault {
        self.fault().unwrap_or_else(|| {
            fault_of(&ErrorBody {
                message: "the provider's answer failed, and it does not say why".to_owned(),
                kind: SERVER.into(),
                param: None,
                code: None,
            })
        })
    }

    fn fault(&self) -> Option<crate::reply::Fault> {
        let error = self.error?;
        let wrapped = format!(r#"{{"error":{}}}"#, error.get());
        super::fault::read_fault(wrapped.as_bytes())
    }
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue, reason: &'static str) -> Result<T, Unreadable> {
    serde_json::from_str(raw.get()).map_err(|_| Unreadable::Malformed(reason))
}
