//! The body of `POST /v1/chat/completions`.
//!
//! A typed view of what the gateway and its engine use, beside the bytes as they came. Unknown
//! fields are neither refused nor read here: their names are listed, and they travel on in
//! [`Request::forward_body`].

use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::forward::{AskUsage, Splices, read_usage_chunk};
use super::message::{Message, read_messages};
use super::tool::{Tooling, read_tooling};
use crate::ParseError;
use crate::json::read::{self, Object};
use crate::json::{Limits, check};

/// Longest model name, in bytes; it becomes part of records and messages.
const MODEL_BYTES_MAX: usize = 256;
/// Most stop strings; the API itself allows 4, open servers more.
const STOP_MAX: usize = 16;
/// Most answers to one request.
const CHOICES_MAX: i64 = 128;
/// Most alternatives per token in `top_logprobs`.
const TOP_LOGPROBS_MAX: i64 = 20;

/// One request, read and checked.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The model that the caller named, not empty; policy decides what it means.
    pub model: String,
    /// The conversation, not empty.
    pub messages: Vec<Message>,
    /// The tools offered.
    pub tooling: Tooling,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// What the answer may look like.
    pub output: Output,
    /// How the answer is to travel.
    pub delivery: Delivery,
    /// The end user on whose behalf the caller acts.
    pub user: Option<String>,
    fields: Vec<String>,
    body: Bytes,
    splices: Splices,
}

/// How tokens are drawn; an absent value means the default of the model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sampling {
    /// 0 to 2; 0 is greedy.
    pub temperature: Option<f64>,
    /// Probability mass to draw from, 0 to 1.
    pub top_p: Option<f64>,
    /// Number of tokens to draw from; 0 draws from all.
    pub top_k: Option<u32>,
    /// Least probability relative to the best token, 0 to 1.
    pub min_p: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// Makes the draw repeatable.
    pub seed: Option<i64>,
}

/// What the answer may look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Most tokens per answer, at least 1.
    pub max_tokens: Option<u32>,
    /// Strings that end the answer and are not part of it; none is empty.
    pub stop: Vec<String>,
    /// Number of answers, at least 1.
    pub choices: u32,
    /// The form of the text.
    pub format: ResponseFormat,
    /// Log-probabilities are asked for, with this many alternatives per token.
    pub logprobs: Option<u8>,
}

/// The form of the text of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseFormat {
    /// Free text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema,
    /// Any other type.
    Other(String),
}

/// How the answer is to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As one JSON document.
    Whole,
    /// As a stream of events.
    Stream(UsageChunk),
}

/// Whether the caller of a stream wants the last chunk that only reports usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageChunk {
    /// `stream_options.include_usage` is true.
    Wanted,
    /// It is not; the chunk must not reach the caller.
    Unwanted,
}

/// Shows the shape only: requests end up in log lines by accident, and prompts must not.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("model", &self.model)
            .field("messages", &self.messages.len())
            .field("fields", &self.fields)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Reads a request body.
    ///
    /// # Errors
    /// Returns the first fault: malformed JSON, duplicate keys and excessive nesting anywhere in
    /// the body, and missing or wrong values in the fields that this type names.
    pub fn parse(body: Bytes) -> Result<Self, ParseError> {
        check(&body, Limits::default())?;
        let top = Object::read_document(&body)?;
        let delivery = read_delivery(&top)?;
        let usage_chunk = match delivery {
            Delivery::Stream(usage_chunk) => Some(usage_chunk),
            Delivery::Whole => None,
        };
        Ok(Self {
            model: top.required("model", read_model)?,
            messages: top.required("messages", read_messages)?,
            tooling: read_tooling(&top)?,
            sampling: read_sampling(&top)?,
            output: read_output(&top)?,
            delivery,
            user: top.optional("user", read::string)?,
            fields: top.names().map(str::to_owned).collect(),
            splices: Splices::find(&body, &top, usage_chunk)?,
            body,
        })
    }

    /// Returns the names of all top-level fields that were present, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(String::as_str)
    }

    /// Returns the size of the body as it came.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Returns whether the model is offered tools, in the present or the retired form.
    pub fn offers_tools(&self) -> bool {
        !self.tooling.tools.is_empty() || self.fields().any(|field| field == "functions")
    }

    /// Returns the body to send to an upstream that calls the model `upstream_model`.
    ///
    /// Only the value of `model` differs from what came, and for a stream whose caller did not
    /// ask for usage also `stream_options.include_usage`, if `ask` says so. All other bytes are
    /// the caller's.
    pub fn forward_body(&self, upstream_model: &str, ask: AskUsage) -> Bytes {
        self.splices.apply(&self.body, upstream_model, ask)
    }
}

/// Reads the name of a model.
pub(in crate::openai) fn read_model(raw: &RawValue) -> Result<String, ParseError> {
    let model = read::non_empty_string(raw)?;
    if model.len() > MODEL_BYTES_MAX {
        return Err(ParseError::bad_value(format!("must be at most {MODEL_BYTES_MAX} bytes long")));
    }
    Ok(model)
}

fn read_delivery(top: &Object<'_>) -> Result<Delivery, ParseError> {
    // Checked without a stream too: a wrong type there is the same mistake.
    let usage_chunk = top.optional("stream_options", read_usage_chunk)?.unwrap_or(UsageChunk::Unwanted);
    match top.optional("stream", read::boolean)? {
        Some(true) => Ok(Delivery::Stream(usage_chunk)),
        Some(false) | None => Ok(Delivery::Whole),
    }
}

fn read_sampling(top: &Object<'_>) -> Result<Sampling, ParseError> {
    const PENALTY: RangeInclusive<f64> = -2.0..=2.0;
    // Some servers switch `top_k` off with -1, others with 0.
    let top_k = top.optional("top_k", read::integer(-1..=i64::from(u32::MAX)))?;
    Ok(Sampling {
        temperature: top.optional("temperature", read::number(0.0..=2.0))?,
        top_p: top.optional("top_p", read::number(0.0..=1.0))?,
        top_k: top_k.map(|top_k| u32::try_from(top_k).unwrap_or(0)),
        min_p: top.optional("min_p", read::number(0.0..=1.0))?,
        frequency_penalty: top.optional("frequency_penalty", read::number(PENALTY))?,
        presence_penalty: top.optional("presence_penalty", read::number(PENALTY))?,
        seed: top.optional("seed", read::integer(i64::MIN..=i64::MAX))?,
    })
}

fn read_output(top: &Object<'_>) -> Result<Output, ParseError> {
    let choices = top.optional("n", read::integer(1..=CHOICES_MAX))?.unwrap_or(1);
    Ok(Output {
        max_tokens: read_max_tokens(top)?,
        stop: top.optional("stop", read_stop)?.unwrap_or_default(),
        choices: u32::try_from(choices).expect("the range was checked"),
        format: top.optional("response_format", read_format)?.unwrap_or(ResponseFormat::Text),
        logprobs: read_logprobs(top)?,
    })
}

/// `max_completion_tokens` is the newer name of `max_tokens`.
fn read_max_tokens(top: &Object<'_>) -> Result<Option<u32>, ParseError> {
    let read = |name| -> Result<Option<u32>, ParseError> {
        let tokens = top.optional(name, read::integer(1..=i64::from(u32::MAX)))?;
        Ok(tokens.map(|tokens| u32::try_from(tokens).expect("the range was checked")))
    };
    match (read("max_tokens")?, read("max_completion_tokens")?) {
        (Some(old), Some(new)) if old != new => {
            Err(ParseError::bad_value("differs from `max_completion_tokens`; send only one of them")
                .under_key("max_tokens"))
        }
        (old, new) => Ok(new.or(old)),
    }
}

fn read_stop(raw: &RawValue) -> Result<Vec<String>, ParseError> {
    match read::type_name(raw) {
        "a string" => Ok(vec![read::non_empty_string(raw)?]),
        "a list" => {
            let stop = read::each(raw, read::non_empty_string)?;
            if stop.len() > STOP_MAX {
                return Err(ParseError::bad_value(format!("must have at most {STOP_MAX} strings")));
            }
            Ok(stop)
        }
        other => Err(ParseError::wrong_type("a string or a list of strings", other)),
    }
}

fn read_format(raw: &RawValue) -> Result<ResponseFormat, ParseError> {
    let kind = Object::read(raw)?.required("type", read::string)?;
    Ok(match kind.as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => ResponseFormat::JsonSchema,
        _ => ResponseFormat::Other(kind),
    })
}

fn read_logprobs(top: &Object<'_>) -> Result<Option<u8>, ParseError> {
    let wanted = top.optional("logprobs", read::boolean)?.unwrap_or(false);
    let alternatives = top.optional("top_logprobs", read::integer(0..=TOP_LOGPROBS_MAX))?;
    if alternatives.is_some_and(|alternatives| alternatives > 0) && !wanted {
        return Err(ParseError::bad_value("needs `logprobs: true`").under_key("top_logprobs"));
    }
    let alternatives = u8::try_from(alternatives.unwrap_or(0)).expect("the range was checked");
    Ok(wanted.then_some(alternatives))
}
