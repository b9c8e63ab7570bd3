//! One message: its two checksums, its headers and its payload.

use bytes::{BufMut, Bytes, BytesMut};

use super::{EventStreamError, Value, value};

/// Lengths and their checksum.
pub(super) const PRELUDE_BYTES: usize = 12;
/// The checksum at the end.
const CHECKSUM_BYTES: usize = 4;
/// Most bytes of headers in one message; the specification's own limit.
const HEADERS_BYTES_MAX: usize = 128 << 10;
/// Most headers in one message. AWS sends three or four.
const HEADERS_MAX: usize = 64;

/// One message, as it lies in its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// The headers, in order.
    pub headers: Vec<(&'a str, Value<'a>)>,
    /// What the message carries; JSON from all services that matter here.
    pub payload: &'a [u8],
}

/// Shows the shape only: payloads are words of a model.
impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Message")
            .field("headers", &self.headers.len())
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

/// What stands before a message, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prelude {
    /// Length of the message with prelude and checksum, at least 16.
    pub(super) total_bytes: usize,
    /// Length of its headers, at most the rest of it.
    headers_bytes: usize,
}

impl Prelude {
    /// Reads the first bytes of a message; nothing if there are too few.
    ///
    /// The checksum is checked first, so a wrong length is never waited for.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, EventStreamError> {
        let Some(mut prelude) = bytes.get(..PRELUDE_BYTES) else {
            return Ok(None);
        };
        let checksum = crc32fast::hash(&prelude[..8]);
        let total_bytes = u32::from_be_bytes(value::fixed(&mut prelude)?) as usize;
        let headers_bytes = u32::from_be_bytes(value::fixed(&mut prelude)?) as usize;
        if u32::from_be_bytes(value::fixed(&mut prelude)?) != checksum {
            return Err(EventStreamError::Checksum);
        }
        let room =
            total_bytes.checked_sub(PRELUDE_BYTES + CHECKSUM_BYTES).ok_or(EventStreamError::Lengths)?;
        if headers_bytes > room || headers_bytes > HEADERS_BYTES_MAX {
            return Err(EventStreamError::Lengths);
        }
        Ok(Some(Self { total_bytes, headers_bytes }))
    }
}

impl<'a> Message<'a> {
    /// Returns the header `name`, if it is there and a text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find_map(|(header, value)| match value {
            Value::Text(text) if *header == name => Some(*text),
            _ => None,
        })
    }

    /// Reads a message of which all bytes are there.
    pub(super) fn read(bytes: &'a [u8], prelude: Prelude) -> Result<Self, EventStreamError> {
        let (checked, mut checksum) = bytes.split_at(prelude.total_bytes - CHECKSUM_BYTES);
        if u32::from_be_bytes(value::fixed(&mut checksum)?) != crc32fast::hash(checked) {
            return Err(EventStreamError::Checksum);
        }
        let (mut headers, payload) = checked[PRELUDE_BYTES..].split_at(prelude.headers_bytes);
        Ok(Self { headers: read_headers(&mut headers)?, payload })
    }
}

fn read_headers<'a>(bytes: &mut &'a [u8]) -> Result<Vec<(&'a str, Value<'a>)>, EventStreamError> {
    let mut headers = Vec::new();
    while !bytes.is_empty() {
        if headers.len() == HEADERS_MAX {
            return Err(EventStreamError::TooManyHeaders { limit: HEADERS_MAX });
        }
        let [len] = value::fixed(bytes)?;
        let name = value::text(value::slice(bytes, usize::from(len))?)?;
        headers.push((name, Value::take(bytes)?));
    }
    Ok(headers)
}

/// Reads all messages of `bytes`, which end with the last one.
///
/// # Errors
/// Returns what is wrong with the first message that cannot be read; any bytes give either messages or an error.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<Message<'_>>, EventStreamError> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let prelude = Prelude::read(bytes)?.ok_or(EventStreamError::Truncated)?;
        let (message, rest) =
            bytes.split_at_checked(prelude.total_bytes).ok_or(EventStreamError::Truncated)?;
        messages.push(Message::read(message, prelude)?);
        bytes = rest;
    }
    Ok(messages)
}

/// Returns the bytes of a message.
///
/// # Panics
/// If a name is longer than 255 bytes, a value longer than 65,535, or the whole longer than 4 GiB.
pub fn encode(headers: &[(&str, Value<'_>)], payload: &[u8]) -> Bytes {
    let mut written = BytesMut::new();
    for (name, value) in headers {
        written.put_u8(u8::try_from(name.len()).expect("names of headers are ours and short"));
        written.put_slice(name.as_bytes());
        value.put(&mut written);
    }
    let total_bytes = PRELUDE_BYTES + written.len() + payload.len() + CHECKSUM_BYTES;
    let mut out = BytesMut::with_capacity(total_bytes);
    out.put_u32(u32::try_from(total_bytes).expect("what we write is far shorter"));
    out.put_u32(written.len() as u32);
    out.put_u32(crc32fast::hash(&out));
    out.put_slice(&written);
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

/// Returns the bytes of an event of the type `kind` whose payload is `json`.
pub fn encode_event(kind: &str, json: &str) -> Bytes {
    encode_json(":event-type", kind, "event", json)
}

/// Returns the bytes of an exception of the type `kind`, such as `throttlingException`, whose payload is `json`.
pub fn encode_exception(kind: &str, json: &str) -> Bytes {
    encode_json(":exception-type", kind, "exception", json)
}

fn encode_json(header: &str, kind: &str, message: &str, json: &str) -> Bytes {
    let headers = [
        (header, Value::Text(kind)),
        (":content-type", Value::Text("application/json")),
        (":message-type", Value::Text(message)),
    ];
    encode(&headers, json.as_bytes())
}
