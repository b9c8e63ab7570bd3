//! One event: its meaning read from a complete frame, and its bytes written for a client.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What one frame means to its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    name: Option<String>,
    data: String,
}

impl Event {
    /// Creates what another framing than this one says; see [`eventstream`](crate::eventstream).
    pub(crate) fn new(name: Option<String>, data: String) -> Self {
        Self { name, data }
    }

    /// Returns the value of the `event` field, if it was given and not empty.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the `data` lines, joined by line feeds.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Reads a complete frame; nothing if it has no `data` line, as for a comment.
    ///
    /// Bytes that are not UTF-8 become replacement characters, as the standard demands.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let mut name = None;
        let mut data: Option<String> = None;
        for line in lines(frame) {
            let (field, value) = match line.iter().position(|byte| *byte == b':') {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (line, &[][..]),
            };
            let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
            match field {
                b"event" => name = Some(value.into_owned()).filter(|name| !name.is_empty()),
                b"data" => match &mut data {
                    Some(data) => data.extend(["\n", &value]),
                    None => data = Some(value.into_owned()),
                },
                _ => {}
            }
        }
        data.map(|data| Self { name, data })
    }

    /// Removes the mark that may stand before the first frame of a stream.
    pub(super) fn without_mark(frame: &[u8]) -> &[u8] {
        frame.strip_prefix(BYTE_ORDER_MARK).unwrap_or(frame)
    }
}

/// Returns the bytes of an event that carries `data` and no name.
///
/// Each line of `data` gets a field of its own, so no content can forge an event boundary.
pub fn encode_data(data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(data.len() + "data: \n\n".len());
    for line in lines_with_last(data) {
        bytes.put_slice(b"data: ");
        bytes.put_slice(line);
        bytes.put_u8(b'\n');
    }
    bytes.put_u8(b'\n');
    bytes.freeze()
}

/// Appends an event that carries `value`, under the name that some dialects want.
///
/// # Panics
/// Never for the types of this crate: they hold strings, numbers and lists only.
pub(crate) fn put_json<T: Serialize>(out: &mut BytesMut, name: Option<&str>, value: &T) {
    if let Some(name) = name {
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_u8(b'\n');
    }
    out.put_slice(b"data: ");
    // JSON escapes line ends, so one field holds all of it.
    serde_json::to_writer(out.writer(), value).expect("strings, numbers and lists always serialise");
    out.put_slice(b"\n\n");
}

/// The terminated lines of a frame; the empty rest behind the last terminator is none.
fn lines(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines_with_last(frame).filter(|line| !line.is_empty())
}

/// Splits at CR, LF and CRLF; text without any is one line, also when it is empty.
fn lines_with_last(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            rest = None;
            return Some(text);
        };
        let width = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&text[end + width..]);
        Some(&text[..end])
    })
}
