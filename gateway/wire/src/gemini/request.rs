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
/// Returns a block that is in another provider's store, or the result of a call that the conversation does not have.
pub fn write_call(call: &Call, target: Target<'_>, host: Host) -> Result<Outgoing, Untranslatable> {
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
        (store, _) => lost.note_if("store", store.as_ref()),
    }
    lost.note_if("choices", call.choices.filter(|choices| *choices > 1).as_ref());
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
    let (instructions, turns) = call.split_instructions();
    let mut contents = Contents::new(target, host);
    let mut body = Map::new();
    // There has to be a content, so instructions alone are what the user says.
    let (system, written) = if turns.is_empty() {
        (None, contents.write(instructions)?)
    } else {
        (contents.instructions(instructions), contents.write(turns)?)
    };
    body.extend(system.map(|system| ("systemInstruction".to_owned(), system)));
    body.insert("contents".to_owned(), Value::Array(written));
    tool::write(call, &mut body, &mut contents.lost);
    Ok((body, contents.lost))
}

pub(super) fn to_bytes(body: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("a JSON value always serialises"))
}
