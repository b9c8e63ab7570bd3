//! The body of `POST /v1/messages`, read into a call.
//!
//! Strict about every member that is read, because a call must mean the same here as at the API; members that no
//! field of a call stands for become its extras. The body has been checked before.

use serde_json::value::RawValue;

use super::extras::Extras;
use super::read_block::{read_system, read_turns};
use super::read_tool::{read_choice, read_tools};
use crate::ParseError;
use crate::call::{CacheMark, Call, Effort, Format, Role, Sampling, Thinking, Turn};
use crate::json::read::{self, Object};

/// Longest model name, in bytes; it becomes part of records and messages.
const MODEL_BYTES_MAX: usize = 256;
/// Most stop strings; each is looked for in every piece of an answer.
const STOP_MAX: usize = 64;
/// What a schema is called in dialects that want a name for it.
const SCHEMA_NAME: &str = "answer";
/// Members that have a place in a call; everything else is an extra.
const KNOWN: [&str; 16] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "max_tokens",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
    "output_config",
    "output_format",
    "metadata",
    "cache_control",
];

/// Whether a request has to say how long the answer may be.
#[derive(Clone, Copy)]
pub(super) enum MaxTokens {
    Required,
    Optional,
}

/// Reads a call; the body has passed [`check`](crate::json::check).
///
/// # Errors
/// Returns the first member that is missing, of the wrong type or out of its range.
pub fn read_call(body: &[u8]) -> Result<Call, ParseError> {
    read(body, MaxTokens::Required)
}

pub(super) fn read(body: &[u8], max_tokens: MaxTokens) -> Result<Call, ParseError> {
    let top = Object::read_document(body)?;
    let extras = Extras::default();
    let model = top.required("model", read_model)?;
    let mut turns = read_all_turns(&top, &extras)?;
    let tools = top.optional("tools", |raw| read_tools(raw, &extras))?.unwrap_or_default();
    let (tool_choice, parallel_tools) =
        top.optional("tool_choice", |raw| read_choice(raw, &tools, &extras))?.unwrap_or_default();
    let max_tokens = match max_tokens {
        MaxTokens::Required => Some(top.required("max_tokens", read_tokens())?),
        MaxTokens::Optional => top.optional("max_tokens", read_tokens())?,
    };
    if let Some(mark) = top.optional("cache_control", read_cache)? {
        mark_last(&mut turns, mark);
    }
    let mut thinking = top.optional("thinking", |raw| read_thinking(raw, &extras))?.unwrap_or_default();
    let config = top.optional("output_config", |raw| read_output_config(raw, &extras))?.unwrap_or_default();
    thinking.effort = config.effort;
    // The older place of the same member; the API still takes it.
    let format = top.optional("output_format", |raw| read_format(raw, "output_format.", &extras))?;
    let call = Call {
        model,
        turns,
        tools,
        tool_choice,
        parallel_tools,
        sampling: read_sampling(&top)?,
        max_tokens,
        stop: top.optional("stop_sequences", read_stop)?.unwrap_or_default(),
        format: config.format.or(format).unwrap_or_default(),
        thinking,
        stream: top.optional("stream", read::boolean)?.unwrap_or_default(),
        user: top.optional("metadata", |raw| read_user(raw, &extras))?.flatten(),
        ..Call::default()
    };
    extras.keep("", &top, &KNOWN);
    Ok(Call { extras: extras.into_inner(), ..call })
}

/// Reads `cache_control`.
pub(super) fn read_cache(raw: &RawValue) -> Result<CacheMark, ParseError> {
    let control = Object::read(raw)?;
    if control.required("type", read::string)? != "ephemeral" {
        return Err(ParseError::bad_value("must be `ephemeral`").under_key("type"));
    }
    match control.optional("ttl", read::string)?.as_deref() {
        None | Some("5m") => Ok(CacheMark::Default),
        Some("1h") => Ok(CacheMark::OneHour),
        Some(_) => Err(ParseError::bad_value("must be `5m` or `1h`").under_key("ttl")),
    }
}

fn read_all_turns(top: &Object<'_>, extras: &Extras) -> Result<Vec<Turn>, ParseError> {
    let system = top.optional("system", |raw| read_system(raw, extras))?.unwrap_or_default();
    let messages = top.required("messages", |raw| read_turns(raw, extras))?;
    let instructions = (!system.is_empty()).then(|| Turn::new(Role::System, system));
    Ok(instructions.into_iter().chain(messages).collect())
}

fn read_model(raw: &RawValue) -> Result<String, ParseError> {
    let model = read::non_empty_string(raw)?;
    if model.len() > MODEL_BYTES_MAX {
        return Err(ParseError::bad_value(format!("must have at most {MODEL_BYTES_MAX} bytes")));
    }
    Ok(model)
}

fn read_sampling(top: &Object<'_>) -> Result<Sampling, ParseError> {
    Ok(Sampling {
        temperature: top.optional("temperature", read::number(0.0..=1.0))?,
        top_p: top.optional("top_p", read::number(0.0..=1.0))?,
        top_k: top.optional("top_k", read::count(0..=u32::MAX))?,
        ..Sampling::default()
    })
}

/// Reads a number of tokens, at least 1: the API's 0, which only fills its cache, has no counterpart elsewhere.
fn read_tokens() -> impl Fn(&RawValue) -> Result<u32, ParseError> {
    read::count(1..=u32::MAX)
}

fn read_stop(raw: &RawValue) -> Result<Vec<String>, ParseError> {
    let stop = read::each(raw, read::non_empty_string)?;
    if stop.len() > STOP_MAX {
        return Err(ParseError::bad_value(format!("must have at most {STOP_MAX} elements")));
    }
    Ok(stop)
}

fn read_user(raw: &RawValue, extras: &Extras) -> Result<Option<String>, ParseError> {
    let metadata = Object::read(raw)?;
    extras.keep("metadata.", &metadata, &["user_id"]);
    metadata.optional("user_id", read::string)
}

fn read_thinking(raw: &RawValue, extras: &Extras) -> Result<Thinking, ParseError> {
    let thinking = Object::read(raw)?;
    extras.keep("thinking.", &thinking, &["type", "budget_tokens", "display"]);
    let budget_tokens = match thinking.required("type", read::string)?.as_str() {
        "enabled" => Some(thinking.required("budget_tokens", read_tokens())?),
        "adaptive" => None,
        "disabled" => return Ok(Thinking { enabled: Some(false), ..Thinking::default() }),
        _ => {
            return Err(
                ParseError::bad_value("must be `enabled`, `adaptive` or `disabled`").under_key("type")
            );
        }
    };
    let summary = match thinking.optional("display", read::string)?.as_deref() {
        // The documented default: thoughts come as a summary.
        None | Some("summarized") => Some("auto".to_owned()),
        Some("omitted") => None,
        Some(_) => {
            return Err(ParseError::bad_value("must be `summarized` or `omitted`").under_key("display"));
        }
    };
    Ok(Thinking { effort: None, budget_tokens, enabled: Some(true), summary })
}

#[derive(Default)]
struct OutputConfig {
    effort: Option<Effort>,
    format: Option<Format>,
}

fn read_output_config(raw: &RawValue, extras: &Extras) -> Result<OutputConfig, ParseError> {
    let config = Object::read(raw)?;
    extras.keep("output_config.", &config, &["effort", "format"]);
    Ok(OutputConfig {
        effort: config.optional("effort", read_effort)?,
        format: config.optional("format", |raw| read_format(raw, "output_config.format.", extras))?,
    })
}

fn read_effort(raw: &RawValue) -> Result<Effort, ParseError> {
    let effort = Effort::from_word(&read::string(raw)?).filter(|effort| *effort >= Effort::Low);
    effort.ok_or_else(|| ParseError::bad_value("must be `low`, `medium`, `high`, `xhigh` or `max`"))
}

fn read_format(raw: &RawValue, prefix: &str, extras: &Extras) -> Result<Format, ParseError> {
    let format = Object::read(raw)?;
    let kind = format.required("type", read::string)?;
    if kind != "json_schema" {
        return Ok(Format::Other { kind, json: raw.get().to_owned() });
    }
    extras.keep(prefix, &format, &["type", "schema"]);
    let schema = format.required("schema", |raw| {
        Object::read(raw)?;
        read::value(raw)
    })?;
    // Not `strict`: that word obliges a schema elsewhere to rules that this API does not have, such as no optional
    // members, and a schema that breaks them would be refused.
    Ok(Format::JsonSchema { name: SCHEMA_NAME.to_owned(), description: None, schema, strict: None })
}

/// Marks what the API marks when the whole request asks for caching: the last block.
fn mark_last(turns: &mut [Turn], mark: CacheMark) {
    let last = turns.iter_mut().rev().find_map(|turn| turn.blocks.last_mut());
    if let Some(block) = last {
        block.cache = block.cache.or(Some(mark));
    }
}
