//! A request of any dialect as it came: what decides its way, and the bytes.
//!
//! Read twice, because most requests need the second reading never. [`Request::parse`] checks the whole document and
//! reads what policy and pass-through need; [`Request::call`] reads the conversation, for a destination that speaks
//! another dialect or none. So a request that passes through may say what this version has never heard of.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::anthropic::messages;
use crate::call::{Call, Seal};
use crate::forward::{AskUsage, Splices, read_usage_chunk};
use crate::json::read::{self, Object};
use crate::json::{Limits, check};
use crate::openai::{chat, responses};
use crate::{Dialect, ParseError};

/// Longest model name, in bytes; it becomes part of records and messages.
const MODEL_BYTES_MAX: usize = 256;

/// One request for text from a model.
#[derive(Clone, PartialEq)]
pub struct Request {
    dialect: Dialect,
    /// The model that the caller named, not empty; policy decides what it means.
    pub model: String,
    /// How the answer is to travel.
    pub delivery: Delivery,
    /// Number of tools on offer.
    pub tools: usize,
    /// The answer that this request continues, of which the caller sends the id alone.
    pub previous_response: Option<String>,
    fields: Vec<String>,
    body: Bytes,
    splices: Splices,
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
    /// `stream_options.include_usage` is true, or the dialect reports usage always.
    Wanted,
    /// It is not; the chunk must not reach the caller.
    Unwanted,
}

/// Shows the shape only: requests end up in log lines by accident, and prompts must not.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("dialect", &self.dialect)
            .field("model", &self.model)
            .field("fields", &self.fields)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Reads a request body of `dialect`.
    ///
    /// # Errors
    /// Returns the first fault: malformed JSON, duplicate keys and excessive nesting anywhere in the body, and
    /// missing or wrong values in the fields that this type names.
    pub fn parse(dialect: Dialect, body: Bytes) -> Result<Self, ParseError> {
        check(&body, Limits::default())?;
        let top = Object::read_document(&body)?;
        let delivery = read_delivery(dialect, &top)?;
        let ask = match delivery {
            Delivery::Stream(usage_chunk) if has_stream_options(dialect) => Some(usage_chunk),
            Delivery::Stream(_) | Delivery::Whole => None,
        };
        let count = |name| -> Result<usize, ParseError> {
            Ok(top.optional(name, |raw| read::each(raw, Ok))?.unwrap_or_default().len())
        };
        Ok(Self {
            dialect,
            model: top.required("model", read_model)?,
            delivery,
            // `functions` is the retired form of `tools`.
            tools: count("tools")? + count("functions")?,
            previous_response: top.optional("previous_response_id", read::non_empty_string)?,
            fields: top.names().map(str::to_owned).collect(),
            splices: Splices::find(&body, &top, ask)?,
            body,
        })
    }

    /// Reads what is asked, in no dialect's words.
    ///
    /// # Errors
    /// Returns the first field that is missing or wrong.
    pub fn call(&self) -> Result<Call, ParseError> {
        match self.dialect {
            Dialect::OpenAiChat => chat::read_call(&self.body),
            Dialect::OpenAiResponses => responses::read_call(&self.body),
            Dialect::AnthropicMessages => messages::read_call(&self.body),
            Dialect::OpenAiCompletions | Dialect::OpenAiEmbeddings => Err(ParseError::not_a_conversation()),
        }
    }

    /// Returns the dialect in which the answer has to be.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the names of all top-level fields that were present, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(String::as_str)
    }

    /// Returns the body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns whether the conversation has a seal that came through a translation: its provider would refuse it as
    /// it stands, so the bytes cannot pass through.
    pub fn has_translated_seals(&self) -> bool {
        Seal::may_be_translated_in(&self.body)
    }

    /// Returns whether the answer is to be streamed.
    pub fn is_streamed(&self) -> bool {
        matches!(self.delivery, Delivery::Stream(_))
    }

    /// Returns the body to send to an upstream of the same dialect that calls the model `upstream_model`.
    ///
    /// Only the value of `model` differs from what came, and for a stream whose caller did not ask for usage also
    /// `stream_options.include_usage`, if `ask` says so. All other bytes are the caller's.
    pub fn forward_body(&self, upstream_model: &str, ask: AskUsage) -> Bytes {
        self.splices.apply(&self.body, upstream_model, ask)
    }
}

/// Reads the name of a model.
pub(crate) fn read_model(raw: &RawValue) -> Result<String, ParseError> {
    let model = read::non_empty_string(raw)?;
    if model.len() > MODEL_BYTES_MAX {
        return Err(ParseError::bad_value(format!("must be at most {MODEL_BYTES_MAX} bytes long")));
    }
    Ok(model)
}

/// Whether streams of the dialect report usage only to a caller who asks.
fn has_stream_options(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::OpenAiChat | Dialect::OpenAiCompletions)
}

fn read_delivery(dialect: Dialect, top: &Object<'_>) -> Result<Delivery, ParseError> {
    let usage_chunk = if has_stream_options(dialect) {
        // Checked without a stream too: a wrong type there is the same mistake.
        top.optional("stream_options", read_usage_chunk)?.unwrap_or(UsageChunk::Unwanted)
    } else {
        UsageChunk::Wanted
    };
    match top.optional("stream", read::boolean)? {
        Some(true) => Ok(Delivery::Stream(usage_chunk)),
        Some(false) | None => Ok(Delivery::Whole),
    }
}
