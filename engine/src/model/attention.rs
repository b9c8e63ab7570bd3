//! A layer's grouped-query attention: projections, head norms, rope, the paged cache, the output projection.

use candle_core::Tensor;
use kernels::{KvCache, RopeAngles, Weight};

use super::ModelError;
use super::describe::{Description, HeadNorm, Heads, Layer, QueryGrowth};
use super::norm::norm_weight;
use super::weights::Weights;
use crate::batch::{Batch, GroupBatch};

/// What a layer needs beside its input.
pub(super) struct Step<'a> {
    pub(super) batch: &'a Batch,
    /// Where the layer's group keeps the batch's keys.
    pub(super) group: &'a GroupBatch,
    pub(super) cache: &'a KvCache,
    /// `None` turns nothing.
    pub(super) angles: Option<&'a RopeAngles>,
}

/// Grouped-query attention of one layer.
#[derive(Debug)]
pub(super) struct GroupedAttention {
    heads: Heads,
    norm_eps: f32,
    /// `[(H + 2 K) D, C]`: the query, key and value projections one below the other.
    qkv: Weight,
    qkv_bias: Option<Tensor>,
    output: Weight,
    output_bias: Option<Tensor>,
    /// Weights of the query and key norms, `[D]` or `[H D]` and `[K D]` each.
    head_norms: Option<(Tensor, Tensor)>,
    query_growth: Option<QueryGrowth>,
    attention: kernels::Attention,
}

impl GroupedAttention {
    /// Loads the attention of the layer whose names begin with `prefix`.
    pub(super) fn load(
        weights: &Weights,
        prefix: &str,
        heads: Heads,
        layer: &Layer,
        description: &Description,
    ) -> Result<Self, ModelError> {
        let Heads { query, key_value, dim, bias, .. } = heads;
        let width = description.width;
        let named = |suffix: &str| format!("{prefix}.self_attn.{suffix}");
        let parts = |kind: &str| {
            [("q_proj", query), ("k_proj", key_value), ("v_proj", key_value)]
                .map(|(name, heads)| (named(&format!("{name}.{kind}")), heads * dim))
        };
        let sinks = if heads.sinks { Some(weights.vector(&named("sinks"), &[query])?) } else { None };
        Ok(Self {
            heads,
            norm_eps: description.norm_eps,
            qkv: weights.matrix(&parts("weight"), width)?,
            qkv_bias: if bias { Some(weights.vectors(&parts("bias"))?) } else { None },
            output: weights.matrix(&[(named("o_proj.weight"), width)], query * dim)?,
            output_bias: if heads.output_bias {
                Some(weights.vector(&named("o_proj.bias"), &[width])?)
            } else {
                None
            },
            head_norms: head_norms(weights, prefix, heads, description)?,
            query_growth: layer.query_growth,
            attention: kernels::Attention {
                scale: heads.scale,
                reach: layer.reach,
                soft_cap: heads.soft_cap,
                sinks,
            },
        })
    }

    /// Attends from each token of `x [T, C]`; writes the step's keys and values into the cache on the way.
    pub(super) fn forward(&self, x: &Tensor, step: &Step<'_>) -> Result<Tensor, ModelError> {
        let (mut q, mut k, v) = self.project(x)?;
        if let Some(angles) = step.angles {
            q = kernels::rope(&q, angles, self.heads.pairs)?;
            k = kernels::rope(&k, angles, self.heads.pairs)?;
        }
        // The reference has this norm in the layers that turn their heads and in no others.
        if self.heads.norm == HeadNorm::AfterRope && step.angles.is_some() {
            let ones = Tensor::ones(self.heads.dim, q.dtype(), q.device())?;
            q = kernels::rms_norm(&q, &ones, self.norm_eps)?;
            k = kernels::rms_norm(&k, &ones, self.norm_eps)?;
        }
        q = grown(q, self.query_growth, step.batch)?;
        kernels::write_kv(step.cache, &k, &v, &step.group.slots)?;
        let out = kernels::attend(&q, step.cache, &step.group.paging, &self.attention)?;
        Ok(kernels::linear(&out, &self.output, self.output_bias.as_ref())?)
    }

    /// Queries `[T, H, D]`, keys and values `[T, K, D]`, normalised and clamped.
    fn project(&self, x: &Tensor) -> Result<(Tensor, Tensor, Tensor), ModelError> {
        let tokens = x.dim(0)?;
        let Heads { query, key_value, dim, norm, clamp, .. } = self.heads;
        let qkv = kernels::linear(x, &self.qkv, self.qkv_bias.as_ref())?;
        let part = |start: usize, heads: usize| qkv.narrow(1, start * dim, heads * dim)?.contiguous();
        let (mut q, mut k) = (part(0, query)?, part(query, key_value)?);
        let mut v = part(query + key_value, key_value)?;
        let split = |x: Tensor, heads: usize| x.reshape((tokens, heads, dim));
        if let (Some((q_norm, k_norm)), HeadNorm::AllHeads) = (&self.head_norms, norm) {
            q = kernels::rms_norm(&q, q_norm, self.norm_eps)?;
            k = kernels::rms_norm(&k, k_norm, self.norm_eps)?;
        }
        if let Some(limit) = clamp {
            (q, k, v) = (q.clamp(-limit, limit)?, k.clamp(-limit, limit)?, v.clamp(-limit, limit)?);
        }
        let (mut q, mut k, v) = (split(q, query)?, split(k, key_value)?, split(v, key_value)?);
        if let (Some((q_norm, k_norm)), HeadNorm::PerHead) = (&self.head_norms, norm) {
            q = kernels::rms_norm(&q, q_norm, self.norm_eps)?;
            k = kernels::rms_norm(&k, k_norm, self.norm_eps)?;
        }
        Ok((q, k, v))
    }
}

fn head_norms(
    weights: &Weights,
    prefix: &str,
    heads: Heads,
    description: &Description,
) -> Result<Option<(Tensor, Tensor)>, ModelError> {
    let Heads { query, key_value, dim, norm, .. } = heads;
    let widths = match norm {
        HeadNorm::None | HeadNorm::AfterRope => return Ok(None),
        HeadNorm::PerHead => [dim, dim],
        HeadNorm::AllHeads => [query * dim, key_value * dim],
    };
    let load = |name: &str, width: usize| {
        norm_weight(weights, &format!("{prefix}.self_attn.{name}"), width, description.norm)
    };
    Ok(Some((load("q_norm", widths[0])?, load("k_norm", widths[1])?)))
}

/// Queries `[T, H, D]` times their positions' factor.
pub(super) fn grown(q: Tensor, growth: Option<QueryGrowth>, batch: &Batch) -> Result<Tensor, ModelError> {
    let Some(growth) = growth else { return Ok(q) };
    let factors: Vec<f32> = batch.positions.iter().map(|position| growth.at(*position)).collect();
    let factors = Tensor::from_vec(factors, (batch.positions.len(), 1, 1), q.device())?;
    Ok(q.broadcast_mul(&factors)?)
}
