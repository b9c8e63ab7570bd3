//! Gathers rows: of the embedding table by token, of a batch by number.

use candle_core::{Device, Tensor};

use crate::error::ensure;
use crate::view::HostView;
use crate::weight::Rows;
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
    let (count, _) = table.dims2("embed")?;
    let reading = table.read("embed")?;
    rows("embed", reading.rows(), count, tokens)
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
    let (count, width) = x.dims2()?;
    let view = HostView::new("gather", x)?;
    rows("gather", Rows::dense(view.f32("gather")?, width), count, numbers)
}

fn rows(op: &'static str, rows: Rows<'_>, count: usize, numbers: &[u32]) -> Result<Tensor, KernelError> {
    let width = rows.width();
    let mut out = vec![0f32; numbers.len() * width];
    for &number in numbers {
        ensure((number as usize) < count, op, || format!("row {number} is outside the {count} known"))?;
    }
    rows.decode_rows(numbers.iter().map(|number| *number as usize), &mut out);
    Ok(Tensor::from_vec(out, (numbers.len(), width), &Device::Cpu)?)
}
