//! Qwen3 dense: Llama's network with RMS-normalised query and key heads.

use super::{Config, Description, HeadNorm, ModelError, dense_layers, llama_shaped, no_sliding_window};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    no_sliding_window(config)?;
    let mut description = llama_shaped(config, dense_layers(config, None)?)?;
    description.heads.norm = HeadNorm::PerHead;
    description.heads.bias = config.flag("attention_bias", false)?;
    Ok(description)
}
