//! Tools: what the caller offers, which of it the model must use, and the calls in the history.

use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ParseError;
use crate::json::read::{self, Object};

/// Everything a request says about tools.
#[derive(Debug, Clone, PartialEq)]
pub struct Tooling {
    /// The tools offered, in order.
    pub tools: Vec<Tool>,
    /// How the model is to choose among them; absent means the default of the backend.
    pub choice: Option<ToolChoice>,
    /// Whether several calls in one answer are welcome; absent means the default of the backend.
    pub parallel: Option<bool>,
}

/// One offered tool.
#[derive(Debug, Clone, PartialEq)]
pub enum Tool {
    /// A function that the caller runs.
    Function {
        /// Its name.
        name: String,
        /// The whole tool object as sent, keys in order, for a chat template to show.
        definition: Value,
    },
    /// Any other type, which only the upstream that offers it understands.
    Other {
        /// Its `type`.
        kind: String,
    },
}

/// How the model is to choose among the tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No call may be made.
    None,
    /// At least one call must be made.
    Required,
    /// This function must be called.
    Function(String),
    /// Any other type, such as `allowed_tools`.
    Other(String),
}

/// One call in an assistant message of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolCall {
    /// A call of a function.
    Function(FunctionCall),
    /// A call of any other type.
    Other(String),
}

/// A call of a function, in a request or in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCall {
    /// Ties the result to this call.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// The arguments as JSON text; models make mistakes, so it may not be valid.
    pub arguments: String,
}

impl Serialize for FunctionCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        let mut call = serializer.serialize_struct("FunctionCall", 3)?;
        call.serialize_field("id", &self.id)?;
        call.serialize_field("type", "function")?;
        call.serialize_field("function", &Function { name: &self.name, arguments: &self.arguments })?;
        call.end()
    }
}

pub(super) fn read_tooling(top: &Object<'_>) -> Result<Tooling, ParseError> {
    let tools = top.optional("tools", |raw| read::each(raw, read_tool))?.unwrap_or_default();
    let choice = top.optional("tool_choice", |raw| read_choice(raw, &tools))?;
    let parallel = top.optional("parallel_tool_calls", read::boolean)?;
    Ok(Tooling { tools, choice, parallel })
}

pub(super) fn read_call(raw: &RawValue) -> Result<ToolCall, ParseError> {
    let call = Object::read(raw)?;
    let kind = call.required("type", read::string)?;
    if kind != "function" {
        return Ok(ToolCall::Other(kind));
    }
    let id = call.required("id", read::string)?;
    let (name, arguments) = call.required("function", |raw| {
        let function = Object::read(raw)?;
        Ok((function.required("name", read::string)?, function.required("arguments", read::string)?))
    })?;
    Ok(ToolCall::Function(FunctionCall { id, name, arguments }))
}

fn read_tool(raw: &RawValue) -> Result<Tool, ParseError> {
    let tool = Object::read(raw)?;
    let kind = tool.required("type", read::string)?;
    if kind != "function" {
        return Ok(Tool::Other { kind });
    }
    let name = tool.required("function", read_function_name)?;
    Ok(Tool::Function { name, definition: read::value(raw)? })
}

fn read_function_name(raw: &RawValue) -> Result<String, ParseError> {
    let function = Object::read(raw)?;
    function.optional("parameters", Object::read)?;
    function.required("name", read::non_empty_string)
}

fn read_choice(raw: &RawValue, tools: &[Tool]) -> Result<ToolChoice, ParseError> {
    if let Ok(word) = read::string(raw) {
        return match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" if tools.is_empty() => Err(no_tools()),
            "required" => Ok(ToolChoice::Required),
            _ => Err(ParseError::bad_value("must be `auto`, `none`, `required` or an object")),
        };
    }
    let choice = Object::read(raw).map_err(|_| {
        ParseError::wrong_type("`auto`, `none`, `required` or an object", read::type_name(raw))
    })?;
    let kind = choice.required("type", read::string)?;
    if kind != "function" {
        return Ok(ToolChoice::Other(kind));
    }
    if tools.is_empty() {
        return Err(no_tools());
    }
    let name = choice.required("function", |raw| {
        Object::read(raw)?.required("name", |raw| read_offered_name(raw, tools))
    })?;
    Ok(ToolChoice::Function(name))
}

fn read_offered_name(raw: &RawValue, tools: &[Tool]) -> Result<String, ParseError> {
    let wanted = read::string(raw)?;
    let is_offered = tools.iter().any(|tool| matches!(tool, Tool::Function { name, .. } if *name == wanted));
    if is_offered { Ok(wanted) } else { Err(ParseError::bad_value("must name a function of `tools`")) }
}

fn no_tools() -> ParseError {
    ParseError::bad_value("asks for a tool, but `tools` is absent or empty")
}
