//! A client's own body, changed for Vertex AI, which serves the same API at other paths.
//!
//! The model stands in the path, and the version of the API and its beta features, which are headers elsewhere, stand
//! in the body. Every other member keeps its bytes.

use bytes::Bytes;

use crate::ParseError;
use crate::json::read::Object;
use crate::openai::error::to_json;

/// The version of the API that Vertex AI serves.
pub(super) const VERSION: &str = "vertex-2023-10-16";

/// Members that the host's own take the place of.
const REPLACED: [&str; 4] = ["model", "anthropic_version", "anthropic_beta", "betas"];

/// Returns `body`, that of a call, as `rawPredict` and `streamRawPredict` take it.
///
/// `betas` are the features that the caller's header names and the policy allows.
///
/// # Errors
/// Returns that the body is no object.
pub fn message_body(body: &[u8], betas: &[String]) -> Result<Bytes, ParseError> {
    write(body, None, betas)
}

/// Returns `body`, that of a count, as `count-tokens:rawPredict` takes it: there the model stays in the body.
///
/// # Errors
/// Returns that the body is no object.
pub fn count_body(body: &[u8], model: &str, betas: &[String]) -> Result<Bytes, ParseError> {
    write(body, Some(model), betas)
}

fn write(body: &[u8], model: Option<&str>, betas: &[String]) -> Result<Bytes, ParseError> {
    let top = Object::read_document(body)?;
    let mut out = Vec::with_capacity(body.len() + 128);
    out.push(b'{');
    push_member(&mut out, "anthropic_version", &to_json(&VERSION));
    if !betas.is_empty() {
        push_member(&mut out, "anthropic_beta", &to_json(&betas));
    }
    if let Some(model) = model {
        push_member(&mut out, "model", &to_json(&model));
    }
    for name in top.names().filter(|name| !REPLACED.contains(name)) {
        if let Some(raw) = top.written(name) {
            push_member(&mut out, name, raw.get().as_bytes());
        }
    }
    out.push(b'}');
    Ok(out.into())
}

fn push_member(out: &mut Vec<u8>, name: &str, json: &[u8]) {
    if out.len() > 1 {
        out.push(b',');
    }
    out.extend_from_slice(&to_json(&name));
    out.push(b':');
    out.extend_from_slice(json);
}
