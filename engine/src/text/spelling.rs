//! Tokens as the bytes that they stand for.
//!
//! The bytes of a token are what the tokenizer's decoder makes of it, so those of a reply together are its text.
//! Deliberately absent: tokenizers whose decoder knows neither bytes nor a space (word pieces).

use std::sync::Arc;

use serde_json::Value;

use super::Tokenizer;

/// How a vocabulary writes bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Each byte is a printable character.
    ByteLevel,
    /// As text, with a character for the space; bytes that are no text are written `<0x0A>`.
    Pieces {
        /// What stands for a space.
        space: String,
    },
}

impl Writing {
    /// As the decoder of a `tokenizer.json` says; `None` for a decoder of another kind.
    pub(crate) fn of(decoder: &Value) -> Option<Self> {
        let single = std::slice::from_ref(decoder);
        let parts = decoder["decoders"].as_array().map_or(single, Vec::as_slice);
        let part = |kind: &str| parts.iter().find(|part| part["type"] == kind);
        if part("ByteLevel").is_some() {
            return Some(Self::ByteLevel);
        }
        if let Some(metaspace) = part("Metaspace") {
            return Some(Self::Pieces { space: metaspace["replacement"].as_str()?.to_owned() });
        }
        part("ByteFallback")?;
        let space = parts.iter().find(|part| part["type"] == "Replace" && part["content"] == " ");
        let space = space.and_then(|replace| replace["pattern"]["String"].as_str()).unwrap_or(" ");
        Some(Self::Pieces { space: space.to_owned() })
    }

    pub(crate) fn bytes(&self, token: &str) -> Vec<u8> {
        match self {
            // As the decoder does: a token with another character is no writing of bytes.
            Self::ByteLevel => {
                let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
                bytes.unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Self::Pieces { space } => {
                let byte = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                let byte = byte.filter(|digits| digits.len() == 2);
                match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(byte) => vec![byte],
                    None => token.replace(space.as_str(), " ").into_bytes(),
                }
            }
        }
    }
}

/// The byte that a character of a byte-level vocabulary stands for: itself if it prints, else the n-th of those that
/// do not for the n-th code point from 256 on.
fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// Spells the tokens of one vocabulary.
#[derive(Debug)]
pub(crate) struct Spelling {
    tokenizer: Arc<Tokenizer>,
    /// `None` if the decoder is of no known kind: tokens are spelled as the vocabulary writes them.
    writing: Option<Writing>,
}

impl Spelling {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        let writing = Writing::of(&tokenizer.decoder());
        Self { tokenizer, writing }
    }

    /// The bytes of a token: the name of a special one, and none of one that the vocabulary does not have.
    pub(crate) fn bytes(&self, token: u32) -> Vec<u8> {
        let Some(written) = self.tokenizer.written(token) else { return Vec::new() };
        match &self.writing {
            Some(writing) if !self.tokenizer.is_skipped(token) => writing.bytes(&written),
            _ => written.into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        let mut bytes: Vec<u8> = ('\0'..='\u{143}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('天'), None);
    }

    #[test]
    fn pieces_have_a_space_and_bytes() {
        let decoder = json!({ "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
        ]});
        let writing = Writing::of(&decoder).unwrap();
        for (token, bytes) in [
            ("▁the", b" the".as_slice()),
            ("<0xE5>", &[0xe5]),
            ("<0x0A>", b"\n"),
            ("<0x>", b"<0x>"),
            ("é", "é".as_bytes()),
        ] {
            assert_eq!(writing.bytes(token), bytes, "{token}");
        }
    }

    #[test]
    fn a_decoder_of_another_kind_is_not_guessed_at() {
        assert_eq!(Writing::of(&json!({ "type": "WordPiece", "prefix": "##" })), None);
        assert_eq!(Writing::of(&Value::Null), None);
        let both = json!({ "type": "Sequence", "decoders": [{ "type": "Fuse" }, { "type": "ByteLevel" }] });
        assert_eq!(Writing::of(&both), Some(Writing::ByteLevel));
    }
}
