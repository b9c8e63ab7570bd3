//! Tools: what is offered, what must be used, and what was called.

use std::borrow::Cow;

use serde_json::Value;

use super::CacheMark;

/// A tool on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name, unique among the call's tools; for a hosted tool without name its type.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// Who runs it, and what it takes.
    pub kind: ToolKind,
    /// The caller wants the prompt up to and with this tool to be cached.
    pub cache: Option<CacheMark>,
}

/// Who runs a tool, and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolKind {
    /// The caller runs it; it takes JSON.
    Function {
        /// The JSON Schema of its arguments; an empty object where the caller gave none.
        parameters: Value,
        /// Whether the arguments are to follow the schema exactly.
        strict: Option<bool>,
    },
    /// The caller runs it; it takes text. Where an API has no such tool, it becomes a function with the one
    /// argument [`CUSTOM_INPUT`](Self::CUSTOM_INPUT).
    Custom {
        /// The JSON of the `format` that the text has to follow, as it was written.
        format: Option<String>,
    },
    /// The provider runs it, or only one dialect knows it.
    Hosted {
        /// Its `type`.
        kind: String,
        /// Its JSON, as it was written.
        json: String,
    },
}

/// Tools that the caller's dialect groups under a name, where most APIs know a flat list only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// What its tools have in common.
    pub description: Option<String>,
    /// The names of its tools as they stand in it; see [`flat_name`](Self::flat_name).
    pub tools: Vec<String>,
}

/// Whether a tool must be called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// None may be called.
    None,
    /// At least one must be called.
    Required,
    /// This one must be called.
    Named(String),
}

/// A call that an assistant made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// What its result will refer to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON text for a function, free text for a custom tool; what a model wrote, and perhaps not valid. Empty means
    /// no arguments.
    pub arguments: String,
}

impl ToolKind {
    /// The argument that stands for the text of a custom tool where there are only functions.
    pub const CUSTOM_INPUT: &'static str = "input";

    /// Returns the JSON Schema of the function that stands for a custom tool.
    pub fn custom_as_parameters() -> Value {
        serde_json::json!({
            "type": "object",
            "properties": { Self::CUSTOM_INPUT: { "type": "string" } },
            "required": [Self::CUSTOM_INPUT],
            "additionalProperties": false,
        })
    }
}

impl Namespace {
    /// Longest name of a tool, in bytes, that every API accepts.
    const FLAT_BYTES_MAX: usize = 64;

    /// Returns the namespace and the tool's name in it, if one of `namespaces` has the tool `flat`.
    pub(crate) fn find<'a>(namespaces: &'a [Self], flat: &str) -> Option<(&'a str, &'a str)> {
        namespaces.iter().find_map(|namespace| {
            let tool = namespace.tools.iter().find(|tool| Self::flat_name(&namespace.name, tool) == flat);
            tool.map(|tool| (namespace.name.as_str(), tool.as_str()))
        })
    }

    /// Returns the name that `tool` of the namespace `namespace` has among the tools of a call: both names, or as
    /// much of them as APIs accept and a checksum of the whole.
    pub fn flat_name(namespace: &str, tool: &str) -> String {
        shortened(&format!("{namespace}__{tool}"), Self::FLAT_BYTES_MAX).into_owned()
    }
}

/// Returns `text`, or of a text of more than `bytes_max` the beginning and a checksum of the whole.
pub(crate) fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    // FNV-1a: what is told apart stands in one call, so nothing stronger is needed.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let checksum = format!("_{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step));
    let room = bytes_max.saturating_sub(checksum.len());
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}{checksum}", &text[..end]))
}

impl ToolCall {
    /// Returns the arguments as the JSON object that APIs want; no arguments are an empty object, and text that is no
    /// JSON object, such as that of a custom tool, is the one member [`ToolKind::CUSTOM_INPUT`].
    pub fn arguments_object(&self) -> Value {
        if self.arguments.trim().is_empty() {
            return Value::Object(serde_json::Map::new());
        }
        match serde_json::from_str(&self.arguments) {
            Ok(object @ Value::Object(_)) => object,
            _ => serde_json::json!({ ToolKind::CUSTOM_INPUT: self.arguments }),
        }
    }

    /// Returns the arguments as JSON text, never empty.
    pub fn arguments_json(&self) -> String {
        match serde_json::from_str::<&serde_json::value::RawValue>(&self.arguments) {
            Ok(raw) if raw.get().starts_with('{') => self.arguments.clone(),
            _ => self.arguments_object().to_string(),
        }
    }
}
