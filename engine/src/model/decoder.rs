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
use kernels::{Attention, Experts, Gating, KvCache, RopeAngles, RopeTable};

use super::ModelError;
use super::describe::{Description, ExpertNames, FeedForward, Heads};
use super::weights::Weights;
use crate::batch::Batch;

/// A loaded model.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Tensor,
    layers: Vec<DecoderLayer>,
    norm: Tensor,
    head: Tensor,
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
    feed_forward: LoadedFeedForward,
}

#[derive(Debug)]
struct SelfAttention {
    /// `[(H + 2 K) D, C]`: the query, key and value projections one below the other.
    qkv: Tensor,
    qkv_bias: Option<Tensor>,
    output: Tensor,
    output_bias: Option<Tensor>,
    head_norms: Option<(Tensor, Tensor)>,
    attention: Attention,
}

#[derive(Debug)]
enum LoadedFeedForward {
    Dense { gate_up: Tensor, down: Tensor },
    Experts { router: Tensor, gating: Gating, experts: Experts },
}

impl Decoder {
    /// Loads the tensors that the description names.
    pub(super) fn new(description: &Description, weights: &Weights) -> Result<Self, ModelError> {
        let Description { vocabulary, width, heads, .. } = *description;
        let embedding = weights.load("model.embed_tokens.weight", &[vocabulary, width])?;
        // Some checkpoints store the tied head once more.
        let head = if description.tied {
            weights.skip("lm_head.weight");
            embedding.clone()
        } else {
            weights.load("lm_head.weight", &[vocabulary, width])?
        };
        let layer = |(i, layer): (usize, &super::describe::Layer)| {
            let prefix = format!("model.layers.{i}");
            weights.skip(&format!("{prefix}.self_attn.rotary_emb.inv_freq"));
            Ok(DecoderLayer {
                attention_norm: weights.load(&format!("{prefix}.input_layernorm.weight"), &[width])?,
                attention: SelfAttention::load(weights, &prefix, heads, width, layer.window)?,
                feed_forward_norm: weights
                    .load(&format!("{prefix}.post_attention_layernorm.weight"), &[width])?,
                feed_forward: LoadedFeedForward::load(weights, &prefix, &layer.feed_forward, width)?,
            })
        };
        Ok(Self {
            layers: description.layers.iter().enumerate().map(layer).collect::<Result<_, ModelError>>()?,
            norm: weights.load("model.norm.weight", &[width])?,
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
            let delta = layer.attention.forward(&normed, self.heads, &step)?;
            (residual, normed) =
                kernels::add_rms_norm(&residual, &delta, &layer.feed_forward_norm, self.norm_eps)?;
            let delta = layer.feed_forward.forward(&normed)?;
            let next = self.layers.get(i + 1).map_or(&self.norm, |next| &next.attention_norm);
            (residual, normed) = kernels::add_rms_norm(&residual, &delta, next, self.norm_eps)?;
        }
        let rows = kernels::embed(&normed, &batch.logit_rows)?;
        Ok(kernels::linear(&rows, &self.head, None)?)
    }
}

/// What a layer needs beside its input.
struct Step<'a> {
    batch: &'a Batch,
    cache: &'a KvCache,
    angles: &'a RopeAngles,
    norm_eps: f32,
}

impl SelfAttention {
    fn load(
        weights: &Weights,
        prefix: &str,
        heads: Heads,
        width: usize,
        window: Option<u32>,
    ) -> Result<Self, ModelError> {
        let Heads { query, key_value, dim, norm, bias } = heads;
        let named = |suffix: &str| format!("{prefix}.self_attn.{suffix}");
        let parts = |kind: &str| {
            [("q_proj", query), ("k_proj", key_value), ("v_proj", key_value)]
                .map(|(name, heads)| (named(&format!("{name}.{kind}")), heads * dim))
        };
        let head_norm = |name| weights.load(&named(name), &[dim]);
        let output_bias = named("o_proj.bias");
        Ok(Self {
            qkv: weights.load_stacked(&parts("weight"), &[width])?,
            qkv_bias: if bias { Some(weights.load_stacked(&parts("bias"), &[])?) } else { None },
            // Families with a bias on the inputs do not all have one on the output.
            output_bias: if weights.contains(&output_bias) {
                Some(weights.load(&output_bias, &[width])?)
            } else {
                None
            },
            output: weights.load(&named("o_proj.weight"), &[width, query * dim])?,
            head_norms: if norm {
                Some((head_norm("q_norm.weight")?, head_norm("k_norm.weight")?))
            } else {
                None
            },
            attention: Attention { scale: 1.0 / (dim as f32).sqrt(), window },
        })
    }

    fn forward(&self, x: &Tensor, heads: Heads, step: &Step<'_>) -> Result<Tensor, ModelError> {
        let tokens = x.dim(0)?;
        let Heads { query, key_value, dim, .. } = heads;
        let qkv = kernels::linear(x, &self.qkv, self.qkv_bias.as_ref())?;
        let part = |start: usize, heads: usize| {
            qkv.narrow(1, start * dim, heads * dim)?.contiguous()?.reshape((tokens, heads, dim))
        };
        let (mut q, mut k) = (part(0, query)?, part(query, key_value)?);
        let v = part(query + key_value, key_value)?;
        if let Some((q_norm, k_norm)) = &self.head_norms {
            q = kernels::rms_norm(&q, q_norm, step.norm_eps)?;
            k = kernels::rms_norm(&k, k_norm, step.norm_eps)?;
        }
        let (q, k) = (kernels::rope(&q, step.angles)?, kernels::rope(&k, step.angles)?);
        kernels::write_kv(step.cache, &k, &v, &step.batch.slots)?;
        let out = kernels::attend(&q, step.cache, &step.batch.paging, self.attention)?;
        Ok(kernels::linear(&out, &self.output, self.output_bias.as_ref())?)
    }
}

impl LoadedFeedForward {
    fn load(weights: &Weights, prefix: &str, kind: &FeedForward, width: usize) -> Result<Self, ModelError> {
        match kind {
            FeedForward::Dense { inner } => {
                let named = |name: &str| format!("{prefix}.mlp.{name}.weight");
                let parts = [(named("gate_proj"), *inner), (named("up_proj"), *inner)];
                let gate_up = weights.load_stacked(&parts, &[width])?;
                Ok(Self::Dense { gate_up, down: weights.load(&named("down_proj"), &[width, *inner])? })
            }
            FeedForward::Experts { count, inner, gating, names } => {
                let ExpertNames { module, gate, up, down } = names;
                let named =
                    |expert: usize, name: &str| format!("{prefix}.{module}.experts.{expert}.{name}.weight");
                let gate_up: Vec<_> = (0..*count)
                    .flat_map(|expert| [(named(expert, gate), *inner), (named(expert, up), *inner)])
                    .collect();
                let down: Vec<_> = (0..*count).map(|expert| (named(expert, down), width)).collect();
                let experts = Experts {
                    gate_up: weights.load_stacked(&gate_up, &[width])?.reshape((*count, 2 * inner, width))?,
                    down: weights.load_stacked(&down, &[*inner])?.reshape((*count, width, *inner))?,
                };
                let router = weights.load(&format!("{prefix}.{module}.gate.weight"), &[*count, width])?;
                Ok(Self::Experts { router, gating: *gating, experts })
            }
        }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Dense { gate_up, down } => {
                let hidden = kernels::silu_mul(&kernels::linear(x, gate_up, None)?)?;
                Ok(kernels::linear(&hidden, down, None)?)
            }
            Self::Experts { router, gating, experts } => {
                let routing = kernels::route(&kernels::linear(x, router, None)?, *gating)?;
                Ok(kernels::experts(x, experts, &routing)?)
            }
        }
    }
}
