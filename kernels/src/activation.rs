//! The gate of a `SwiGLU` feed-forward: `silu(gate) * up`, `silu(z) = z / (1 + exp(-z))` (arXiv:2002.05202).

use candle_core::{Device, Tensor};

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "silu_mul";

/// Returns `silu(x[.., ..I]) * x[.., I..]`.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `gate_up` | `[T, 2 I]`, gate first | f32, contiguous |
/// | result | `[T, I]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if the width is odd, or a shape or type differs.
pub fn silu_mul(gate_up: &Tensor) -> Result<Tensor, KernelError> {
    let (tokens, width) = gate_up.dims2()?;
    ensure(width.is_multiple_of(2), OP, || format!("width {width} does not split into gate and up"))?;
    let view = HostView::new(OP, gate_up)?;
    Ok(Tensor::from_vec(gate(view.f32(OP)?, width / 2), (tokens, width / 2), &Device::Cpu)?)
}

/// The same over plain rows of `2 * width` elements.
pub(crate) fn gate(gate_up: &[f32], width: usize) -> Vec<f32> {
    let row = |row: &[f32]| {
        let (gate, up) = row.split_at(width);
        gate.iter().zip(up).map(|(z, up)| z / (1.0 + (-z).exp()) * up).collect::<Vec<_>>()
    };
    gate_up.chunks_exact(2 * width).flat_map(row).collect()
}
