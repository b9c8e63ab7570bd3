//! Arguments that a model writes as plain text between tags, to JSON.
//!
//! What a text means depends on the tool's schema: `12` is a number, or a street that is called so. A parameter that can
//! be nothing but a string is passed on as it is written; every other one is read at its end. Where the schema leaves
//! both open, or says nothing, it is JSON if it is JSON of another type, else a string.

use serde_json::Value;
use serde_json::value::RawValue;

use super::Emissions;
use crate::text::Tool;

/// Deepest schema that is looked into for types, in levels.
const DEPTH_MAX: usize = 8;

/// The arguments of a call that was begun.
#[derive(Debug)]
pub(super) struct Arguments {
    /// The schema of the tool's arguments; null if the tool is not known.
    schema: Value,
    /// The parameters so far. A second value of one is dropped: JSON readers disagree about which counts.
    seen: Vec<String>,
}

impl Arguments {
    /// Begins the object.
    pub(super) fn begin(tools: &[Tool], name: &str, out: &mut Emissions) -> Self {
        out.arguments("{");
        let tool = tools.iter().find(|tool| tool.name == name);
        Self { schema: tool.map(|tool| tool.parameters.clone()).unwrap_or_default(), seen: Vec::new() }
    }

    /// Begins the value of a parameter.
    pub(super) fn parameter(&mut self, name: String, out: &mut Emissions) -> Argument {
        if self.seen.contains(&name) {
            return Argument::Dropped;
        }
        out.arguments(if self.seen.is_empty() { "" } else { ", " });
        out.arguments(&Value::from(name.as_str()).to_string());
        out.arguments(": ");
        let types = self.schema["properties"]
            .get(&name)
            .map_or(Types::ANY, |schema| types(schema, &self.schema, DEPTH_MAX));
        self.seen.push(name);
        if types == Types::TEXT {
            out.arguments("\"");
            Argument::Text
        } else {
            Argument::Open { may_be_text: types.text, written: String::new() }
        }
    }

    /// Ends the object.
    pub(super) fn end(out: &mut Emissions) {
        out.arguments("}");
    }
}

/// The value of a parameter, as it is written.
#[derive(Debug)]
pub(super) enum Argument {
    /// A string and nothing else.
    Text,
    /// Something that is read at its end.
    Open { may_be_text: bool, written: String },
    /// Nothing that counts.
    Dropped,
}

impl Argument {
    pub(super) fn push(&mut self, piece: &str, out: &mut Emissions) {
        match self {
            Self::Text => out.arguments(&escaped(piece)),
            Self::Open { written, .. } => written.push_str(piece),
            Self::Dropped => {}
        }
    }

    pub(super) fn end(self, out: &mut Emissions) {
        match self {
            Self::Text => out.arguments("\""),
            Self::Open { may_be_text, written } => out.arguments(&to_json(&written, may_be_text)),
            Self::Dropped => {}
        }
    }
}

/// The inside of a JSON string. What a text becomes does not depend on how it is cut.
pub(super) fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn to_json(written: &str, may_be_text: bool) -> String {
    let text = written.trim();
    let json = match text {
        "True" => "true",
        "False" => "false",
        "None" => "null",
        other => other,
    };
    // A string in quotes has them because they belong to it, where a string can stand without.
    let is_json = serde_json::from_str::<&RawValue>(json).is_ok() && !(may_be_text && json.starts_with('"'));
    if is_json { json.to_owned() } else { Value::from(written).to_string() }
}

/// What a schema allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Types {
    text: bool,
    others: bool,
}

impl Types {
    const ANY: Self = Self { text: true, others: true };
    const TEXT: Self = Self { text: true, others: false };
    const OTHERS: Self = Self { text: false, others: true };

    fn of(is_text: bool) -> Self {
        if is_text { Self::TEXT } else { Self::OTHERS }
    }

    fn union(types: impl Iterator<Item = Self>) -> Option<Self> {
        types.reduce(|one, other| Self { text: one.text || other.text, others: one.others || other.others })
    }
}

/// Whether a schema allows a string.
pub(crate) fn may_be_text(schema: &Value) -> bool {
    types(schema, schema, DEPTH_MAX).text
}

/// What a schema allows, as far as it says so. References lead into `whole`.
fn types(schema: &Value, whole: &Value, levels: usize) -> Types {
    if levels == 0 {
        return Types::ANY;
    }
    if let Some(place) = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#')) {
        return whole.pointer(place).map_or(Types::ANY, |schema| types(schema, whole, levels - 1));
    }
    let named = |name: &Value| Types::of(name == "string");
    let found = match &schema["type"] {
        Value::Array(names) => Types::union(names.iter().map(named)),
        name @ Value::String(_) => Some(named(name)),
        _ => None,
    };
    let listed = |key: &str| schema[key].as_array().into_iter().flatten();
    let inner = |schema: &Value| types(schema, whole, levels - 1);
    found
        .or_else(|| Types::union(listed("enum").map(|value| Types::of(value.is_string()))))
        .or_else(|| schema.get("const").map(|value| Types::of(value.is_string())))
        .or_else(|| Types::union(listed("anyOf").chain(listed("oneOf")).map(inner)))
        .or_else(|| listed("allOf").map(inner).find(|types| *types != Types::ANY))
        .unwrap_or(Types::ANY)
}
