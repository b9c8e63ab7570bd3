//! A product of its own for each head: what MLA absorbs into queries and outputs.

use candle_core::{Device, Tensor};

use crate::error::ensure;
use crate::linear::product;
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
    let &[weight_heads, outputs, weight_width] = weight.dims() else {
        return Err(KernelError::Shape { op: OP, detail: format!("a weight of {:?}", weight.dims()) });
    };
    ensure(heads == weight_heads && width == weight_width, OP, || {
        format!("x is [{tokens}, {heads}, {width}], the weight [{weight_heads}, {outputs}, {weight_width}]")
    })?;
    let views = (HostView::new(OP, x)?, HostView::new(OP, weight.tensor())?);
    let (x, weight) = (views.0.f32(OP)?, views.1.f32(OP)?);
    let mut out = vec![0f32; tokens * heads * outputs];
    for head in 0..heads {
        let rows: Vec<f32> =
            (0..tokens).flat_map(|token| &x[(token * heads + head) * width..][..width]).copied().collect();
        let product = product(&rows, &weight[head * outputs * width..][..outputs * width], width);
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
