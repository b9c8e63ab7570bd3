//! Qwen2 and 2.5 dense: Llama's network with a bias on queries, keys and values.

use super::{Config, Description, ModelError, dense_layers, llama_shaped, no_sliding_window};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    no_sliding_window(config)?;
    let mut description = llama_shaped(config, dense_layers(config, None)?)?;
    description.heads.bias = true;
    Ok(description)
}
