//! Multi-head latent attention, absorbed (arXiv:2405.04434, section 2.1).
//!
//! A token leaves one row in the cache: its compressed keys and values `c [rank]`, normalised, and the part of its
//! key that is rotated, `r [rope_dim]`, which all heads share. A head's key would be `[W_UK c | r]` and its value
//! `W_UV c`. Instead of expanding them for every key, `W_UK` is applied to the query and `W_UV` to the result:
//!
//! ```text
//! score = (W_UK[h]ᵀ q_plain) · c + q_rope · r        out[h] = W_UV[h] Σ p c
//! ```
//!
//! So a step is attention with one key head of `rank + rope_dim`. Prompts go the same way. Expanding is cheaper
//! there, `plain_dim + rope_dim + value_dim` against `2 rank + rope_dim` multiply-adds for each pair of tokens, but
//! rounds otherwise, and then a sequence that was preempted would not continue with the bits it had.

use candle_core::Tensor;
use kernels::Weight;

use super::ModelError;
use super::attention::{Step, grown};
use super::describe::{Description, Latent, Layer, QueryGrowth};
use super::weights::Weights;

/// Epsilon of the norms inside; the reference takes it from no config.
const NORM_EPS: f32 = 1e-6;

/// Latent attention of one layer.
#[derive(Debug)]
pub(super) struct LatentAttention {
    shape: Latent,
    query: Query,
    /// `[rank + rope_dim, C]`.
    compress: Weight,
    compress_bias: Option<Tensor>,
    /// `[rank]`.
    compress_norm: Tensor,
    /// `W_UKᵀ`, `[H, rank, plain_dim]`.
    key_up: Weight,
    /// `W_UV`, `[H, value_dim, rank]`.
    value_up: Weight,
    output: Weight,
    output_bias: Option<Tensor>,
    query_growth: Option<QueryGrowth>,
    attention: kernels::Attention,
}

/// How queries `[T, H (plain_dim + rope_dim)]` come about.
#[derive(Debug)]
enum Query {
    Direct(Weight),
    Compressed { down: Weight, bias: Option<Tensor>, norm: Tensor, up: Weight },
}

impl LatentAttention {
    /// Loads the attention of the layer whose names begin with `prefix`.
    pub(super) fn load(
        weights: &Weights,
        prefix: &str,
        shape: Latent,
        layer: &Layer,
        description: &Description,
    ) -> Result<Self, ModelError> {
        let Latent { heads, rank, rope_dim, value_dim, bias, .. } = shape;
        let width = description.width;
        let named = |suffix: &str| format!("{prefix}.self_attn.{suffix}");
        let compressed = rank + rope_dim;
        let compress_bias = named("kv_a_proj_with_mqa.bias");
        let (key_up, value_up) = expansion(weights, &named("kv_b_proj.weight"), shape)?;
        Ok(Self {
            shape,
            query: Query::load(weights, prefix, shape, width)?,
            compress: weights.matrix(&[(named("kv_a_proj_with_mqa.weight"), compressed)], width)?,
            compress_bias: if bias { Some(weights.vector(&compress_bias, &[compressed])?) } else { None },
            compress_norm: weights.vector(&named("kv_a_layernorm.weight"), &[rank])?,
            key_up,
            value_up,
            output: weights.matrix(&[(named("o_proj.weight"), width)], heads * value_dim)?,
            output_bias: if bias { Some(weights.vector(&named("o_proj.bias"), &[width])?) } else { None },
            query_growth: layer.query_growth,
            attention: kernels::Attention {
                scale: shape.scale,
                reach: layer.reach,
                soft_cap: None,
                sinks: None,
            },
        })
    }

    /// Attends from each token of `x [T, C]`; writes the step's rows into the cache on the way.
    pub(super) fn forward(&self, x: &Tensor, step: &Step<'_>) -> Result<Tensor, ModelError> {
        let tokens = x.dim(0)?;
        let Latent { heads, rank, plain_dim, rope_dim, value_dim, pairs, .. } = self.shape;
        let q = self.query.forward(x)?.reshape((tokens, heads, plain_dim + rope_dim))?;
        let q_plain = q.narrow(2, 0, plain_dim)?.contiguous()?;
        let mut q_rope = q.narrow(2, plain_dim, rope_dim)?.contiguous()?;

        let compressed = kernels::linear(x, &self.compress, self.compress_bias.as_ref())?;
        let c = compressed.narrow(1, 0, rank)?.contiguous()?;
        let c = kernels::rms_norm(&c, &self.compress_norm, NORM_EPS)?;
        let mut r = compressed.narrow(1, rank, rope_dim)?.contiguous()?.unsqueeze(1)?;
        if let Some(angles) = step.angles {
            q_rope = kernels::rope(&q_rope, angles, pairs)?;
            r = kernels::rope(&r, angles, pairs)?;
        }
        let row = Tensor::cat(&[&c, &r.squeeze(1)?], 1)?;
        kernels::write_latent(step.cache, &row, &step.group.slots)?;

        let absorbed = kernels::head_linear(&q_plain, &self.key_up)?;
        let q = grown(Tensor::cat(&[&absorbed, &q_rope], 2)?, self.query_growth, step.batch)?;
        let out = kernels::attend(&q, step.cache, &step.group.paging, &self.attention)?;
        let out = kernels::head_linear(&out.reshape((tokens, heads, rank))?, &self.value_up)?;
        let out = out.reshape((tokens, heads * value_dim))?;
        Ok(kernels::linear(&out, &self.output, self.output_bias.as_ref())?)
    }
}

impl Query {
    fn load(weights: &Weights, prefix: &str, shape: Latent, width: usize) -> Result<Self, ModelError> {
        let named = |suffix: &str| format!("{prefix}.self_attn.{suffix}");
        let rows = shape.heads * (shape.plain_dim + shape.rope_dim);
        let Some(rank) = shape.query_rank else {
            return Ok(Self::Direct(weights.matrix(&[(named("q_proj.weight"), rows)], width)?));
        };
        let bias = named("q_a_proj.bias");
        Ok(Self::Compressed {
            down: weights.matrix(&[(named("q_a_proj.weight"), rank)], width)?,
            bias: if shape.bias { Some(weights.vector(&bias, &[rank])?) } else { None },
            norm: weights.vector(&named("q_a_layernorm.weight"), &[rank])?,
            up: weights.matrix(&[(named("q_b_proj.weight"), rows)], rank)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::Direct(weight) => kernels::linear(x, weight, None)?,
            Self::Compressed { down, bias, norm, up } => {
                let compressed = kernels::linear(x, down, bias.as_ref())?;
                kernels::linear(&kernels::rms_norm(&compressed, norm, NORM_EPS)?, up, None)?
            }
        })
    }
}

/// The halves of `kv_b_proj`, which holds for each head `plain_dim` rows of keys and `value_dim` rows of values.
fn expansion(weights: &Weights, name: &str, shape: Latent) -> Result<(Weight, Weight), ModelError> {
    let Latent { heads, rank, plain_dim, value_dim, .. } = shape;
    let per_head = plain_dim + value_dim;
    let both = weights.vector(name, &[heads * per_head, rank])?.reshape((heads, per_head, rank))?;
    let keys = both.narrow(1, 0, plain_dim)?.transpose(1, 2)?.contiguous()?;
    let values = both.narrow(1, plain_dim, value_dim)?.contiguous()?;
    Ok((Weight::dense(keys)?, Weight::dense(values)?))
}
