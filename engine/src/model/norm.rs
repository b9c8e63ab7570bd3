//! The norms of the residual stream.

use candle_core::Tensor;

use super::ModelError;
use super::describe::{Description, NormKind};
use super::weights::Weights;

/// One norm, `[C]`.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Tensor,
    /// Of a norm by mean and variance.
    bias: Option<Tensor>,
    eps: f32,
}

impl Norm {
    /// Loads the norm called `name`.
    pub(super) fn load(weights: &Weights, name: &str, description: &Description) -> Result<Self, ModelError> {
        let shape = [description.width];
        let weight = norm_weight(weights, name, description.width, description.norm)?;
        let bias = match description.norm {
            NormKind::Layer => Some(weights.vector(&format!("{name}.bias"), &shape)?),
            NormKind::Rms | NormKind::RmsPlusOne => None,
        };
        Ok(Self { weight, bias, eps: description.norm_eps })
    }

    /// Normalises the rows of `x [T, C]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match &self.bias {
            None => kernels::rms_norm(x, &self.weight, self.eps)?,
            Some(bias) => kernels::layer_norm(x, &self.weight, bias, self.eps)?,
        })
    }

    /// Adds `delta` to the residual stream; returns the sum and its norm.
    pub(super) fn add(&self, residual: &Tensor, delta: &Tensor) -> Result<(Tensor, Tensor), ModelError> {
        if self.bias.is_none() {
            return Ok(kernels::add_rms_norm(residual, delta, &self.weight, self.eps)?);
        }
        let sum = (residual + delta)?;
        let normed = self.forward(&sum)?;
        Ok((sum, normed))
    }
}

/// The weight of a norm over `width` elements, as it multiplies.
pub(super) fn norm_weight(
    weights: &Weights,
    name: &str,
    width: usize,
    kind: NormKind,
) -> Result<Tensor, ModelError> {
    let weight = weights.vector(&format!("{name}.weight"), &[width])?;
    Ok(if kind == NormKind::RmsPlusOne { (weight + 1.0)? } else { weight })
}
