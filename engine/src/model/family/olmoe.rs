//! `OLMoE`: queries and keys normalised over all heads at once and clamped, experts in every layer.

use kernels::{Gating, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{ExpertNames, HeadNorm, Heads};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.only("attention_bias", &false.into())?;
    let top_k = config.size("num_experts_per_tok")?;
    let renormalise = config.flag("norm_topk_prob", false)?;
    let experts = shape::experts(
        shape::expert_count(config, "num_experts")?,
        config.size("intermediate_size")?,
        Gating { renormalise, ..Gating::plain(top_k, Score::Softmax) },
        ExpertNames::MLP,
    );
    let clamp = config.find_number("clip_qkv")?.map(|clamp| clamp as f32);
    let heads = Heads { norm: HeadNorm::AllHeads, clamp, ..shape::heads(config)? };
    shape::llama(config, heads, shape::sparse(config, experts, |_| true)?)
}
