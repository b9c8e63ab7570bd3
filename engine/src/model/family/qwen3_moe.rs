//! Qwen3-MoE: Qwen3's attention; experts in most layers, a dense feed-forward in the others.
//!
//! Layer `i` has experts exactly if it is not in `mlp_only_layers` and `i + 1` is a multiple of
//! `decoder_sparse_step`.

use kernels::Gating;

use super::{Config, Description, FeedForward, Layer, ModelError, llama_shaped, no_sliding_window};
use crate::model::describe::ExpertNames;

const NAMES: ExpertNames = ExpertNames { module: "mlp", gate: "gate_proj", up: "up_proj", down: "down_proj" };

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    no_sliding_window(config)?;
    let renormalise = config.flag("norm_topk_prob", false)?;
    let gating = Gating { top_k: config.size("num_experts_per_tok")?, renormalise };
    // transformers 5 writes the common name, checkpoints on the hub the family's own.
    let count = match config.find_size("num_experts")? {
        Some(count) => count,
        None => config.size("num_local_experts")?,
    };
    config.find_size("num_local_experts")?;
    let inner = config.size("moe_intermediate_size")?;
    let experts = FeedForward::Experts { count, inner, gating, names: NAMES };
    let dense = FeedForward::Dense { inner: config.size("intermediate_size")? };
    let step = config.find_size("decoder_sparse_step")?.unwrap_or(1).max(1);
    let dense_only = config.find_sizes("mlp_only_layers")?.unwrap_or_default();
    let layer = |i: usize| {
        let sparse = count > 0 && !dense_only.contains(&i) && (i + 1).is_multiple_of(step);
        Layer { window: None, feed_forward: if sparse { experts.clone() } else { dense.clone() } }
    };
    let bias = config.flag("attention_bias", false)?;
    llama_shaped(config, (0..config.size("num_hidden_layers")?).map(layer).collect(), true, bias)
}
