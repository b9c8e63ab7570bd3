//! Gathers rows of the embedding table.

use candle_core::{Device, Tensor};

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "embed";

/// Returns one row of `table` per token.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `table` | `[V, C]` | f32, contiguous |
/// | `tokens` | `[T]` | ids below V |
/// | result | `[T, C]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if an id is outside the table, or a shape or type differs.
pub fn embed(table: &Tensor, tokens: &[u32]) -> Result<Tensor, KernelError> {
    let (vocabulary, width) = table.dims2()?;
    let view = HostView::new(OP, table)?;
    let table = view.f32(OP)?;
    let mut out = Vec::with_capacity(tokens.len() * width);
    for &token in tokens {
        ensure((token as usize) < vocabulary, OP, || {
            format!("token {token} is outside the {vocabulary} known")
        })?;
        out.extend_from_slice(&table[token as usize * width..][..width]);
    }
    Ok(Tensor::from_vec(out, (tokens.len(), width), &Device::Cpu)?)
}
