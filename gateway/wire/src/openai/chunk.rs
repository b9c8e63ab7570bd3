//! What chunks of chat completions and of completions have in common: everything but their choices.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::ErrorBody;
use crate::json::Text;
use crate::reply::Unreadable;

/// One event of a stream, or a whole answer, with choices of the type `C`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "C: Deserialize<'de>"))]
pub(super) struct Chunk<'a, C> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    object: Option<Text<'a>>,
    #[serde(default)]
    pub(super) choices: Option<Vec<C>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a, C: Deserialize<'a>> Chunk<'a, C> {
    /// Reads `data`.
    ///
    /// # Errors
    /// Returns the error that stands there instead of an answer, or that it is no chunk.
    pub(super) fn read(data: &'a [u8]) -> Result<Self, Unreadable> {
        // Of a list, the members would be taken by their place.
        let chunk = data.starts_with(b"{").then(|| serde_json::from_slice::<Self>(data));
        let Some(Ok(chunk)) = chunk else { return Err(Unreadable::Malformed("a chunk is not one")) };
        let is_error = chunk.error.is_some_and(|error| error.get() != "null");
        // Older servers send the error without a member around it.
        if is_error || chunk.object.as_deref() == Some("error") {
            let fault = ErrorBody::from_upstream(data).map(|error| error.to_fault(None));
            return Err(fault.map_or(Unreadable::Malformed("an error is not one"), Unreadable::Fault));
        }
        Ok(chunk)
    }
}
