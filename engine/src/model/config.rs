//! Reads a checkpoint's `config.json` without losing a field.
//!
//! A family asks for the fields that it understands; every question is remembered. Whatever was not asked for
//! and is not known to be without effect on the result is an error at the end: a field that this engine would
//! silently ignore is a wrong answer waiting to be believed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::ModelError;

/// Fields that describe training, bookkeeping or generation and leave the forward pass alone.
const WITHOUT_EFFECT: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "auto_map",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "max_window_layers",
    "model_type",
    "num_experts_shared",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "torch_dtype",
    "transformers_version",
    "unsloth_version",
    "use_cache",
];

/// A `config.json` and which of its fields were asked for.
#[derive(Debug)]
pub(crate) struct Config {
    fields: Map<String, Value>,
    asked: RefCell<BTreeSet<String>>,
    /// Where the fields stand, for messages: empty, or the name of the object they are nested in.
    inside: String,
}

impl Config {
    /// Reads the file called `name` in `folder`.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, ModelError> {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let fields = serde_json::from_str(&text).map_err(|source| ModelError::Json { path, source })?;
        Ok(Self::new(fields, String::new()))
    }

    /// A config that was never a file.
    pub(crate) fn of(fields: Map<String, Value>) -> Self {
        Self::new(fields, String::new())
    }

    fn new(fields: Map<String, Value>, inside: String) -> Self {
        Self { fields, asked: RefCell::default(), inside }
    }

    /// The first name in `architectures`.
    pub(crate) fn architecture(&self) -> Result<&str, ModelError> {
        let name = self.fields.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
        name.ok_or_else(|| self.wrong("architectures", "a list with one name"))
    }

    fn field(&self, key: &str) -> Option<&Value> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, expected: &'static str) -> ModelError {
        ModelError::Field { name: format!("{}{key}", self.inside), expected }
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.field(key) {
            None => Ok(None),
            Some(value) => convert(value).map(Some).ok_or_else(|| self.wrong(key, expected)),
        }
    }

    /// A whole number, if present.
    pub(crate) fn find_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.read(key, "a whole number", |value| value.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    /// A whole number that must be there.
    pub(crate) fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.find_size(key)?.ok_or_else(|| self.wrong(key, "a whole number"))
    }

    /// A number, if present.
    pub(crate) fn find_number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.read(key, "a number", Value::as_f64)
    }

    /// A number that must be there.
    pub(crate) fn number(&self, key: &str) -> Result<f64, ModelError> {
        self.find_number(key)?.ok_or_else(|| self.wrong(key, "a number"))
    }

    /// A flag; absent is `default`.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        Ok(self.read(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A word, if present.
    pub(crate) fn find_word(&self, key: &str) -> Result<Option<String>, ModelError> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A list of whole numbers, if present.
    pub(crate) fn find_sizes(&self, key: &str) -> Result<Option<Vec<usize>>, ModelError> {
        self.read(key, "a list of whole numbers", |value| {
            value.as_array()?.iter().map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok())).collect()
        })
    }

    /// A list of numbers that must be there.
    pub(crate) fn numbers(&self, key: &str) -> Result<Vec<f64>, ModelError> {
        let expected = "a list of numbers";
        let numbers =
            self.read(key, expected, |value| value.as_array()?.iter().map(Value::as_f64).collect())?;
        numbers.ok_or_else(|| self.wrong(key, expected))
    }

    /// A list of words, if present.
    pub(crate) fn find_words(&self, key: &str) -> Result<Option<Vec<String>>, ModelError> {
        self.read(key, "a list of strings", |value| {
            value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
        })
    }

    /// An object, if present, to be read and finished like the whole.
    pub(crate) fn find_object(&self, key: &str) -> Result<Option<Config>, ModelError> {
        self.read(key, "an object", |value| {
            Some(Config::new(value.as_object()?.clone(), format!("{}{key}.", self.inside)))
        })
    }

    /// The names of all fields.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.fields.keys().cloned().collect()
    }

    /// Marks fields as known to be without effect on the text model of this family.
    pub(crate) fn ignore(&self, keys: &[&str]) {
        self.asked.borrow_mut().extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// Demands that `key`, if present, has the one value that this engine implements.
    pub(crate) fn only(&self, key: &str, implemented: &Value) -> Result<(), ModelError> {
        match self.field(key) {
            Some(value) if value != implemented => Err(ModelError::Unsupported {
                what: format!("{}{key} = {value}", self.inside),
                supported: implemented.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Demands that every field was asked for or is without effect.
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        let asked = self.asked.borrow();
        let unread: Vec<String> = self
            .fields
            .iter()
            .filter(|(key, value)| {
                !value.is_null() && !asked.contains(*key) && !WITHOUT_EFFECT.contains(&key.as_str())
            })
            .map(|(key, _)| format!("{}{key}", self.inside))
            .collect();
        if unread.is_empty() { Ok(()) } else { Err(ModelError::Unread { fields: unread.join(", ") }) }
    }
}
