//! The one network that runs every description.
//!
//! ```text
//! x = embed(tokens)
//! for each layer:   x += attention(norm(x));   x += feed_forward(norm(x))
//! logits = head(norm(x))
//! ```
//!
//! Each residual add is fused with the norm that follows it. The batch is flat: the network never sees where
//! one sequence ends, only attention does, through the paging.

use candle_core::{Device, Tensor};
use kernels::{KvCache, RopeTable, Weight};

use super::ModelError;
use super::attention::{SelfAttention, Step};
use super::describe::{Description, Heads, Layer};
use super::feed_forward::FeedForward;
use super::weights::Weights;
use crate::batch::Batch;

/// A loaded model.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Weight,
    layers: Vec<DecoderLayer>,
    norm: Tensor,
    head: Weight,
    heads: Heads,
    rope: RopeTable,
    norm_eps: f32,
    context: usize,
}

#[derive(Debug)]
struct DecoderLayer {
    attention_norm: Tensor,
    attention: SelfAttention,
    feed_forward_norm: Tensor,
    feed_forward: FeedForward,
}

impl Decoder {
    /// Loads the tensors that the description names.
    pub(super) fn new(description: &Description, weights: &Weights) -> Result<Self, ModelError> {
        let Description { vocabulary, width, heads, .. } = *description;
        let embedding = weights.matrix(&[("model.embed_tokens.weight".to_owned(), vocabulary)], width)?;
        // Some checkpoints store the tied head once more.
        let head = if description.tied {
            weights.skip("lm_head.weight");
            embedding.clone()
        } else {
            weights.matrix(&[("lm_head.weight".to_owned(), vocabulary)], width)?
        };
        let layer = |(i, layer): (usize, &Layer)| {
            let prefix = format!("model.layers.{i}");
            weights.skip(&format!("{prefix}.self_attn.rotary_emb.inv_freq"));
            Ok(DecoderLayer {
                attention_norm: weights.vector(&format!("{prefix}.input_layernorm.weight"), &[width])?,
                attention: SelfAttention::load(weights, &prefix, heads, width, layer.window)?,
                feed_forward_norm: weights
                    .vector(&format!("{prefix}.post_attention_layernorm.weight"), &[width])?,
                feed_forward: FeedForward::load(weights, &prefix, &layer.feed_forward, width)?,
            })
        };
        for draft in 0..description.draft_layers {
            weights.skip_below(&format!("model.layers.{}.", description.layers.len() + draft));
        }
        Ok(Self {
            layers: description.layers.iter().enumerate().map(layer).collect::<Result<_, ModelError>>()?,
            norm: weights.vector("model.norm.weight", &[width])?,
            embedding,
            head,
            heads,
            rope: description.rope.clone(),
            norm_eps: description.norm_eps,
            context: description.context,
        })
    }

    /// The longest sequence, in tokens.
    pub(crate) fn context(&self) -> usize {
        self.context
    }

    /// V, the tokens that have an embedding.
    pub(crate) fn vocabulary(&self) -> usize {
        self.embedding.dims()[0]
    }

    /// Bytes of cache that one token takes over all layers.
    pub(crate) fn kv_bytes_per_token(&self) -> usize {
        2 * self.layers.len() * self.heads.key_value * self.heads.dim * size_of::<f32>()
    }

    /// One cache of `slots` tokens per layer.
    pub(crate) fn new_caches(&self, slots: usize) -> Result<Vec<KvCache>, ModelError> {
        let Heads { key_value, dim, .. } = self.heads;
        self.layers.iter().map(|_| Ok(KvCache::new(slots, key_value, dim, &Device::Cpu)?)).collect()
    }

    /// Puts the batch through the network: writes its keys and values into the caches and returns the logits
    /// of the wanted rows, `[B, V]`.
    pub(crate) fn forward(&self, batch: &Batch, caches: &[KvCache]) -> Result<Tensor, ModelError> {
        let angles = self.rope.angles(&batch.positions);
        let mut residual = kernels::embed(&self.embedding, &batch.tokens)?;
        let mut normed = kernels::rms_norm(&residual, &self.layers[0].attention_norm, self.norm_eps)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let step = Step { batch, cache: &caches[i], angles: &angles, norm_eps: self.norm_eps };
            let delta = layer.attention.forward(&normed, &step)?;
            (residual, normed) =
                kernels::add_rms_norm(&residual, &delta, &layer.feed_forward_norm, self.norm_eps)?;
            let delta = layer.feed_forward.forward(&normed)?;
            let next = self.layers.get(i + 1).map_or(&self.norm, |next| &next.attention_norm);
            (residual, normed) = kernels::add_rms_norm(&residual, &delta, next, self.norm_eps)?;
        }
        let rows = kernels::gather(&normed, &batch.logit_rows)?;
        Ok(kernels::linear(&rows, &self.head, None)?)
    }
}
