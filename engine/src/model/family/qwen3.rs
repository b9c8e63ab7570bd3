//! Qwen3 dense: Llama's network with RMS-normalised query and key heads.

use super::{Config, Description, ModelError, dense_layers, llama_shaped, no_sliding_window};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    no_sliding_window(config)?;
    let bias = config.flag("attention_bias", false)?;
    llama_shaped(config, dense_layers(config, None)?, true, bias)
}
