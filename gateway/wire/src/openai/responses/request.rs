//! The body of `POST /v1/responses`, read into a call.
//!
//! `POST /v1/responses/input_tokens` takes a part of the same fields, so it is read here too. Deliberately absent:
//! the store that `previous_response_id` speaks of; see [`continued`](super::continued).

use serde_json::value::RawValue;

use super::extras::Extras;
use super::input::Conversation;
use super::tools::read_choice;
use crate::ParseError;
use crate::call::{Block, Call, Effort, Format, Role, Sampling, Thinking, Turn};
use crate::json::read::{self, Object};
use crate::request::read_model;

/// Most alternatives for each token.
const TOP_LOGPROBS_MAX: u32 = 20;

/// The fields that are read; all others are extras.
const KNOWN: [&str; 18] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "store",
    "stream",
    "user",
    "safety_identifier",
    "include",
    "background",
];

/// Values that are what the API does without them; saying so asks for nothing.
const DEFAULTS: [(&str, &[&str]); 4] = [
    ("truncation", &[r#""disabled""#]),
    ("service_tier", &[r#""auto""#, r#""default""#]),
    ("metadata", &["{}"]),
    ("stream_options", &["{}", r#"{"include_obfuscation":false}"#]),
];

/// Reads a request body that has been [checked](crate::json::check).
///
/// # Errors
/// Returns the first missing or wrong value among the fields that are known here.
pub fn read_call(body: &[u8]) -> Result<Call, ParseError> {
    let top = Object::read_document(body)?;
    refuse_background(&top)?;
    let mut extras = Extras::default();
    let mut conversation = Conversation::default();
    let model = top.required("model", read_model)?;
    let instructions = top.optional("instructions", read::string)?.filter(|text| !text.is_empty());
    let own_instructions = usize::from(instructions.is_some());
    conversation.turns.extend(instructions.map(|text| Turn::new(Role::System, vec![Block::text(text)])));
    top.optional("tools", |raw| conversation.toolbox.read(raw, &mut extras))?;
    if top.optional("input", |raw| conversation.read_input(raw, &mut extras))?.is_none() {
        require_other_input(&top)?;
    }
    let Conversation { turns, toolbox } = conversation;
    let tool_choice = top.optional("tool_choice", |raw| read_choice(raw, &toolbox, &mut extras))?;
    let format = top.optional("text", |raw| read_text(raw, &mut extras))?;
    let thinking = top.optional("reasoning", |raw| read_reasoning(raw, &mut extras))?;
    let wants_logprobs = top.optional("include", |raw| read_include(raw, &mut extras))?;
    // The newer name of the same fact comes first.
    let safety_identifier = top.optional("safety_identifier", read::string)?;
    keep_unknown(&top, &mut extras);
    Ok(Call {
        model,
        turns,
        own_instructions,
        tools: toolbox.tools,
        namespaces: toolbox.namespaces,
        tool_choice: tool_choice.unwrap_or_default(),
        parallel_tools: top.optional("parallel_tool_calls", read::boolean)?,
        sampling: read_sampling(&top, wants_logprobs == Some(true))?,
        max_tokens: top.optional("max_output_tokens", read::count(1..=u32::MAX))?,
        format: format.unwrap_or_default(),
        thinking: thinking.unwrap_or_default(),
        stream: top.optional("stream", read::boolean)?.unwrap_or(false),
        user: safety_identifier.or(top.optional("user", read::string)?),
        store: top.optional("store", read::boolean)?,
        extras: extras.into_fields(),
        ..Call::default()
    })
}

/// Reads which stored answer the request continues, and nothing else of it.
///
/// # Errors
/// Returns that the field is no string or empty.
pub fn previous_response_id(body: &[u8]) -> Result<Option<String>, ParseError> {
    Object::read_document(body)?.optional("previous_response_id", read::non_empty_string)
}

fn refuse_background(top: &Object<'_>) -> Result<(), ParseError> {
    if top.optional("background", read::boolean)? == Some(true) {
        let reason =
            "answers in the background are not offered; leave it out and take the answer of this request";
        return Err(ParseError::bad_value(reason).under_key("background"));
    }
    Ok(())
}

/// A request without input must at least go on with something.
fn require_other_input(top: &Object<'_>) -> Result<(), ParseError> {
    let others = ["previous_response_id", "conversation", "prompt"];
    if others.iter().any(|name| top.has(name)) {
        return Ok(());
    }
    Err(ParseError::missing().under_key("input"))
}

fn read_sampling(top: &Object<'_>, wants_logprobs: bool) -> Result<Sampling, ParseError> {
    let alternatives = top.optional("top_logprobs", read::count(0..=TOP_LOGPROBS_MAX))?;
    let alternatives = alternatives.and_then(|number| u8::try_from(number).ok());
    Ok(Sampling {
        temperature: top.optional("temperature", read::number(0.0..=2.0))?,
        top_p: top.optional("top_p", read::number(0.0..=1.0))?,
        logprobs: alternatives.or(wants_logprobs.then_some(0)),
        ..Sampling::default()
    })
}

fn read_text(raw: &RawValue, extras: &mut Extras) -> Result<Format, ParseError> {
    let text = Object::read(raw)?;
    text.optional("verbosity", read::string)?;
    // The middle is what the API does by itself.
    let is_default = text.written("verbosity").is_some_and(|raw| raw.get() == r#""medium""#);
    let known: &[&str] = if is_default { &["format", "verbosity"] } else { &["format"] };
    extras.keep_rest("text.", &text, known);
    Ok(text.optional("format", |raw| read_format(raw, extras))?.unwrap_or_default())
}

fn read_format(raw: &RawValue, extras: &mut Extras) -> Result<Format, ParseError> {
    let format = Object::read(raw)?;
    let kind = format.required("type", read::string)?;
    Ok(match kind.as_str() {
        "text" => Format::Text,
        "json_object" => Format::JsonObject,
        "json_schema" => {
            extras.keep_rest("text.format.", &format, &["type", "name", "description", "schema", "strict"]);
            Format::JsonSchema {
                name: format.required("name", read::non_empty_string)?,
                description: format.optional("description", read::string)?,
                schema: format.required("schema", |raw| {
                    Object::read(raw)?;
                    read::value(raw)
                })?,
                strict: format.optional("strict", read::boolean)?,
            }
        }
        _ => Format::Other { kind, json: raw.get().to_owned() },
    })
}

fn read_reasoning(raw: &RawValue, extras: &mut Extras) -> Result<Thinking, ParseError> {
    let reasoning = Object::read(raw)?;
    let mut known = vec!["effort", "summary", "generate_summary"];
    let word = reasoning.optional("effort", read::string)?;
    let effort = word.as_deref().and_then(Effort::from_word);
    if effort.is_none() {
        // A later word travels on as it is, to where it may be known.
        known.retain(|name| *name != "effort");
    }
    extras.keep_rest("reasoning.", &reasoning, &known);
    let summary = reasoning.optional("summary", read::string)?;
    let old_summary = reasoning.optional("generate_summary", read::string)?;
    Ok(Thinking { effort, budget_tokens: None, enabled: None, summary: summary.or(old_summary) })
}

/// Reads what is to be included; whether log-probabilities are.
fn read_include(raw: &RawValue, extras: &mut Extras) -> Result<bool, ParseError> {
    const SERVED: [&str; 2] = ["reasoning.encrypted_content", "message.output_text.logprobs"];
    let wanted = read::each(raw, read::string)?;
    if wanted.iter().any(|wanted| !SERVED.contains(&wanted.as_str())) {
        extras.keep("include".to_owned(), raw);
    }
    Ok(wanted.iter().any(|wanted| wanted == SERVED[1]))
}

fn keep_unknown(top: &Object<'_>, extras: &mut Extras) {
    let says_default = |name: &str| {
        let value = top.written(name).map(RawValue::get);
        DEFAULTS
            .iter()
            .any(|(field, defaults)| *field == name && value.is_some_and(|value| defaults.contains(&value)))
    };
    let silent: Vec<&str> = top.names().filter(|name| says_default(name)).chain(KNOWN).collect();
    extras.keep_rest("", top, &silent);
}
