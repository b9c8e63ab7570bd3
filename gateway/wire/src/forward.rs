//! The request as an upstream gets it: the caller's own bytes with at most two places changed.
//!
//! Why not serialise the parsed request: fields that we do not know would be lost, numbers would
//! be reformatted, and prompt caches keyed on bytes would miss. So the places are found while
//! reading and spliced here.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use crate::json::read::{self, Object};
use crate::{ParseError, UsageChunk};

/// Whether the upstream is to report usage at the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskUsage {
    /// Always, so that the call can be measured; the chunk is hidden from a caller who did not ask.
    Always,
    /// Only if the caller asked, for upstreams that refuse `stream_options`.
    AsCaller,
}

/// The places of a body that a forward may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Splices {
    /// The value of `model`.
    model: Range<usize>,
    /// What makes the upstream report usage; nothing if it will anyway or nothing is streamed.
    usage: Option<Splice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Splice {
    at: Range<usize>,
    text: &'static str,
}

impl Splices {
    /// Finds the places in `body`, of which `top` is the checked content.
    pub(crate) fn find(
        body: &[u8],
        top: &Object<'_>,
        streams: Option<UsageChunk>,
    ) -> Result<Self, ParseError> {
        let model = top.required("model", |raw| Ok(span(body, raw)))?;
        let usage = match streams {
            Some(UsageChunk::Unwanted) => Some(usage_splice(body, top, model.end)?),
            Some(UsageChunk::Wanted) | None => None,
        };
        Ok(Self { model, usage })
    }

    /// Returns `body` with the model replaced and, if `ask` says so, usage asked for.
    pub(crate) fn apply(&self, body: &[u8], model: &str, ask: AskUsage) -> Bytes {
        let model_json = serde_json::Value::from(model).to_string();
        let mut splices = vec![(self.model.clone(), model_json.as_str())];
        if let (Some(usage), AskUsage::Always) = (&self.usage, ask) {
            splices.push((usage.at.clone(), usage.text));
        }
        // An insertion directly behind the model starts where the model ends, so it sorts last.
        splices.sort_by_key(|(at, _)| at.start);

        let growth: usize = splices.iter().map(|(_, text)| text.len()).sum();
        let mut out = BytesMut::with_capacity(body.len() + growth);
        let mut copied = 0;
        for (at, text) in splices {
            out.extend_from_slice(&body[copied..at.start]);
            out.extend_from_slice(text.as_bytes());
            copied = at.end;
        }
        out.extend_from_slice(&body[copied..]);
        out.freeze()
    }
}

/// Returns the smallest change that sets `stream_options.include_usage`.
fn usage_splice(body: &[u8], top: &Object<'_>, model_end: usize) -> Result<Splice, ParseError> {
    let Some(options) = top.written("stream_options") else {
        let text = r#","stream_options":{"include_usage":true}"#;
        return Ok(Splice { at: model_end..model_end, text });
    };
    let place = span(body, options);
    if options.get() == "null" {
        return Ok(Splice { at: place, text: r#"{"include_usage":true}"# });
    }
    let options = Object::read(options).map_err(|error| error.under_key("stream_options"))?;
    if let Some(written) = options.written("include_usage") {
        return Ok(Splice { at: span(body, written), text: "true" });
    }
    let inside = place.start + 1;
    let text = match options.names().next() {
        Some(_) => r#""include_usage":true,"#,
        None => r#""include_usage":true"#,
    };
    Ok(Splice { at: inside..inside, text })
}

/// Returns where `raw`, a slice of `body`, stands in it.
fn span(body: &[u8], raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - body.as_ptr().addr();
    let span = start..start + raw.get().len();
    debug_assert_eq!(&body[span.clone()], raw.get().as_bytes(), "a raw value borrows from its body");
    span
}

/// Reads `stream_options` of a streamed request.
pub(crate) fn read_usage_chunk(raw: &RawValue) -> Result<UsageChunk, ParseError> {
    match Object::read(raw)?.optional("include_usage", read::boolean)? {
        Some(true) => Ok(UsageChunk::Wanted),
        Some(false) | None => Ok(UsageChunk::Unwanted),
    }
}
