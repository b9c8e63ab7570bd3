//! Qwen2-MoE: Qwen2's attention; experts and one shared expert behind a gate of its own.

use kernels::{Gating, Score};

use super::{
    Config, Description, ExpertLayer, ExpertNames, ModelError, SharedExpert, expert_count, expert_layers,
    llama_shaped, no_sliding_window, qwen_sparse,
};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    no_sliding_window(config)?;
    let top_k = config.size("num_experts_per_tok")?;
    let renormalise = config.flag("norm_topk_prob", false)?;
    let inner = config.size("shared_expert_intermediate_size")?;
    let experts = ExpertLayer {
        count: expert_count(config, "num_experts")?,
        inner: config.size("moe_intermediate_size")?,
        gating: Gating { top_k, score: Score::Softmax, renormalise, scale: 1.0 },
        names: ExpertNames::MLP,
        shared: Some(SharedExpert { inner, module: "shared_expert", gate: Some("shared_expert_gate") }),
    };
    let mut description = llama_shaped(config, expert_layers(config, experts, qwen_sparse(config)?)?)?;
    description.heads.bias = config.flag("qkv_bias", true)?;
    Ok(description)
}
