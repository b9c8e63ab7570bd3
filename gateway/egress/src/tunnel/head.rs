//! The head of a request, read strictly.
//!
//! Everything that readers of HTTP are known to take differently is refused rather than repaired: line ends other
//! than CRLF, folded headers, space around a name, two lengths, a length beside an encoding. A proxy that repairs
//! is one whose reading differs from the next one's.
//!
//! Deliberately absent: keeping a connection for another request. One connection carries one request.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

/// Largest head, in bytes: that of most servers. A request line alone is a few hundred.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most headers of a request.
const HEADERS_MAX: usize = 100;

/// Bytes of the version in a status line, with the space behind it.
const VERSION_BYTES: usize = 9;

/// Digits of a status.
const STATUS_DIGITS: usize = 3;

/// The end of a head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// Request line and headers.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// As it came; only characters that are visible in ASCII.
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Why a head is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    #[error("a line of the head does not end in CRLF")]
    LineEnd,
    #[error("the head holds a control character; if this is TLS, write http:// for the proxy's own address")]
    Control,
    #[error("the request line is not `METHOD TARGET VERSION`")]
    RequestLine,
    #[error("only HTTP/1.1 and HTTP/1.0 are spoken here")]
    Version,
    #[error("a header is not `name: value`")]
    Header,
    #[error("the head has more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    #[error("the header {0} was sent more than once")]
    Repeated(HeaderName),
    #[error("`content-length` is not a number")]
    Length,
    #[error("only `chunked` is known as transfer encoding, in HTTP/1.1, and without a length beside it")]
    Encoding,
}

/// Finds the end of a head in `bytes`, of which the first `seen` were looked at before.
///
/// What can be no head is refused at once, so that a peer that speaks something else does not wait for a timeout.
pub(super) fn end(bytes: &[u8], seen: usize) -> Result<Option<usize>, HeadError> {
    for (index, &byte) in bytes.iter().enumerate().skip(seen) {
        let follows_cr = index > 0 && bytes[index - 1] == b'\r';
        if follows_cr != (byte == b'\n') {
            return Err(HeadError::LineEnd);
        }
        if byte.is_ascii_control() && !b"\r\n\t".contains(&byte) {
            return Err(HeadError::Control);
        }
        if bytes[..=index].ends_with(BLANK_LINE) {
            return Ok(Some(index + 1));
        }
    }
    Ok(None)
}

impl Head {
    /// Reads a head that [`end`] has found, with its blank line.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let text = bytes.strip_suffix(BLANK_LINE).ok_or(HeadError::LineEnd)?;
        let mut lines =
            text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
        Ok(Self { method, target, version, headers: headers(lines)? })
    }

    /// Returns the value of a header that may be sent once.
    pub(super) fn one(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, HeadError> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next();
        if values.next().is_some() { Err(HeadError::Repeated(name.clone())) } else { Ok(first) }
    }

    /// Returns what follows.
    pub(super) fn body(&self) -> Result<Body, HeadError> {
        let (length, encoding) = (self.one(&CONTENT_LENGTH)?, self.one(&TRANSFER_ENCODING)?);
        match (length, encoding) {
            (None, None) => Ok(Body::None),
            (Some(length), None) => digits(length).map(Body::Length).ok_or(HeadError::Length),
            (None, Some(encoding))
                if encoding.as_bytes().eq_ignore_ascii_case(b"chunked")
                    && self.version == Version::HTTP_11 =>
            {
                Ok(Body::Chunked)
            }
            (_, Some(_)) => Err(HeadError::Encoding),
        }
    }
}

/// Reads the head of an answer, with its blank line: status and headers.
pub(super) fn answer(bytes: &[u8]) -> Result<(u16, HeaderMap), HeadError> {
    let mut lines = lines(bytes)?;
    let first = lines.next().unwrap_or_default();
    let (version, rest) = first.split_at_checked(VERSION_BYTES).ok_or(HeadError::RequestLine)?;
    if version != b"HTTP/1.1 " && version != b"HTTP/1.0 " {
        return Err(HeadError::Version);
    }
    let (digits, reason) = rest.split_at_checked(STATUS_DIGITS).ok_or(HeadError::RequestLine)?;
    let is_plain = digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0';
    if !is_plain || !(reason.is_empty() || reason.starts_with(b" ")) {
        return Err(HeadError::RequestLine);
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Ok((status, headers(lines)?))
}

fn lines(bytes: &[u8]) -> Result<impl Iterator<Item = &[u8]>, HeadError> {
    let text = bytes.strip_suffix(BLANK_LINE).ok_or(HeadError::LineEnd)?;
    Ok(text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)))
}

fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        if headers.len() == HEADERS_MAX {
            return Err(HeadError::TooManyHeaders);
        }
        let (name, value) = header(line)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn request_line(line: &[u8]) -> Result<(Method, String, Version), HeadError> {
    let line = std::str::from_utf8(line).map_err(|_| HeadError::RequestLine)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::RequestLine);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::RequestLine)?;
    if target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HeadError::RequestLine);
    }
    let version = match version {
        "HTTP/1.1" => Version::HTTP_11,
        "HTTP/1.0" => Version::HTTP_10,
        _ => return Err(HeadError::Version),
    };
    Ok((method, target.to_owned(), version))
}

fn header(line: &[u8]) -> Result<(HeaderName, HeaderValue), HeadError> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or(HeadError::Header)?;
    // A folded line begins with a space, which no name holds.
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| HeadError::Header)?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| HeadError::Header)?;
    Ok((name, value))
}

fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    // `parse` alone would take a sign.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Head, HeadError> {
        let end = end(text.as_bytes(), 0)?.ok_or(HeadError::LineEnd)?;
        Head::parse(&text.as_bytes()[..end])
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &HeadError) {
        let refused = parse(text).and_then(|head| head.body().map(drop)).unwrap_err();
        assert_eq!(&refused, expected, "{text:?}");
    }

    #[test]
    fn a_head_is_taken_apart_and_what_follows_is_left() {
        let text = "CONNECT dir.test:443 HTTP/1.1\r\nHost: dir.test:443\r\nX-A:\t b \r\n\r\nmore";
        assert_eq!(end(text.as_bytes(), 0), Ok(Some(text.len() - "more".len())));
        let head = parse(text).unwrap();
        assert_eq!((head.method.as_str(), head.target.as_str()), ("CONNECT", "dir.test:443"));
        assert_eq!(
            (&head.headers["host"], &head.headers["x-a"]),
            (&"dir.test:443".parse().unwrap(), &"b".parse().unwrap())
        );
        assert_eq!(head.body(), Ok(Body::None));
        assert_eq!(end(b"GET", 0), Ok(None));
    }

    // Replay 14
    #[test]
    fn what_readers_take_differently_is_refused() {
        check_refused("GET / HTTP/1.1\nhost: a\n\n", &HeadError::LineEnd);
        check_refused("GET / HTTP/1.1\r\nhost: a\n\r\n", &HeadError::LineEnd);
        check_refused("GET / HTTP/1.1\r\nhost: a\rb: c\r\n\r\n", &HeadError::LineEnd);
        check_refused("GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n", &HeadError::Header);
        check_refused("GET / HTTP/1.1\r\nhost: a\r\n\tb: c\r\n\r\n", &HeadError::Header);
        check_refused("GET / HTTP/1.1\r\nhost : a\r\n\r\n", &HeadError::Header);
        check_refused("GET / HTTP/1.1\r\nhost\r\n\r\n", &HeadError::Header);
        check_refused("GET / HTTP/1.1\r\n: a\r\n\r\n", &HeadError::Header);
        check_refused("\r\nGET / HTTP/1.1\r\n\r\n", &HeadError::RequestLine);
        check_refused("GET  / HTTP/1.1\r\n\r\n", &HeadError::RequestLine);
        check_refused("GET\t/\tHTTP/1.1\r\n\r\n", &HeadError::RequestLine);
        check_refused("GET / x HTTP/1.1\r\n\r\n", &HeadError::RequestLine);
        check_refused("GET /\u{fc} HTTP/1.1\r\n\r\n", &HeadError::RequestLine);
        check_refused("GET /\r\n\r\n", &HeadError::RequestLine);
        check_refused("GET / HTTP/2.0\r\n\r\n", &HeadError::Version);
        check_refused("GET / http/1.1\r\n\r\n", &HeadError::Version);
        check_refused(
            &format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)),
            &HeadError::TooManyHeaders,
        );
    }

    // Replay 14
    #[test]
    fn a_body_has_one_measure() {
        let body =
            |version, headers| parse(&format!("POST / HTTP/{version}\r\n{headers}\r\n")).unwrap().body();
        assert_eq!(body("1.1", "content-length: 12\r\n"), Ok(Body::Length(12)));
        assert_eq!(body("1.1", "transfer-encoding: Chunked\r\n"), Ok(Body::Chunked));
        for headers in [
            "content-length: 1\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: xchunked\r\n",
        ] {
            assert_eq!(body("1.1", headers), Err(HeadError::Encoding), "{headers:?}");
        }
        assert_eq!(body("1.0", "transfer-encoding: chunked\r\n"), Err(HeadError::Encoding));
        assert_eq!(
            body("1.1", "content-length: 1\r\ncontent-length: 1\r\n"),
            Err(HeadError::Repeated(CONTENT_LENGTH))
        );
        for headers in [
            "content-length: +1\r\n",
            "content-length: 1, 1\r\n",
            "content-length: 0x1\r\n",
            "content-length: 99999999999999999999\r\n",
        ] {
            assert_eq!(body("1.1", headers), Err(HeadError::Length), "{headers:?}");
        }
    }

    // Replay 7, replay 31
    #[test]
    fn control_characters_are_refused_before_the_head_is_whole() {
        for byte in (0..=0x1f_u8).chain([0x7f]).filter(|byte| !b"\r\n\t".contains(byte)) {
            assert_eq!(end(&[b'G', byte], 0), Err(HeadError::Control), "{byte:#x}");
        }
        // A client hello, from somebody who takes this for a proxy behind TLS.
        assert_eq!(end(&[0x16, 3, 1, 2, 0], 0), Err(HeadError::Control));
    }

    proptest! {
        #[test]
        fn where_a_head_ends_does_not_depend_on_how_it_arrives(
            text in "[a\r\n\t:\u{0} ]{0,40}(\r\n\r\n)?[a\n]{0,5}", cuts in proptest::collection::vec(0..50_usize, 0..5),
        ) {
            let bytes = text.as_bytes();
            let whole = end(bytes, 0);
            let mut seen = 0;
            let mut in_pieces = Ok(None);
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < bytes.len()).chain([bytes.len()]).collect();
            cuts.sort_unstable();
            for cut in cuts {
                in_pieces = end(&bytes[..cut], seen);
                seen = cut;
                if in_pieces != Ok(None) { break }
            }
            prop_assert_eq!(in_pieces, whole);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,60}") {
            drop(parse(&format!("{text}\r\n\r\n")));
            drop(parse(&format!("GET {text} HTTP/1.1\r\n{text}\r\n\r\n")));
        }
    }
}
