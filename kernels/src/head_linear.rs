//! A product of its own for each head: what MLA absorbs into queries and outputs.

use candle_core::{Device, Tensor};

use crate::error::ensure;
use crate::linear::{Product, products};
use crate::view::HostView;
use crate::{KernelError, Weight};

const OP: &str = "head_linear";

/// Returns `y[t, h] = weight[h] x[t, h]`.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `[T, H, D]` | f32, contiguous |
/// | `weight` | `[H, O, D]` | |
/// | result | `[T, H, O]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type or stride differs from the table.
pub fn head_linear(x: &Tensor, weight: &Weight) -> Result<Tensor, KernelError> {
    let (tokens, heads, width) = x.dims3()?;
    let [weight_heads, outputs, weight_width] = weight.dims3(OP)?;
    ensure(heads == weight_heads && width == weight_width, OP, || {
        format!("x is [{tokens}, {heads}, {width}], the weight [{weight_heads}, {outputs}, {weight_width}]")
    })?;
    let (view, reading) = (HostView::new(OP, x)?, weight.read(OP)?);
    let (x, weight) = (view.f32(OP)?, reading.rows());
    let gathered = |head: usize| {
        (0..tokens).flat_map(|token| &x[(token * heads + head) * width..][..width]).copied().collect()
    };
    let rows: Vec<Vec<f32>> = (0..heads).map(gathered).collect();
    let list: Vec<Product<'_>> = rows
        .iter()
        .enumerate()
        .map(|(head, x)| Product { x, weight: weight.slice(head * outputs..(head + 1) * outputs) })
        .collect();
    let mut out = vec![0f32; tokens * heads * outputs];
    for (head, product) in products(&list).iter().enumerate() {
        for (token, row) in product.chunks_exact(outputs).enumerate() {
            out[(token * heads + head) * outputs..][..outputs].copy_from_slice(row);
        }
    }
    Ok(Tensor::from_vec(out, (tokens, heads, outputs), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_head_has_its_own_matrix() {
        let x = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6., 7., 8.], (2, 2, 2), &Device::Cpu).unwrap();
        // Head 0 adds its two elements up, head 1 takes their difference.
        let weight = Tensor::from_slice(&[1f32, 1., 1., -1.], (2, 1, 2), &Device::Cpu).unwrap();
        let out = head_linear(&x, &Weight::dense(weight).unwrap()).unwrap();
        assert_eq!(out.dims(), [2, 2, 1]);
        assert_eq!(out.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [3., -1., 11., -1.]);
    }
}
