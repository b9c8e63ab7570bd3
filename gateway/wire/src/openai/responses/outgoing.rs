//! A call of another dialect, written as a request of this API.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::kinds::is_hosted_tool;
use super::object::KnownFormat;
use super::outgoing_input::{Instructions, Item, write_turns};
use super::tool_body::{ChoiceBody, ToolBody};
use crate::call::{
    Call, Effort, Format, Lost, Outgoing, Sampling, Target, Thinking, Tool, ToolChoice, ToolKind,
    Untranslatable,
};
use crate::openai::error::to_json;

/// The fewest tokens that the API lets an answer have.
const MAX_OUTPUT_TOKENS_MIN: u32 = 16;

/// Longest id of a user that the API accepts.
const USER_BYTES_MAX: usize = 64;

/// Whose implementation of the API a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The API's owner, or a cloud that serves the owner's models: custom and hosted tools are known.
    OpenAi,
    /// A server of open models, such as vLLM: functions are the only tools.
    Compatible,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChoiceBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<ReasoningBody<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_retention: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    store: bool,
    stream: bool,
}

#[derive(Serialize)]
struct TextBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<KnownFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a RawValue>,
}

/// Extras that the API's owner takes, whichever of its dialects they come from.
#[derive(Default)]
struct Carried<'a> {
    verbosity: Option<&'a RawValue>,
    prompt_cache_key: Option<&'a RawValue>,
    prompt_cache_retention: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ReasoningBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
}

/// Writes `call` for `target`.
///
/// Nothing is stored by the provider unless the caller said so. Reasoning is asked for in the sealed form that can be
/// sent back without a store.
///
/// # Errors
/// Returns what of the call has no counterpart and would make the answer one to another question.
pub fn write_call(call: &Call, target: Target<'_>, host: Host) -> Result<Outgoing, Untranslatable> {
    let mut lost = Lost::default();
    let carried = Carried::of(call, host, &mut lost);
    lose_settings(call, &mut lost);
    if call.choices.is_some_and(|choices| choices > 1) {
        return Err(Untranslatable::new(
            "n",
            "the model's API gives one answer to a request; ask again for another",
        ));
    }
    let tools = write_tools(&call.tools, host, &mut lost);
    let tool_choice = write_choice(call, &tools, host)?;
    let Instructions { text: instructions, input } = write_turns(call, target, host, &mut lost);
    let thinks = thinks(&call.thinking);
    let body = Body {
        model: target.model,
        instructions,
        input,
        tool_choice,
        parallel_tool_calls: call.parallel_tools.filter(|_| !tools.is_empty()),
        tools,
        text: write_text(&call.format, carried.verbosity, &mut lost),
        reasoning: write_thinking(&call.thinking, &mut lost),
        include: if thinks && host == Host::OpenAi { &["reasoning.encrypted_content"] } else { &[] },
        max_output_tokens: write_max_tokens(call.max_tokens, host, &mut lost),
        temperature: unusual(call.sampling.temperature, host),
        top_p: unusual(call.sampling.top_p, host),
        prompt_cache_key: carried.prompt_cache_key,
        prompt_cache_retention: carried.prompt_cache_retention,
        user: write_user(call.user.as_deref(), &mut lost),
        store: call.store == Some(true),
        stream: call.stream,
    };
    Ok(Outgoing { body: to_json(&body), lost })
}

fn lose_settings(call: &Call, lost: &mut Lost) {
    let Sampling { top_k, min_p, frequency_penalty, presence_penalty, seed, logprobs, .. } = &call.sampling;
    lost.note_if("top_k", top_k.as_ref());
    lost.note_if("min_p", min_p.as_ref());
    lost.note_if("frequency_penalty", frequency_penalty.as_ref());
    lost.note_if("presence_penalty", presence_penalty.as_ref());
    lost.note_if("seed", seed.as_ref());
    lost.note_if("logprobs", logprobs.as_ref());
    lost.note_if("stop", call.stop.first());
}

fn write_tools<'a>(tools: &'a [Tool], host: Host, lost: &mut Lost) -> Vec<ToolBody<'a>> {
    let mut bodies = Vec::with_capacity(tools.len());
    for tool in tools {
        let description = tool.description.as_deref();
        lost.note_if("cache_control", tool.cache.as_ref());
        match (&tool.kind, host) {
            (ToolKind::Function { parameters, strict }, _) => {
                // Without a word the API makes schemas strict, and refuses those that cannot be.
                let strict = Some(strict.unwrap_or(false));
                bodies.push(match completed(parameters) {
                    Some(schema) => ToolBody::function(&tool.name, description, schema, strict),
                    None => ToolBody::function(&tool.name, description, parameters, strict),
                });
            }
            (ToolKind::Custom { format }, Host::Compatible) => {
                lost.note_if("tools[].format", format.as_ref());
                let schema = ToolKind::custom_as_parameters();
                bodies.push(ToolBody::function(&tool.name, description, schema, Some(false)));
            }
            (ToolKind::Hosted { kind, .. }, _) if host == Host::Compatible || !is_hosted_tool(kind) => {
                lost.note(&format!("tools.{kind}"));
            }
            (ToolKind::Custom { .. } | ToolKind::Hosted { .. }, _) => {
                bodies.extend(ToolBody::new(&tool.name, tool));
            }
        }
    }
    bodies
}

/// Returns the schema of a function with the members that the API demands, if it lacks one.
fn completed(parameters: &Value) -> Option<Value> {
    let object = parameters.as_object()?;
    if object.contains_key("type") && object.contains_key("properties") {
        return None;
    }
    let mut object = object.clone();
    object.entry("type").or_insert_with(|| Value::from("object"));
    if object["type"] == "object" {
        object.entry("properties").or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    Some(Value::Object(object))
}

fn write_choice<'a>(
    call: &'a Call,
    tools: &[ToolBody<'_>],
    host: Host,
) -> Result<Option<ChoiceBody<'a>>, Untranslatable> {
    let unmet = || Untranslatable::new("tool_choice", "demands a tool that the model's API does not have");
    match &call.tool_choice {
        ToolChoice::Auto | ToolChoice::None if tools.is_empty() => Ok(None),
        ToolChoice::Required if tools.is_empty() => Err(unmet()),
        ToolChoice::Named(name) => match call.tool(name).map(|tool| &tool.kind) {
            Some(ToolKind::Custom { .. }) if host == Host::Compatible => Ok(Some(ChoiceBody::function(name))),
            Some(ToolKind::Hosted { kind, .. }) if host == Host::Compatible || !is_hosted_tool(kind) => {
                Err(unmet())
            }
            _ => Ok(Some(ChoiceBody::new(call))),
        },
        _ => Ok(Some(ChoiceBody::new(call))),
    }
}

impl<'a> Carried<'a> {
    /// Finds them among the extras of `call`; all others are lost.
    fn of(call: &'a Call, host: Host, lost: &mut Lost) -> Self {
        let mut carried = Self::default();
        for extra in call.extras.iter().filter(|extra| extra.says_something()) {
            let place = match extra.name.as_str() {
                "text.verbosity" | "verbosity" => &mut carried.verbosity,
                "prompt_cache_key" => &mut carried.prompt_cache_key,
                "prompt_cache_retention" => &mut carried.prompt_cache_retention,
                name => {
                    lost.note(name);
                    continue;
                }
            };
            if host == Host::OpenAi {
                *place = as_written(&extra.json);
            } else {
                lost.note(&extra.name);
            }
        }
        carried
    }
}

fn write_text<'a>(
    format: &'a Format,
    verbosity: Option<&'a RawValue>,
    lost: &mut Lost,
) -> Option<TextBody<'a>> {
    let format = match format {
        Format::Text => None,
        Format::JsonObject | Format::JsonSchema { .. } => KnownFormat::new(format),
        Format::Other { .. } => {
            lost.note("response_format");
            None
        }
    };
    (format.is_some() || verbosity.is_some()).then_some(TextBody { format, verbosity })
}

/// Whether reasoning was asked for; a model that was not asked may have none, and then refuses to include it.
fn thinks(thinking: &Thinking) -> bool {
    match thinking.effort_or_budget() {
        Some(effort) => effort != Effort::None,
        None => thinking.enabled == Some(true),
    }
}

fn write_thinking<'a>(thinking: &'a Thinking, lost: &mut Lost) -> Option<ReasoningBody<'a>> {
    let effort = match (thinking.effort, thinking.effort_or_budget()) {
        // Models that cannot do without refuse to be told so, and the others refuse to be told anything.
        (None | Some(Effort::None), Some(Effort::None)) if thinking.enabled == Some(false) => {
            lost.note("thinking");
            None
        }
        // A budget says no word that each model knows, so one is chosen that all of them do.
        (None, budget) => budget.map(|effort| effort.clamp(Effort::Low, Effort::High)),
        (Some(_), effort) => effort,
    };
    // Who switches thinking on, or gives it a budget, speaks a dialect that shows it.
    let shows = thinks(thinking) && (thinking.enabled == Some(true) || thinking.budget_tokens.is_some());
    let summary = thinking.summary.as_deref().or(shows.then_some("auto"));
    let effort = effort.map(Effort::as_str);
    (effort.is_some() || summary.is_some()).then_some(ReasoningBody { effort, summary })
}

fn write_max_tokens(max_tokens: Option<u32>, host: Host, lost: &mut Lost) -> Option<u32> {
    let least = if host == Host::OpenAi { MAX_OUTPUT_TOKENS_MIN } else { 1 };
    if max_tokens.is_some_and(|tokens| tokens < least) {
        lost.note("max_tokens");
    }
    max_tokens.map(|tokens| tokens.max(least))
}

/// Leaves out what the API's owner does anyway: some of its models refuse to be told even that. Servers of open models
/// have other defaults.
fn unusual(value: Option<f64>, host: Host) -> Option<f64> {
    value.filter(|value| host == Host::Compatible || (value - 1.0).abs() > f64::EPSILON)
}

/// An agent's own id of its user can be longer than the API accepts, and a part of it would be another user.
fn write_user<'a>(user: Option<&'a str>, lost: &mut Lost) -> Option<&'a str> {
    let short = user.filter(|user| user.len() <= USER_BYTES_MAX);
    if user != short {
        lost.note("user");
    }
    short
}

/// Returns the names of the custom tools of `call` that `host` knows as such.
pub(super) fn custom_tools(call: &Call, host: Host) -> HashSet<&str> {
    let is_custom = |tool: &&Tool| matches!(tool.kind, ToolKind::Custom { .. }) && host == Host::OpenAi;
    call.tools.iter().filter(is_custom).map(|tool| tool.name.as_str()).collect()
}

/// Returns JSON of the caller's as it was written, if it is any.
pub(super) fn as_written(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}
