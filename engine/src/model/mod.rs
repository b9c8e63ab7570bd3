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
mod latent;
mod norm;
mod rope;
mod weights;

use std::path::{Path, PathBuf};

pub(crate) use config::Config;
pub(crate) use decoder::{Decoder, KvGroup};
pub(crate) use weights::Weights;

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

/// Loads the checkpoint in `folder`.
pub(crate) fn load(folder: &Path) -> Result<Decoder, ModelError> {
    let config = config::Config::open(folder)?;
    let description = family::describe(&config)?;
    config.finish()?;
    let weights = weights::Weights::open(folder)?;
    let decoder = Decoder::new(&description, &weights)?;
    weights.finish()?;
    Ok(decoder)
}
