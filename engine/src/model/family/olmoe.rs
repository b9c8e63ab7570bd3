//! `OLMoE`: queries and keys normalised over all heads at once and clamped, experts in every layer.

use kernels::{Gating, Score};

use super::{
    Config, Description, ExpertLayer, ExpertNames, HeadNorm, ModelError, expert_count, expert_layers,
    llama_shaped,
};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.only("attention_bias", &false.into())?;
    let top_k = config.size("num_experts_per_tok")?;
    let renormalise = config.flag("norm_topk_prob", false)?;
    let experts = ExpertLayer {
        count: expert_count(config, "num_experts")?,
        inner: config.size("intermediate_size")?,
        gating: Gating { top_k, score: Score::Softmax, renormalise, scale: 1.0 },
        names: ExpertNames::MLP,
        shared: None,
    };
    let mut description = llama_shaped(config, expert_layers(config, experts, |_| true)?)?;
    description.heads.norm = HeadNorm::AllHeads;
    description.heads.clamp = config.find_number("clip_qkv")?.map(|clamp| clamp as f32);
    Ok(description)
}
