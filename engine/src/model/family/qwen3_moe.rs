//! Qwen3-MoE: Qwen3's attention; experts in most layers, a dense feed-forward in the others.

use kernels::{Gating, Score};

use super::{Config, Description, ModelError};
use super::{qwen3, shape};
use crate::model::describe::ExpertNames;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    shape::no_sliding_window(config)?;
    let top_k = config.size("num_experts_per_tok")?;
    let renormalise = config.flag("norm_topk_prob", false)?;
    let experts = shape::experts(
        shape::expert_count(config, "num_experts")?,
        config.size("moe_intermediate_size")?,
        Gating { renormalise, ..Gating::plain(top_k, Score::Softmax) },
        ExpertNames::MLP,
    );
    let feed_forwards = shape::sparse(config, experts, shape::qwen_sparse(config)?)?;
    shape::llama(config, qwen3::heads(config)?, feed_forwards)
}
