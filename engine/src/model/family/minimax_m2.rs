//! MiniMax-M2: queries and keys normalised over all heads at once, heads rotated in part, a sigmoid router with
//! a bias on the choice, in Mixtral's names.

use kernels::{Gating, Score};

use super::{
    Config, Description, ExpertLayer, ExpertNames, FeedForward, HeadNorm, Layer, ModelError, llama_shaped,
};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.only("scoring_func", &"sigmoid".into())?;
    config.only("use_qk_norm", &true.into())?;
    config.only("use_routing_bias", &true.into())?;
    let top_k = config.size("num_experts_per_tok")?;
    let experts = ExpertLayer {
        count: config.size("num_local_experts")?,
        inner: config.size("intermediate_size")?,
        gating: Gating { top_k, score: Score::Sigmoid, renormalise: true, scale: 1.0 },
        names: ExpertNames { choice_bias: Some("e_score_correction_bias"), ..ExpertNames::BLOCK_SPARSE },
        shared: None,
    };
    let layer = Layer { window: None, feed_forward: FeedForward::Experts(experts) };
    let mut description = llama_shaped(config, vec![layer; config.size("num_hidden_layers")?])?;
    description.heads.norm = HeadNorm::AllHeads;
    Ok(description)
}
