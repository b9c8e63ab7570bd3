//! Tools as `toolConfig`.
//!
//! The API has no "none", and wants `toolConfig` as soon as the conversation has a call or a result in it. So tools that must
//! not be called are left out where they can be, and where they cannot, the model is free to call them and the choice is
//! reported as lost. `strict` is left out: AWS names it in its model, and most models refuse a call with it.

use serde_json::{Map, Value, json};

use super::content::Blocks;
use crate::anthropic::messages::abilities::Form;
use crate::call::{Call, Content, Tool, ToolChoice, ToolKind};

/// Longest id of a call, in bytes.
const ID_BYTES_MAX: usize = 64;

/// Writes the tools and the choice, if the call needs any.
pub(super) fn config(call: &Call, blocks: &mut Blocks<'_>) -> Option<Value> {
    let called = called_names(call);
    if call.tool_choice == ToolChoice::None && called.is_empty() {
        return None;
    }
    let is_forced = matches!(call.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
    let mut tools = Vec::with_capacity(call.tools.len());
    for tool in &call.tools {
        if let Some(spec) = spec(tool, blocks) {
            tools.push(json!({ "toolSpec": spec }));
            tools.extend(blocks.tool_cache_point(tool.cache));
        }
    }
    if tools.is_empty() {
        let unknown =
            |name| json!({ "toolSpec": { "name": name, "inputSchema": { "json": { "type": "object" } } } });
        tools = called.into_iter().map(unknown).collect();
    }
    if tools.is_empty() {
        if is_forced {
            blocks.lost.note("tool_choice");
        }
        return None;
    }
    let is_there = |name: &str| tools.iter().any(|tool| tool["toolSpec"]["name"] == name);
    let choice = match &call.tool_choice {
        ToolChoice::Auto => None,
        // Models that always think cannot be forced.
        _ if is_forced
            && blocks.family.abilities().is_some_and(|abilities| abilities.form == Form::Always) =>
        {
            None
        }
        ToolChoice::Required => Some(json!({ "any": {} })),
        ToolChoice::Named(name) if is_there(name) => Some(json!({ "tool": { "name": name } })),
        ToolChoice::Named(_) | ToolChoice::None => None,
    };
    if choice.is_none() && call.tool_choice != ToolChoice::Auto {
        blocks.lost.note("tool_choice");
    }
    let mut config = Map::new();
    config.insert("tools".to_owned(), Value::Array(tools));
    config.extend(choice.map(|choice| ("toolChoice".to_owned(), choice)));
    Some(Value::Object(config))
}

fn spec(tool: &Tool, blocks: &mut Blocks<'_>) -> Option<Value> {
    let schema = match &tool.kind {
        ToolKind::Function { parameters, strict } => {
            if *strict == Some(true) {
                blocks.lost.note("tools[].strict");
            }
            object_schema(parameters)
        }
        ToolKind::Custom { format } => {
            blocks.lost.note_if("tools[].format", format.as_ref());
            ToolKind::custom_as_parameters()
        }
        ToolKind::Hosted { kind, .. } => {
            blocks.lost.note(&format!("tools.{kind}"));
            return None;
        }
    };
    let mut spec = Map::new();
    spec.insert("name".to_owned(), json!(tool.name));
    if let Some(description) = tool.description.as_ref().filter(|text| !text.is_empty()) {
        spec.insert("description".to_owned(), json!(description));
    }
    spec.insert("inputSchema".to_owned(), json!({ "json": schema }));
    Some(Value::Object(spec))
}

/// The schema of arguments has to say that they are an object.
fn object_schema(parameters: &Value) -> Value {
    let mut schema = parameters.clone();
    if let Value::Object(members) = &mut schema {
        members.entry("type").or_insert_with(|| json!("object"));
    }
    schema
}

/// The tools that the conversation has called, each once, in order.
fn called_names(call: &Call) -> Vec<&str> {
    let mut names = Vec::new();
    for block in call.turns.iter().flat_map(|turn| &turn.blocks) {
        if let Content::ToolCall(call) = &block.content
            && !names.contains(&call.name.as_str())
        {
            names.push(call.name.as_str());
        }
    }
    names
}

/// Returns an id that the API accepts: itself, or if it has other characters or is too long, one of the same beginning
/// that no other id becomes by accident.
pub(super) fn id(id: &str) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.:-".contains(character);
    if id.len() <= ID_BYTES_MAX && !id.is_empty() && id.chars().all(allowed) {
        return id.to_owned();
    }
    let kept = id.chars().take(ID_BYTES_MAX - "-00000000".len());
    let kept: String = kept.map(|character| if allowed(character) { character } else { '_' }).collect();
    format!("{kept}-{:08x}", crc32fast::hash(id.as_bytes()))
}
