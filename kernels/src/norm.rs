//! Normalisation of rows: by root mean square, and by mean and variance.
//!
//! `rms_norm`: `y = x / sqrt(mean(x²) + eps) * weight`, computed in f32 (Zhang and Sennrich 2019, arXiv:1910.07467);
//! alone and fused with the residual add before it. `layer_norm`: `y = (x - mean(x)) / sqrt(var(x) + eps) * weight +
//! bias` with the biased variance (Ba et al. 2016, arXiv:1607.06450). Terms are added in a fixed order within a row.

use candle_core::{Device, Tensor};

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "rms_norm";

/// Normalises each row over the last dimension.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `[.., C]` | f32, contiguous |
/// | `weight` | `[C]` | f32 |
/// | result | as `x` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type or stride differs from the table.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor, KernelError> {
    let (x_view, weight_view) = (HostView::new(OP, x)?, HostView::new(OP, weight)?);
    let mut out = x_view.f32(OP)?.to_vec();
    normalise(&mut out, weight_view.f32(OP)?, eps)?;
    Ok(Tensor::from_vec(out, x.shape(), &Device::Cpu)?)
}

/// Adds `delta` to the residual stream and normalises the sum: returns `(residual + delta, norm of it)`.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `residual`, `delta` | `[T, C]` | f32, contiguous |
/// | `weight` | `[C]` | f32 |
/// | results | `[T, C]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type or stride differs from the table.
pub fn add_rms_norm(
    residual: &Tensor,
    delta: &Tensor,
    weight: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor), KernelError> {
    ensure(residual.shape() == delta.shape(), OP, || {
        format!("the residual is {:?}, the delta {:?}", residual.shape(), delta.shape())
    })?;
    let (a, b, weight) =
        (HostView::new(OP, residual)?, HostView::new(OP, delta)?, HostView::new(OP, weight)?);
    let sum: Vec<f32> = a.f32(OP)?.iter().zip(b.f32(OP)?).map(|(a, b)| a + b).collect();
    let mut normed = sum.clone();
    normalise(&mut normed, weight.f32(OP)?, eps)?;
    let shape = residual.shape();
    Ok((Tensor::from_vec(sum, shape, &Device::Cpu)?, Tensor::from_vec(normed, shape, &Device::Cpu)?))
}

/// Normalises each row to mean 0 and variance 1 before weight and bias.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `[.., C]` | f32, contiguous |
/// | `weight`, `bias` | `[C]` | f32 |
/// | result | as `x` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type or stride differs from the table.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor, KernelError> {
    let views = (HostView::new(OP, x)?, HostView::new(OP, weight)?, HostView::new(OP, bias)?);
    let (mut out, weight, bias) = (views.0.f32(OP)?.to_vec(), views.1.f32(OP)?, views.2.f32(OP)?);
    let width = weight.len();
    ensure(width > 0 && out.len().is_multiple_of(width) && bias.len() == width, OP, || {
        format!("{} elements, {width} weights and {} biases do not belong together", out.len(), bias.len())
    })?;
    for row in out.chunks_exact_mut(width) {
        let mean = row.iter().sum::<f32>() / width as f32;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
        let scale = (variance + eps).sqrt().recip();
        for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * scale * weight + bias;
        }
    }
    Ok(Tensor::from_vec(out, x.shape(), &Device::Cpu)?)
}

fn normalise(rows: &mut [f32], weight: &[f32], eps: f32) -> Result<(), KernelError> {
    let width = weight.len();
    ensure(width > 0 && rows.len().is_multiple_of(width), OP, || {
        format!("{} elements do not split into rows of the weight's {width}", rows.len())
    })?;
    for row in rows.chunks_exact_mut(width) {
        let mean = row.iter().map(|x| x * x).sum::<f32>() / width as f32;
        let scale = (mean + eps).sqrt().recip();
        row.iter_mut().zip(weight).for_each(|(x, w)| *x = *x * scale * w);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fused_form_equals_add_then_norm() {
        let tensor = |v: &[f32]| Tensor::from_slice(v, (2, 3), &Device::Cpu).unwrap();
        let (a, b) = (tensor(&[1., -2., 3., 0.5, 0., 9.]), tensor(&[0.25, 4., -1., 2., 2., 2.]));
        let weight = Tensor::from_slice(&[1f32, 2., 0.5], 3, &Device::Cpu).unwrap();
        let (sum, normed) = add_rms_norm(&a, &b, &weight, 1e-6).unwrap();
        let plain = (&a + &b).unwrap();
        assert_eq!(sum.to_vec2::<f32>().unwrap(), plain.to_vec2::<f32>().unwrap());
        assert_eq!(
            normed.to_vec2::<f32>().unwrap(),
            rms_norm(&plain, &weight, 1e-6).unwrap().to_vec2::<f32>().unwrap()
        );
    }

    #[test]
    fn a_row_of_equal_values_becomes_the_weight() {
        let x = Tensor::from_slice(&[7f32; 4], (1, 4), &Device::Cpu).unwrap();
        let weight = Tensor::from_slice(&[1f32, 2., 3., 4.], 4, &Device::Cpu).unwrap();
        let out = rms_norm(&x, &weight, 0.0).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(out, vec![vec![1., 2., 3., 4.]]);
    }

    #[test]
    fn a_layer_norm_has_the_mean_of_its_bias() {
        let tensor = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu).unwrap();
        let x = tensor(&[1., 2., 3., 6.]).unsqueeze(0).unwrap();
        let out = layer_norm(&x, &tensor(&[1., 1., 1., 2.]), &tensor(&[0., 0., 0., 5.]), 0.0).unwrap();
        let out = out.to_vec2::<f32>().unwrap().remove(0);
        // Mean 3, variance (4 + 1 + 0 + 9) / 4.
        let want = [-2., -1., 0., 6.].map(|d: f64| d / 3.5f64.sqrt());
        let want = [want[0], want[1], want[2], want[3] + 5.];
        out.iter().zip(want).for_each(|(a, b)| assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}"));
    }
}
