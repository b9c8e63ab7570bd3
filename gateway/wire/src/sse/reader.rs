//! Cuts a byte stream into frames, whatever way the network split it.
//!
//! A frame ends with the blank line that dispatches its event. Only the boundary is looked for
//! while bytes arrive, and each byte once, so small splits do not cost quadratic time.

use bytes::{Bytes, BytesMut};

use super::Event;

/// One complete block of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Every byte since the previous frame, blank line included.
    pub raw: Bytes,
    /// What it says; nothing for comments and blank lines.
    pub event: Option<Event>,
}

/// What is left when the stream has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: the last byte ended a frame.
    Clean,
    /// A last frame, whose end was certain only now.
    Frame(Frame),
    /// The beginning of a frame that never ended. It is no event, and must not be forwarded:
    /// anything written after it would become part of it.
    Cut(Bytes),
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event is larger than the reader was allowed to hold.
    #[error("an event of the stream is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}

/// An incremental reader of one event stream.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    boundary: Boundary,
    limit_bytes: usize,
    at_start: bool,
}

impl Reader {
    /// Creates a reader that refuses frames of more than `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), boundary: Boundary::default(), limit_bytes, at_start: true }
    }

    /// Takes the next bytes of the stream.
    ///
    /// Take all frames with [`next_frame`](Self::next_frame) before the next call: the reader
    /// then holds at most one incomplete frame.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete frame, or nothing until more bytes are pushed.
    ///
    /// # Errors
    /// Returns [`SseError::TooLarge`] once a frame exceeds the limit, and from then on.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, SseError> {
        let end = self.boundary.find(&self.buffer);
        if end.unwrap_or(self.buffer.len()) > self.limit_bytes {
            return Err(SseError::TooLarge { limit_bytes: self.limit_bytes });
        }
        Ok(end.map(|end| self.cut(end)))
    }

    /// Says what is left of a stream that has ended, after its last frame was taken.
    pub fn finish(mut self) -> Tail {
        if self.boundary.line == Line::BlankCr {
            return Tail::Frame(self.cut(self.buffer.len()));
        }
        if self.buffer.is_empty() { Tail::Clean } else { Tail::Cut(self.buffer.freeze()) }
    }

    fn cut(&mut self, end: usize) -> Frame {
        let raw = self.buffer.split_to(end).freeze();
        self.boundary = Boundary::default();
        let text = if self.at_start { Event::without_mark(&raw) } else { &raw };
        self.at_start = false;
        let event = Event::read(text);
        Frame { raw, event }
    }
}

/// Finds the end of the first frame in a growing buffer.
///
/// CR alone ends a line, and so does CRLF; a CR at the end of what has arrived could be either.
/// A blank line made of such a CR is held back until the next byte tells. A blank line after a
/// bare CR is not: in a stream with CR line ends, waiting would delay every event until the next.
#[derive(Debug, Default)]
struct Boundary {
    /// Bytes looked at.
    scanned: usize,
    line: Line,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Line {
    /// Nothing of the current line has been seen: an end here dispatches.
    #[default]
    Blank,
    /// Some of the current line has been seen.
    Text,
    /// A line with text ended in CR, perhaps the first half of CRLF.
    TextCr,
    /// A blank line ended in CR, perhaps the first half of CRLF.
    BlankCr,
}

impl Boundary {
    fn find(&mut self, buffer: &[u8]) -> Option<usize> {
        while let Some(&byte) = buffer.get(self.scanned) {
            self.line = match (&self.line, byte) {
                (Line::BlankCr | Line::Blank, b'\n') | (Line::TextCr, b'\r') => {
                    return Some(self.scanned + 1);
                }
                (Line::BlankCr, _) => return Some(self.scanned),
                (Line::Blank, b'\r') => Line::BlankCr,
                (Line::Text, b'\r') => Line::TextCr,
                (Line::Text | Line::TextCr, b'\n') => Line::Blank,
                (Line::Blank | Line::Text | Line::TextCr, _) => Line::Text,
            };
            self.scanned += 1;
        }
        None
    }
}
