//! Tools as `tools` and `toolConfig`.

use serde_json::{Map, Value, json};

use super::schema;
use crate::call::{Call, Lost, Tool, ToolChoice, ToolKind};

/// Adds the tools and the choice to `body`.
pub(super) fn write(call: &Call, body: &mut Map<String, Value>, lost: &mut Lost) {
    let declarations: Vec<Value> = call.tools.iter().filter_map(|tool| declaration(tool, lost)).collect();
    let is_there = |name: &str| declarations.iter().any(|declaration| declaration["name"] == name);
    let is_met = match &call.tool_choice {
        ToolChoice::Auto | ToolChoice::None => true,
        ToolChoice::Required => !declarations.is_empty(),
        ToolChoice::Named(name) => is_there(name),
    };
    if !is_met {
        lost.note("tool_choice");
    }
    if declarations.is_empty() {
        return;
    }
    body.insert("tools".to_owned(), json!([{ "functionDeclarations": declarations }]));
    let config = match &call.tool_choice {
        _ if !is_met => return,
        ToolChoice::Auto => return,
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Named(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
    };
    body.insert("toolConfig".to_owned(), json!({ "functionCallingConfig": config }));
}

fn declaration(tool: &Tool, lost: &mut Lost) -> Option<Value> {
    lost.note_if("cache_control", tool.cache.as_ref());
    let parameters = match &tool.kind {
        ToolKind::Function { parameters, strict } => {
            if *strict == Some(true) {
                lost.note("tools[].strict");
            }
            schema::parameters(parameters)
        }
        ToolKind::Custom { format } => {
            lost.note_if("tools[].format", format.as_ref());
            Some(ToolKind::custom_as_parameters())
        }
        ToolKind::Hosted { kind, .. } => {
            lost.note(&format!("tools.{kind}"));
            return None;
        }
    };
    let mut written = Map::new();
    written.insert("name".to_owned(), json!(tool.name));
    written.extend(tool.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
    written.extend(parameters.map(|parameters| ("parametersJsonSchema".to_owned(), parameters)));
    Some(Value::Object(written))
}
