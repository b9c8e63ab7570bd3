//! GLM-4.5 and 4.6: heads rotated in part, a sigmoid router with a bias on the choice, shared experts.

use kernels::{Gating, Score};

use super::{
    Config, Description, ExpertLayer, ExpertNames, HeadNorm, ModelError, SharedExpert, expert_count,
    expert_layers, llama_shaped, rope,
};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    // One group is no grouping.
    config.only("n_group", &1.into())?;
    config.only("topk_group", &1.into())?;
    let inner = config.size("moe_intermediate_size")?;
    let experts = ExpertLayer {
        count: expert_count(config, "n_routed_experts")?,
        inner,
        gating: Gating {
            top_k: config.size("num_experts_per_tok")?,
            score: Score::Sigmoid,
            renormalise: config.flag("norm_topk_prob", true)?,
            scale: config.find_number("routed_scaling_factor")?.unwrap_or(1.0) as f32,
        },
        names: ExpertNames { choice_bias: Some("gate.e_score_correction_bias"), ..ExpertNames::MLP },
        shared: Some(SharedExpert {
            inner: inner * config.find_size("n_shared_experts")?.unwrap_or(1),
            module: "shared_experts",
            gate: None,
        }),
    };
    let first_sparse = config.find_size("first_k_dense_replace")?.unwrap_or(1);
    let mut description = llama_shaped(config, expert_layers(config, experts, |i| i >= first_sparse)?)?;
    let defaults = rope::Defaults { part: 0.5, ..rope::Defaults::LLAMA };
    description.rope = rope::table(config, description.heads.dim, defaults)?;
    description.heads.norm =
        if config.flag("use_qk_norm", false)? { HeadNorm::PerHead } else { HeadNorm::None };
    description.heads.bias = config.flag("attention_bias", false)?;
    description.draft_layers = config.find_size("num_nextn_predict_layers")?.unwrap_or(0);
    Ok(description)
}
