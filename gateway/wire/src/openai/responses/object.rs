//! The response object: what an answer says of itself, and what it repeats of the request.
//!
//! Clients' models demand many of its members; those that only a store or a clock could fill are left out.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::fault::failure;
use super::tool_body::{ChoiceBody, ToolBody};
use crate::Usage;
use crate::call::{Call, Content, Format};
use crate::reply::{Envelope, Fault, FinishReason};

/// An answer without its state: everything that its client knew before.
pub(super) struct Object {
    id: String,
    created_s: u64,
    model: String,
    instructions: Option<String>,
    max_output_tokens: Option<u32>,
    parallel_tool_calls: bool,
    reasoning: ReasoningBody,
    store: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_logprobs: Option<u8>,
    user: Option<String>,
    text: Box<RawValue>,
    tool_choice: Box<RawValue>,
    tools: Box<RawValue>,
    echoed: Vec<(&'static str, Box<RawValue>)>,
}

/// How an answer stands.
pub(super) enum State<'a> {
    Running,
    Ended(FinishReason),
    Failed(&'a Fault),
}

#[derive(Serialize)]
pub(super) struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    error: Option<ErrorBody<'a>>,
    incomplete_details: Option<Incomplete>,
    instructions: Option<&'a str>,
    max_output_tokens: Option<u32>,
    max_tool_calls: Option<&'a RawValue>,
    model: &'a str,
    output: &'a [Box<RawValue>],
    parallel_tool_calls: bool,
    previous_response_id: Option<&'a RawValue>,
    prompt_cache_key: Option<&'a RawValue>,
    reasoning: &'a ReasoningBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    temperature: Option<f64>,
    text: &'a RawValue,
    tool_choice: &'a RawValue,
    tools: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    top_p: Option<f64>,
    truncation: Cow<'a, RawValue>,
    usage: Option<UsageBody>,
    user: Option<&'a str>,
    metadata: Cow<'a, RawValue>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Incomplete {
    reason: &'static str,
}

#[derive(Serialize)]
struct ReasoningBody {
    effort: Option<&'static str>,
    summary: Option<String>,
}

#[derive(Serialize)]
struct TextBody<'a> {
    format: FormatBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FormatBody<'a> {
    Known(KnownFormat<'a>),
    AsWritten(&'a RawValue),
}

/// The forms of text that calls know, as they stand on the wire.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum KnownFormat<'a> {
    Text,
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        schema: &'a serde_json::Value,
        strict: Option<bool>,
    },
}

/// The counts of an answer; clients demand all of them once there are any.
#[derive(Serialize)]
struct UsageBody {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

/// The extras that an answer repeats.
const ECHOED: [&str; 6] =
    ["max_tool_calls", "metadata", "previous_response_id", "prompt_cache_key", "service_tier", "truncation"];

impl Object {
    pub(super) fn new(envelope: &Envelope, call: &Call) -> Self {
        let extra = |name: &str| {
            let extra = call.extras.iter().find(|extra| extra.name == name)?;
            RawValue::from_string(extra.json.clone()).ok()
        };
        let verbosity = extra("text.verbosity");
        let format = match &call.format {
            Format::Other { json, .. } => serde_json::from_str(json).ok().map(FormatBody::AsWritten),
            known => KnownFormat::new(known).map(FormatBody::Known),
        };
        let format = format.unwrap_or(FormatBody::Known(KnownFormat::Text));
        Self {
            id: super::response_id(envelope),
            created_s: envelope.created_s,
            model: envelope.model.clone(),
            instructions: own_instructions(call),
            max_output_tokens: call.max_tokens,
            // The API's own default.
            parallel_tool_calls: call.parallel_tools.unwrap_or(true),
            reasoning: ReasoningBody {
                effort: call.thinking.effort_or_budget().map(crate::call::Effort::as_str),
                summary: call.thinking.summary.clone(),
            },
            store: call.store,
            temperature: call.sampling.temperature,
            top_p: call.sampling.top_p,
            top_logprobs: call.sampling.logprobs,
            user: call.user.clone(),
            text: raw(&TextBody { format, verbosity: verbosity.as_deref() }),
            tool_choice: raw(&ChoiceBody::new(call)),
            tools: raw(&ToolBody::all(call)),
            echoed: ECHOED.into_iter().filter_map(|name| Some((name, extra(name)?))).collect(),
        }
    }

    /// Returns the object as it stands on the wire.
    pub(super) fn body<'a>(
        &'a self,
        state: &State<'a>,
        output: &'a [Box<RawValue>],
        usage: Option<&Usage>,
    ) -> Body<'a> {
        let (status, incomplete) = state.words();
        Body {
            id: &self.id,
            object: "response",
            created_at: self.created_s,
            status,
            background: false,
            error: state.error(),
            incomplete_details: incomplete.map(|reason| Incomplete { reason }),
            instructions: self.instructions.as_deref(),
            max_output_tokens: self.max_output_tokens,
            max_tool_calls: self.echo("max_tool_calls"),
            model: &self.model,
            output,
            parallel_tool_calls: self.parallel_tool_calls,
            previous_response_id: self.echo("previous_response_id"),
            prompt_cache_key: self.echo("prompt_cache_key"),
            reasoning: &self.reasoning,
            service_tier: self.echo("service_tier"),
            store: self.store,
            temperature: self.temperature,
            text: &self.text,
            tool_choice: &self.tool_choice,
            tools: &self.tools,
            top_logprobs: self.top_logprobs,
            top_p: self.top_p,
            truncation: self.echo("truncation").map_or_else(|| Cow::Owned(raw("disabled")), Cow::Borrowed),
            usage: usage.map(UsageBody::from),
            user: self.user.as_deref(),
            metadata: self.echo("metadata").map_or_else(|| Cow::Owned(empty_object()), Cow::Borrowed),
        }
    }

    fn echo(&self, name: &str) -> Option<&RawValue> {
        self.echoed.iter().find(|(echoed, _)| *echoed == name).map(|(_, raw)| &**raw)
    }
}

impl State<'_> {
    /// The status, and why the answer is incomplete if it is.
    fn words(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Running => ("in_progress", None),
            Self::Failed(_) => ("failed", None),
            Self::Ended(FinishReason::Length) => ("incomplete", Some("max_output_tokens")),
            Self::Ended(FinishReason::ContentFilter) => ("incomplete", Some("content_filter")),
            Self::Ended(_) => ("completed", None),
        }
    }

    /// Whether the answer ended before its end.
    pub(super) fn is_incomplete(&self) -> bool {
        self.words().1.is_some()
    }
}

impl<'a> State<'a> {
    fn error(&self) -> Option<ErrorBody<'a>> {
        match self {
            Self::Failed(fault) => Some(ErrorBody { code: failure(fault), message: &fault.message }),
            Self::Running | Self::Ended(_) => None,
        }
    }
}

impl<'a> KnownFormat<'a> {
    /// Writes `format`, if it is one that the API has.
    pub(super) fn new(format: &'a Format) -> Option<Self> {
        match format {
            Format::Text => Some(Self::Text),
            Format::JsonObject => Some(Self::JsonObject),
            Format::JsonSchema { name, description, schema, strict } => {
                Some(Self::JsonSchema { name, description: description.as_deref(), schema, strict: *strict })
            }
            Format::Other { .. } => None,
        }
    }
}

impl From<&Usage> for UsageBody {
    fn from(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cached_tokens.unwrap_or(0),
                cache_write_tokens: usage.cache_write_tokens.unwrap_or(0),
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning_tokens.unwrap_or(0) },
            total_tokens: usage.total_tokens(),
        }
    }
}

fn own_instructions(call: &Call) -> Option<String> {
    let turns = call.turns.get(..call.own_instructions)?;
    let texts = turns.iter().flat_map(|turn| &turn.blocks).filter_map(|block| match &block.content {
        Content::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n\n");
    (!text.is_empty()).then_some(text)
}

/// Serialises a part of ours once.
///
/// # Panics
/// Never: the parts hold strings, numbers, lists and checked JSON only.
pub(super) fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("strings, numbers, lists and checked JSON always serialise")
}

fn empty_object() -> Box<RawValue> {
    raw(&serde_json::Map::new())
}
