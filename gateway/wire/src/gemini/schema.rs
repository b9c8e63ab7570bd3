//! JSON Schema as the API reads it.
//!
//! There are two places for a schema. `parameters` and `responseSchema` are a typed subset of `OpenAPI`, where one keyword too many
//! fails the call; `parametersJsonSchema` and `responseJsonSchema` are any JSON, of which the API uses what it understands. Both
//! hosts take the second (google-genai sends it to both), so nothing has to be thrown away. What it does not understand in spite
//! of a meaning that it knows is said in its words: `definitions` is `$defs`, `const` an `enum` of one, and beside a `$ref`
//! nothing may stand but other `$` keywords (`GenerationConfig.response_json_schema` in `types.py`).

use serde_json::{Map, Value, json};

/// Returns the schema in the words of the API.
pub(super) fn written(schema: &Value) -> Value {
    let mut written = schema.clone();
    rewrite(&mut written);
    written
}

/// Returns the schema of a function's arguments; nothing if it takes none, which the API wants unsaid.
pub(super) fn parameters(schema: &Value) -> Option<Value> {
    let Value::Object(mut members) = written(schema) else {
        return None;
    };
    let is_empty = |name: &str| members.get(name).and_then(Value::as_object).is_none_or(Map::is_empty);
    let says_more = ["$ref", "anyOf", "oneOf", "allOf"].iter().any(|name| members.contains_key(*name));
    if is_empty("properties")
        && !says_more
        && !members.get("additionalProperties").is_some_and(Value::is_object)
    {
        return None;
    }
    if !says_more {
        members.entry("type").or_insert_with(|| json!("object"));
    }
    Some(Value::Object(members))
}

/// The names below which stand schemas by name, and not keywords.
const BY_NAME: [&str; 4] = ["properties", "$defs", "patternProperties", "dependentSchemas"];
/// The names below which stand values, and no schemas.
const VALUES: [&str; 5] = ["enum", "const", "default", "examples", "example"];

fn rewrite(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(rewrite),
        Value::Object(members) => rewrite_object(members),
        _ => {}
    }
}

fn rewrite_object(members: &mut Map<String, Value>) {
    members.shift_remove("$schema");
    if let Some(definitions) = members.shift_remove("definitions") {
        members.entry("$defs").or_insert(definitions);
    }
    if let Some(value) = members.shift_remove("const") {
        members.entry("enum").or_insert_with(|| json!([value]));
    }
    if let Some(Value::String(target)) = members.get_mut("$ref")
        && let Some(name) = target.strip_prefix("#/definitions/")
    {
        *target = format!("#/$defs/{name}");
    }
    for (name, value) in members.iter_mut() {
        match value {
            Value::Object(schemas) if BY_NAME.contains(&name.as_str()) => {
                schemas.values_mut().for_each(rewrite);
            }
            _ if VALUES.contains(&name.as_str()) => {}
            _ => rewrite(value),
        }
    }
    let has_siblings = members.keys().any(|name| !name.starts_with('$'));
    if has_siblings && let Some(target) = members.shift_remove("$ref") {
        let target = json!({ "$ref": target });
        match members.get_mut("anyOf") {
            None => drop(members.insert("anyOf".to_owned(), json!([target]))),
            // Both hold: the reference, and one of the others.
            Some(_) => drop(members.insert("allOf".to_owned(), json!([target]))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{parameters, written};

    #[test]
    fn what_the_api_says_otherwise_is_said_its_way() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {
                "definitions": { "const": "a", "default": { "const": 1 } },
                "const": { "$ref": "#/definitions/Leaf", "description": "A leaf." },
                "plain": { "$ref": "#/definitions/Leaf" },
            },
            "definitions": { "Leaf": { "type": "string", "minLength": 1 } },
            "additionalProperties": false,
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "definitions": { "default": { "const": 1 }, "enum": ["a"] },
                "const": { "description": "A leaf.", "anyOf": [{ "$ref": "#/$defs/Leaf" }] },
                "plain": { "$ref": "#/$defs/Leaf" },
            },
            "additionalProperties": false,
            "$defs": { "Leaf": { "type": "string", "minLength": 1 } },
        });
        assert_eq!(written(&schema), expected);
    }

    #[test]
    fn a_function_without_arguments_has_no_schema() {
        for schema in [
            json!({}),
            json!({ "type": "object" }),
            json!({ "type": "object", "properties": {} }),
            Value::Null,
        ] {
            assert_eq!(parameters(&schema), None, "{schema}");
        }
        let untyped = json!({ "properties": { "a": {} } });
        assert_eq!(parameters(&untyped).expect("arguments")["type"], "object");
        assert!(parameters(&json!({ "$ref": "#/$defs/A", "$defs": { "A": {} } })).is_some());
    }
}
