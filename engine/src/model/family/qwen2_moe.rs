//! Qwen2-MoE: Qwen2's attention; experts and one shared expert behind a gate of its own.

use kernels::{Gating, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{ExpertLayer, ExpertNames, Heads, SharedExpert};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    shape::no_sliding_window(config)?;
    let top_k = config.size("num_experts_per_tok")?;
    let renormalise = config.flag("norm_topk_prob", false)?;
    let inner = config.size("shared_expert_intermediate_size")?;
    let experts = ExpertLayer {
        shared: Some(SharedExpert { inner, module: "shared_expert", gate: Some("shared_expert_gate") }),
        ..shape::experts(
            shape::expert_count(config, "num_experts")?,
            config.size("moe_intermediate_size")?,
            Gating { renormalise, ..Gating::plain(top_k, Score::Softmax) },
            ExpertNames::MLP,
        )
    };
    let heads = Heads { bias: config.flag("qkv_bias", true)?, ..shape::heads(config)? };
    shape::llama(config, heads, shape::sparse(config, experts, shape::qwen_sparse(config)?)?)
}
