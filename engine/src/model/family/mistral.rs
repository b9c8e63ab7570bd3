//! Mistral: Llama's network with an optional sliding window in every layer.

use super::{Config, Description, ModelError, dense_layers, llama_shaped, sliding_window};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let window = sliding_window(config)?;
    llama_shaped(config, dense_layers(config, window)?)
}
