//! The vocabulary of a GGUF file as the files that the hub has for it.
//!
//! llama.cpp stores the entries of a vocabulary with their kinds, and merges or scores; how a text is cut before
//! merging is a word whose meaning lies in its code. From these come a `tokenizer.json` and what matters of a
//! `tokenizer_config.json`, so that nothing else here has to know where a model came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{TextError, files};
use crate::model::{Gguf, Metadata};

/// llama.cpp's kinds of entries.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const BYTE: i64 = 6;

/// What stands for a space in the pieces of `SentencePiece`.
const SPACE: &str = "\u{2581}";

/// Keys that name a token which ends a reply.
const END_KEYS: [&str; 3] = ["eos_token_id", "eot_token_id", "eom_token_id"];
/// Control tokens that end a reply in every vocabulary that has them, whether a file says so or not.
const END_TOKENS: [&str; 8] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
];

const CONTRACTIONS: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const PLAIN_WORDS: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// How a byte-level vocabulary composes and cuts a text, as the tokenizers on the hub do it.
struct Cutting {
    /// The words that files use for it.
    words: &'static [&'static str],
    /// Whether characters are composed first (NFC).
    composed: bool,
    patterns: fn() -> Vec<String>,
}

const CUTTINGS: &[Cutting] = &[
    Cutting {
        words: &["llama3", "llama-v3", "llama-bpe", "llama4", "smaug-bpe", "dbrx"],
        composed: false,
        patterns: || vec![words_and_numbers(r"\p{N}{1,3}")],
    },
    Cutting {
        words: &["qwen2", "deepseek-r1-qwen"],
        composed: true,
        patterns: || vec![words_and_numbers(r"\p{N}")],
    },
    Cutting {
        words: &["gpt-2", "olmo", "mpt", "phi-2"],
        composed: false,
        patterns: || vec![PLAIN_WORDS.to_owned()],
    },
    Cutting {
        words: &["smollm", "starcoder", "refact"],
        composed: false,
        patterns: || [r"\p{N}", PLAIN_WORDS].map(str::to_owned).into(),
    },
    Cutting {
        words: &["gpt-4o", "o200k"],
        composed: false,
        patterns: || vec![cased_words(&format!("{CONTRACTIONS}?"), r"\p{N}{1,3}")],
    },
    Cutting { words: &["tekken"], composed: false, patterns: || vec![cased_words("", r"\p{N}")] },
    Cutting {
        words: &["deepseek-v3"],
        composed: false,
        patterns: || {
            vec![
                r"\p{N}{1,3}".to_owned(),
                "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+".to_owned(),
                [
                    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
                    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
                    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                ]
                .concat(),
            ]
        },
    },
    Cutting {
        words: &["deepseek-llm"],
        composed: false,
        patterns: || {
            // The letters are those of alphabets with two cases; numbers stand alone.
            let scripts = "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+";
            let marks = "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
            [r"[\r\n]", r"\s?(?:\p{Lu}|\p{Ll}|\p{Lt})+", marks, r"\s+$", scripts, r"\p{N}"]
                .map(str::to_owned)
                .into()
        },
    },
];

fn words_and_numbers(numbers: &str) -> String {
    let rest = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    format!(r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}|{rest}")
}

/// Words of an upper-case part and a lower-case part, with what may `follow` them.
fn cased_words(follow: &str, numbers: &str) -> String {
    let (upper, lower) = (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]");
    let before = r"[^\r\n\p{L}\p{N}]?";
    let rest = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    format!("{before}{upper}*{lower}+{follow}|{before}{upper}+{lower}*{follow}|{numbers}|{rest}")
}

/// What a GGUF file has in place of the hub's files about text.
#[derive(Debug)]
pub(crate) struct GgufText {
    /// The file, for messages.
    pub(super) path: PathBuf,
    /// As a `tokenizer.json`.
    pub(super) tokenizer: Value,
    /// As a `tokenizer_config.json`, with the end tokens as `eos_token_id`.
    pub(super) settings: Value,
}

impl GgufText {
    /// Reads the vocabulary and the chat template.
    ///
    /// # Errors
    /// Returns what is missing, damaged or of a kind that is not read.
    pub(crate) fn read(gguf: &Gguf) -> Result<Self, TextError> {
        let reader = Reader { path: gguf.path(), metadata: gguf.metadata() };
        let entries = reader.entries()?;
        let kind = reader.text("tokenizer.ggml.model")?.unwrap_or("none");
        let tokenizer = match kind {
            "gpt2" => reader.byte_pairs(&entries)?,
            "llama" => reader.pieces(&entries)?,
            other => {
                return Err(reader
                    .unsupported(format!("a tokenizer of the kind {other:?}"), "gpt2 and llama".to_owned()));
            }
        };
        let settings = reader.settings(&entries, kind)?;
        Ok(Self { path: gguf.path().to_owned(), tokenizer, settings })
    }
}

/// The entries of a vocabulary and their kinds.
struct Entries<'a> {
    tokens: &'a [String],
    kinds: Option<&'a [i64]>,
}

impl Entries<'_> {
    fn kind(&self, id: usize) -> i64 {
        self.kinds.and_then(|kinds| kinds.get(id)).copied().unwrap_or(1)
    }

    /// All entries with their ids; of two alike the first counts.
    fn vocabulary(&self) -> Map<String, Value> {
        let mut vocabulary = Map::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            vocabulary.entry(token.clone()).or_insert_with(|| json!(id));
        }
        vocabulary
    }

    /// Entries that are found in a text as they stand, before anything else.
    fn added(&self) -> Vec<Value> {
        let added = self.tokens.iter().enumerate().filter_map(|(id, token)| {
            let special = match self.kind(id) {
                CONTROL | UNKNOWN => true,
                USER_DEFINED => false,
                _ => return None,
            };
            Some(json!({
                "id": id, "content": token, "special": special, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            }))
        });
        added.collect()
    }
}

/// The metadata with errors that name the file.
struct Reader<'a> {
    path: &'a Path,
    metadata: &'a Metadata,
}

impl<'a> Reader<'a> {
    fn unsupported(&self, what: String, supported: String) -> TextError {
        TextError::Unsupported { path: self.path.to_owned(), what, supported }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, TextError> {
        self.metadata.find_text(key).map_err(|error| files::invalid(self.path, error))
    }

    fn size(&self, key: &str) -> Result<Option<usize>, TextError> {
        self.metadata.find_size(key).map_err(|error| files::invalid(self.path, error))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, TextError> {
        self.metadata.find_flag(key).map_err(|error| files::invalid(self.path, error))
    }

    fn entries(&self) -> Result<Entries<'a>, TextError> {
        let invalid = |error| files::invalid(self.path, error);
        let tokens = self.metadata.find_texts("tokenizer.ggml.tokens").map_err(invalid)?;
        let tokens = tokens.ok_or_else(|| files::invalid(self.path, "it has no tokenizer.ggml.tokens"))?;
        let kinds = self.metadata.find_wholes("tokenizer.ggml.token_type").map_err(invalid)?;
        Ok(Entries { tokens, kinds })
    }

    /// A byte-level vocabulary with merges.
    fn byte_pairs(&self, entries: &Entries<'_>) -> Result<Value, TextError> {
        let word = self.text("tokenizer.ggml.pre")?.unwrap_or("default");
        let cutting = CUTTINGS.iter().find(|cutting| cutting.words.contains(&word)).ok_or_else(|| {
            let known: Vec<&str> = CUTTINGS.iter().flat_map(|cutting| cutting.words).copied().collect();
            self.unsupported(format!("tokenizer.ggml.pre = {word:?}"), known.join(", "))
        })?;
        let merges = self.metadata.find_texts("tokenizer.ggml.merges");
        let merges = merges.map_err(|error| files::invalid(self.path, error))?;
        let merges = merges.ok_or_else(|| files::invalid(self.path, "it has no tokenizer.ggml.merges"))?;
        let mut cuts: Vec<Value> = (cutting.patterns)()
            .into_iter()
            .map(|pattern| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false }))
            .collect();
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
        cuts.push(byte_level.clone());
        Ok(json!({
            "version": "1.0",
            "added_tokens": entries.added(),
            "normalizer": if cutting.composed { json!({ "type": "NFC" }) } else { Value::Null },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": cuts },
            "decoder": byte_level,
            // These take a whole word that is an entry as it is, even where no merges lead to it.
            "model": { "type": "BPE", "ignore_merges": word.starts_with("llama") || word == "tekken", "vocab": entries.vocabulary(), "merges": merges },
        }))
    }

    /// The pieces of `SentencePiece`, with scores: two neighbours become the piece with the best score.
    fn pieces(&self, entries: &Entries<'_>) -> Result<Value, TextError> {
        let scores = self.metadata.find_numbers("tokenizer.ggml.scores");
        let scores = scores.map_err(|error| files::invalid(self.path, error))?.unwrap_or_default();
        if scores.len() != entries.tokens.len() {
            return Err(files::invalid(
                self.path,
                "it has another number of tokenizer.ggml.scores than of tokens",
            ));
        }
        let prefix = self.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
        let mut normalizers = vec![replace];
        let mut decoders = vec![
            json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
            json!({ "type": "ByteFallback" }),
            json!({ "type": "Fuse" }),
        ];
        if prefix {
            normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
            decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        }
        let unknown = (0..entries.tokens.len()).find(|id| entries.kind(*id) == UNKNOWN);
        let has_bytes = (0..entries.tokens.len()).any(|id| entries.kind(id) == BYTE);
        Ok(json!({
            "version": "1.0",
            "added_tokens": entries.added(),
            "normalizer": { "type": "Sequence", "normalizers": normalizers },
            "decoder": { "type": "Sequence", "decoders": decoders },
            "model": {
                "type": "BPE",
                "unk_token": unknown.map(|id| &entries.tokens[id]),
                "fuse_unk": true,
                "byte_fallback": has_bytes,
                "vocab": entries.vocabulary(),
                "merges": merges(entries, scores),
            },
        }))
    }

    /// Named tokens, end tokens and templates.
    fn settings(&self, entries: &Entries<'_>, kind: &str) -> Result<Value, TextError> {
        let mut settings = Map::new();
        let mut ends = Vec::new();
        let names =
            [("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token"), ("unknown", "unk_token")];
        for (ggml, hub) in names {
            if let Some(id) = self.size(&format!("tokenizer.ggml.{ggml}_token_id"))?
                && let Some(token) = entries.tokens.get(id)
            {
                settings.insert(hub.to_owned(), json!(token));
            }
        }
        // What llama.cpp takes for files that do not say it.
        let usual = (kind == "llama").then_some(true);
        if let Some(begin) = self.flag("tokenizer.ggml.add_bos_token")?.or(usual) {
            settings.insert("add_bos_token".to_owned(), json!(begin));
        }
        for key in END_KEYS {
            ends.extend(self.size(&format!("tokenizer.ggml.{key}"))?);
        }
        let is_end =
            |id: &usize| entries.kind(*id) == CONTROL && END_TOKENS.contains(&entries.tokens[*id].as_str());
        ends.extend((0..entries.tokens.len()).filter(is_end));
        settings.insert("eos_token_id".to_owned(), json!(ends));
        let mut templates = Vec::new();
        if let Some(template) = self.text("tokenizer.chat_template")? {
            templates.push(json!({ "name": "default", "template": template }));
        }
        let named: Vec<&str> = self.metadata.keys_below("tokenizer.chat_template.").collect();
        for key in named {
            let name = &key["tokenizer.chat_template.".len()..];
            templates.push(json!({ "name": name, "template": self.text(key)? }));
        }
        if !templates.is_empty() {
            settings.insert("chat_template".to_owned(), Value::Array(templates));
        }
        Ok(Value::Object(settings))
    }
}

/// Every way to cut a piece into two others, the better pieces first.
fn merges(entries: &Entries<'_>, scores: &[f32]) -> Vec<[String; 2]> {
    let is_text = |id: usize| !matches!(entries.kind(id), UNKNOWN | CONTROL | USER_DEFINED | BYTE);
    let ids: BTreeMap<&str, usize> = entries
        .tokens
        .iter()
        .enumerate()
        .rev()
        .filter(|(id, _)| is_text(*id))
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    let mut merges = Vec::new();
    for (token, &id) in &ids {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                merges.push((id, left, right));
            }
        }
    }
    merges.sort_by(|a, b| scores[b.0].total_cmp(&scores[a.0]).then((a.0, a.1, a.2).cmp(&(b.0, b.1, b.2))));
    merges
        .into_iter()
        .map(|(_, left, right)| [entries.tokens[left].clone(), entries.tokens[right].clone()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Conversation, Message, Role, Template, Tokenizer};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf_vocabulary")
    }

    fn read(name: &str) -> GgufText {
        GgufText::read(&Gguf::open(&folder().join(format!("{name}.gguf"))).unwrap()).unwrap()
    }

    #[test]
    fn every_vocabulary_gives_the_ids_and_the_text_of_the_hubs_tokenizer() {
        let reference = std::fs::read(folder().join("ref.json")).unwrap();
        let reference: Map<String, Value> = serde_json::from_slice(&reference).unwrap();
        assert_eq!(reference.len(), 6);
        for (name, cases) in &reference {
            let tokenizer = Tokenizer::of_gguf(&read(name)).unwrap();
            for case in cases.as_array().unwrap() {
                let (text, ids) =
                    (case["text"].as_str().unwrap(), tokenizer.encode(case["text"].as_str().unwrap()));
                assert_eq!(json!(ids.as_ref().unwrap()), case["ids"], "{name}: {text:?}");
                assert_eq!(
                    tokenizer.decode(&ids.unwrap()),
                    case["decoded"].as_str().unwrap(),
                    "{name}: {text:?}"
                );
            }
        }
    }

    #[test]
    fn special_tokens_ends_and_the_template_come_along() {
        let text = read("llama-bpe");
        let tokenizer = Tokenizer::of_gguf(&text).unwrap();
        let id = |token: &str| tokenizer.encode(token).unwrap()[0];
        assert!(tokenizer.is_eos(id("<|im_end|>")) && tokenizer.is_eos(id("<|endoftext|>")));
        assert!(!tokenizer.is_eos(id("<|im_start|>")) && !tokenizer.is_skipped(id("<tool_call>")));
        assert!(tokenizer.is_skipped(id("<|begin|>")));
        let template = Template::of_gguf(&text, &tokenizer).unwrap();
        assert_eq!(template.tool_form(), Some(crate::text::ToolForm::Hermes));
        let conversation =
            Conversation { messages: vec![Message::new(Role::User, "Hi")], ..Conversation::default() };
        let rendered = template.render(&conversation, &super::super::tests::new_year());
        assert_eq!(rendered.unwrap(), "<|begin|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    }

    #[test]
    fn a_vocabulary_of_an_unknown_kind_is_refused_with_those_that_are_read() {
        let bytes = std::fs::read(folder().join("qwen2.gguf")).unwrap();
        let at = bytes.windows(5).position(|window| window == b"qwen2").unwrap();
        let other = [&bytes[..at], b"klingon"[..5].as_ref(), &bytes[at + 5..]].concat();
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("model.gguf");
        std::fs::write(&path, other).unwrap();
        let error = GgufText::read(&Gguf::open(&path).unwrap()).unwrap_err().to_string();
        assert!(error.contains("\"kling\"") && error.contains("llama-bpe"), "{error}");
    }
}
