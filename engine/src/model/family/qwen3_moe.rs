//! Qwen3-MoE: Qwen3's attention; experts in most layers, a dense feed-forward in the others.

use kernels::{Gating, Score};

use super::{
    Config, Description, ExpertLayer, ExpertNames, HeadNorm, ModelError, expert_count, expert_layers,
    llama_shaped, no_sliding_window, qwen_sparse,
};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    no_sliding_window(config)?;
    let top_k = config.size("num_experts_per_tok")?;
    let renormalise = config.flag("norm_topk_prob", false)?;
    let experts = ExpertLayer {
        count: expert_count(config, "num_experts")?,
        inner: config.size("moe_intermediate_size")?,
        gating: Gating { top_k, score: Score::Softmax, renormalise, scale: 1.0 },
        names: ExpertNames::MLP,
        shared: None,
    };
    let mut description = llama_shaped(config, expert_layers(config, experts, qwen_sparse(config)?)?)?;
    description.heads.norm = HeadNorm::PerHead;
    description.heads.bias = config.flag("attention_bias", false)?;
    Ok(description)
}
