//! Mixtral: Mistral's attention, two of eight experts per token, weights renormalised over the two.

use kernels::{Gating, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::ExpertNames;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let reach = shape::sliding_window(config)?;
    let top_k = config.size("num_experts_per_tok")?;
    let experts = shape::experts(
        config.size("num_local_experts")?,
        config.size("intermediate_size")?,
        Gating { renormalise: true, ..Gating::plain(top_k, Score::Softmax) },
        ExpertNames::BLOCK_SPARSE,
    );
    let feed_forwards = shape::sparse(config, experts, |_| true)?;
    Ok(shape::with_reach(shape::llama(config, shape::heads(config)?, feed_forwards)?, reach))
}
