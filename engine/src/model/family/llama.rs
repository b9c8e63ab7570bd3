//! Llama 2 and 3.x: grouped-query attention, gated feed-forward, llama3 rope scaling.

use super::{Config, Description, ModelError, dense_layers, llama_shaped};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.only("attention_bias", &false.into())?;
    config.only("mlp_bias", &false.into())?;
    llama_shaped(config, dense_layers(config, None)?)
}
