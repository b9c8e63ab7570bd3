//! The head of a proxy's answer to CONNECT, pure.
//!
//! It is read byte by byte, so it means the same however the network cuts it, and the first byte behind it is known
//! exactly: that byte belongs to the tunnel. Of the head only the status is kept. A length that it states is not
//! looked at, because a 2xx answer to CONNECT has no body (RFC 9110, 9.3.6).
//!
//! Deliberately absent: what other readers of HTTP forgive. A line feed alone ends no line, and a header goes on in no
//! second line, because two readers would disagree about where such a head ends.

use http::{HeaderName, StatusCode};

/// Longest head, in bytes. Proxies answer with a few hundred; this leaves room for their advertising.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// What every answer begins with; the next byte is `0` or `1`.
const BEGINNING: &[u8] = b"HTTP/1.";

/// A head of which a part has arrived.
#[derive(Debug, Default)]
pub(super) struct Head {
    length: usize,
    /// The line that has begun, with its end once that is there.
    line: Vec<u8>,
    status: Option<StatusCode>,
}

/// Where a head stands after some more bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All of the bytes belong to the head, and it goes on.
    More,
    /// The head ended after `used` of the bytes.
    End {
        /// What the proxy says.
        status: StatusCode,
        /// How many of the bytes belong to the head.
        used: usize,
    },
}

/// Why bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    /// They are not HTTP/1.
    Malformed,
    /// They do not end in time.
    TooLarge,
}

impl Head {
    /// Takes the next bytes. Not to be asked again after an end or an error.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Step, HeadError> {
        for (index, &byte) in bytes.iter().enumerate() {
            self.length += 1;
            self.line.push(byte);
            if let Some(status) = self.judge(byte)? {
                return Ok(Step::End { status, used: index + 1 });
            }
            if self.length == HEAD_BYTES_MAX {
                return Err(HeadError::TooLarge);
            }
        }
        Ok(Step::More)
    }

    /// Looks at the line after its newest byte; returns the status with the head's last one.
    fn judge(&mut self, newest: u8) -> Result<Option<StatusCode>, HeadError> {
        if self.status.is_none() && !is_beginning(&self.line) {
            // At once: a peer that speaks something else may well wait for us, and send no more.
            return Err(HeadError::Malformed);
        }
        if newest != b'\n' {
            return Ok(None);
        }
        let line = self.line.strip_suffix(b"\r\n").ok_or(HeadError::Malformed)?;
        match self.status {
            None => self.status = Some(status(line).ok_or(HeadError::Malformed)?),
            Some(status) if line.is_empty() => return Ok(Some(status)),
            Some(_) if is_field(line) => {}
            Some(_) => return Err(HeadError::Malformed),
        }
        self.line.clear();
        Ok(None)
    }
}

fn is_beginning(line: &[u8]) -> bool {
    let length = line.len().min(BEGINNING.len());
    line[..length] == BEGINNING[..length]
}

/// Reads `HTTP/1.1 200 Connection established`; the words may be absent.
fn status(line: &[u8]) -> Option<StatusCode> {
    let (version, rest) = line.strip_prefix(BEGINNING)?.split_first()?;
    let code = rest.strip_prefix(b" ")?;
    let (code, words) = code.split_at_checked(3)?;
    let is_whole = words.is_empty() || words.starts_with(b" ");
    let is_answer = matches!(version, b'0' | b'1') && is_whole && is_text(words);
    StatusCode::from_bytes(code).ok().filter(|_| is_answer)
}

fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return false };
    let (name, value) = line.split_at(colon);
    HeaderName::from_bytes(name).is_ok() && is_text(value)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n";

    /// Reads a whole; gives the status and what is left for the tunnel.
    fn read(bytes: &[u8]) -> Result<Option<(u16, &[u8])>, HeadError> {
        Ok(match Head::default().take(bytes)? {
            Step::More => None,
            Step::End { status, used } => Some((status.as_u16(), &bytes[used..])),
        })
    }

    /// Reads the same in pieces that end at `cuts`.
    fn read_in_pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Result<Option<(u16, &'a [u8])>, HeadError> {
        let mut head = Head::default();
        let mut begin = 0;
        for &end in cuts.iter().chain([&bytes.len()]) {
            if let Step::End { status, used } = head.take(&bytes[begin..end])? {
                return Ok(Some((status.as_u16(), &bytes[begin + used..])));
            }
            begin = end;
        }
        Ok(None)
    }

    #[test]
    fn an_answer_is_read_to_its_empty_line_and_no_further() {
        for (text, status, rest) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", 200, ""),
            ("HTTP/1.0 200 OK\r\nProxy-Agent: old/1\r\n\r\n", 200, ""),
            ("HTTP/1.1 200\r\n\r\n", 200, ""),
            ("HTTP/1.1 200 \r\n\r\n", 200, ""),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n\x16\x03\x01\r\n", 200, "\x16\x03\x01\r\n"),
            ("HTTP/1.1 200 OK\r\nx-empty:\r\nx-tab:\ta\r\n\r\n\r\n\r\n", 200, "\r\n\r\n"),
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n<html>", 407, "<html>"),
            ("HTTP/1.1 502 ni\u{e9}\r\n\r\n", 502, ""),
        ] {
            assert_eq!(read(text.as_bytes()), Ok(Some((status, rest.as_bytes()))), "{text:?}");
        }
    }

    #[test]
    fn whatever_readers_could_disagree_about_is_no_head() {
        for text in [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "\x15\x03\x01\0\x02\x02\x46",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200\tOK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
            "HTTP/1.1 200 OK\r\nvia : 1.1 proxy\r\n\r\n",
            "HTTP/1.1 200 OK\r\nvia: 1.1\r\n proxy\r\n\r\n",
            "HTTP/1.1 200 OK\r\nvia: 1.1\n\r\n",
            "HTTP/1.1 200 OK\r\nvia: \x1b[2J\r\n\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(HeadError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn another_protocol_is_known_by_its_first_bytes() {
        for text in ["\x15", "S", "HTTP/2", "HTTP/1,"] {
            assert_eq!(read(text.as_bytes()), Err(HeadError::Malformed), "{text:?}");
        }
        assert_eq!(read(b"HTTP/1."), Ok(None));
    }

    #[test]
    fn a_head_may_be_eight_kib_long_and_not_a_byte_longer() {
        let head = |length: usize| {
            let frame = "HTTP/1.1 200 OK\r\nx: \r\n\r\n".len();
            format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(length - frame))
        };
        assert_eq!(read(head(HEAD_BYTES_MAX).as_bytes()), Ok(Some((200, &b""[..]))));
        assert_eq!(read(head(HEAD_BYTES_MAX + 1).as_bytes()), Err(HeadError::TooLarge));
        let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(HEAD_BYTES_MAX);
        assert_eq!(read(endless.as_bytes()), Err(HeadError::TooLarge));
    }

    /// Answers good and bad, with something behind them.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
            4 => Just(b"via: 1.1 proxy\r\n".to_vec()),
            4 => Just(b"\r\n".to_vec()),
            1 => Just(b"HTTP/1.0 407\r\n\r\n".to_vec()),
            1 => Just(b"\n".to_vec()),
            1 => vec(any::<u8>(), 0..20),
            1 => (HEAD_BYTES_MAX - 40..HEAD_BYTES_MAX).prop_map(|length| vec![b'a'; length]),
        ];
        prop_oneof![
            vec(piece, 0..8).prop_map(|pieces| pieces.concat()),
            vec(any::<u8>(), 0..40).prop_map(|rest| [PLAIN, &rest].concat()),
        ]
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_reads_as_the_whole_does(
            bytes in answers(),
            cuts in vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(read_in_pieces(&bytes, &cuts), read(&bytes));
            let every: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(read_in_pieces(&bytes, &every), read(&bytes));
        }
    }
}
