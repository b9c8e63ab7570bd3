//! Phi-3.5-MoE: layer norms with biases, two sparse mixers as router, longrope.

use kernels::{Gating, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{ExpertNames, Heads, NormKind};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    // Noise in training; the context before longrope, which its settings repeat.
    config.ignore(&["input_jitter_noise", "original_max_position_embeddings"]);
    let reach = shape::sliding_window(config)?;
    let jitter = config.find_number("router_jitter_noise")?.unwrap_or(0.01) as f32;
    let experts = shape::experts(
        config.size("num_local_experts")?,
        config.size("intermediate_size")?,
        Gating::plain(config.size("num_experts_per_tok")?, Score::SparseMixer { jitter }),
        ExpertNames::BLOCK_SPARSE,
    );
    let bias = config.flag("attention_bias", false)?;
    let heads = Heads { bias, output_bias: bias, ..shape::heads(config)? };
    let mut description = shape::llama(config, heads, shape::sparse(config, experts, |_| true)?)?;
    description.norm = NormKind::Layer;
    description.head_bias = config.flag("lm_head_bias", false)?;
    Ok(shape::with_reach(description, reach))
}
