//! Mistral Small 4 and Large 3: latent attention whose queries grow beyond the original context, softmax router.

use kernels::{GateUp, Gating, GroupWorth, RopePairs, Score};

use super::deepseek;
use super::{Config, Description, ModelError};
use crate::model::describe::{Attention, ExpertNames, ExpertTensors, Latent, QueryGrowth};
use crate::model::weights::Stored;

/// Small 4, with all experts of a layer in two tensors.
pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let tensors = ExpertTensors::Fused {
        gate_up: "experts.gate_up_proj",
        down: "experts.down_proj",
        stored: Stored::Rows,
        rows: GateUp::Halves,
        bias: false,
    };
    network(config, ExpertNames { tensors, ..ExpertNames::MLP })
}

/// Large 3, with `DeepSeek`'s names and config fields.
pub(super) fn describe_large3(config: &Config) -> Result<Description, ModelError> {
    config.only("scoring_func", &"softmax".into())?;
    config.only("topk_method", &serde_json::Value::Null)?;
    let mut description = network(config, ExpertNames::MLP)?;
    let growth = match config.find_object("llama_4_scaling")? {
        None => None,
        Some(scaling) => {
            let growth = QueryGrowth {
                factor: scaling.number("beta")? as f32,
                step: scaling.number("original_max_position_embeddings")? as f32,
                offset: 0.0,
            };
            scaling.finish()?;
            Some(growth)
        }
    };
    for layer in &mut description.layers {
        layer.query_growth = growth;
        // An amplitude of the rope that is given, not worked out, stands for scores that are not scaled either.
        if let Attention::Latent(Latent { scale, plain_dim, rope_dim, .. }) = &mut layer.attention {
            *scale = ((*plain_dim + *rope_dim) as f32).sqrt().recip();
        }
    }
    Ok(description)
}

fn network(config: &Config, names: ExpertNames) -> Result<Description, ModelError> {
    let gating = Gating {
        groups: deepseek::groups(config, GroupWorth::BestTwo)?,
        renormalise: config.flag("norm_topk_prob", true)?,
        scale: config.find_number("routed_scaling_factor")?.unwrap_or(1.0) as f32,
        ..Gating::plain(config.size("num_experts_per_tok")?, Score::Softmax)
    };
    let interleaved = config.flag("rope_interleave", true)?;
    let pairs = if interleaved { RopePairs::Neighbours } else { RopePairs::Halves };
    let feed_forwards = deepseek::shared_experts(config, gating, names, 0)?;
    deepseek::latent(config, pairs, feed_forwards)
}
