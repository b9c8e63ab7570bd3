//! Mixtral: Mistral's attention, two of eight experts per token, weights renormalised over the two.

use kernels::Gating;

use super::{Config, Description, FeedForward, Layer, ModelError, llama_shaped, sliding_window};
use crate::model::describe::ExpertNames;

const NAMES: ExpertNames = ExpertNames { module: "block_sparse_moe", gate: "w1", up: "w3", down: "w2" };

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let window = sliding_window(config)?;
    let gating = Gating { top_k: config.size("num_experts_per_tok")?, renormalise: true };
    let count = config.size("num_local_experts")?;
    let feed_forward =
        FeedForward::Experts { count, inner: config.size("intermediate_size")?, gating, names: NAMES };
    let layers = vec![Layer { window, feed_forward }; config.size("num_hidden_layers")?];
    llama_shaped(config, layers, false, false)
}
