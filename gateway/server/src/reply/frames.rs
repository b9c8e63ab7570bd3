//! The bytes of a provider's stream, cut into events, whichever framing the provider has.

use axum::http::StatusCode;
use bytes::Bytes;
use wire::sse::{self, Frame};
use wire::{Framing, eventstream};

use crate::error::ApiError;

/// Longest event of a stream, in bytes.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Cuts one stream into events.
pub(super) enum Frames {
    Sse(sse::Reader),
    EventStream(eventstream::Reader),
}

impl Frames {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(sse::Reader::new(EVENT_BYTES_MAX)),
            Framing::EventStream => Self::EventStream(eventstream::Reader::new(EVENT_BYTES_MAX)),
        }
    }

    /// Takes the next bytes; take all frames before the next call.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Sse(reader) => reader.push(bytes),
            Self::EventStream(reader) => reader.push(bytes),
        }
    }

    /// The next complete frame, or nothing until more bytes come.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, ApiError> {
        match self {
            Self::Sse(reader) => reader.next_frame().map_err(|error| {
                let message = "an event of the provider's stream is larger than this gateway takes";
                ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_event_too_large", message)
                    .caused_by(error)
            }),
            Self::EventStream(reader) => match reader.next_event() {
                // Binary messages never pass through, so their bytes are nobody's.
                Ok(event) => Ok(event.map(|event| Frame { raw: Bytes::new(), event: Some(event) })),
                Err(error) => {
                    let message = "the provider's stream is damaged; what came is not complete";
                    let error = ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_malformed", message)
                        .caused_by(error);
                    Err(error)
                }
            },
        }
    }

    /// A last frame whose end was certain only now.
    pub(super) fn finish(self) -> Option<Frame> {
        match self {
            Self::Sse(reader) => match reader.finish() {
                sse::Tail::Frame(frame) => Some(frame),
                sse::Tail::Clean | sse::Tail::Cut(_) => None,
            },
            // A message says how long it is; what is left is a cut.
            Self::EventStream(_) => None,
        }
    }
}
