//! What a checkpoint is, before it is loaded: architecture, size, what a token leaves in the cache.

use std::collections::BTreeMap;
use std::path::Path;

use crate::encoder;
use crate::model::{self, Checkpoint, KvGroup, ModelError, Parameters};

/// A checkpoint that this engine can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It writes text.
    Generator(Inspection),
    /// It turns text into vectors or labels.
    Encoder {
        /// As its config names it.
        architecture: String,
    },
}

/// What a generator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// As its config names it.
    pub architecture: String,
    /// Of the text model.
    pub parameters: Parameters,
    /// Of an image encoder beside it, estimated; it is not served.
    pub left_out_parameters: u64,
    /// The longest sequence, in tokens.
    pub context_tokens: usize,
    /// V.
    pub vocabulary: usize,
    /// What a sequence keeps, by how far the layers see.
    pub cache: Vec<CacheNeed>,
    /// Bytes of its files by the format that they are stored in; `None` if there are no files yet.
    pub stored: Option<BTreeMap<String, u64>>,
}

/// What layers that see equally far keep of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheNeed {
    /// How many there are.
    pub layers: usize,
    /// The most tokens of which they keep something; `None` is all.
    pub tokens_max: Option<usize>,
    /// Elements that a token leaves in all of them.
    pub elements_per_token: usize,
}

impl Inspection {
    /// Elements that a token leaves in the cache, over all layers.
    pub fn kv_elements_per_token(&self) -> usize {
        self.cache.iter().map(|need| need.elements_per_token).sum()
    }
}

/// Looks at a checkpoint folder, a GGUF file, or a `config.json` alone.
///
/// # Errors
/// Returns [`ModelError`] if it is damaged or cannot be served; the error says why.
pub fn inspect(path: &Path) -> Result<Kind, ModelError> {
    if let Some(architecture) = encoder::architecture(path) {
        return Ok(Kind::Encoder { architecture });
    }
    generator(path).map(Kind::Generator)
}

/// [`inspect`] for what writes text.
pub(crate) fn generator(path: &Path) -> Result<Inspection, ModelError> {
    let (architecture, description) = model::describe(path)?;
    let has_weights = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
        || path.is_dir() && has_safetensors(path);
    let stored = if has_weights { Some(Checkpoint::open(path)?.stored_bytes()) } else { None };
    let need = |group: &KvGroup| CacheNeed {
        layers: group.layers,
        tokens_max: group.reach.keys_max(),
        elements_per_token: group.bytes_per_token / size_of::<f32>(),
    };
    Ok(Inspection {
        architecture,
        parameters: description.parameters(),
        left_out_parameters: description.left_out_parameters,
        context_tokens: description.context,
        vocabulary: description.vocabulary,
        cache: description.kv_groups().iter().map(need).collect(),
        stored,
    })
}

fn has_safetensors(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    let is_weights = |name: &str| {
        (name.starts_with("model") || name.starts_with("consolidated")) && name.ends_with(".safetensors")
    };
    entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_weights))
}
