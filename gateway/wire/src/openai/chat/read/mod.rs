//! The body of `POST /v1/chat/completions`, read into a [`Call`].
//!
//! Shapes that the API defines are checked; kinds of content that it may grow later are named and kept, and fields
//! that nobody reads become extras.

mod message;
mod tool;

use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use self::message::read_turns;
use self::tool::{read_choice, read_tools};
use crate::ParseError;
use crate::call::{Call, Effort, Extra, Format, Sampling, Thinking, ToolChoice};
use crate::json::read::{self, Object};
use crate::request::read_model;

/// Most stop strings; the API itself allows 4, open servers more.
const STOP_MAX: usize = 16;
/// Most answers to one request.
const CHOICES_MAX: u32 = 128;
/// Most alternatives per token in `top_logprobs`.
const TOP_LOGPROBS_MAX: u32 = 20;

/// The fields that have a place in a [`Call`].
const READ: [&str; 27] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logprobs",
    "top_logprobs",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "n",
    "response_format",
    "reasoning_effort",
    "stream",
    "stream_options",
    "user",
    "safety_identifier",
    "store",
    "modalities",
    "service_tier",
];

/// Reads a checked body.
///
/// # Errors
/// Returns the first field that is missing or wrong.
pub fn read_call(body: &[u8]) -> Result<Call, ParseError> {
    let top = Object::read_document(body)?;
    let tools = top.optional("tools", read_tools)?.unwrap_or_default();
    let mut extras = read_extras(&top, &READ);
    let tool_choice = match top.optional("tool_choice", |raw| read_choice(raw, &tools))? {
        Some(Ok(choice)) => choice,
        Some(Err(json)) => {
            extras.push(Extra { name: "tool_choice".to_owned(), json });
            ToolChoice::Auto
        }
        None => ToolChoice::Auto,
    };
    // The newer name of the same fact comes first.
    let user = top.optional("safety_identifier", read::string)?;
    Ok(Call {
        model: top.required("model", read_model)?,
        turns: top.required("messages", read_turns)?,
        tool_choice,
        tools,
        parallel_tools: top.optional("parallel_tool_calls", read::boolean)?,
        sampling: read_sampling(&top, Logprobs::Switch)?,
        max_tokens: read_max_tokens(&top)?,
        stop: top.optional("stop", read_stop)?.unwrap_or_default(),
        choices: top.optional("n", read::count(1..=CHOICES_MAX))?,
        format: top.optional("response_format", read_format)?.unwrap_or_default(),
        thinking: read_thinking(&top, &mut extras)?,
        stream: top.optional("stream", read::boolean)?.unwrap_or(false),
        user: user.or(top.optional("user", read::string)?),
        store: top.optional("store", read::boolean)?,
        extras: with_unusual(&top, extras)?,
        ..Call::default()
    })
}

/// Collects the fields of `top` that are not `known`.
pub(in crate::openai) fn read_extras(top: &Object<'_>, known: &[&str]) -> Vec<Extra> {
    let unknown = top.names().filter(|name| !known.contains(name));
    let extra = |name: &str| {
        let json = top.written(name).map_or_else(|| "null".to_owned(), |raw| raw.get().to_owned());
        Extra { name: name.to_owned(), json }
    };
    unknown.map(extra).collect()
}

/// Adds what every client sends with its usual value, and what is an extra with any other.
fn with_unusual(top: &Object<'_>, mut extras: Vec<Extra>) -> Result<Vec<Extra>, ParseError> {
    let modalities = top.optional("modalities", |raw| read::each(raw, read::string))?;
    if modalities.is_some_and(|modalities| modalities != ["text"]) {
        extras.push(Extra { name: "modalities".to_owned(), json: "[]".to_owned() });
    }
    let tier = top.optional("service_tier", read::string)?;
    if tier.is_some_and(|tier| tier != "auto" && tier != "default") {
        extras.push(Extra { name: "service_tier".to_owned(), json: "\"\"".to_owned() });
    }
    Ok(extras)
}

fn read_thinking(top: &Object<'_>, extras: &mut Vec<Extra>) -> Result<Thinking, ParseError> {
    let Some(word) = top.optional("reasoning_effort", read::string)? else { return Ok(Thinking::default()) };
    let effort = Effort::from_word(&word);
    if effort.is_none() {
        extras.push(Extra { name: "reasoning_effort".to_owned(), json: format!("{word:?}") });
    }
    Ok(Thinking { effort, ..Thinking::default() })
}

/// What `logprobs` is in a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::openai) enum Logprobs {
    /// A switch, with the number of alternatives beside it.
    Switch,
    /// Something else, or nothing.
    Elsewhere,
}

pub(in crate::openai) fn read_sampling(top: &Object<'_>, logprobs: Logprobs) -> Result<Sampling, ParseError> {
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
        logprobs: match logprobs {
            Logprobs::Switch => read_logprobs(top)?,
            Logprobs::Elsewhere => None,
        },
    })
}

/// `max_completion_tokens` is the newer name of `max_tokens`.
fn read_max_tokens(top: &Object<'_>) -> Result<Option<u32>, ParseError> {
    let read = |name| top.optional(name, read_tokens);
    match (read("max_tokens")?, read("max_completion_tokens")?) {
        (Some(old), Some(new)) if old != new => {
            Err(ParseError::bad_value("differs from `max_completion_tokens`; send only one of them")
                .under_key("max_tokens"))
        }
        (old, new) => Ok(new.or(old)),
    }
}

/// Reads a number of tokens, at least 1.
fn read_tokens(raw: &RawValue) -> Result<u32, ParseError> {
    read::count(1..=u32::MAX)(raw)
}

pub(in crate::openai) fn read_stop(raw: &RawValue) -> Result<Vec<String>, ParseError> {
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

fn read_format(raw: &RawValue) -> Result<Format, ParseError> {
    let format = Object::read(raw)?;
    let kind = format.required("type", read::string)?;
    match kind.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => format.required("json_schema", read_schema),
        _ => Ok(Format::Other { kind, json: raw.get().to_owned() }),
    }
}

fn read_schema(raw: &RawValue) -> Result<Format, ParseError> {
    let named = Object::read(raw)?;
    Ok(Format::JsonSchema {
        name: named.optional("name", read::string)?.unwrap_or_else(|| "answer".to_owned()),
        description: named.optional("description", read::string)?,
        schema: named.optional("schema", read::value)?.unwrap_or_else(|| serde_json::json!({})),
        strict: named.optional("strict", read::boolean)?,
    })
}

fn read_logprobs(top: &Object<'_>) -> Result<Option<u8>, ParseError> {
    let wanted = top.optional("logprobs", read::boolean)?.unwrap_or(false);
    let alternatives = top.optional("top_logprobs", read::count(0..=TOP_LOGPROBS_MAX))?;
    if alternatives.is_some_and(|alternatives| alternatives > 0) && !wanted {
        return Err(ParseError::bad_value("needs `logprobs: true`").under_key("top_logprobs"));
    }
    let alternatives = u8::try_from(alternatives.unwrap_or(0)).expect("the range was checked");
    Ok(wanted.then_some(alternatives))
}
