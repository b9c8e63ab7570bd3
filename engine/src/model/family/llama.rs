//! Llama 2 and 3.x: grouped-query attention, gated feed-forward, llama3 rope scaling.

use super::shape;
use super::{Config, Description, ModelError};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.only("attention_bias", &false.into())?;
    config.only("mlp_bias", &false.into())?;
    shape::llama(config, shape::heads(config)?, shape::all_dense(config)?)
}
