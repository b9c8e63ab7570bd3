//! The tools of a request, and how the model is to choose among them.

use serde_json::value::RawValue;

use super::extras::Extras;
use super::request::read_cache;
use crate::ParseError;
use crate::call::{Tool, ToolChoice, ToolKind};
use crate::json::read::{self, Object};

pub(super) fn read_tools(raw: &RawValue, extras: &Extras) -> Result<Vec<Tool>, ParseError> {
    read::each(raw, |raw| read_tool(raw, extras))
}

fn read_tool(raw: &RawValue, extras: &Extras) -> Result<Tool, ParseError> {
    let tool = Object::read(raw)?;
    let kind = tool.optional("type", read::string)?;
    let cache = tool.optional("cache_control", read_cache)?;
    if let Some(kind) = kind.filter(|kind| kind != "custom") {
        let name = tool.optional("name", read::non_empty_string)?.unwrap_or_else(|| kind.clone());
        let kind = ToolKind::Hosted { kind, json: raw.get().to_owned() };
        return Ok(Tool { name, description: None, kind, cache });
    }
    extras.keep(
        "tools[].",
        &tool,
        &["type", "name", "description", "input_schema", "strict", "cache_control"],
    );
    let parameters = tool.required("input_schema", |raw| {
        Object::read(raw)?;
        read::value(raw)
    })?;
    Ok(Tool {
        name: tool.required("name", read::non_empty_string)?,
        description: tool.optional("description", read::string)?,
        kind: ToolKind::Function { parameters, strict: tool.optional("strict", read::boolean)? },
        cache,
    })
}

/// Reads `tool_choice`, with which the dialect also says whether several tools may be called at once.
pub(super) fn read_choice(
    raw: &RawValue,
    tools: &[Tool],
    extras: &Extras,
) -> Result<(ToolChoice, Option<bool>), ParseError> {
    let choice = Object::read(raw)?;
    extras.keep("tool_choice.", &choice, &["type", "name", "disable_parallel_tool_use"]);
    let kind = choice.required("type", read::string)?;
    let chosen = match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" if tools.is_empty() => {
            return Err(ParseError::bad_value("asks for a tool, but `tools` is absent or empty"));
        }
        "any" => ToolChoice::Required,
        "tool" => ToolChoice::Named(choice.required("name", |raw| read_offered_name(raw, tools))?),
        _ => return Err(ParseError::bad_value("must be `auto`, `any`, `tool` or `none`").under_key("type")),
    };
    let is_disabled = choice.optional("disable_parallel_tool_use", read::boolean)?;
    Ok((chosen, is_disabled.map(|is_disabled| !is_disabled)))
}

fn read_offered_name(raw: &RawValue, tools: &[Tool]) -> Result<String, ParseError> {
    let wanted = read::string(raw)?;
    if tools.iter().any(|tool| tool.name == wanted) {
        return Ok(wanted);
    }
    Err(ParseError::bad_value("must name a tool of `tools`"))
}
