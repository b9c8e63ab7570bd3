//! Mixtral: Mistral's attention, two of eight experts per token, weights renormalised over the two.

use kernels::{Gating, Score};

use super::{
    Config, Description, ExpertLayer, ExpertNames, FeedForward, Layer, ModelError, llama_shaped,
    sliding_window,
};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let window = sliding_window(config)?;
    let top_k = config.size("num_experts_per_tok")?;
    let experts = ExpertLayer {
        count: config.size("num_local_experts")?,
        inner: config.size("intermediate_size")?,
        gating: Gating { top_k, score: Score::Softmax, renormalise: true, scale: 1.0 },
        names: ExpertNames::BLOCK_SPARSE,
        shared: None,
    };
    let layer = Layer { window, feed_forward: FeedForward::Experts(experts) };
    llama_shaped(config, vec![layer; config.size("num_hidden_layers")?])
}
