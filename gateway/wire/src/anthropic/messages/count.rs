//! The count of a prompt's tokens: `POST /v1/messages/count_tokens`.
//!
//! Agents decide by it when to shorten their history.

use bytes::Bytes;
use serde::Serialize;

use super::request::{MaxTokens, read};
use super::written::{Host, write_count};
use crate::ParseError;
use crate::call::{Call, Outgoing, Target, Untranslatable};
use crate::json::read::{self as json, Object};
use crate::openai::error::to_json;

#[derive(Serialize)]
struct Reply {
    input_tokens: u64,
}

/// Reads the call whose prompt is to be counted: as a call that is to be answered, but `max_tokens` may be absent.
///
/// # Errors
/// Returns the first member that is missing, of the wrong type or out of its range.
pub fn read_count(body: &[u8]) -> Result<Call, ParseError> {
    read(body, MaxTokens::Optional)
}

/// Returns the answer to a client.
pub fn write_count_reply(input_tokens: u64) -> Bytes {
    to_json(&Reply { input_tokens })
}

/// Writes the question for a provider; only what is part of the prompt is in it.
///
/// # Errors
/// Returns what the API cannot be asked for at all.
pub fn write_count_call(call: &Call, target: Target<'_>, host: Host<'_>) -> Result<Outgoing, Untranslatable> {
    write_count(call, target, host)
}

/// Reads a provider's answer; nothing if it holds no count.
pub fn read_count_reply(body: &[u8]) -> Option<u64> {
    let reply = Object::read_document(body).ok()?;
    let count = reply.optional("input_tokens", json::integer(0..=i64::MAX)).ok()??;
    u64::try_from(count).ok()
}
