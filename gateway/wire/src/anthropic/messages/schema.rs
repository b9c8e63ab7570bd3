//! JSON Schemas as the API's constrained output takes them.
//!
//! The API refuses a schema with a keyword that its constraint cannot enforce, and objects that are open. Callers of
//! other dialects write such schemas as a matter of course, so the keywords are left out, and their names reported.

use serde_json::{Map, Value};

use crate::call::Lost;

/// Keywords that the API refuses.
const REFUSED: [&str; 15] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "prefixItems",
];

/// Members whose value is one schema or a list of them.
const SCHEMAS: [&str; 5] = ["items", "anyOf", "allOf", "oneOf", "not"];
/// Members whose values are named schemas.
const NAMED_SCHEMAS: [&str; 3] = ["properties", "$defs", "definitions"];

/// Returns `schema` in the form that the API takes; what is left out is noted as a part of `field`.
pub(crate) fn restrict(schema: &Value, field: &str, lost: &mut Lost) -> Value {
    match schema {
        Value::Object(members) => Value::Object(restrict_object(members, field, lost)),
        Value::Array(list) => list.iter().map(|schema| restrict(schema, field, lost)).collect(),
        other => other.clone(),
    }
}

fn restrict_object(members: &Map<String, Value>, field: &str, lost: &mut Lost) -> Map<String, Value> {
    let mut kept = Map::with_capacity(members.len());
    for (name, value) in members {
        let is_refused = REFUSED.contains(&name.as_str()) || (name == "minItems" && value.as_u64() > Some(1));
        if is_refused {
            lost.note(&format!("{field}.{name}"));
            continue;
        }
        let value = match value {
            Value::Object(named) if NAMED_SCHEMAS.contains(&name.as_str()) => named
                .iter()
                .map(|(name, schema)| (name.clone(), restrict(schema, field, lost)))
                .collect::<Map<_, _>>()
                .into(),
            value if SCHEMAS.contains(&name.as_str()) => restrict(value, field, lost),
            value => value.clone(),
        };
        // The API has the one that does not demand exactly one match.
        kept.insert(if name == "oneOf" { "anyOf".to_owned() } else { name.clone() }, value);
    }
    if is_object(members) {
        if members.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
            lost.note(&format!("{field}.additionalProperties"));
        }
        kept.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    kept
}

fn is_object(members: &Map<String, Value>) -> bool {
    match members.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => members.contains_key("properties"),
    }
}
