//! `countTokens`: what a prompt takes.
//!
//! The Gemini API takes the whole call as `generateContentRequest` with its model; Vertex AI takes its parts
//! (ai.google.dev and cloud.google.com, "countTokens").

use serde::Deserialize;
use serde_json::{Value, json};

use super::Host;
use super::request::{conversation, to_bytes};
use crate::call::{Call, Outgoing, Target, Untranslatable};

/// Writes `call` for `countTokens`.
///
/// # Errors
/// As [`write_call`](super::write_call).
pub fn write_count(call: &Call, target: Target<'_>, host: Host) -> Result<Outgoing, Untranslatable> {
    let (mut body, lost) = conversation(call, target, host)?;
    let body = match host {
        Host::Vertex => Value::Object(body),
        Host::GeminiApi => {
            body.insert("model".to_owned(), json!(resource(target.model)));
            json!({ "generateContentRequest": body })
        }
    };
    Ok(Outgoing { body: to_bytes(&body), lost })
}

/// Reads the answer of `countTokens`: the tokens of the prompt; nothing if it is none.
pub fn read_count(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Count {
        total_tokens: u64,
    }
    serde_json::from_slice::<Count>(body).ok().map(|count| count.total_tokens)
}

/// The name of a model as bodies have it.
pub(super) fn resource(model: &str) -> String {
    if model.contains('/') { model.to_owned() } else { format!("models/{model}") }
}
