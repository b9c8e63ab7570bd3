//! Tools: what the caller offers, which of it the model must use, and the calls in the history.

use serde_json::value::RawValue;

use crate::ParseError;
use crate::call::{Tool, ToolCall, ToolChoice, ToolKind};
use crate::json::read::{self, Object};

pub(super) fn read_tools(raw: &RawValue) -> Result<Vec<Tool>, ParseError> {
    read::each(raw, read_tool)
}

fn read_tool(raw: &RawValue) -> Result<Tool, ParseError> {
    let tool = Object::read(raw)?;
    let kind = tool.required("type", read::string)?;
    match kind.as_str() {
        "function" => tool.required("function", read_function),
        "custom" => tool.required("custom", read_custom),
        _ => {
            let json = raw.get().to_owned();
            Ok(Tool {
                name: kind.clone(),
                description: None,
                kind: ToolKind::Hosted { kind, json },
                cache: None,
            })
        }
    }
}

fn read_function(raw: &RawValue) -> Result<Tool, ParseError> {
    let function = Object::read(raw)?;
    function.optional("parameters", Object::read)?;
    let parameters = function.optional("parameters", read::value)?;
    Ok(Tool {
        name: function.required("name", read::non_empty_string)?,
        description: function.optional("description", read::string)?,
        kind: ToolKind::Function {
            parameters: parameters.unwrap_or_else(|| serde_json::json!({})),
            strict: function.optional("strict", read::boolean)?,
        },
        cache: None,
    })
}

fn read_custom(raw: &RawValue) -> Result<Tool, ParseError> {
    let custom = Object::read(raw)?;
    Ok(Tool {
        name: custom.required("name", read::non_empty_string)?,
        description: custom.optional("description", read::string)?,
        kind: ToolKind::Custom { format: custom.optional("format", |raw| Ok(raw.get().to_owned()))? },
        cache: None,
    })
}

/// Reads the choice; a kind that only this API knows comes back as its JSON.
pub(super) fn read_choice(raw: &RawValue, tools: &[Tool]) -> Result<Result<ToolChoice, String>, ParseError> {
    if let Ok(word) = read::string(raw) {
        return match word.as_str() {
            "auto" => Ok(Ok(ToolChoice::Auto)),
            "none" => Ok(Ok(ToolChoice::None)),
            "required" if tools.is_empty() => Err(no_tools()),
            "required" => Ok(Ok(ToolChoice::Required)),
            _ => Err(ParseError::bad_value("must be `auto`, `none`, `required` or an object")),
        };
    }
    let choice = Object::read(raw).map_err(|_| {
        ParseError::wrong_type("`auto`, `none`, `required` or an object", read::type_name(raw))
    })?;
    let kind = choice.required("type", read::string)?;
    if kind != "function" && kind != "custom" {
        return Ok(Err(raw.get().to_owned()));
    }
    if tools.is_empty() {
        return Err(no_tools());
    }
    let name =
        choice.required(&kind, |raw| Object::read(raw)?.required("name", |raw| read_offered(raw, tools)))?;
    Ok(Ok(ToolChoice::Named(name)))
}

fn read_offered(raw: &RawValue, tools: &[Tool]) -> Result<String, ParseError> {
    let wanted = read::string(raw)?;
    if tools.iter().any(|tool| tool.name == wanted) {
        Ok(wanted)
    } else {
        Err(ParseError::bad_value("must name a function of `tools`"))
    }
}

fn no_tools() -> ParseError {
    ParseError::bad_value("asks for a tool, but `tools` is absent or empty")
}

/// Reads a call in the history.
pub(super) fn read_tool_call(raw: &RawValue) -> Result<ToolCall, ParseError> {
    let call = Object::read(raw)?;
    // Some clients leave the only type out.
    let kind = call.optional("type", read::string)?.unwrap_or_else(|| "function".to_owned());
    let (member, text) = match kind.as_str() {
        "function" => ("function", "arguments"),
        "custom" => ("custom", "input"),
        _ => return Err(ParseError::bad_value("must be `function` or `custom`").under_key("type")),
    };
    let id = call.required("id", read::string)?;
    let (name, arguments) = call.required(member, |raw| {
        let called = Object::read(raw)?;
        Ok((called.required("name", read::string)?, called.required(text, read::string)?))
    })?;
    Ok(ToolCall { id, name, arguments })
}
