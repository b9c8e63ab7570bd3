//! The one network that runs every description.
//!
//! ```text
//! x = embed(tokens)
//! for each layer:   x += attention(norm(x));   x += feed_forward(norm(x))
//! logits = head(norm(x))
//! ```
//!
//! Each residual add is fused with the norm that follows it. The batch is flat: the network never sees where
//! one sequence ends, only attention does, through the paging of the layer's group.

use candle_core::{Device, Tensor};
use kernels::{KvCache, Reach, RopeAngles, RopeTable, Routing, Weight};

use super::ModelError;
use super::attention::{GroupedAttention, Step};
use super::describe::{Attention as AttentionKind, CacheRow, Description, Layer, Scales};
use super::feed_forward::FeedForward;
use super::latent::LatentAttention;
use super::norm::Norm;
use super::weights::Weights;
use crate::batch::Batch;

/// Where a checkpoint may have its text model; some carry it beside an image encoder.
const ROOTS: [&str; 3] = ["model", "language_model.model", "model.language_model"];

/// A loaded model.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Weight,
    layers: Vec<DecoderLayer>,
    norm: Norm,
    head: Weight,
    head_bias: Option<Tensor>,
    scales: Scales,
    ropes: Vec<RopeTable>,
}

/// The layers that see equally far, and so keep the same tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KvGroup {
    pub(crate) reach: Reach,
    /// How many there are.
    pub(crate) layers: usize,
    /// Bytes of cache that one token takes over the group's layers.
    pub(crate) bytes_per_token: usize,
}

#[derive(Debug)]
struct DecoderLayer {
    /// Which of the decoder's groups.
    group: usize,
    cache_row: CacheRow,
    rope: Option<usize>,
    attention_norm: Norm,
    attention: Attention,
    attention_post_norm: Option<Norm>,
    feed_forward_norm: Norm,
    feed_forward: FeedForward,
    feed_forward_post_norm: Option<Norm>,
}

#[derive(Debug)]
enum Attention {
    Grouped(Box<GroupedAttention>),
    Latent(Box<LatentAttention>),
}

impl Decoder {
    /// Loads the tensors that the description names.
    pub(super) fn new(description: &Description, weights: &Weights) -> Result<Self, ModelError> {
        let Description { vocabulary, width, .. } = *description;
        let embedding_of = |root: &str| format!("{root}.embed_tokens.weight");
        let root = ROOTS.into_iter().find(|root| weights.contains(&embedding_of(root))).unwrap_or(ROOTS[0]);
        let embedding = weights.matrix(&[(embedding_of(root), vocabulary)], width)?;
        let head_name = if root == ROOTS[1] { "language_model.lm_head" } else { "lm_head" };
        let head_weight = format!("{head_name}.weight");
        // Some checkpoints store the tied head once more.
        let head = if description.tied {
            weights.skip(&head_weight);
            embedding.clone()
        } else {
            weights.matrix(&[(head_weight, vocabulary)], width)?
        };
        let head_bias = if description.head_bias {
            Some(weights.vector(&format!("{head_name}.bias"), &[vocabulary])?)
        } else {
            None
        };
        for module in description.left_out {
            weights.skip_below(&format!("{module}."));
        }
        for draft in 0..description.draft_layers {
            weights.skip_below(&format!("{root}.layers.{}.", description.layers.len() + draft));
        }
        let groups = kv_groups(&description.layers);
        let layer = |(i, layer): (usize, &Layer)| {
            let group = groups.iter().position(|group| group.reach == layer.reach);
            let group = group.expect("each layer's reach is one of the groups'");
            DecoderLayer::load(weights, &format!("{root}.layers.{i}"), group, layer, description)
        };
        Ok(Self {
            layers: description.layers.iter().enumerate().map(layer).collect::<Result<_, ModelError>>()?,
            norm: Norm::load(weights, &format!("{root}.norm"), description)?,
            embedding,
            head,
            head_bias,
            scales: description.scales,
            ropes: description.ropes.clone(),
        })
    }

    /// V, the tokens that have an embedding.
    pub(crate) fn vocabulary(&self) -> usize {
        self.embedding.dims()[0]
    }

    /// A cache per layer, with the slots of its group.
    pub(crate) fn new_caches(&self, slots: &[usize]) -> Result<Vec<KvCache>, ModelError> {
        let cache = |layer: &DecoderLayer| {
            let slots = slots[layer.group];
            Ok(match layer.cache_row {
                CacheRow::Pairs { heads, dim } => KvCache::new(slots, heads, (dim, dim), &Device::Cpu)?,
                CacheRow::Latent { width, value_dim } => {
                    KvCache::latent(slots, width, value_dim, &Device::Cpu)?
                }
            })
        };
        self.layers.iter().map(cache).collect()
    }

    /// Puts the batch through the layers: writes its keys and values into the caches and returns what
    /// [`Self::logits`] takes, `[T, width]`.
    pub(crate) fn forward(&self, batch: &Batch, caches: &[KvCache]) -> Result<Tensor, ModelError> {
        self.forward_watched(batch, caches, &mut |_, _| ())
    }

    /// [`Self::forward`], telling `watch` of each layer with experts which of them its router chose.
    pub(crate) fn forward_watched(
        &self,
        batch: &Batch,
        caches: &[KvCache],
        watch: &mut dyn FnMut(usize, &Routing),
    ) -> Result<Tensor, ModelError> {
        let angles: Vec<RopeAngles> = self.ropes.iter().map(|rope| rope.angles(&batch.positions)).collect();
        let mut residual = scaled(kernels::embed(&self.embedding, &batch.tokens)?, self.scales.embedding)?;
        let mut normed = self.layers[0].attention_norm.forward(&residual)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let step = Step {
                batch,
                group: &batch.groups[layer.group],
                cache: &caches[i],
                angles: layer.rope.map(|rope| &angles[rope]),
            };
            let delta = match &layer.attention {
                Attention::Grouped(attention) => attention.forward(&normed, &step)?,
                Attention::Latent(attention) => attention.forward(&normed, &step)?,
            };
            let delta = self.delta(delta, layer.attention_post_norm.as_ref())?;
            (residual, normed) = layer.feed_forward_norm.add(&residual, &delta)?;
            let delta = layer.feed_forward.forward(&normed, &mut |routing| watch(i, routing))?;
            let delta = self.delta(delta, layer.feed_forward_post_norm.as_ref())?;
            let next = self.layers.get(i + 1).map_or(&self.norm, |next| &next.attention_norm);
            (residual, normed) = next.add(&residual, &delta)?;
        }
        Ok(normed)
    }

    /// The logits of some rows of what [`Self::forward`] made, `[B, V]`.
    pub(crate) fn logits(&self, normed: &Tensor, rows: &[u32]) -> Result<Tensor, ModelError> {
        let rows = kernels::gather(normed, rows)?;
        let logits = kernels::linear(&rows, &self.head, self.head_bias.as_ref())?;
        let logits = scaled(logits, self.scales.logits)?;
        match self.scales.logits_cap.map(f64::from) {
            Some(cap) => Ok(((logits / cap)?.tanh()? * cap)?),
            None => Ok(logits),
        }
    }

    /// What a half of a layer adds to the residual stream.
    fn delta(&self, x: Tensor, norm: Option<&Norm>) -> Result<Tensor, ModelError> {
        let x = match norm {
            Some(norm) => norm.forward(&x)?,
            None => x,
        };
        scaled(x, self.scales.residual)
    }
}

impl DecoderLayer {
    fn load(
        weights: &Weights,
        prefix: &str,
        group: usize,
        layer: &Layer,
        description: &Description,
    ) -> Result<Self, ModelError> {
        weights.skip(&format!("{prefix}.self_attn.rotary_emb.inv_freq"));
        let norm = |name: &str| Norm::load(weights, &format!("{prefix}.{name}"), description);
        let post = description.post_norms;
        let attention = match layer.attention {
            AttentionKind::Grouped(heads) => Attention::Grouped(Box::new(GroupedAttention::load(
                weights,
                prefix,
                heads,
                layer,
                description,
            )?)),
            AttentionKind::Latent(shape) => Attention::Latent(Box::new(LatentAttention::load(
                weights,
                prefix,
                shape,
                layer,
                description,
            )?)),
        };
        Ok(Self {
            group,
            cache_row: layer.attention.cache_row(),
            rope: layer.rope,
            attention_norm: norm("input_layernorm")?,
            attention,
            attention_post_norm: if post { Some(norm("post_attention_layernorm")?) } else { None },
            feed_forward_norm: norm(if post {
                "pre_feedforward_layernorm"
            } else {
                "post_attention_layernorm"
            })?,
            feed_forward: FeedForward::load(weights, prefix, &layer.feed_forward, description.width)?,
            feed_forward_post_norm: if post { Some(norm("post_feedforward_layernorm")?) } else { None },
        })
    }
}

impl Description {
    /// The groups of its layers, in the order of their first layer.
    pub(crate) fn kv_groups(&self) -> Vec<KvGroup> {
        kv_groups(&self.layers)
    }
}

/// The groups of some layers, in the order of their first layer.
pub(crate) fn kv_groups(layers: &[Layer]) -> Vec<KvGroup> {
    let mut groups: Vec<KvGroup> = Vec::new();
    for layer in layers {
        let bytes = layer.attention.cache_row().len() * size_of::<f32>();
        match groups.iter_mut().find(|group| group.reach == layer.reach) {
            Some(group) => {
                group.layers += 1;
                group.bytes_per_token += bytes;
            }
            None => groups.push(KvGroup { reach: layer.reach, layers: 1, bytes_per_token: bytes }),
        }
    }
    groups
}

fn scaled(x: Tensor, factor: f32) -> Result<Tensor, ModelError> {
    #[expect(clippy::float_cmp, reason = "exactly 1 is what families without a factor say")]
    if factor == 1.0 {
        return Ok(x);
    }
    Ok((x * f64::from(factor))?)
}
