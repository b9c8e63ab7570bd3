//! Tools and the choice among them as they stand on the wire, for requests that go out and for answers that repeat
//! what was asked.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::call::{Call, Namespace, Tool, ToolChoice, ToolKind};

/// One entry of `tools`.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ToolBody<'a> {
    Known(KnownTool<'a>),
    AsWritten(&'a RawValue),
}

/// The kinds of tools that calls know.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum KnownTool<'a> {
    Function {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        parameters: Schema<'a>,
        strict: Option<bool>,
    },
    Custom {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<Box<RawValue>>,
    },
    Namespace {
        name: &'a str,
        description: &'a str,
        tools: Vec<ToolBody<'a>>,
    },
}

/// A schema of the caller's, or of ours.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Schema<'a> {
    Theirs(&'a Value),
    Ours(Value),
}

/// The value of `tool_choice`.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ChoiceBody<'a> {
    Mode(&'static str),
    Tool {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
    },
}

impl<'a> ToolBody<'a> {
    /// Writes `tool` under `name`; nothing for a hosted tool whose JSON is none.
    pub(super) fn new(name: &'a str, tool: &'a Tool) -> Option<Self> {
        let description = tool.description.as_deref();
        Some(match &tool.kind {
            ToolKind::Function { parameters, strict } => {
                Self::function(name, description, parameters, *strict)
            }
            ToolKind::Custom { format } => Self::Known(KnownTool::Custom {
                name,
                description,
                format: format.as_deref().and_then(format_body),
            }),
            ToolKind::Hosted { json, .. } => Self::AsWritten(serde_json::from_str(json).ok()?),
        })
    }

    /// Writes a function.
    pub(super) fn function(
        name: &'a str,
        description: Option<&'a str>,
        parameters: impl Into<Schema<'a>>,
        strict: Option<bool>,
    ) -> Self {
        Self::Known(KnownTool::Function { name, description, parameters: parameters.into(), strict })
    }

    /// Writes all tools of `call` as its client grouped them.
    pub(super) fn all(call: &'a Call) -> Vec<Self> {
        let by_name: HashMap<&str, &Tool> =
            call.tools.iter().map(|tool| (tool.name.as_str(), tool)).collect();
        let mut grouped: HashMap<String, usize> = HashMap::new();
        for (index, namespace) in call.namespaces.iter().enumerate() {
            let flat = namespace.tools.iter().map(|tool| Namespace::flat_name(&namespace.name, tool));
            grouped.extend(flat.map(|flat| (flat, index)));
        }
        let mut is_written = vec![false; call.namespaces.len()];
        let mut bodies = Vec::with_capacity(call.tools.len());
        for tool in &call.tools {
            match grouped.get(&tool.name) {
                None => bodies.extend(Self::new(&tool.name, tool)),
                Some(&index) if !is_written[index] => {
                    is_written[index] = true;
                    bodies.push(Self::group(&call.namespaces[index], &by_name));
                }
                Some(_) => {}
            }
        }
        bodies
    }

    fn group(namespace: &'a Namespace, by_name: &HashMap<&str, &'a Tool>) -> Self {
        let member = |name: &'a String| {
            let tool = by_name.get(Namespace::flat_name(&namespace.name, name).as_str())?;
            Self::new(name, tool)
        };
        Self::Known(KnownTool::Namespace {
            name: &namespace.name,
            description: namespace.description.as_deref().unwrap_or_default(),
            tools: namespace.tools.iter().filter_map(member).collect(),
        })
    }
}

impl<'a> ChoiceBody<'a> {
    /// Demands the function `name`.
    pub(super) fn function(name: &'a str) -> Self {
        Self::Tool { kind: "function", name: Some(name) }
    }

    /// Writes the choice of `call`.
    pub(super) fn new(call: &'a Call) -> Self {
        match &call.tool_choice {
            ToolChoice::Auto => Self::Mode("auto"),
            ToolChoice::None => Self::Mode("none"),
            ToolChoice::Required => Self::Mode("required"),
            ToolChoice::Named(name) => match call.tool(name).map(|tool| &tool.kind) {
                Some(ToolKind::Custom { .. }) => Self::Tool { kind: "custom", name: Some(name) },
                Some(ToolKind::Hosted { kind, .. }) => Self::Tool { kind, name: None },
                Some(ToolKind::Function { .. }) | None => Self::function(name),
            },
        }
    }
}

impl<'a> From<&'a Value> for Schema<'a> {
    fn from(schema: &'a Value) -> Self {
        Self::Theirs(schema)
    }
}

impl From<Value> for Schema<'_> {
    fn from(schema: Value) -> Self {
        Self::Ours(schema)
    }
}

/// Writes the format of a custom tool, which chat completions nest one level deeper.
fn format_body(json: &str) -> Option<Box<RawValue>> {
    let mut format: serde_json::Map<String, Value> = serde_json::from_str(json).ok()?;
    if let Some(Value::Object(grammar)) = format.remove("grammar") {
        format.extend(grammar);
        return serde_json::value::to_raw_value(&format).ok();
    }
    RawValue::from_string(json.to_owned()).ok()
}
