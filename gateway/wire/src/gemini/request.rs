//! The body of `generateContent` and `streamGenerateContent`, which is the same.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::content::Contents;
use super::{Host, config, tool};
use crate::call::{Call, Lost, Outgoing, Target, Untranslatable};

/// The caller's field that reaches the API as it is: a list of `{category, threshold}`.
const SAFETY_SETTINGS: &str = "safety_settings";

/// Writes `call` for `generateContent` or `streamGenerateContent?alt=sse`; the path says which.
///
/// # Errors
/// Returns a block that is in another provider's store, or the result of a call that the conversation does not have; that
/// no message is left; or that several answers are asked for.
pub fn write_call(call: &Call, target: Target<'_>, host: Host) -> Result<Outgoing, Untranslatable> {
    if call.choices.is_some_and(|choices| choices > 1) {
        return Err(Untranslatable::new("n", "this API gives one answer to a call; ask several times"));
    }
    let (mut body, mut lost) = conversation(call, target, host)?;
    let version = super::version::Version::of(target.model);
    let config = config::config(call, version, &mut lost);
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    for extra in call.extras.iter().filter(|extra| extra.says_something()) {
        match serde_json::from_str(&extra.json) {
            Ok(settings @ Value::Array(_)) if extra.name == SAFETY_SETTINGS => {
                body.insert("safetySettings".to_owned(), settings);
            }
            _ => lost.note(&extra.name),
        }
    }
    match (call.store, host) {
        (Some(store), Host::GeminiApi) => drop(body.insert("store".to_owned(), json!(store))),
        // Vertex AI stores no answers, so a caller who wants none stored has got it without a word.
        (store, Host::Vertex) => lost.note_if("store", store.filter(|store| *store).as_ref()),
        (None, Host::GeminiApi) => {}
    }
    lost.note_if("parallel_tools", call.parallel_tools.filter(|parallel| !parallel).as_ref());
    lost.note_if("user", call.user.as_ref());
    Ok(Outgoing { body: to_bytes(&Value::Object(body)), lost })
}

/// Writes what a call says, without how it is to be answered.
pub(super) fn conversation(
    call: &Call,
    target: Target<'_>,
    host: Host,
) -> Result<(Map<String, Value>, Lost), Untranslatable> {
    let mut contents = Contents::new(target, host);
    let mut body = Map::new();
    let system = contents.instructions(&call.turns);
    let mut written = contents.write(&call.turns)?;
    match (system.is_empty(), written.is_empty()) {
        (true, true) => {
            return Err(Untranslatable::new("messages", "this API needs a message that is not empty"));
        }
        // There has to be a content, so instructions alone are what the user says.
        (false, true) => written.push(json!({ "role": "user", "parts": system })),
        (false, false) => drop(body.insert("systemInstruction".to_owned(), json!({ "parts": system }))),
        (true, false) => {}
    }
    body.insert("contents".to_owned(), Value::Array(written));
    tool::write(call, &mut body, &mut contents.lost);
    Ok((body, contents.lost))
}

pub(super) fn to_bytes(body: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("a JSON value always serialises"))
}
