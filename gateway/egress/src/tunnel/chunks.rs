//! Where a body in chunks ends.
//!
//! The bytes are passed on as they came, so each of them has to be one that every reader takes alike: plain hexadecimal
//! sizes, CRLF, no extensions, no trailers. Deliberately absent: taking the chunks apart.

/// Most digits of a chunk's size: 4 GiB.
const SIZE_DIGITS_MAX: u8 = 8;

/// A body that is not in chunks as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not in plain chunks")]
pub(super) struct BadChunk;

/// A reader's place in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    Size { digits: u8, value: u64 },
    SizeEnd { value: u64 },
    Data { left: u64 },
    DataEnd,
    DataEndCr,
    LastEnd,
    LastEndCr,
    Done,
}

impl Chunks {
    /// Begins a body.
    pub(super) const BEGIN: Self = Self::Size { digits: 0, value: 0 };

    /// Reads on; returns how many of `bytes` belong to the body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < bytes.len() && *self != Self::Done {
            if let Self::Data { left } = self {
                let here = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= here as u64;
                at += here;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                continue;
            }
            *self = self.after(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn after(self, byte: u8) -> Result<Self, BadChunk> {
        Ok(match (self, byte) {
            (Self::Size { digits, value }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < SIZE_DIGITS_MAX =>
            {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
                Self::Size { digits: digits + 1, value: value << 4 | u64::from(digit) }
            }
            (Self::Size { digits: 1.., value }, b'\r') => Self::SizeEnd { value },
            (Self::SizeEnd { value: 0 }, b'\n') => Self::LastEnd,
            (Self::SizeEnd { value }, b'\n') => Self::Data { left: value },
            (Self::DataEnd, b'\r') => Self::DataEndCr,
            (Self::DataEndCr, b'\n') => Self::BEGIN,
            (Self::LastEnd, b'\r') => Self::LastEndCr,
            (Self::LastEndCr, b'\n') => Self::Done,
            _ => return Err(BadChunk),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(usize, bool), BadChunk>) {
        let mut chunks = Chunks::BEGIN;
        let whole = chunks.advance(text.as_bytes()).map(|used| (used, chunks == Chunks::Done));
        assert_eq!(whole, expected, "{text:?}");
        // In single bytes it is the same.
        let mut chunks = Chunks::BEGIN;
        let mut used = Ok(0);
        for byte in text.as_bytes() {
            used = used.and_then(|used| Ok(used + chunks.advance(&[*byte])?));
        }
        assert_eq!(used.map(|used| (used, chunks == Chunks::Done)), expected, "{text:?} in single bytes");
    }

    // Replay 14
    #[test]
    fn a_body_ends_after_its_last_chunk_and_has_nothing_that_readers_take_differently() {
        check("5\r\nhello\r\n0\r\n\r\nGET ", Ok((15, true)));
        check("A\r\n0123456789\r\n00\r\n\r\n", Ok((21, true)));
        check("5\r\nhel", Ok((6, false)));
        for text in [
            "\r\n",
            "5\nhello",
            "5 \r\nhello",
            "5;a=b\r\nhello",
            "0x5\r\nhello",
            "+5\r\nhello",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello!\r\n",
            "0\r\na: b\r\n\r\n",
            "123456789\r\n",
            "0\r\n\n",
            "g\r\n",
        ] {
            check(text, Err(BadChunk));
        }
    }
}
