//! Gathers rows: of the embedding table by token, of a batch by number.

use candle_core::{Device, Tensor};

use crate::error::ensure;
use crate::view::HostView;
use crate::{KernelError, Weight};

/// Returns one row of `table` per token, as f32.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `table` | `[V, C]` | |
/// | `tokens` | `[T]` | ids below V |
/// | result | `[T, C]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if an id is outside the table, or a shape differs.
pub fn embed(table: &Weight, tokens: &[u32]) -> Result<Tensor, KernelError> {
    rows("embed", table.tensor(), tokens)
}

/// Returns the rows of `x` with the given numbers.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `[T, C]` | f32, contiguous |
/// | `numbers` | `[B]` | below T |
/// | result | `[B, C]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a number is too large, or a shape or type differs.
pub fn gather(x: &Tensor, numbers: &[u32]) -> Result<Tensor, KernelError> {
    rows("gather", x, numbers)
}

fn rows(op: &'static str, x: &Tensor, numbers: &[u32]) -> Result<Tensor, KernelError> {
    let (count, width) = x.dims2()?;
    let view = HostView::new(op, x)?;
    let x = view.f32(op)?;
    let mut out = Vec::with_capacity(numbers.len() * width);
    for &number in numbers {
        ensure((number as usize) < count, op, || format!("row {number} is outside the {count} known"))?;
        out.extend_from_slice(&x[number as usize * width..][..width]);
    }
    Ok(Tensor::from_vec(out, (numbers.len(), width), &Device::Cpu)?)
}
