//! Tokens and their log-probabilities, in the two shapes that the API has for them.
//!
//! A token whose bytes are no text is written with escapes, as the API does: `\\xf0\\x9f` in chat, the same behind
//! `bytes:` in completions. A logarithm of zero is written as -9999, as vLLM does, since JSON has no infinity.

use std::fmt::Write;

use serde::ser::{Serialize, Serializer};

use crate::reply::Token;

/// What stands for the logarithm of zero.
const NEVER: f32 = -9999.0;

/// The `logprobs` of a choice of a chat completion.
#[derive(serde::Serialize)]
pub(super) struct ChatLogprobs {
    content: Vec<ChatToken>,
    refusal: Option<()>,
}

#[derive(serde::Serialize)]
struct ChatToken {
    #[serde(flatten)]
    token: Weighed,
    top_logprobs: Vec<Weighed>,
}

#[derive(serde::Serialize)]
struct Weighed {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl ChatLogprobs {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let weighed = |bytes: &[u8], logprob: f32| Weighed {
            token: written(bytes, ""),
            logprob: logprob.max(NEVER),
            bytes: bytes.to_vec(),
        };
        let one = |token: &Token| ChatToken {
            token: weighed(&token.bytes, token.logprob.unwrap_or(NEVER)),
            top_logprobs: token
                .alternatives
                .iter()
                .map(|other| weighed(&other.bytes, other.logprob))
                .collect(),
        };
        Self { content: tokens.iter().map(one).collect(), refusal: None }
    }
}

/// The `logprobs` of a choice of a completion.
#[derive(serde::Serialize)]
pub(super) struct TextLogprobs {
    /// Where each token begins in the choice's text, in characters; special tokens count with their names.
    text_offset: Vec<usize>,
    token_logprobs: Vec<Option<f32>>,
    tokens: Vec<String>,
    top_logprobs: Vec<Option<Top>>,
}

/// The likeliest tokens and the one that was drawn, as an object; of two that are written alike, the likelier.
struct Top(Vec<(String, f32)>);

/// Where the next token begins in the text of a choice.
#[derive(Debug)]
pub(super) struct Place {
    /// In characters.
    offset: usize,
    /// The next token is not in the text.
    is_hidden: bool,
}

impl Place {
    /// Before the first token of a text that begins with the tokens `echoed`. A begin token that the tokenizer put
    /// before a prompt is not in the text that repeats the prompt.
    pub(super) fn before(echoed: &[Token], text: &str) -> Self {
        let is_written = |first: &Token| text.as_bytes().starts_with(&first.bytes);
        Self { offset: 0, is_hidden: !echoed.first().is_none_or(is_written) }
    }

    fn pass(&mut self, token: &Token) -> usize {
        let begin = self.offset;
        if !std::mem::take(&mut self.is_hidden) {
            // A character begins at every byte that does not go on with one.
            self.offset += token.bytes.iter().filter(|byte| *byte & 0xc0 != 0x80).count();
        }
        begin
    }
}

impl TextLogprobs {
    /// Of tokens that begin at a place, which is moved behind them.
    pub(super) fn of<'a>(tokens: impl Iterator<Item = &'a Token>, place: &mut Place) -> Self {
        let (text_offset, token_logprobs) = (Vec::new(), Vec::new());
        let mut logprobs = Self { text_offset, token_logprobs, tokens: Vec::new(), top_logprobs: Vec::new() };
        for token in tokens {
            logprobs.text_offset.push(place.pass(token));
            logprobs.token_logprobs.push(token.logprob.map(|logprob| logprob.max(NEVER)));
            logprobs.tokens.push(written(&token.bytes, "bytes:"));
            logprobs.top_logprobs.push(Top::of(token));
        }
        logprobs
    }
}

impl Top {
    fn of(token: &Token) -> Option<Self> {
        let own = (&token.bytes, token.logprob?);
        let mut top: Vec<(String, f32)> = Vec::with_capacity(token.alternatives.len() + 1);
        let alternatives = token.alternatives.iter().map(|other| (&other.bytes, other.logprob));
        for (bytes, logprob) in alternatives.chain([own]) {
            let name = written(bytes, "bytes:");
            if top.iter().all(|(other, _)| *other != name) {
                top.push((name, logprob.max(NEVER)));
            }
        }
        Some(Self(top))
    }
}

impl Serialize for Top {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(token, logprob)| (token, logprob)))
    }
}

/// The numbers of some tokens.
pub(super) fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

fn written(bytes: &[u8], mark: &str) -> String {
    if let Ok(text) = str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut written = mark.to_owned();
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(written, "\\x{byte:02x}");
    }
    written
}
