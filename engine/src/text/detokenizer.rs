//! Token ids to text, one token at a time.
//!
//! A token may end in the middle of a character, and what a token adds may depend on the one before it (a
//! decoder that drops the first space of a text, say). So each step decodes a short window:
//!
//! ```text
//! [ context: emitted, still shown to the decoder | pending: not emitted yet ]
//! ```
//! and emits by how much the pending tokens lengthen the text of the context. While the text ends in U+FFFD it
//! may be a torn character, and is held back. The pieces and [`Detokenizer::finish`] together are what decoding
//! all tokens at once gives, also where the bytes are no UTF-8. One exception is inherent: a decoder with byte
//! fallback may take back a character that it has shown once an invalid byte follows; that stays shown.

use std::sync::Arc;

use super::Tokenizer;

/// How many tokens may be pending. A torn character has at most three bytes and so three tokens, hence among
/// more tokens there is always a place to cut.
const PENDING_TOKENS_MAX: usize = 8;

/// Decodes the tokens of one sequence in order. The work per token does not grow with the sequence.
#[derive(Debug)]
pub(super) struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    /// Special tokens whose text is shown.
    shown: Vec<u32>,
    context: Vec<u32>,
    /// `decode(context)`.
    context_text: String,
    pending: Vec<u32>,
}

impl Detokenizer {
    pub(super) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        let shown = Vec::new();
        Self { tokenizer, shown, context: Vec::new(), context_text: String::new(), pending: Vec::new() }
    }

    /// The same, with the text of these special tokens: somebody looks for it.
    pub(super) fn showing<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        self.shown = texts.into_iter().filter_map(|text| self.tokenizer.special(text)).collect();
        self
    }

    /// Takes the next token and returns the text that is certain by now, which may be empty.
    pub(super) fn push(&mut self, token: u32) -> String {
        // Left in the window, such tokens would fill it without ever lengthening the text.
        if self.tokenizer.is_skipped(token) {
            return if self.shown.contains(&token) { self.push_shown(token) } else { String::new() };
        }
        self.pending.push(token);
        let text = self.pending_text(self.pending.len());
        if !text.is_empty() && !text.ends_with(char::REPLACEMENT_CHARACTER) {
            self.emit(self.pending.len(), text)
        } else if self.pending.len() == PENDING_TOKENS_MAX {
            self.emit_in_part(text)
        } else {
            String::new()
        }
    }

    /// Gives the text of a special token behind what was held back.
    fn push_shown(&mut self, token: u32) -> String {
        let mut text = if self.pending.is_empty() { String::new() } else { self.finish() };
        text.push_str(&self.tokenizer.written(token).unwrap_or_default());
        text
    }

    /// Gives what was held back: no token follows that could complete it.
    pub(super) fn finish(&mut self) -> String {
        let text = self.pending_text(self.pending.len());
        self.emit(self.pending.len(), text)
    }

    /// What the first `count` pending tokens add to the text of the context.
    fn pending_text(&self, count: usize) -> String {
        let window = [&self.context, &self.pending[..count]].concat();
        let mut text = self.tokenizer.decode(&window);
        if text.starts_with(&self.context_text) {
            text.split_off(self.context_text.len())
        } else {
            // The decoder changed what was already emitted; the new tokens can only stand for themselves.
            self.tokenizer.decode(&self.pending[..count])
        }
    }

    /// Emits `text`, which the first `count` pending tokens add, and makes these tokens the context.
    fn emit(&mut self, count: usize, text: String) -> String {
        self.context = self.pending.drain(..count).collect();
        self.context_text = self.tokenizer.decode(&self.context);
        text
    }

    /// Emits as much as no later token can change, where `text` is what all pending tokens add.
    ///
    /// A cut is safe where both sides decoded alone give the whole: were a character torn there, its halves
    /// would give more U+FFFD than the whole does.
    fn emit_in_part(&mut self, text: String) -> String {
        let cut = (1..self.pending.len()).rev().find_map(|count| {
            let before = self.pending_text(count);
            let after = self.tokenizer.decode(&self.pending[count..]);
            (text.strip_prefix(before.as_str())? == after).then_some((count, before))
        });
        let (count, text) = cut.unwrap_or((self.pending.len(), text));
        self.emit(count, text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::{golden_byte_token, golden_tokenizer};
    use super::*;

    fn stream(tokens: &[u32]) -> (Vec<String>, String) {
        let mut detokenizer = Detokenizer::new(golden_tokenizer());
        let pieces = tokens.iter().map(|&token| detokenizer.push(token)).collect();
        (pieces, detokenizer.finish())
    }

    fn joined_by(tokenizer: Arc<Tokenizer>, tokens: &[u32]) -> String {
        let mut detokenizer = Detokenizer::new(tokenizer);
        let mut text: String = tokens.iter().map(|&token| detokenizer.push(token)).collect();
        text.push_str(&detokenizer.finish());
        text
    }

    fn joined(tokens: &[u32]) -> String {
        joined_by(golden_tokenizer(), tokens)
    }

    /// The other family of vocabularies: words carry their space, the text's first one is dropped, and what is
    /// in no word is spelled in bytes. Ids 0 to 255 are the bytes.
    fn sentencepiece_tokenizer() -> Arc<Tokenizer> {
        static TOKENIZER: OnceLock<Arc<Tokenizer>> = OnceLock::new();
        let load = || {
            let words = ["▁", "▁a", "b", "▁▁", "</s>"].map(str::to_owned);
            let pieces = (0..256).map(|byte| format!("<0x{byte:02X}>")).chain(words);
            let vocabulary: serde_json::Map<_, _> = pieces.zip((0_u32..).map(Into::into)).collect();
            let tokenizer = json!({
                "version": "1.0",
                "added_tokens": [{
                    "id": 260, "content": "</s>", "special": true,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                }],
                "decoder": { "type": "Sequence", "decoders": [
                    { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
                    { "type": "ByteFallback" },
                    { "type": "Fuse" },
                    { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
                ]},
                "model": { "type": "BPE", "byte_fallback": true, "vocab": vocabulary, "merges": [] },
            });
            let folder = tempfile::tempdir().unwrap();
            let write = |name, content: serde_json::Value| {
                std::fs::write(folder.path().join(name), content.to_string()).unwrap();
            };
            write("tokenizer.json", tokenizer);
            write("tokenizer_config.json", json!({ "eos_token": "</s>" }));
            Arc::new(Tokenizer::load(folder.path()).unwrap())
        };
        TOKENIZER.get_or_init(load).clone()
    }

    /// One id per byte, so that every character is torn.
    fn byte_tokens(text: &str) -> Vec<u32> {
        text.bytes().map(golden_byte_token).collect()
    }

    #[test]
    fn a_character_torn_over_tokens_comes_out_whole_with_its_last_byte() {
        let (pieces, rest) = stream(&byte_tokens("a😀你é"));
        assert_eq!(pieces, ["a", "", "", "", "😀", "", "", "你", "", "é"]);
        assert_eq!(rest, "");
    }

    #[test]
    fn a_character_that_stays_torn_is_replaced_at_the_end() {
        let torn = &byte_tokens("ok 你")[..5];
        assert_eq!(joined(torn), "ok \u{fffd}");
    }

    #[test]
    fn a_written_replacement_character_does_not_stop_the_stream() {
        let (pieces, rest) = stream(&byte_tokens(&"\u{fffd}".repeat(50)));
        assert_eq!(pieces.concat() + &rest, "\u{fffd}".repeat(50));
        assert!(rest.chars().count() <= PENDING_TOKENS_MAX);
    }

    #[test]
    fn endless_invalid_bytes_do_not_grow_the_window() {
        let continuation = byte_tokens("é")[1];
        let mut detokenizer = Detokenizer::new(golden_tokenizer());
        for _ in 0..1000 {
            detokenizer.push(continuation);
            assert!(detokenizer.pending.len() < PENDING_TOKENS_MAX);
            assert!(detokenizer.context.len() <= PENDING_TOKENS_MAX);
        }
    }

    #[test]
    fn special_and_unknown_tokens_say_nothing_and_take_no_room() {
        let mut detokenizer = Detokenizer::new(golden_tokenizer());
        for token in [506, 509, 9_999, u32::MAX].into_iter().cycle().take(100) {
            assert_eq!(detokenizer.push(token), "");
        }
        assert!(detokenizer.pending.is_empty());
    }

    proptest! {
        #[test]
        fn pieces_together_are_the_text_of_all_tokens(tokens in prop::collection::vec(0_u32..515, 0..80)) {
            prop_assert_eq!(joined(&tokens), golden_tokenizer().decode(&tokens));
        }

        /// Random ids rarely make characters; here each is valid or torn with even odds.
        #[test]
        fn torn_characters_between_whole_ones_change_nothing(
            parts in prop::collection::vec(("[a你😀é\u{fffd}]{1,3}", 0_usize..4), 0..12),
        ) {
            let tokens: Vec<u32> = parts
                .iter()
                .flat_map(|(text, dropped)| {
                    let mut tokens = byte_tokens(text);
                    tokens.truncate(tokens.len().saturating_sub(*dropped));
                    tokens
                })
                .collect();
            prop_assert_eq!(joined(&tokens), golden_tokenizer().decode(&tokens));
        }

        #[test]
        fn words_with_spaces_and_characters_in_bytes_change_nothing(
            parts in prop::collection::vec(
                prop_oneof![
                    (256_u32..261).prop_map(|token| vec![token]),
                    "[c你😀é]{1,3}".prop_map(|text| text.bytes().map(u32::from).collect()),
                ],
                0..20,
            ),
        ) {
            let tokens = parts.concat();
            let tokenizer = sentencepiece_tokenizer();
            prop_assert_eq!(joined_by(tokenizer.clone(), &tokens), tokenizer.decode(&tokens));
        }

        /// Invalid bytes may take back what was shown; the window still may not grow.
        #[test]
        fn invalid_bytes_in_a_byte_fallback_do_not_grow_the_window(
            tokens in prop::collection::vec(prop_oneof![0_u32..256, 0x80_u32..0xff, 256_u32..261], 0..60),
        ) {
            let mut detokenizer = Detokenizer::new(sentencepiece_tokenizer());
            for token in tokens {
                detokenizer.push(token);
                prop_assert!(detokenizer.pending.len() < PENDING_TOKENS_MAX);
                prop_assert!(detokenizer.context.len() <= PENDING_TOKENS_MAX);
            }
        }

        #[test]
        fn any_text_survives_encoding_and_streaming(text in "\\PC{0,40}") {
            let tokenizer = golden_tokenizer();
            let tokens = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(joined(&tokens), tokenizer.decode(&tokens));
        }
    }
}
