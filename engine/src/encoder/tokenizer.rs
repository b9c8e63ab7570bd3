//! Text to token ids with the special ones around them, as an encoder was trained to see it.
//!
//! Published tokenizers carry a truncation and a padding that would silently cut texts and lengthen others: both are
//! taken off, and cutting is left to who asked for it.

use std::path::Path;

use serde_json::Value;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{NormalizerWrapper, PostProcessor, Tokenizer as Vocabulary, TruncationDirection};

use crate::text::{TextError, files};

/// An encoder's tokenizer.
#[derive(Debug)]
pub(super) struct Tokenizer {
    vocabulary: Vocabulary,
    /// Special tokens that stand around a text.
    added_tokens: usize,
    /// The longest text by the tokenizer's own settings, in tokens.
    pub(super) tokens_max: Option<usize>,
}

impl Tokenizer {
    /// Loads `tokenizer.json` and, if it is there, `tokenizer_config.json` of a model folder.
    pub(super) fn load(folder: &Path, lower_case: bool) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        let invalid = |error| files::invalid(&path, error);
        let mut vocabulary = Vocabulary::from_bytes(files::read(&path)?).map_err(invalid)?;
        vocabulary.with_padding(None);
        vocabulary.with_truncation(None).map_err(invalid)?;
        if lower_case {
            // Before the normaliser of the file, so that nothing it does depends on case.
            let mut steps = vec![NormalizerWrapper::from(Lowercase)];
            steps.extend(vocabulary.get_normalizer().cloned());
            vocabulary.with_normalizer(Some(Sequence::new(steps))).map_err(invalid)?;
        }
        let added_tokens =
            vocabulary.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        let settings = files::read_json_if_present(&folder.join("tokenizer_config.json"))?;
        // Where nobody set a limit, the files say 10^30, which is no u64.
        let tokens_max =
            settings.get("model_max_length").and_then(Value::as_u64).map(|tokens| tokens as usize);
        Ok(Self { vocabulary, added_tokens, tokens_max })
    }

    /// Turns a text into token ids, the special ones included.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.vocabulary.encode_fast(text, true).map_err(TextError::Encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The same for the beginning of a text, so that all of it has at most `tokens_max` tokens.
    pub(super) fn encode_cut(&self, text: &str, tokens_max: usize) -> Result<Vec<u32>, TextError> {
        let mut encoding = self.vocabulary.encode_fast(text, false).map_err(TextError::Encode)?;
        encoding.truncate(tokens_max.saturating_sub(self.added_tokens), 0, TruncationDirection::Right);
        let whole = self.vocabulary.post_process(encoding, None, true).map_err(TextError::Encode)?;
        Ok(whole.get_ids().to_vec())
    }

    /// The fewest tokens that a text can be cut to: its special ones and one of its own.
    pub(super) fn tokens_min(&self) -> usize {
        self.added_tokens + 1
    }
}
