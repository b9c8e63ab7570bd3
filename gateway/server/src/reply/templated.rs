//! What a client of chat completions tells the chat template of a model of our own: documents, variables, and where the
//! reply begins. These are fields of open servers, not of the dialect, so they come among the extras of a call.

use engine::{Conversation, Opening};
use serde_json::{Map, Value};
use wire::call::{Extra, Lost};

use crate::error::ApiError;

/// Documents of one call.
const DOCUMENTS_MAX: usize = 1_000;

/// Reads what is for the template, and notes the other extras as lost.
pub(super) fn told(extras: &[Extra], lost: &mut Lost) -> Result<Conversation, ApiError> {
    let mut told = Conversation::default();
    let (mut is_continued, mut has_turn) = (false, true);
    for extra in extras {
        let value = || serde_json::from_str::<Value>(&extra.json).unwrap_or_default();
        match extra.name.as_str() {
            "chat_template_kwargs" => told.variables = object(value(), "chat_template_kwargs")?,
            "documents" => told.documents = documents(value())?,
            "continue_final_message" => is_continued = switch(&value(), "continue_final_message", false)?,
            "add_generation_prompt" => has_turn = switch(&value(), "add_generation_prompt", true)?,
            _ => lost.note_extras(std::slice::from_ref(extra)),
        }
    }
    told.opening = match (is_continued, has_turn) {
        (true, _) => Opening::Continued,
        (false, true) => Opening::Turn,
        (false, false) => Opening::Closed,
    };
    Ok(told)
}

fn wrong(param: &'static str, expected: &str) -> ApiError {
    ApiError::invalid("invalid_value", format!("{param}: {expected} is expected")).with_param(param)
}

/// A field that is null is as one that is absent.
fn object(value: Value, param: &'static str) -> Result<Map<String, Value>, ApiError> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields),
        _ => Err(wrong(param, "an object")),
    }
}

fn switch(value: &Value, param: &'static str, absent: bool) -> Result<bool, ApiError> {
    match value {
        Value::Null => Ok(absent),
        Value::Bool(is_on) => Ok(*is_on),
        _ => Err(wrong(param, "true or false")),
    }
}

fn documents(value: Value) -> Result<Vec<Map<String, Value>>, ApiError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(documents) if documents.len() <= DOCUMENTS_MAX => {
            documents.into_iter().map(|document| object(document, "documents")).collect()
        }
        _ => Err(wrong("documents", "a list of at most 1000 objects")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<(Conversation, Vec<String>), ApiError> {
        let extra =
            |(name, json): &(&str, &str)| Extra { name: (*name).to_owned(), json: (*json).to_owned() };
        let extras: Vec<Extra> = fields.iter().map(extra).collect();
        let mut lost = Lost::default();
        let told = told(&extras, &mut lost)?;
        Ok((told, lost.names().map(str::to_owned).collect()))
    }

    #[test]
    fn what_is_for_the_template_reaches_it_and_the_rest_is_named() {
        let (told, lost) = read(&[
            ("chat_template_kwargs", "{\"enable_thinking\": false}"),
            ("documents", "[{\"title\": \"Gate\", \"text\": \"noon\"}]"),
            ("continue_final_message", "true"),
            ("add_generation_prompt", "false"),
            ("cache_salt", "\"x\""),
        ])
        .unwrap();
        assert_eq!(told.variables["enable_thinking"], false);
        assert_eq!(told.documents[0]["text"], "noon");
        assert_eq!(told.opening, Opening::Continued);
        assert_eq!(lost, ["cache_salt"]);
        assert_eq!(read(&[("add_generation_prompt", "false")]).unwrap().0.opening, Opening::Closed);
        assert_eq!(read(&[("documents", "null")]).unwrap().0, Conversation::default());
    }

    #[test]
    fn a_wrong_type_is_refused_by_name() {
        for (name, json) in [
            ("chat_template_kwargs", "[]"),
            ("documents", "[1]"),
            ("documents", "{}"),
            ("continue_final_message", "1"),
            ("add_generation_prompt", "\"no\""),
        ] {
            assert!(read(&[(name, json)]).is_err(), "{name}");
        }
    }
}
