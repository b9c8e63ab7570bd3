//! A layer's attention: projections, head norms, rope, the paged cache, the output projection.

use candle_core::Tensor;
use kernels::{Attention, KvCache, RopeAngles, Weight};

use super::ModelError;
use super::describe::{HeadNorm, Heads};
use super::weights::Weights;
use crate::batch::Batch;

/// What a layer needs beside its input.
pub(super) struct Step<'a> {
    pub(super) batch: &'a Batch,
    pub(super) cache: &'a KvCache,
    pub(super) angles: &'a RopeAngles,
    pub(super) norm_eps: f32,
}

/// Grouped-query attention of one layer.
#[derive(Debug)]
pub(super) struct SelfAttention {
    heads: Heads,
    /// `[(H + 2 K) D, C]`: the query, key and value projections one below the other.
    qkv: Weight,
    qkv_bias: Option<Tensor>,
    output: Weight,
    output_bias: Option<Tensor>,
    /// Weights of the query and key norms, `[D]` or `[H D]` and `[K D]` each.
    head_norms: Option<(Tensor, Tensor)>,
    attention: Attention,
}

impl SelfAttention {
    /// Loads the attention of the layer whose names begin with `prefix`; the residual stream is `width` wide.
    pub(super) fn load(
        weights: &Weights,
        prefix: &str,
        heads: Heads,
        width: usize,
        window: Option<u32>,
    ) -> Result<Self, ModelError> {
        let Heads { query, key_value, dim, norm, bias, .. } = heads;
        let named = |suffix: &str| format!("{prefix}.self_attn.{suffix}");
        let parts = |kind: &str| {
            [("q_proj", query), ("k_proj", key_value), ("v_proj", key_value)]
                .map(|(name, heads)| (named(&format!("{name}.{kind}")), heads * dim))
        };
        let head_norm = |name, width| weights.vector(&named(name), &[width]);
        let head_norms = match norm {
            HeadNorm::None => None,
            HeadNorm::PerHead => Some((head_norm("q_norm.weight", dim)?, head_norm("k_norm.weight", dim)?)),
            HeadNorm::AllHeads => {
                Some((head_norm("q_norm.weight", query * dim)?, head_norm("k_norm.weight", key_value * dim)?))
            }
        };
        let output_bias = named("o_proj.bias");
        Ok(Self {
            heads,
            qkv: weights.matrix(&parts("weight"), width)?,
            qkv_bias: if bias { Some(weights.vectors(&parts("bias"))?) } else { None },
            // Families with a bias on the inputs do not all have one on the output.
            output_bias: if weights.contains(&output_bias) {
                Some(weights.vector(&output_bias, &[width])?)
            } else {
                None
            },
            output: weights.matrix(&[(named("o_proj.weight"), width)], query * dim)?,
            head_norms,
            attention: Attention { scale: 1.0 / (dim as f32).sqrt(), window },
        })
    }

    /// Attends from each token of `x [T, C]`; writes the step's keys and values into the cache on the way.
    pub(super) fn forward(&self, x: &Tensor, step: &Step<'_>) -> Result<Tensor, ModelError> {
        let (q, k, v) = self.project(x, step.norm_eps)?;
        let (q, k) = (kernels::rope(&q, step.angles)?, kernels::rope(&k, step.angles)?);
        kernels::write_kv(step.cache, &k, &v, &step.batch.slots)?;
        let out = kernels::attend(&q, step.cache, &step.batch.paging, self.attention)?;
        Ok(kernels::linear(&out, &self.output, self.output_bias.as_ref())?)
    }

    /// Queries `[T, H, D]`, keys and values `[T, K, D]`, normalised and clamped.
    fn project(&self, x: &Tensor, norm_eps: f32) -> Result<(Tensor, Tensor, Tensor), ModelError> {
        let tokens = x.dim(0)?;
        let Heads { query, key_value, dim, norm, clamp, .. } = self.heads;
        let qkv = kernels::linear(x, &self.qkv, self.qkv_bias.as_ref())?;
        let part = |start: usize, heads: usize| qkv.narrow(1, start * dim, heads * dim)?.contiguous();
        let (mut q, mut k) = (part(0, query)?, part(query, key_value)?);
        let mut v = part(query + key_value, key_value)?;
        let split = |x: Tensor, heads: usize| x.reshape((tokens, heads, dim));
        if let (Some((q_norm, k_norm)), HeadNorm::AllHeads) = (&self.head_norms, norm) {
            q = kernels::rms_norm(&q, q_norm, norm_eps)?;
            k = kernels::rms_norm(&k, k_norm, norm_eps)?;
        }
        if let Some(limit) = clamp {
            (q, k, v) = (q.clamp(-limit, limit)?, k.clamp(-limit, limit)?, v.clamp(-limit, limit)?);
        }
        let (mut q, mut k, v) = (split(q, query)?, split(k, key_value)?, split(v, key_value)?);
        if let (Some((q_norm, k_norm)), HeadNorm::PerHead) = (&self.head_norms, norm) {
            q = kernels::rms_norm(&q, q_norm, norm_eps)?;
            k = kernels::rms_norm(&k, k_norm, norm_eps)?;
        }
        Ok((q, k, v))
    }
}
