//! Product with a weight stored row by row: `y = x Wᵀ + b`.
//!
//! Both operands are contiguous along the summed dimension, so one output is one dot product. A few rows of the
//! weight and of x share the loads; every output still has its own accumulator that walks the summed dimension from
//! the first lane group to the last. So a row's result does not depend on which other rows are in the batch, nor on
//! how the outputs were cut into blocks.
//!
//! A weight that is not f32 is decoded a tile of rows and a chunk of columns at a time into the first-level cache,
//! once for many rows of x. The sums are those of the decoded weight: the format changes no order.
//!
//! Threads split the rows of the weight, so each of them reads its own part once, whatever T is.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use std::array::from_fn;
use std::ops::Range;

use candle_core::{Device, Tensor};
use pulp::Simd;
use rayon::prelude::*;

use crate::error::ensure;
use crate::lanes::{Eight, Kernel, dispatch};
use crate::view::HostView;
use crate::weight::Rows;
use crate::{KernelError, Weight};

const OP: &str = "linear";

/// Rows of the weight that are multiplied together.
const TILE: usize = 4;

/// Columns of the weight that are multiplied, and decoded, at a time: with as many of x they stay in the first-level
/// cache. A multiple of every format's block and of every vector.
const CHUNK: usize = 512;

/// Rows of the weight that go through a chunk of x before the next one, so that x is read from the second-level cache.
const GROUP: usize = 32;

/// Rows of x up to which rows of the weight are read from end to end instead: memory likes that better.
const GROUP_MIN_TOKENS: usize = 8;

/// Rows of x that are multiplied before the weight is read again: what of them a chunk needs fits the second-level
/// cache.
const TOKENS: usize = 64;

/// What decoding a row of the weight costs beside multiplying it, in rows of x; only a guess for sharing out work.
const DECODE_COST_ROWS: usize = 2;

/// Pieces of work for each thread: more than one, so that a thread that was interrupted does not hold up the others.
const PIECES_PER_THREAD: usize = 4;

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
    let (outputs, weight_width) = weight.dims2(OP)?;
    ensure(width == weight_width, OP, || format!("x has width {width}, the weight {weight_width}"))?;
    let (view, reading) = (HostView::new(OP, x)?, weight.read(OP)?);
    let mut out = product(view.f32(OP)?, reading.rows());
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

/// One of several products that are computed together.
pub(crate) struct Product<'a> {
    /// `[M, C]`.
    pub(crate) x: &'a [f32],
    /// `[O, C]`.
    pub(crate) weight: Rows<'a>,
}

/// `x [M, C]` times `weight [O, C]` transposed, as `[M, O]` row by row.
pub(crate) fn product(x: &[f32], weight: Rows<'_>) -> Vec<f32> {
    products(&[Product { x, weight }]).pop().expect("one product has one result")
}

/// Each product's result, in one parallel loop over all of them.
pub(crate) fn products(list: &[Product<'_>]) -> Vec<Vec<f32>> {
    let cost = |product: &Product<'_>| {
        (product.x.len() + DECODE_COST_ROWS * product.weight.width()) * product.weight.len()
    };
    let mut results: Vec<Vec<f32>> =
        list.iter().map(|p| vec![0f32; p.x.len() / p.weight.width() * p.weight.len()]).collect();
    let total: usize = list.iter().filter(|p| !p.x.is_empty()).map(cost).sum();
    let threads = if total < PARALLEL_MIN_MULTIPLY_ADDS { 1 } else { rayon::current_num_threads() };
    let piece_cost = if threads == 1 { total } else { total / (threads * PIECES_PER_THREAD) };
    let mut pieces: Vec<Tiles<'_>> = Vec::new();
    for (product, result) in list.iter().zip(&mut results) {
        let rows = product.weight.len();
        let per_piece =
            (rows * piece_cost / cost(product).max(1)).clamp(1, rows.max(1)).next_multiple_of(TILE);
        pieces.extend(cut(product, result, per_piece));
    }
    if threads == 1 {
        for piece in pieces {
            dispatch(piece);
        }
    } else {
        pieces.into_par_iter().for_each(dispatch);
    }
    results
}

/// A product as pieces of some rows of the weight each, with the columns of the result that they fill.
fn cut<'a>(product: &Product<'a>, result: &'a mut [f32], rows: usize) -> Vec<Tiles<'a>> {
    let Product { x, weight } = *product;
    let mut pieces: Vec<Tiles<'_>> = (0..weight.len())
        .step_by(rows)
        .map(|start| weight.slice(start..(start + rows).min(weight.len())))
        .map(|weight| Tiles { x, weight, out: Vec::with_capacity(x.len() / weight.width()) })
        .collect();
    for row in result.chunks_mut(weight.len().max(1)) {
        pieces.iter_mut().zip(row.chunks_mut(rows)).for_each(|(piece, part)| piece.out.push(part));
    }
    pieces
}

/// All outputs of some rows of the weight: for each row of x, one for each of them.
struct Tiles<'a> {
    x: &'a [f32],
    weight: Rows<'a>,
    out: Vec<&'a mut [f32]>,
}

impl Kernel for Tiles<'_> {
    #[inline(always)]
    fn run<S: Simd, E: Eight>(mut self, simd: S, eight: E) {
        let tokens = self.out.len();
        let group = if tokens <= GROUP_MIN_TOKENS { TILE } else { GROUP };
        let mut work = Work {
            sums: vec![simd.splat_f32s(0.0); group * tokens.min(TOKENS)],
            decoded: [0.0; TILE * CHUNK],
        };
        for start in (0..self.weight.len()).step_by(group) {
            let rows = start..(start + group).min(self.weight.len());
            for first in (0..tokens).step_by(TOKENS) {
                let tokens = first..(first + TOKENS).min(tokens);
                self.block((simd, eight), rows.clone(), tokens, &mut work);
            }
        }
    }
}

/// What a thread works with.
struct Work<V> {
    /// An accumulator for each output of a block; a strip after the other.
    sums: Vec<V>,
    /// `TILE` rows of the weight, `CHUNK` columns each.
    decoded: [f32; TILE * CHUNK],
}

impl Tiles<'_> {
    /// The outputs of some rows of the weight and some of x.
    #[inline(always)]
    fn block<S: Simd, E: Eight>(
        &mut self,
        (simd, eight): (S, E),
        rows: Range<usize>,
        tokens: Range<usize>,
        work: &mut Work<S::f32s>,
    ) {
        let width = self.weight.width();
        let x = &self.x[tokens.start * width..tokens.end * width];
        work.sums.fill(simd.splat_f32s(0.0));
        for first in (0..width).step_by(CHUNK) {
            let columns = first..(first + CHUNK).min(width);
            for (strip, sums) in strips(rows.clone()).zip(work.sums.chunks_mut(TILE * tokens.len())) {
                let weight = self.weight.slice(strip);
                if weight.len() == TILE {
                    let pieces = pieces::<E, TILE>(eight, weight, columns.clone(), &mut work.decoded);
                    accumulate(simd, (x, width, first), pieces, sums);
                } else {
                    for (row, sums) in sums.chunks_mut(tokens.len()).enumerate().take(weight.len()) {
                        let weight = weight.slice(row..row + 1);
                        let pieces = pieces::<E, 1>(eight, weight, columns.clone(), &mut work.decoded);
                        accumulate(simd, (x, width, first), pieces, sums);
                    }
                }
            }
        }
        for (strip, sums) in strips(rows).zip(work.sums.chunks(TILE * tokens.len())) {
            let by_row = strip.len() < TILE;
            for (t, out) in self.out[tokens.clone()].iter_mut().enumerate() {
                for (j, out) in out[strip.clone()].iter_mut().enumerate() {
                    let place = if by_row { j * tokens.len() + t } else { t * TILE + j };
                    *out = simd.reduce_sum_f32s(sums[place]);
                }
            }
        }
    }
}

/// Some rows of the weight, `TILE` at a time; the last ones may be fewer.
fn strips(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    rows.clone().step_by(TILE).map(move |start| start..(start + TILE).min(rows.end))
}

/// Some columns of `N` rows of the weight as f32: where they lie, or decoded.
#[inline(always)]
fn pieces<'a, E: Eight, const N: usize>(
    eight: E,
    weight: Rows<'a>,
    columns: Range<usize>,
    decoded: &'a mut [f32],
) -> [&'a [f32]; N] {
    if let Some(values) = weight.as_f32() {
        return from_fn(|j| &values[j * weight.width()..][columns.clone()]);
    }
    for (j, row) in decoded.chunks_exact_mut(CHUNK).take(N).enumerate() {
        weight.decode(eight, j, columns.clone(), &mut row[..columns.len()]);
    }
    from_fn(|j| &decoded[j * CHUNK..][..columns.len()])
}

/// Adds the products of rows of `x`, from column `first` on, with pieces of `N` rows of the weight.
#[inline(always)]
fn accumulate<S: Simd, const N: usize>(
    simd: S,
    (x, width, first): (&[f32], usize, usize),
    weights: [&[f32]; N],
    sums: &mut [S::f32s],
) {
    // Accumulators and operands of 4 x 4 outputs need 20 registers: only the longest vectors have so many.
    let tile = if size_of::<S::f32s>() >= 64 { 4 } else { 3 };
    for (x, sums) in x.chunks(tile * width).zip(sums.chunks_mut(tile * N)) {
        match x.len() / width {
            4 => square::<S, 4, N>(simd, (x, width, first), weights, sums),
            3 => square::<S, 3, N>(simd, (x, width, first), weights, sums),
            2 => square::<S, 2, N>(simd, (x, width, first), weights, sums),
            _ => square::<S, 1, N>(simd, (x, width, first), weights, sums),
        }
    }
}

/// A tile of `M x N` dot products, continued: `totals` is `[M, N]`.
#[inline(always)]
fn square<S: Simd, const M: usize, const N: usize>(
    simd: S,
    (x, width, first): (&[f32], usize, usize),
    weights: [&[f32]; N],
    totals: &mut [S::f32s],
) {
    let len = weights[0].len();
    let x: [(&[S::f32s], &[f32]); M] = from_fn(|i| S::as_simd_f32s(&x[i * width + first..][..len]));
    let w: [(&[S::f32s], &[f32]); N] = from_fn(|j| S::as_simd_f32s(&weights[j][..len]));
    let mut sums: [[S::f32s; N]; M] = from_fn(|i| from_fn(|j| totals[i * N + j]));
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
    for (totals, sums) in totals.chunks_exact_mut(N).zip(sums) {
        totals.copy_from_slice(&sums);
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
            for (got, want) in product(&x, Rows::dense(&w, width)).iter().zip(plain(&x, &w, width)) {
                assert!((f64::from(*got) - want).abs() < 1e-4, "{rows}x{outputs}x{width}: {got} {want}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_any_batch() {
        let (width, outputs, rows) = (72, 513, 23);
        let (x, w) = (values(rows * width, 3), values(outputs * width, 4));
        let together = product(&x, Rows::dense(&w, width));
        for (row, x) in x.chunks(width).enumerate() {
            assert_eq!(product(x, Rows::dense(&w, width)), together[row * outputs..][..outputs]);
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
