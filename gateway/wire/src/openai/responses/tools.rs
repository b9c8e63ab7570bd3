//! The tools of a request and the choice among them.
//!
//! A namespace is taken apart: its tools join the others under flat names, and
//! [`Call::namespaces`](crate::call::Call::namespaces) remembers what they were called.

use serde_json::Value;
use serde_json::value::RawValue;

use super::extras::Extras;
use crate::ParseError;
use crate::call::{Namespace, Tool, ToolChoice, ToolKind};
use crate::json::read::{self, Object};

/// The tools on offer, as far as they are read.
#[derive(Default)]
pub(super) struct Toolbox {
    pub(super) tools: Vec<Tool>,
    pub(super) namespaces: Vec<Namespace>,
}

impl Toolbox {
    /// Reads a list of tools, each of which must be new.
    pub(super) fn read(&mut self, raw: &RawValue, extras: &mut Extras) -> Result<(), ParseError> {
        for (index, raw) in read::each(raw, Ok)?.into_iter().enumerate() {
            for tool in self.read_entry(raw, extras).map_err(|error| error.under_index(index))? {
                if self.offers(&tool) {
                    let error = ParseError::bad_value("is the name of an earlier tool too");
                    return Err(error.under_key("name").under_index(index));
                }
                self.tools.push(tool);
            }
        }
        Ok(())
    }

    /// Reads a list of tools that a later item repeats or adds.
    pub(super) fn read_more(&mut self, raw: &RawValue, extras: &mut Extras) -> Result<(), ParseError> {
        for (index, raw) in read::each(raw, Ok)?.into_iter().enumerate() {
            for tool in self.read_entry(raw, extras).map_err(|error| error.under_index(index))? {
                if !self.offers(&tool) {
                    self.tools.push(tool);
                }
            }
        }
        Ok(())
    }

    /// Reads one entry of the list, which is several tools if it is a namespace.
    fn read_entry(&mut self, raw: &RawValue, extras: &mut Extras) -> Result<Vec<Tool>, ParseError> {
        let entry = Object::read(raw)?;
        let kind = entry.required("type", read::string)?;
        if kind != "namespace" {
            return Ok(vec![read_tool(raw, &entry, kind, extras)?]);
        }
        let name = entry.required("name", read::non_empty_string)?;
        let mut namespace =
            Namespace { name, description: entry.optional("description", read::string)?, tools: Vec::new() };
        let mut tools = entry.required("tools", |raw| {
            let members = read::each(raw, Ok)?;
            let read = |(index, raw)| read_member(raw, extras).map_err(|error| error.under_index(index));
            members.into_iter().enumerate().map(read).collect::<Result<Vec<Tool>, ParseError>>()
        })?;
        for tool in &mut tools {
            let flat = Namespace::flat_name(&namespace.name, &tool.name);
            namespace.tools.push(std::mem::replace(&mut tool.name, flat));
        }
        extras.keep_rest("tools[].", &entry, &["type", "name", "description", "tools"]);
        self.namespaces.push(namespace);
        Ok(tools)
    }

    fn offers(&self, tool: &Tool) -> bool {
        // Two hosted tools of one type, such as two servers, are two tools.
        let is_hosted = matches!(tool.kind, ToolKind::Hosted { .. });
        !is_hosted && self.tools.iter().any(|other| other.name == tool.name)
    }
}

fn read_member(raw: &RawValue, extras: &mut Extras) -> Result<Tool, ParseError> {
    let member = Object::read(raw)?;
    let kind = member.required("type", read::string)?;
    if kind != "function" && kind != "custom" {
        let error = ParseError::bad_value("must be `function` or `custom` inside a namespace");
        return Err(error.under_key("type"));
    }
    read_tool(raw, &member, kind, extras)
}

fn read_tool(
    raw: &RawValue,
    tool: &Object<'_>,
    kind: String,
    extras: &mut Extras,
) -> Result<Tool, ParseError> {
    let description = || tool.optional("description", read::string);
    Ok(match kind.as_str() {
        "function" => {
            extras.keep_rest("tools[].", tool, &["type", "name", "description", "parameters", "strict"]);
            let parameters = tool.optional("parameters", read_schema)?;
            let parameters = parameters.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            let strict = tool.optional("strict", read::boolean)?;
            let name = tool.required("name", read::non_empty_string)?;
            let kind = ToolKind::Function { parameters, strict };
            Tool { name, description: description()?, kind, cache: None }
        }
        "custom" => {
            extras.keep_rest("tools[].", tool, &["type", "name", "description", "format"]);
            let format = tool.optional("format", Object::read)?.and_then(|_| tool.written("format"));
            let name = tool.required("name", read::non_empty_string)?;
            let kind = ToolKind::Custom { format: format.map(|raw| raw.get().to_owned()) };
            Tool { name, description: description()?, kind, cache: None }
        }
        _ => {
            let hosted = ToolKind::Hosted { kind: kind.clone(), json: raw.get().to_owned() };
            Tool { name: kind, description: None, kind: hosted, cache: None }
        }
    })
}

fn read_schema(raw: &RawValue) -> Result<Value, ParseError> {
    Object::read(raw)?;
    read::value(raw)
}

/// Reads the member `tool_choice`.
pub(super) fn read_choice(
    raw: &RawValue,
    toolbox: &Toolbox,
    extras: &mut Extras,
) -> Result<ToolChoice, ParseError> {
    const EXPECTED: &str = "`auto`, `none`, `required` or an object";
    if let Ok(word) = read::string(raw) {
        return read_mode(&word, toolbox)
            .unwrap_or_else(|| Err(ParseError::bad_value(format!("must be {EXPECTED}"))));
    }
    let choice = Object::read(raw).map_err(|_| ParseError::wrong_type(EXPECTED, read::type_name(raw)))?;
    let kind = choice.required("type", read::string)?;
    match kind.as_str() {
        "function" | "custom" => choice.required("name", |raw| offered(&read::string(raw)?, toolbox)),
        "allowed_tools" => read_allowed(&choice, toolbox, extras),
        _ => {
            extras.keep_rest("tool_choice.", &choice, &["type"]);
            offered(&kind, toolbox).map_err(|error| error.under_key("type"))
        }
    }
}

/// Reads a choice among a part of the tools. Other APIs have no such thing, except for the only tool of such a part.
fn read_allowed(
    choice: &Object<'_>,
    toolbox: &Toolbox,
    extras: &mut Extras,
) -> Result<ToolChoice, ParseError> {
    let tools = choice.required("tools", |raw| read::each(raw, Object::read))?;
    let mode = choice.required("mode", |raw| {
        read_mode(&read::string(raw)?, toolbox)
            .unwrap_or_else(|| Err(ParseError::bad_value("must be `auto` or `required`")))
    })?;
    if let ([only], ToolChoice::Required) = (tools.as_slice(), &mode)
        && let Some(name) = only.optional("name", read::string)?
    {
        return offered(&name, toolbox).map_err(|error| error.under_key("tools"));
    }
    extras.keep_rest("tool_choice.", choice, &["type", "mode"]);
    Ok(mode)
}

fn read_mode(word: &str, toolbox: &Toolbox) -> Option<Result<ToolChoice, ParseError>> {
    Some(match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" if toolbox.tools.is_empty() => {
            Err(ParseError::bad_value("asks for a tool, but `tools` is absent or empty"))
        }
        "required" => Ok(ToolChoice::Required),
        _ => return None,
    })
}

fn offered(name: &str, toolbox: &Toolbox) -> Result<ToolChoice, ParseError> {
    // A tool of a namespace may be meant by its own name.
    let found = toolbox.tools.iter().find(|tool| tool.name == name).map(|tool| tool.name.clone());
    let in_namespace = || {
        let namespace =
            toolbox.namespaces.iter().find(|namespace| namespace.tools.iter().any(|tool| tool == name))?;
        Some(Namespace::flat_name(&namespace.name, name))
    };
    found
        .or_else(in_namespace)
        .map(ToolChoice::Named)
        .ok_or_else(|| ParseError::bad_value("must name a tool of `tools`"))
}
