//! Text to token ids and back, as the model's own files define it.
//!
//! A rendered chat is encoded as it stands: the template writes the begin token itself, so the tokenizer adds
//! none, and neither cuts nor pads. The text of a special token in a rendered chat *is* that token, whoever
//! wrote it: the published tokenizers have no way to tell a template's from a user's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer as Vocabulary;

use super::gguf::GgufText;
use super::{TextError, files};

/// What `tokenizer_config.json` calls the tokens that templates write by name.
const NAMED_TOKENS: [&str; 4] = ["bos_token", "eos_token", "pad_token", "unk_token"];

/// A model's tokenizer and the tokens that end its replies.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    vocabulary: Vocabulary,
    end_tokens: BTreeSet<u32>,
    named_tokens: BTreeMap<&'static str, String>,
    begin: Begin,
}

/// Whether a text that stands alone has a begin token before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// The settings say so.
    Always,
    /// The settings forbid it.
    Never,
    /// Nothing is said, so what `tokenizer.json` does around a text counts.
    AsProcessed,
}

impl Tokenizer {
    /// Loads the tokenizer of a model folder.
    ///
    /// `tokenizer.json` and `tokenizer_config.json` must be there. `config.json` and `generation_config.json`
    /// may add end tokens: models name them in any of these files and often in only one, so every one counts.
    ///
    /// # Errors
    /// Returns the file that is missing or damaged and what to do, or that no file names an end token.
    pub(crate) fn load(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        let vocabulary =
            Vocabulary::from_bytes(files::read(&path)?).map_err(|error| files::invalid(&path, error))?;
        let settings = files::read_json(&folder.join("tokenizer_config.json"))?;
        let config = files::read_json_if_present(&folder.join("config.json"))?;
        let generation = files::read_json_if_present(&folder.join("generation_config.json"))?;
        Self::new(&path, vocabulary, &settings, &[&config, &config["text_config"], &generation])
            .and_then(|tokenizer| tokenizer.with_end(folder))
    }

    /// Builds the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// Returns what of the file is damaged or not supported, or that it names no end token.
    pub(crate) fn of_gguf(gguf: &GgufText) -> Result<Self, TextError> {
        let vocabulary = serde_json::from_value(gguf.tokenizer.clone());
        let vocabulary = vocabulary.map_err(|error| files::invalid(&gguf.path, error))?;
        Self::new(&gguf.path, vocabulary, &gguf.settings, &[&gguf.settings])
            .and_then(|tokenizer| tokenizer.with_end(&gguf.path))
    }

    /// `places` may each have an `eos_token_id`.
    fn new(
        path: &Path,
        mut vocabulary: Vocabulary,
        settings: &Value,
        places: &[&Value],
    ) -> Result<Self, TextError> {
        vocabulary.with_padding(None);
        vocabulary.with_truncation(None).map_err(|error| files::invalid(path, error))?;
        let named_tokens: BTreeMap<_, _> = NAMED_TOKENS
            .into_iter()
            .filter_map(|name| Some((name, token_text(&settings[name])?.to_owned())))
            .collect();
        let mut end_tokens: BTreeSet<u32> =
            places.iter().flat_map(|place| token_ids(&place["eos_token_id"])).collect();
        end_tokens.extend(named_tokens.get("eos_token").and_then(|text| vocabulary.token_to_id(text)));
        let begin = match settings["add_bos_token"].as_bool() {
            Some(true) => Begin::Always,
            Some(false) => Begin::Never,
            None => Begin::AsProcessed,
        };
        Ok(Self { vocabulary, end_tokens, named_tokens, begin })
    }

    /// The same, with more end tokens: those of these texts that the vocabulary has as special tokens.
    pub(crate) fn ending_at(mut self, texts: &[&str]) -> Self {
        let more: Vec<u32> = texts.iter().filter_map(|text| self.special(text)).collect();
        self.end_tokens.extend(more);
        self
    }

    /// Demands that replies end.
    fn with_end(self, place: &Path) -> Result<Self, TextError> {
        if self.end_tokens.is_empty() {
            return Err(TextError::NoEndToken { folder: place.to_owned() });
        }
        Ok(self)
    }

    /// Turns text into token ids, without adding a begin or end token.
    ///
    /// # Errors
    /// Returns [`TextError::Encode`] if the model's own splitting rules fail on the text.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.vocabulary.encode_fast(text, false).map_err(TextError::Encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`Self::encode`], for a text that stands alone: with the begin token that the model's files ask for, once.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub(crate) fn encode_alone(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let around = self.begin != Begin::Never;
        let encoding = self.vocabulary.encode_fast(text, around).map_err(TextError::Encode)?;
        let mut tokens = encoding.get_ids().to_vec();
        let Some(begin) =
            self.named_tokens.get("bos_token").and_then(|text| self.vocabulary.token_to_id(text))
        else {
            return Ok(tokens);
        };
        let written = tokens.iter().take_while(|token| **token == begin).count();
        if written == 0 && self.begin == Begin::Always {
            tokens.insert(0, begin);
        }
        // The client wrote it as well.
        if written > 1 && around {
            tokens.drain(1..written);
        }
        Ok(tokens)
    }

    /// Turns token ids into text, without special tokens and without ids that the vocabulary does not have.
    /// Bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn decode(&self, tokens: &[u32]) -> String {
        // The known decoders fail on no token. Should one do so, the model's raw pieces say more than nothing.
        self.vocabulary.decode(tokens, true).unwrap_or_else(|_| {
            tokens.iter().filter_map(|&token| self.vocabulary.id_to_token(token)).collect()
        })
    }

    /// As [`Self::decode`], with the text of special tokens.
    pub(crate) fn decode_whole(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens, false).unwrap_or_else(|_| self.decode(tokens))
    }

    /// The token as the vocabulary writes it.
    pub(crate) fn written(&self, token: u32) -> Option<String> {
        self.vocabulary.id_to_token(token)
    }

    /// Whether the token leaves no trace in [`Self::decode`], whatever is around it.
    pub(crate) fn is_skipped(&self, token: u32) -> bool {
        self.vocabulary
            .id_to_token(token)
            .is_none_or(|text| self.vocabulary.get_added_vocabulary().is_special_token(&text))
    }

    /// The special token that is written so, which [`Self::decode`] leaves out.
    pub(crate) fn special(&self, text: &str) -> Option<u32> {
        self.token(text).filter(|token| self.is_skipped(*token))
    }

    /// The token that is written so.
    pub(crate) fn token(&self, text: &str) -> Option<u32> {
        self.vocabulary.token_to_id(text)
    }

    /// The tokens that end a reply, at least one.
    pub(crate) fn end_tokens(&self) -> impl Iterator<Item = u32> {
        self.end_tokens.iter().copied()
    }

    /// How tokens become text, as a `tokenizer.json` says it; null if that is not said.
    pub(crate) fn decoder(&self) -> Value {
        self.vocabulary
            .get_decoder()
            .and_then(|decoder| serde_json::to_value(decoder).ok())
            .unwrap_or_default()
    }

    /// Whether the token ends a reply.
    pub(crate) fn is_eos(&self, token: u32) -> bool {
        self.end_tokens.contains(&token)
    }

    /// The tokens that a template may write by name: `bos_token`, `eos_token`, ... to their text.
    pub(super) fn named_tokens(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.named_tokens.iter().map(|(name, text)| (*name, text.as_str()))
    }
}

/// The text of a token that is written as a string or as an object with `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// The ids in a number or a list of numbers.
fn token_ids(value: &Value) -> impl Iterator<Item = u32> {
    let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    ids.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok())
}
