//! Models: from a checkpoint folder to logits.
//!
//! A family (`family/`) reads `config.json` and describes its network as a [`Description`]: a page of facts and
//! no arithmetic. One [`Decoder`] builds and runs every description with the ops of `kernels`. So a new family
//! is one file, and an optimisation of the decoder serves all of them.

mod attention;
mod config;
mod decoder;
mod describe;
mod family;
mod feed_forward;
mod gguf;
mod latent;
mod native;
mod norm;
mod rope;
mod size;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use config::Config;
pub(crate) use decoder::{Decoder, KvGroup};
pub(crate) use describe::{Attention, Description, FeedForward, Latent, Layer};
pub use gguf::GgufError;
pub(crate) use gguf::{Gguf, Metadata};
pub use size::Parameters;
pub(crate) use weights::{Quantization, Weights};
pub use weights::{Watch, WeightFormat};

/// Why a checkpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is missing or unreadable.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A JSON file is not JSON, or not of the expected form.
    #[error("{} is damaged: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A weights file has no valid header.
    #[error("{} is damaged: {source}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// The architecture is not one of those implemented.
    #[error("config.json: architecture {name} is not supported; supported: {supported}")]
    Architecture {
        /// As the config names it.
        name: String,
        /// The known ones.
        supported: String,
    },
    /// A field is absent or of the wrong type.
    #[error("config.json: {name} must be {expected}")]
    Field {
        /// The field.
        name: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A field has a value whose effect is not implemented.
    #[error("config.json: {what} is not supported; supported: {supported}")]
    Unsupported {
        /// Field and value.
        what: String,
        /// What would be.
        supported: String,
    },
    /// Fields that would have been ignored.
    #[error("config.json: {fields}: not understood, and ignoring it could change the result")]
    Unread {
        /// Their names.
        fields: String,
    },
    /// A GGUF file is damaged or of a kind that is not read.
    #[error("{} is not readable as GGUF: {source}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: GgufError,
    },
    /// A key of a GGUF file is absent or of the wrong type.
    #[error("GGUF metadata: {name} must be {expected}")]
    Metadata {
        /// The key.
        name: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Keys of a GGUF file that would have been ignored.
    #[error("GGUF metadata: {keys}: not understood, and ignoring it could change the result")]
    UnreadMetadata {
        /// Keys and values.
        keys: String,
    },
    /// A tensor is missing, left over, or of another shape or type.
    #[error("tensor {name} {detail}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The tensor library failed.
    #[error(transparent)]
    Device(#[from] candle_core::Error),
    /// An op failed.
    #[error(transparent)]
    Kernel(#[from] kernels::KernelError),
}

/// What the checkpoint at `path` says of itself, without its weights: a folder, a GGUF file, or a config alone.
pub(crate) fn describe(path: &Path) -> Result<(String, Description), ModelError> {
    let config = config(path)?;
    Quantization::read(&config)?;
    let architecture = config.architecture()?.to_owned();
    let description = family::describe(&config)?;
    config.finish()?;
    Ok((architecture, description))
}

/// The config of a checkpoint, in the hub's spelling.
fn config(path: &Path) -> Result<Config, ModelError> {
    if Gguf::is_named_by(path) {
        return Gguf::open(path)?.config();
    }
    if native::is_in(path) {
        return native::config(path);
    }
    if !path.is_file() {
        return Config::open(path, "config.json");
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Config::open(path.parent().unwrap_or(path), name)
}

/// A checkpoint that is understood: its config is read, its tensors are found, and nothing is loaded.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    description: Description,
    weights: Weights,
}

impl Checkpoint {
    /// Opens the checkpoint at `path`: a folder as the hub or Mistral has it, or a GGUF file.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let (config, weights) = if Gguf::is_named_by(path) {
            let gguf = Gguf::open(path)?;
            (gguf.config()?, gguf.weights()?)
        } else {
            let config = config(path)?;
            let weights = Weights::open(path, &Quantization::read(&config)?)?;
            (config, weights)
        };
        let description = family::describe(&config)?;
        config.finish()?;
        Ok(Self { description, weights })
    }

    /// What is stored: bytes by format.
    pub(crate) fn stored_bytes(&self) -> BTreeMap<String, u64> {
        self.weights.stored_bytes()
    }

    /// The network.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// Bytes that the weights take in memory if they are kept in `format`.
    pub(crate) fn weights_bytes(&self, format: WeightFormat) -> u64 {
        self.weights.memory_bytes(format)
    }

    /// Reads the weights.
    pub(crate) fn load(mut self, format: WeightFormat, watch: Watch) -> Result<Decoder, ModelError> {
        self.weights.keep(format, watch);
        let decoder = Decoder::new(&self.description, &self.weights)?;
        self.weights.finish()?;
        Ok(decoder)
    }
}
