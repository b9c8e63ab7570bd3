//! The gate of a feed-forward: `act(gate) * up` (arXiv:2002.05202).

use candle_core::{Device, Tensor};

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "gate";

/// What a feed-forward makes of its gate and up projections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `silu(g) * u`, `silu(z) = z / (1 + exp(-z))`.
    Silu,
    /// `gelu(g) * u` in the approximation `gelu(z) = z / 2 * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 z³)))`.
    GeluTanh,
    /// gpt-oss: `g` is cut at `limit`, `u` at plus and minus `limit`; `g / (1 + exp(-alpha g)) * (u + 1)`.
    ClampedSwiglu {
        /// Largest gate, largest and smallest up.
        limit: f32,
        /// Steepness of the sigmoid.
        alpha: f32,
    },
}

impl Activation {
    #[inline]
    fn apply(self, gate: f32, up: f32) -> f32 {
        match self {
            Self::Silu => gate / (1.0 + (-gate).exp()) * up,
            Self::GeluTanh => {
                let inner = (2.0 / std::f32::consts::PI).sqrt() * (gate + 0.044_715 * gate * gate * gate);
                0.5 * gate * (1.0 + inner.tanh()) * up
            }
            Self::ClampedSwiglu { limit, alpha } => {
                let (gate, up) = (gate.min(limit), up.clamp(-limit, limit));
                gate / (1.0 + (-alpha * gate).exp()) * (up + 1.0)
            }
        }
    }
}

/// How the rows of a joint gate and up projection stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateUp {
    /// All of the gate, then all of up.
    Halves,
    /// Gate and up in turn (gpt-oss).
    Pairs,
}

/// Returns `act(x[.., ..I], x[.., I..])`.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `gate_up` | `[T, 2 I]`, gate first | f32, contiguous |
/// | result | `[T, I]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if the width is odd, or a shape or type differs.
pub fn gate(gate_up: &Tensor, activation: Activation) -> Result<Tensor, KernelError> {
    let (tokens, width) = gate_up.dims2()?;
    ensure(width.is_multiple_of(2), OP, || format!("width {width} does not split into gate and up"))?;
    let view = HostView::new(OP, gate_up)?;
    Ok(Tensor::from_vec(
        gate_rows(view.f32(OP)?, width / 2, GateUp::Halves, activation),
        (tokens, width / 2),
        &Device::Cpu,
    )?)
}

/// The same over plain rows of `2 * width` elements.
pub(crate) fn gate_rows(gate_up: &[f32], width: usize, rows: GateUp, activation: Activation) -> Vec<f32> {
    let mut out = Vec::with_capacity(gate_up.len() / 2);
    for row in gate_up.chunks_exact(2 * width) {
        match rows {
            GateUp::Halves => {
                let (gate, up) = row.split_at(width);
                out.extend(gate.iter().zip(up).map(|(gate, up)| activation.apply(*gate, *up)));
            }
            GateUp::Pairs => {
                out.extend(row.chunks_exact(2).map(|pair| activation.apply(pair[0], pair[1])));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_activation_follows_its_formula() {
        let close = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-5, "{a} {b}");
        close(Activation::Silu.apply(1.5, 2.0), 1.5 / (1.0 + (-1.5f64).exp()) * 2.0);
        // Reference value of gelu_pytorch_tanh(1.5).
        close(Activation::GeluTanh.apply(1.5, 2.0), 2.0 * 1.399_571_6);
        let clamped = Activation::ClampedSwiglu { limit: 2.0, alpha: 1.702 };
        let gated = |g: f64| g / (1.0 + (-1.702 * g).exp());
        close(clamped.apply(9.0, -7.0), -gated(2.0));
        close(clamped.apply(-9.0, 7.0), gated(-9.0) * 3.0);
    }

    #[test]
    fn pairs_are_halves_in_another_order() {
        let halves = gate_rows(&[1., 2., 3., 4.], 2, GateUp::Halves, Activation::Silu);
        assert_eq!(gate_rows(&[1., 3., 2., 4.], 2, GateUp::Pairs, Activation::Silu), halves);
    }
}
