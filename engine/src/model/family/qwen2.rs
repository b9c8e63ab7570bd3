//! Qwen2 and 2.5 dense: Llama's network with a bias on queries, keys and values.

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::Heads;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    shape::no_sliding_window(config)?;
    let heads = Heads { bias: true, ..shape::heads(config)? };
    shape::llama(config, heads, shape::all_dense(config)?)
}
