//! A [`Call`] as the body of a chat completions request, for one of the servers that take such.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::compat::{Choosing, Compat, Control, Server};
use super::write_message::write_turns;
use crate::call::{
    Call, Effort, Format, Lost, Outgoing, Sampling, Target, Tool, ToolChoice, ToolKind, Untranslatable,
};
use crate::openai::error::to_json;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<super::write_message::Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(flatten)]
    settings: Map<String, Value>,
}

/// Writes `call` for the model `target` of `server`.
///
/// # Errors
/// Returns what the server has no place for, where leaving it out would change the question.
pub fn write_call(call: &Call, target: Target<'_>, server: Server) -> Result<Outgoing, Untranslatable> {
    let compat = server.compat();
    let mut lost = Lost::default();
    call.lose_extras(&mut lost);
    let messages = write_turns(call, &compat, &mut lost)?;
    let is_offered = |tool: &&Tool| match (compat.choice, &call.tool_choice) {
        // What cannot be demanded or forbidden in words is what alone is on offer, or is not on offer.
        (Choosing::Words, ToolChoice::Named(name)) => tool.name == *name,
        (Choosing::Not, ToolChoice::None) => false,
        _ => true,
    };
    let offered = call.tools.iter().filter(is_offered);
    let tools: Vec<Value> = offered.filter_map(|tool| write_tool(tool, &compat, &mut lost)).collect();
    let settings = write_settings(call, &compat, !tools.is_empty(), &mut lost);
    Ok(Outgoing { body: to_json(&Body { model: target.model, messages, tools, settings }), lost })
}

fn write_settings(call: &Call, compat: &Compat, has_tools: bool, lost: &mut Lost) -> Map<String, Value> {
    let mut settings = Settings { members: Map::new(), lost };
    settings.put("stream", call.stream.then_some(true));
    if call.stream && compat.stream_options {
        settings.put("stream_options", Some(json!({ "include_usage": true })));
    }
    settings.put(compat.max_tokens, call.max_tokens);
    settings.put("stop", (!call.stop.is_empty()).then(|| call.stop.clone()));
    settings.put_if(compat.several, "n", call.choices.filter(|choices| *choices > 1));
    if has_tools {
        settings.put_if(compat.choice != Choosing::Not, "tool_choice", write_choice(call, compat));
        settings.put_if(compat.parallel_tool_calls, "parallel_tool_calls", call.parallel_tools);
    }
    settings.put_if(compat.takes_user, "user", call.user.clone());
    // Where nothing is ever kept, "do not keep it" is kept by itself.
    settings.put_if(compat.stores, "store", call.store.filter(|keep| *keep || compat.stores));
    settings.sampling(&call.sampling, compat);
    settings.effort(call, compat);
    settings.format(&call.format, compat);
    settings.members
}

/// The members of the body in the making.
struct Settings<'a> {
    members: Map<String, Value>,
    lost: &'a mut Lost,
}

impl Settings<'_> {
    fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.members.insert(name.to_owned(), value.into());
        }
    }

    fn put_if(&mut self, takes: bool, name: &str, value: Option<impl Into<Value>>) {
        if takes {
            self.put(name, value);
        } else {
            self.lost.note_if(name, value.as_ref());
        }
    }

    fn sampling(&mut self, sampling: &Sampling, compat: &Compat) {
        self.put("temperature", sampling.temperature);
        self.put("top_p", sampling.top_p);
        self.put("frequency_penalty", sampling.frequency_penalty);
        self.put("presence_penalty", sampling.presence_penalty);
        self.put_if(compat.samples_widely, "top_k", sampling.top_k);
        self.put_if(compat.samples_widely, "min_p", sampling.min_p);
        self.put_if(compat.seed.is_some(), compat.seed.unwrap_or("seed"), sampling.seed);
        self.put_if(compat.logprobs, "logprobs", sampling.logprobs.map(|_| true));
        if compat.logprobs {
            self.put("top_logprobs", sampling.logprobs.filter(|alternatives| *alternatives > 0));
        }
    }

    fn effort(&mut self, call: &Call, compat: &Compat) {
        let effort = call.thinking.effort_or_budget();
        match compat.thinking {
            Control::Effort(most) => {
                self.put("reasoning_effort", effort.map(|effort| effort.min(most).as_str()));
            }
            Control::Switch if effort == Some(Effort::None) => {
                self.put("thinking", Some(json!({ "type": "disabled" })));
            }
            Control::Switch => self.put("reasoning_effort", effort.map(Effort::as_str)),
            Control::Not => self.lost.note_if("reasoning_effort", effort.as_ref()),
        }
        self.lost.note_if("reasoning.summary", call.thinking.summary.as_ref());
    }

    fn format(&mut self, format: &Format, compat: &Compat) {
        match format {
            Format::Text => {}
            Format::JsonObject => self.put("response_format", Some(json!({ "type": "json_object" }))),
            Format::JsonSchema { .. } if !compat.takes_schema => {
                // The nearest that there is: JSON, of a form that is only asked for.
                self.put("response_format", Some(json!({ "type": "json_object" })));
                self.lost.note("response_format.json_schema");
            }
            Format::JsonSchema { name, description, schema, strict } => {
                let mut named = Map::new();
                named.insert("name".to_owned(), json!(name));
                named.extend(description.as_ref().map(|text| ("description".to_owned(), json!(text))));
                named.insert("schema".to_owned(), schema.clone());
                named.extend(strict.map(|strict| ("strict".to_owned(), json!(strict))));
                self.put("response_format", Some(json!({ "type": "json_schema", "json_schema": named })));
            }
            Format::Other { json, .. } => {
                self.put("response_format", serde_json::from_str::<Value>(json).ok());
            }
        }
    }
}

fn write_choice(call: &Call, compat: &Compat) -> Option<Value> {
    match &call.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Named(_) if compat.choice == Choosing::Words => Some(json!("required")),
        ToolChoice::Named(name) => {
            let is_custom = call.tool(name).is_some_and(|tool| matches!(tool.kind, ToolKind::Custom { .. }));
            let kind = if is_custom && compat.custom_tools { "custom" } else { "function" };
            Some(json!({ "type": kind, kind: { "name": name } }))
        }
    }
}

fn write_tool(tool: &Tool, compat: &Compat, lost: &mut Lost) -> Option<Value> {
    lost.note_if("cache_control", tool.cache.as_ref());
    match &tool.kind {
        ToolKind::Function { parameters, strict } => Some(function(tool, parameters, *strict)),
        ToolKind::Custom { format } if compat.custom_tools => {
            let mut custom = Map::new();
            custom.insert("name".to_owned(), json!(tool.name));
            custom.extend(tool.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
            let format = format.as_deref().and_then(|format| serde_json::from_str::<Value>(format).ok());
            custom.extend(format.map(|format| ("format".to_owned(), chat_format(format))));
            Some(json!({ "type": "custom", "custom": custom }))
        }
        ToolKind::Custom { format } => {
            lost.note_if("tools[].format", format.as_ref());
            Some(function(tool, &ToolKind::custom_as_parameters(), None))
        }
        ToolKind::Hosted { kind, .. } => {
            lost.note(&format!("tools.{kind}"));
            None
        }
    }
}

fn function(tool: &Tool, parameters: &Value, strict: Option<bool>) -> Value {
    let mut function = Map::new();
    function.insert("name".to_owned(), json!(tool.name));
    function.extend(tool.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
    function.insert("parameters".to_owned(), parameters.clone());
    function.extend(strict.map(|strict| ("strict".to_owned(), json!(strict))));
    json!({ "type": "function", "function": function })
}

/// A grammar stands one level deeper here than in the Responses API.
fn chat_format(mut format: Value) -> Value {
    let is_flat_grammar = format["type"] == "grammar" && format.get("grammar").is_none();
    if !is_flat_grammar {
        return format;
    }
    if let Some(members) = format.as_object_mut() {
        members.remove("type");
    }
    json!({ "type": "grammar", "grammar": format })
}

/// Returns JSON that was written by a caller, if it still is JSON.
pub(super) fn raw(json: &str) -> Option<Cow<'_, RawValue>> {
    serde_json::from_str::<&RawValue>(json).ok().map(Cow::Borrowed)
}
