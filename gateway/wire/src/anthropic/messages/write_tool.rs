//! Tools and the choice among them, as the API wants them.

use serde::Serialize;
use serde_json::Value;

use super::abilities::{Abilities, Form, Schemas};
use super::block::CacheControl;
use super::schema::restrict;
use crate::call::{Call, Lost, Tool, ToolChoice, ToolKind};

/// One tool on offer.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

/// `tool_choice`.
#[derive(Serialize)]
pub(super) struct Choice<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

impl Choice<'_> {
    /// Whether a tool must be called, with which the API does not let most models think.
    pub(super) fn is_forced(&self) -> bool {
        matches!(self.kind, "any" | "tool")
    }
}

/// Writes the tools that the API can be told about.
pub(super) fn tools<'a>(call: &'a Call, abilities: &Abilities, lost: &mut Lost) -> Vec<Written<'a>> {
    call.tools.iter().filter_map(|tool| write(tool, abilities, lost)).collect()
}

/// Writes the choice among the tools that were `written`; without any, the API takes none.
pub(super) fn choice<'a>(
    call: &'a Call,
    written: &[Written<'_>],
    abilities: &Abilities,
    lost: &mut Lost,
) -> Option<Choice<'a>> {
    if written.is_empty() {
        if matches!(call.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) {
            lost.note("tool_choice");
        }
        return None;
    }
    let (kind, name) = match &call.tool_choice {
        ToolChoice::Auto => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required | ToolChoice::Named(_) if abilities.form == Form::Always => {
            lost.note("tool_choice");
            ("auto", None)
        }
        ToolChoice::Required => ("any", None),
        ToolChoice::Named(name) if written.iter().any(|tool| tool.name == name) => {
            ("tool", Some(name.as_str()))
        }
        ToolChoice::Named(_) => {
            lost.note("tool_choice");
            ("auto", None)
        }
    };
    // `none` has no such member, and nothing to divide.
    let is_single = call.parallel_tools == Some(false) && kind != "none";
    let disable_parallel_tool_use = is_single.then_some(true);
    let says_something = kind != "auto" || is_single;
    says_something.then_some(Choice { kind, name, disable_parallel_tool_use })
}

fn write<'a>(tool: &'a Tool, abilities: &Abilities, lost: &mut Lost) -> Option<Written<'a>> {
    let (input_schema, strict) = match &tool.kind {
        ToolKind::Function { parameters, strict: Some(true) } if abilities.schemas == Schemas::Followed => {
            (restrict(parameters, "tools[].parameters", lost), Some(true))
        }
        ToolKind::Function { parameters, strict } => {
            lost.note_if("tools[].strict", strict.filter(|strict| *strict).as_ref());
            (parameters.clone(), None)
        }
        ToolKind::Custom { format } => {
            lost.note_if("tools[].format", format.as_ref());
            (ToolKind::custom_as_parameters(), None)
        }
        ToolKind::Hosted { kind, .. } => {
            lost.note(&format!("tools.{kind}"));
            return None;
        }
    };
    Some(Written {
        name: &tool.name,
        description: tool.description.as_deref(),
        input_schema: object_schema(input_schema),
        strict,
        cache_control: tool.cache.map(Into::into),
    })
}

/// The API wants each schema to say that it is one of an object, also that of a function without arguments.
fn object_schema(mut schema: Value) -> Value {
    if let Value::Object(members) = &mut schema {
        members.entry("type").or_insert_with(|| Value::String("object".to_owned()));
    }
    schema
}
