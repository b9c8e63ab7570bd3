//! The JSON Schema of policy files, for editors and other people's programs.
//!
//! It is one document, written by hand; a test holds it and the reader together. What a file of a policy in a folder
//! may hold follows from it, so nothing is written twice.

use serde_json::{Value, json};

/// The schema of a policy in one file.
const SCHEMA: &str = include_str!("../../../docs/schema/routes.v1.json");

/// Which file of a policy a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaOf {
    /// A policy in one file.
    Whole,
    /// The base of a policy in a folder: as the former, but it need not have workflows.
    Base,
    /// Any other file of such a folder: workflows alone.
    Part,
}

/// Returns the JSON Schema (draft 2020-12) of a file.
///
/// # Panics
/// Panics if the schema that is compiled in is no JSON, which a test rules out.
pub fn schema(of: SchemaOf) -> String {
    let (title, required): (_, &[&str]) = match of {
        SchemaOf::Whole => return SCHEMA.to_owned(),
        SchemaOf::Base => ("routes.yaml in a folder, version 1", &["version", "providers", "models"]),
        SchemaOf::Part => ("a file of workflows, version 1", &["version", "workflows"]),
    };
    let mut schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON, as its test says");
    if of == SchemaOf::Part {
        let sections = schema["properties"].as_object_mut().expect("the schema is about a mapping");
        sections.retain(|section, _| required.contains(&section.as_str()));
    }
    schema["title"] = title.into();
    schema["required"] = json!(required);
    // Two schemas with one name would be taken for one.
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$id");
    }
    format!("{schema:#}\n")
}
