//! A model's vocabulary as the bytes that each token stands for, which is what grammars are about.
//!
//! The bytes of a token are what the tokenizer's decoder makes of it, so a grammar holds for the text that a client
//! sees. A token that leaves no text has a mark before its bytes that no text can have: no grammar spells a special
//! token. Deliberately absent: tokenizers whose decoder knows neither bytes nor a space (word pieces).

use std::sync::Arc;

use crate::text::{Tokenizer, Writing};
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

/// A tokenizer as grammars see it.
struct Environment {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
    /// Whether text that a grammar forces becomes the tokens that the tokenizer would make of it.
    canonical: bool,
}

/// Builds the view of a tokenizer for a model with `vocabulary` embeddings; `None` if its decoder is of no known kind
/// or the model cannot give one of its end tokens.
pub(super) fn environment(tokenizer: &Arc<Tokenizer>, vocabulary: usize) -> Option<TokEnv> {
    let writing = Writing::of(&tokenizer.decoder())?;
    let size = u32::try_from(vocabulary).ok()?;
    let ends: Vec<TokenId> = tokenizer.end_tokens().filter(|token| *token < size).collect();
    let words: Vec<Vec<u8>> = (0..size).map(|token| bytes(&writing, tokenizer, token)).collect();
    let trie = TokTrie::from(&TokRxInfo::new(size, *ends.first()?), &words).with_eos_tokens(&ends);
    let canonical = writing == Writing::ByteLevel;
    Some(Arc::new(Environment { trie, tokenizer: Arc::clone(tokenizer), canonical }))
}

fn bytes(writing: &Writing, tokenizer: &Tokenizer, token: u32) -> Vec<u8> {
    let Some(written) = tokenizer.written(token) else { return Vec::new() };
    let mut bytes = writing.bytes(&written);
    if tokenizer.is_skipped(token) || tokenizer.is_eos(token) {
        bytes.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
    }
    bytes
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    /// The tokenizer's own tokens if they stand for just this text. They may not where the text has the name of a
    /// special token in it, or where the tokenizer adds a space.
    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        let own = str::from_utf8(text).ok().and_then(|text| self.tokenizer.encode(text).ok());
        let known = |token: &TokenId| (*token as usize) < self.trie.vocab_size();
        own.filter(|tokens| tokens.iter().all(known) && self.trie.decode_raw(tokens) == text)
            .unwrap_or_else(|| self.trie.greedy_tokenize(text))
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}
