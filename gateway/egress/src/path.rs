//! The path of a call below a provider's base URL: what it may look like, and how a name gets into it.
//!
//! Names of models and deployments stand in paths, and they come from the policy; a call's other parts never do. Still
//! the whole path is checked here, behind everybody who writes one, so that none can change the host, leave
//! the base path, or be read in two ways by two servers. Servers differ in when they decode an escape, so what
//! is refused in plain form is refused behind any number of escapes too.
//!
//! A signature covers the path in the very bytes that are sent. That is why there is one function to write a segment.

use std::borrow::Cow;
use std::fmt::Write;

/// Longest path with its query, in bytes. Names of models have a few dozen, ARNs of AWS at most 2,048.
const PATH_BYTES_MAX: usize = 8 * 1024;

/// Why a path is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with one slash and a segment, or holds an empty segment.
    #[error("the path has an empty segment or does not begin with a slash")]
    Empty,
    /// A segment is `.` or `..`, or becomes one when it is decoded.
    #[error("the path has a segment that means another folder")]
    Dots,
    /// A character may not stand in a URI, or stands for one that no name has.
    #[error("the path has a character that is not allowed there")]
    Character,
    /// A `%` begins no escape.
    #[error("the path has a broken escape")]
    Escape,
    /// It is longer than 8 KiB.
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
}

/// Returns `text` as one segment of a path: everything but letters, digits, `-`, `.`, `_` and `~` is escaped.
///
/// The names `.` and `..` have no form that every server takes for a name; a path with one of them is refused
/// when it is sent.
pub fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) {
            segment.push(char::from(byte));
        } else {
            write!(segment, "%{byte:02X}").expect("a string takes every write");
        }
    }
    segment
}

/// Checks a path and its query.
pub(crate) fn check(text: &str) -> Result<(), PathError> {
    if text.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    check_characters(path, |byte| is_in_segment(byte) || byte == b'/')?;
    check_characters(query, |byte| is_in_segment(byte) || byte == b'/')?;
    let segments = path.strip_prefix('/').ok_or(PathError::Empty)?;
    segments.split('/').try_for_each(check_segment)
}

fn check_characters(text: &str, is_allowed: fn(u8) -> bool) -> Result<(), PathError> {
    let bytes = text.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        if byte == b'%' {
            let digits = bytes.get(index + 1..index + 3).ok_or(PathError::Escape)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(PathError::Escape);
            }
        } else if !is_allowed(byte) {
            return Err(PathError::Character);
        }
    }
    Ok(())
}

/// Judges a segment as it is and as every server might read it that decodes it once more.
fn check_segment(segment: &str) -> Result<(), PathError> {
    if segment.is_empty() {
        return Err(PathError::Empty);
    }
    let mut read = Cow::Borrowed(segment.as_bytes());
    loop {
        if read.iter().any(u8::is_ascii_control) {
            return Err(PathError::Character);
        }
        let parts = read.split(|byte| matches!(byte, b'/' | b'\\'));
        if parts.into_iter().any(|part| part == b"." || part == b"..") {
            return Err(PathError::Dots);
        }
        match decode(&read) {
            Some(decoded) => read = Cow::Owned(decoded),
            None => return Ok(()),
        }
    }
}

/// Replaces each escape by its byte; nothing if there is none.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(text[at]);
            at += 1;
        }
    }
    (decoded.len() < text.len()).then_some(decoded)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_in_segment(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn the_paths_of_every_api_may_be_sent() {
        let model = path_segment("eu.anthropic.claude-opus-4-7-v1:0");
        for path in [
            "/chat/completions",
            "/v1/messages?beta=true",
            "/openai/deployments/gpt-5/chat/completions?api-version=2025-04-01-preview",
            &format!("/model/{model}/converse-stream"),
            "/publishers/google/models/gemini-3-flash:streamGenerateContent?alt=sse",
            &format!(
                "/model/{}/converse",
                path_segment("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x")
            ),
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
        assert_eq!(model, "eu.anthropic.claude-opus-4-7-v1%3A0");
    }

    #[test]
    fn a_path_that_could_lead_elsewhere_is_refused() {
        for (path, error) in [
            ("", PathError::Empty),
            ("/", PathError::Empty),
            ("chat", PathError::Empty),
            ("//evil.example/v1", PathError::Empty),
            ("/a//b", PathError::Empty),
            ("/a/", PathError::Empty),
            ("@evil.example/", PathError::Empty),
            (":8080/", PathError::Empty),
            ("/..", PathError::Dots),
            ("/a/../../b", PathError::Dots),
            ("/./a", PathError::Dots),
            ("/%2e%2E/a", PathError::Dots),
            ("/.%2e/a", PathError::Dots),
            ("/%252e%252e/a", PathError::Dots),
            ("/a%2F..%2Fb", PathError::Dots),
            ("/a%5C..%5Cb", PathError::Dots),
            ("/a#b", PathError::Character),
            ("/a\\b", PathError::Character),
            ("/a b", PathError::Character),
            ("/a\r\nhost: evil.example", PathError::Character),
            ("/a%0d%0ahost", PathError::Character),
            ("/a%00", PathError::Character),
            ("/a%2500", PathError::Character),
            ("/ä", PathError::Character),
            ("/a?b?c", PathError::Character),
            ("/a?b#c", PathError::Character),
            ("/a?b c", PathError::Character),
            ("/a%", PathError::Escape),
            ("/a%4", PathError::Escape),
            ("/a%zz", PathError::Escape),
            ("/a?b=%g0", PathError::Escape),
        ] {
            assert_eq!(check(path), Err(error), "{path:?}");
        }
        let longest = format!("/{}", "a".repeat(PATH_BYTES_MAX - 1));
        assert_eq!(check(&longest), Ok(()));
        assert_eq!(check(&format!("{longest}a")), Err(PathError::TooLong));
    }

    /// Text made of what gets URLs wrong.
    fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-z0-9]{1,3}",
            2 => Just("/".to_owned()),
            1 => prop::sample::select(vec![
                "..", ".", "//", "\\", "%2e", "%2E", "%2f", "%5c", "%252e", "%25", "%", "?", "#", "@", ":", "\t", "\r\n",
                " ", "ä", "%00", "%c3%a4", "http://", "[", "]", "{", "&", "=", ";",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

        #[test]
        fn what_passes_stays_at_the_host_and_below_the_base_path(path in nasty(), slash: bool) {
            let path = if slash { format!("/{path}") } else { path };
            if check(&path).is_ok() {
                let base = "https://api.test:8443/base/v1";
                // A reader that is not ours, with a browser's habits, finds the same host and the same path.
                let url = Url::parse(&format!("{base}{path}")).unwrap();
                prop_assert_eq!((url.host_str(), url.port()), (Some("api.test"), Some(8443)));
                prop_assert!(url.path().starts_with("/base/v1/"), "{}", url);
                prop_assert_eq!(url.fragment(), None);
                prop_assert_eq!(url.as_str(), format!("{base}{path}"), "nothing is left to normalise");
            }
        }

        #[test]
        fn a_segment_is_one_segment_and_decodes_to_its_name(name in "\\PC{1,20}") {
            let segment = path_segment(&name);
            prop_assert!(segment.bytes().all(|byte| is_unreserved(byte) || byte == b'%'), "{}", segment);
            let decoded = decode(segment.as_bytes()).unwrap_or_else(|| segment.clone().into_bytes());
            prop_assert_eq!(decoded, name.as_bytes());
            match check(&format!("/model/{segment}/converse")) {
                Ok(()) => {}
                Err(PathError::Dots) => prop_assert!(name.contains('.')),
                Err(other) => prop_assert!(name.contains('%'), "{:?}: {}", name, other),
            }
        }
    }
}
