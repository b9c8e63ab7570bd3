//! Cuts a byte stream into messages, whatever way the network split it, and gives them the form that all streams of
//! providers have here.

use bytes::BytesMut;

use super::EventStreamError;
use super::message::{Message, Prelude};
use crate::sse::Event;

/// An incremental reader of one event stream.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    limit_bytes: usize,
}

/// What is left when the stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: the last byte ended a message.
    Clean,
    /// The beginning of a message that never ended.
    Cut,
}

impl Reader {
    /// Creates a reader that refuses messages of more than `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), limit_bytes }
    }

    /// Takes the next bytes of the stream.
    ///
    /// Take all events with [`next_event`](Self::next_event) before the next call: the reader then holds at most one
    /// incomplete message.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next event, or nothing until more bytes are pushed.
    ///
    /// Its name is the `:event-type`; that of an exception is `exception.` and the `:exception-type`, that of an error
    /// `error.` and the `:error-code`. Its data is the payload.
    ///
    /// # Errors
    /// Returns what is wrong with the next message, and the same from then on: behind it no boundary can be trusted.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventStreamError> {
        let Some(prelude) = Prelude::read(&self.buffer)? else {
            return Ok(None);
        };
        if prelude.total_bytes > self.limit_bytes {
            return Err(EventStreamError::TooLarge { limit_bytes: self.limit_bytes });
        }
        let Some(bytes) = self.buffer.get(..prelude.total_bytes) else {
            return Ok(None);
        };
        let event = event(&Message::read(bytes, prelude)?);
        let _ = self.buffer.split_to(prelude.total_bytes);
        Ok(Some(event))
    }

    /// Says what is left of a stream that has ended, after its last event was taken.
    pub fn finish(self) -> Tail {
        if self.buffer.is_empty() { Tail::Clean } else { Tail::Cut }
    }
}

fn event(message: &Message<'_>) -> Event {
    let payload = String::from_utf8_lossy(message.payload);
    match message.text(":message-type") {
        Some("exception") => {
            Event::new(Some(named("exception", message.text(":exception-type"))), payload.into())
        }
        Some("error") => {
            let data = if payload.is_empty() { error_payload(message) } else { payload.into() };
            Event::new(Some(named("error", message.text(":error-code"))), data)
        }
        _ => Event::new(message.text(":event-type").map(str::to_owned), payload.into()),
    }
}

fn named(class: &str, kind: Option<&str>) -> String {
    format!("{class}.{}", kind.unwrap_or("unknown"))
}

/// An error says what it has to say in a header; its payload is empty.
fn error_payload(message: &Message<'_>) -> String {
    serde_json::json!({ "message": message.text(":error-message") }).to_string()
}
