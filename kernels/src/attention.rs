//! Paged attention over a flat batch: prefill chunks and single decode tokens side by side.
//!
//! `out = softmax(q kᵀ * scale) v` over the keys at positions `0..=p` of the token's own sequence, or the last
//! `window` of them. Query head `h` reads key/value head `h / (H / K)`.
//!
//! Each (token, head) walks its keys in position order with one running pass for the scores and one for the
//! weighted values, so neither the block size, nor where a chunk ends, nor the neighbours change a bit.
//! Memory beyond the result is one score per key and head group: `[context]` f32 per thread.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use candle_core::{Device, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::error::ensure;
use crate::view::HostView;
use crate::{KernelError, KvCache};

const OP: &str = "attend";

/// Multiply-adds below which one thread does it all.
const PARALLEL_MIN_MULTIPLY_ADDS: usize = 1 << 18;

/// What one kind of layer does with the scores.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Factor on each score, usually `1 / sqrt(D)`.
    pub scale: f32,
    /// Keys a token may see, itself included; `None` is all.
    pub window: Option<u32>,
}

/// One sequence's part of the batch.
#[derive(Clone, Debug)]
pub struct SeqSpan {
    /// Tokens of this sequence in the step; they stand side by side in the batch.
    pub query_len: usize,
    /// Tokens whose keys are in the cache once this step's have been written.
    pub context_len: usize,
    /// The sequence's blocks in position order; position `p` is in block `p / P`.
    pub blocks: Vec<u32>,
}

/// Where the batch's sequences keep their keys and values.
#[derive(Clone, Debug)]
pub struct Paging {
    /// P, tokens per block.
    pub block_size: usize,
    /// The sequences in batch order.
    pub spans: Vec<SeqSpan>,
}

/// Returns the attention output of every token in the step.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `query` | `[T, H, D]` | f32, contiguous |
/// | `cache` | `[N * P, K, D]` | this step's keys and values already written |
/// | `paging` | T query tokens in all | every block below N |
/// | result | `[T, H * D]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type, stride or block differs from the table.
pub fn attend(
    query: &Tensor,
    cache: &KvCache,
    paging: &Paging,
    attention: Attention,
) -> Result<Tensor, KernelError> {
    let (tokens, heads, head_dim) = query.dims3()?;
    let (slots, kv_heads, key_dim) = cache.keys().dims3()?;
    ensure(head_dim == key_dim && heads.is_multiple_of(kv_heads), OP, || {
        format!("query heads [{heads}, {head_dim}] do not group over key heads [{kv_heads}, {key_dim}]")
    })?;
    check_paging(paging, tokens, slots)?;
    let views =
        (HostView::new(OP, query)?, HostView::new(OP, cache.keys())?, HostView::new(OP, cache.values())?);
    let (query, keys, values) = (views.0.f32(OP)?, views.1.f32(OP)?, views.2.f32(OP)?);

    let queries = queries(paging, attention.window);
    let mut out = vec![0f32; tokens * heads * head_dim];
    let work: usize =
        queries.iter().map(|query| query.last + 1 - query.first).sum::<usize>() * heads * head_dim;
    let arch = Arch::new();
    let one = |((seen, query_row), out): ((&Query<'_>, &[f32]), &mut [f32])| {
        let layout = Layout { kv_heads, head_dim, scale: attention.scale, block_size: paging.block_size };
        arch.dispatch(Token { layout, seen, query: query_row, keys, values, out });
    };
    let row = heads * head_dim;
    if work < PARALLEL_MIN_MULTIPLY_ADDS {
        queries.iter().zip(query.chunks_exact(row)).zip(out.chunks_exact_mut(row)).for_each(one);
    } else {
        queries.par_iter().zip(query.par_chunks_exact(row)).zip(out.par_chunks_exact_mut(row)).for_each(one);
    }
    Ok(Tensor::from_vec(out, (tokens, row), &Device::Cpu)?)
}

fn check_paging(paging: &Paging, tokens: usize, slots: usize) -> Result<(), KernelError> {
    let in_spans: usize = paging.spans.iter().map(|span| span.query_len).sum();
    ensure(in_spans == tokens, OP, || format!("{tokens} query tokens, {in_spans} in the spans"))?;
    for span in &paging.spans {
        let room = span.blocks.len() * paging.block_size;
        ensure(span.query_len <= span.context_len && span.context_len <= room, OP, || {
            format!("{} queries and {} keys do not fit {room} slots", span.query_len, span.context_len)
        })?;
        let inside = span.blocks.iter().all(|&block| (block as usize + 1) * paging.block_size <= slots);
        ensure(inside, OP, || format!("a block lies outside the cache's {slots} slots"))?;
    }
    Ok(())
}

/// One query token: the positions `first..=last` it sees, and the blocks they are in.
struct Query<'a> {
    first: usize,
    last: usize,
    blocks: &'a [u32],
}

fn queries(paging: &Paging, window: Option<u32>) -> Vec<Query<'_>> {
    let mut queries = Vec::new();
    for SeqSpan { query_len, context_len, blocks } in &paging.spans {
        for last in context_len - query_len..*context_len {
            let first = window.map_or(0, |window| (last + 1).saturating_sub(window as usize));
            queries.push(Query { first, last, blocks });
        }
    }
    queries
}

struct Layout {
    kv_heads: usize,
    head_dim: usize,
    scale: f32,
    block_size: usize,
}

/// All heads of one token.
struct Token<'a> {
    layout: Layout,
    seen: &'a Query<'a>,
    query: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    out: &'a mut [f32],
}

impl Token<'_> {
    /// Where the `kv_head` row of the key or value at `position` starts.
    #[inline(always)]
    fn row(&self, position: usize, kv_head: usize) -> usize {
        let Layout { kv_heads, head_dim, block_size, .. } = self.layout;
        let slot = self.seen.blocks[position / block_size] as usize * block_size + position % block_size;
        (slot * kv_heads + kv_head) * head_dim
    }
}

impl WithSimd for Token<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Layout { kv_heads, head_dim, scale, .. } = self.layout;
        let group = self.query.len() / head_dim / kv_heads;
        let (first, last) = (self.seen.first, self.seen.last);
        let mut scores = vec![0f32; last + 1 - first];
        for head in 0..kv_heads * group {
            let kv_head = head / group;
            let query = &self.query[head * head_dim..][..head_dim];
            let mut max = f32::NEG_INFINITY;
            for (position, score) in (first..).zip(&mut scores) {
                *score = dot(simd, query, &self.keys[self.row(position, kv_head)..][..head_dim]) * scale;
                max = max.max(*score);
            }
            let mut sum = 0.0;
            for score in &mut scores {
                *score = (*score - max).exp();
                sum += *score;
            }
            let start = head * head_dim;
            for (position, score) in (first..).zip(&scores) {
                let value = self.row(position, kv_head);
                add_scaled(
                    simd,
                    &mut self.out[start..][..head_dim],
                    *score / sum,
                    &self.values[value..][..head_dim],
                );
            }
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_f32s(*a, *b, sum);
    }
    if !a_tail.is_empty() {
        sum = simd.mul_add_f32s(simd.partial_load_f32s(a_tail), simd.partial_load_f32s(b_tail), sum);
    }
    simd.reduce_sum_f32s(sum)
}

#[inline(always)]
fn add_scaled<S: Simd>(simd: S, out: &mut [f32], factor: f32, x: &[f32]) {
    let factors = simd.splat_f32s(factor);
    let ((out, out_tail), (x, x_tail)) = (S::as_mut_simd_f32s(out), S::as_simd_f32s(x));
    for (out, x) in out.iter_mut().zip(x) {
        *out = simd.mul_add_f32s(factors, *x, *out);
    }
    for (out, x) in out_tail.iter_mut().zip(x_tail) {
        *out += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_kv;

    const HEADS: usize = 4;
    const KV_HEADS: usize = 2;
    const DIM: usize = 20;

    fn rows(count: usize, heads: usize, seed: u32) -> Tensor {
        let n = count * heads * DIM;
        let value = |i: u32| ((i.wrapping_mul(747_796_405) ^ seed) % 997) as f32 / 498.0 - 1.0;
        Tensor::from_vec((0..n as u32).map(value).collect(), (count, heads, DIM), &Device::Cpu).unwrap()
    }

    /// The last `query_len` of `context` tokens, with blocks in reversed physical order and a poisoned pool.
    fn run(context: usize, query_len: usize, block_size: usize, window: Option<u32>) -> Vec<Vec<f32>> {
        let count = context.div_ceil(block_size);
        let cache = KvCache::new((count + 2) * block_size, KV_HEADS, DIM, &Device::Cpu).unwrap();
        cache.fill(f32::NAN).unwrap();
        let blocks: Vec<u32> = (0..count as u32).map(|block| count as u32 - block).collect();
        let slot = |p: usize| i64::from(blocks[p / block_size]) * block_size as i64 + (p % block_size) as i64;
        let slots: Vec<i64> = (0..context).map(slot).collect();
        write_kv(&cache, &rows(context, KV_HEADS, 5), &rows(context, KV_HEADS, 9), &slots).unwrap();
        let query = rows(context, HEADS, 1).narrow(0, context - query_len, query_len).unwrap();
        let paging = Paging { block_size, spans: vec![SeqSpan { query_len, context_len: context, blocks }] };
        let out = attend(&query, &cache, &paging, Attention { scale: 0.3, window }).unwrap();
        out.to_vec2().unwrap()
    }

    /// The textbook formula in f64.
    fn plain(context: usize, window: Option<u32>) -> Vec<Vec<f64>> {
        let get = |t: Tensor| t.to_vec3::<f32>().unwrap();
        let (q, k, v) =
            (get(rows(context, HEADS, 1)), get(rows(context, KV_HEADS, 5)), get(rows(context, KV_HEADS, 9)));
        let token = |t: usize| {
            let first = window.map_or(0, |w| (t + 1).saturating_sub(w as usize));
            let head = |h: usize| {
                let g = h / (HEADS / KV_HEADS);
                let score = |j: usize| {
                    q[t][h].iter().zip(&k[j][g]).map(|(a, b)| f64::from(a * b)).sum::<f64>()
                        * f64::from(0.3f32)
                };
                let weights: Vec<f64> = (first..=t).map(|j| score(j).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let v = &v;
                (0..DIM)
                    .map(move |d| {
                        (first..=t).zip(&weights).map(|(j, w)| w * f64::from(v[j][g][d])).sum::<f64>() / sum
                    })
                    .collect::<Vec<_>>()
            };
            (0..HEADS).flat_map(head).collect()
        };
        (0..context).map(token).collect()
    }

    #[test]
    fn whole_prompts_agree_with_the_textbook() {
        for window in [None, Some(5)] {
            for (got, want) in run(37, 37, 4, window).iter().zip(plain(37, window)) {
                got.iter().zip(want).for_each(|(a, b)| assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}"));
            }
        }
    }

    #[test]
    fn chunk_and_block_size_change_no_bit() {
        let whole = run(70, 70, 16, None);
        for block_size in [1, 4, 64] {
            for chunk in [1, 5, 33] {
                assert_eq!(run(70, chunk, block_size, None), whole[70 - chunk..]);
            }
        }
    }

    #[test]
    fn a_block_outside_the_cache_is_refused() {
        let cache = KvCache::new(8, KV_HEADS, DIM, &Device::Cpu).unwrap();
        let spans = vec![SeqSpan { query_len: 1, context_len: 1, blocks: vec![2] }];
        let paging = Paging { block_size: 4, spans };
        let attention = Attention { scale: 1.0, window: None };
        assert!(attend(&rows(1, HEADS, 1), &cache, &paging, attention).is_err());
    }
}
