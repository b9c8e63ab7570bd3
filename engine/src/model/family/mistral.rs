//! Mistral: Llama's network with an optional sliding window in every layer.

use super::shape;
use super::{Config, Description, ModelError};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let reach = shape::sliding_window(config)?;
    let description = shape::llama(config, shape::heads(config)?, shape::all_dense(config)?)?;
    Ok(shape::with_reach(description, reach))
}
