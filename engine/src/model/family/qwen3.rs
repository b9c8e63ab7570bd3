//! Qwen3 dense: Llama's network with RMS-normalised query and key heads.

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{HeadNorm, Heads};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    shape::no_sliding_window(config)?;
    shape::llama(config, heads(config)?, shape::all_dense(config)?)
}

/// Qwen3's heads, of the dense and the sparse models.
pub(super) fn heads(config: &Config) -> Result<Heads, ModelError> {
    let bias = config.flag("attention_bias", false)?;
    Ok(Heads { norm: HeadNorm::PerHead, bias, output_bias: bias, ..shape::heads(config)? })
}
