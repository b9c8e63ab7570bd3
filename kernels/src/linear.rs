//! Dense product with a weight stored row by row: `y = x Wᵀ + b`.
//!
//! Both operands are contiguous along the summed dimension, so one output is one dot product. A tile of
//! `TILE x TILE` outputs shares the loads; every output still has its own accumulator that walks the summed
//! dimension from the first lane group to the last. So a row's result does not depend on which other rows are
//! in the batch, nor on how the tile was cut.
//!
//! Threads split the rows of the weight, so each of them reads its own part once, whatever T is.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use candle_core::{Device, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::error::ensure;
use crate::view::HostView;
use crate::{KernelError, Weight};

const OP: &str = "linear";

/// Rows and columns of outputs that are computed together; 16 accumulators fit the vector registers.
const TILE: usize = 4;

/// Multiply-adds below which waking other threads costs more than it saves.
const PARALLEL_MIN_MULTIPLY_ADDS: usize = 1 << 19;

/// Returns `x Wᵀ + b`.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `[T, C]` | f32, contiguous |
/// | `weight` | `[O, C]` | |
/// | `bias` | `[O]` | f32 |
/// | result | `[T, O]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type or stride differs from the table.
pub fn linear(x: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor, KernelError> {
    let (tokens, width) = x.dims2()?;
    let (outputs, weight_width) = weight.tensor().dims2()?;
    ensure(width == weight_width, OP, || format!("x has width {width}, the weight {weight_width}"))?;
    let (x_view, weight_view) = (HostView::new(OP, x)?, HostView::new(OP, weight.tensor())?);
    let mut out = product(x_view.f32(OP)?, weight_view.f32(OP)?, width);
    if let Some(bias) = bias {
        let bias_view = HostView::new(OP, bias)?;
        let bias = bias_view.f32(OP)?;
        ensure(bias.len() == outputs, OP, || format!("the bias has {} entries, not {outputs}", bias.len()))?;
        for row in out.chunks_exact_mut(outputs) {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
    Ok(Tensor::from_vec(out, (tokens, outputs), &Device::Cpu)?)
}

/// `x [M, width]` times `weight [O, width]` transposed, as `[M, O]` row by row.
pub(crate) fn product(x: &[f32], weight: &[f32], width: usize) -> Vec<f32> {
    let (rows, outputs) = (x.len() / width, weight.len() / width);
    // Computed with the weight's rows outermost, so that threads own disjoint pieces, then turned.
    let mut turned = vec![0f32; rows * outputs];
    if turned.is_empty() {
        return turned;
    }
    let arch = Arch::new();
    let piece = |weight: &[f32], out: &mut [f32]| arch.dispatch(Tiles { x, weight, width, out });
    if rows * outputs * width < PARALLEL_MIN_MULTIPLY_ADDS {
        piece(weight, &mut turned);
    } else {
        let per_thread = outputs.div_ceil(rayon::current_num_threads() * 2).next_multiple_of(TILE);
        turned
            .par_chunks_mut(per_thread * rows)
            .zip(weight.par_chunks(per_thread * width))
            .for_each(|(out, weight)| piece(weight, out));
    }
    if rows == 1 { turned } else { transpose(&turned, outputs, rows) }
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0f32; values.len()];
    for (r, row) in values.chunks_exact(columns).enumerate() {
        for (c, value) in row.iter().enumerate() {
            out[c * rows + r] = *value;
        }
    }
    out
}

/// All outputs of some rows of the weight, written as `[weight rows, x rows]`.
struct Tiles<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.x.len() / self.width;
        let weights = self.weight.chunks(TILE * self.width).zip(self.out.chunks_mut(TILE * rows));
        for (weight, out) in weights {
            let full = weight.len() == TILE * self.width;
            for (tile, x) in self.x.chunks(TILE * self.width).enumerate() {
                let column = tile * TILE;
                if full && x.len() == TILE * self.width {
                    square::<S, TILE, TILE>(simd, x, weight, self.width, (out, rows, column));
                } else if full {
                    for (i, x) in x.chunks_exact(self.width).enumerate() {
                        square::<S, 1, TILE>(simd, x, weight, self.width, (out, rows, column + i));
                    }
                } else {
                    for (i, x) in x.chunks_exact(self.width).enumerate() {
                        for (j, weight) in weight.chunks_exact(self.width).enumerate() {
                            let out = &mut out[j * rows..];
                            square::<S, 1, 1>(simd, x, weight, self.width, (out, rows, column + i));
                        }
                    }
                }
            }
        }
    }
}

/// A tile of `M x N` dot products; `out` is `[N, rows]`, written from `column` on.
#[inline(always)]
fn square<S: Simd, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    weight: &[f32],
    width: usize,
    (out, rows, column): (&mut [f32], usize, usize),
) {
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    let x: [(&[S::f32s], &[f32]); M] = std::array::from_fn(|i| S::as_simd_f32s(&x[i * width..][..width]));
    let w: [(&[S::f32s], &[f32]); N] =
        std::array::from_fn(|j| S::as_simd_f32s(&weight[j * width..][..width]));
    for lane in 0..w[0].0.len() {
        for i in 0..M {
            for j in 0..N {
                sums[i][j] = simd.mul_add_f32s(x[i].0[lane], w[j].0[lane], sums[i][j]);
            }
        }
    }
    if !w[0].1.is_empty() {
        for i in 0..M {
            let tail = simd.partial_load_f32s(x[i].1);
            for j in 0..N {
                sums[i][j] = simd.mul_add_f32s(tail, simd.partial_load_f32s(w[j].1), sums[i][j]);
            }
        }
    }
    for i in 0..M {
        for j in 0..N {
            out[j * rows + column + i] = simd.reduce_sum_f32s(sums[i][j]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32)
            .map(|i| ((i.wrapping_mul(2_654_435_761) ^ seed) % 2003) as f32 / 1001.0 - 1.0)
            .collect()
    }

    fn plain(x: &[f32], weight: &[f32], width: usize) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        x.chunks(width).flat_map(|x| weight.chunks(width).map(move |w| dot(x, w))).collect()
    }

    #[test]
    fn every_tile_shape_agrees_with_the_plain_sum() {
        for (rows, outputs, width) in
            [(1, 1, 1), (1, 7, 33), (5, 9, 64), (4, 4, 16), (9, 130, 100), (70, 300, 48)]
        {
            let (x, w) = (values(rows * width, 1), values(outputs * width, 2));
            for (got, want) in product(&x, &w, width).iter().zip(plain(&x, &w, width)) {
                assert!((f64::from(*got) - want).abs() < 1e-4, "{rows}x{outputs}x{width}: {got} {want}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_any_batch() {
        let (width, outputs, rows) = (72, 513, 23);
        let (x, w) = (values(rows * width, 3), values(outputs * width, 4));
        let together = product(&x, &w, width);
        for (row, x) in x.chunks(width).enumerate() {
            assert_eq!(product(x, &w, width), together[row * outputs..][..outputs]);
        }
    }

    #[test]
    fn a_width_that_does_not_fit_is_refused() {
        let x = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let w = Tensor::zeros((5, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let w = Weight::dense(w).unwrap();
        assert_eq!(linear(&x, &w, None).unwrap_err().to_string(), "linear: x has width 3, the weight 4");
    }
}
