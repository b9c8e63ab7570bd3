//! Paged attention over a flat batch: prefill chunks and single decode tokens side by side.
//!
//! `out = softmax(cap(q kᵀ * scale)) v` over the keys at the positions of the token's own sequence that its [`Reach`]
//! has. Query head `h` reads key/value head `h / (H / K)`. A sink is one more logit in a head's softmax, without a
//! value. In a latent cache (MLA, absorbed) there is one key head and the values are the first part of the keys.
//!
//! Each (token, head) walks its keys in position order with one running pass for the scores and one for the
//! weighted values, so neither the block size, nor where a chunk ends, nor the neighbours change a bit.
//! A key is read once for a group of query heads. Memory beyond the result is one score per key and head of
//! the group: `[HEADS_TOGETHER, context]` f32 per thread.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use candle_core::{Device, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::error::ensure;
use crate::view::HostView;
use crate::{KernelError, KvCache, Reach};

const OP: &str = "attend";

/// Multiply-adds below which one thread does it all.
const PARALLEL_MIN_MULTIPLY_ADDS: usize = 1 << 18;

/// Query heads of one key head that share a pass over the keys; bounds the scores held at once.
const HEADS_TOGETHER: usize = 8;

/// What one kind of layer does with the scores.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Factor on each score, usually `1 / sqrt(D)`.
    pub scale: f32,
    /// Keys a token may see.
    pub reach: Reach,
    /// Scores become `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
    /// `[H]` f32: a logit per query head that takes part in the softmax and has no value.
    pub sinks: Option<Tensor>,
}

/// One sequence's part of the batch.
#[derive(Clone, Debug)]
pub struct SeqSpan {
    /// Tokens of this sequence in the step; they stand side by side in the batch.
    pub query_len: usize,
    /// Tokens whose keys are in the cache once this step's have been written.
    pub context_len: usize,
    /// Blocks at the start of the sequence that were freed because no token sees them any more.
    pub freed: usize,
    /// The other blocks in position order; position `p` is in block `p / P - freed`.
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
/// | `cache` | `[N * P, K, D]`, values `[N * P, K, Dv]` | this step's keys and values already written |
/// | `paging` | T query tokens in all | every block below N, every key that is seen in a block |
/// | result | `[T, H * Dv]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type, stride or block differs from the table.
pub fn attend(
    query: &Tensor,
    cache: &KvCache,
    paging: &Paging,
    attention: &Attention,
) -> Result<Tensor, KernelError> {
    let (tokens, heads, key_dim) = query.dims3()?;
    let (slots, kv_heads, cached_dim) = cache.keys().dims3()?;
    ensure(key_dim == cached_dim && heads.is_multiple_of(kv_heads), OP, || {
        format!("query heads [{heads}, {key_dim}] do not group over key heads [{kv_heads}, {cached_dim}]")
    })?;
    check_paging(paging, attention.reach, tokens, slots)?;
    let sinks = sinks(attention, heads)?;
    let views =
        (HostView::new(OP, query)?, HostView::new(OP, cache.keys())?, HostView::new(OP, cache.values())?);
    let (query, keys, values) = (views.0.f32(OP)?, views.1.f32(OP)?, views.2.f32(OP)?);

    let value_dim = cache.value_dim();
    let layout = Layout {
        kv_heads,
        group: heads / kv_heads,
        key_dim,
        value_dim,
        value_stride: cache.values().dim(2)?,
        block_size: paging.block_size,
    };
    let queries = queries(paging, attention.reach);
    let mut out = vec![0f32; tokens * heads * value_dim];
    let keys_seen: usize = queries.iter().map(|query| query.last + 1 - query.first).sum();
    let arch = Arch::new();
    let one = |((seen, query), out): ((&Query<'_>, &[f32]), &mut [f32])| {
        let sinks = sinks.as_deref();
        arch.dispatch(Token { layout: &layout, attention, sinks, seen, query, keys, values, out });
    };
    let (row, out_row) = (heads * key_dim, heads * value_dim);
    if keys_seen * heads * key_dim < PARALLEL_MIN_MULTIPLY_ADDS {
        queries.iter().zip(query.chunks_exact(row)).zip(out.chunks_exact_mut(out_row)).for_each(one);
    } else {
        let rows = queries.par_iter().zip(query.par_chunks_exact(row));
        rows.zip(out.par_chunks_exact_mut(out_row)).for_each(one);
    }
    Ok(Tensor::from_vec(out, (tokens, out_row), &Device::Cpu)?)
}

fn check_paging(paging: &Paging, reach: Reach, tokens: usize, slots: usize) -> Result<(), KernelError> {
    let in_spans: usize = paging.spans.iter().map(|span| span.query_len).sum();
    ensure(in_spans == tokens, OP, || format!("{tokens} query tokens, {in_spans} in the spans"))?;
    for span in &paging.spans {
        let room = (span.freed + span.blocks.len()) * paging.block_size;
        ensure(span.query_len <= span.context_len && span.context_len <= room, OP, || {
            format!("{} queries and {} keys do not fit {room} slots", span.query_len, span.context_len)
        })?;
        let first = reach.first(span.context_len - span.query_len);
        ensure(span.freed * paging.block_size <= first, OP, || {
            format!("{} blocks were freed, position {first} is still seen", span.freed)
        })?;
        let inside = span.blocks.iter().all(|&block| (block as usize + 1) * paging.block_size <= slots);
        ensure(inside, OP, || format!("a block lies outside the cache's {slots} slots"))?;
    }
    Ok(())
}

fn sinks(attention: &Attention, heads: usize) -> Result<Option<Vec<f32>>, KernelError> {
    let Some(sinks) = &attention.sinks else { return Ok(None) };
    ensure(sinks.dims() == [heads], OP, || format!("sinks of shape {:?} for {heads} heads", sinks.dims()))?;
    Ok(Some(HostView::new(OP, sinks)?.f32(OP)?.to_vec()))
}

/// One query token: the positions `first..=last` it sees, and where they are.
struct Query<'a> {
    first: usize,
    last: usize,
    freed: usize,
    blocks: &'a [u32],
}

fn queries(paging: &Paging, reach: Reach) -> Vec<Query<'_>> {
    let mut queries = Vec::new();
    for SeqSpan { query_len, context_len, freed, blocks } in &paging.spans {
        for last in context_len - query_len..*context_len {
            queries.push(Query { first: reach.first(last), last, freed: *freed, blocks });
        }
    }
    queries
}

struct Layout {
    kv_heads: usize,
    /// Query heads per key head.
    group: usize,
    key_dim: usize,
    value_dim: usize,
    /// Elements from one value head to the next: more than `value_dim` where values are a part of the keys.
    value_stride: usize,
    block_size: usize,
}

/// All heads of one token.
struct Token<'a> {
    layout: &'a Layout,
    attention: &'a Attention,
    sinks: Option<&'a [f32]>,
    seen: &'a Query<'a>,
    query: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    out: &'a mut [f32],
}

impl Token<'_> {
    /// The head of the cache, counted over all slots, that `kv_head` has at `position`.
    #[inline(always)]
    fn place(&self, position: usize, kv_head: usize) -> usize {
        let Layout { kv_heads, block_size, .. } = *self.layout;
        let block = self.seen.blocks[position / block_size - self.seen.freed];
        (block as usize * block_size + position % block_size) * kv_heads + kv_head
    }

    /// Turns the scores of one head into weights that sum to 1, or to less beside a sink.
    #[inline(always)]
    fn weigh(&self, head: usize, scores: &mut [f32]) {
        if let Some(cap) = self.attention.soft_cap {
            for score in &mut *scores {
                *score = cap * (*score / cap).tanh();
            }
        }
        let sink = self.sinks.map(|sinks| sinks[head]);
        let max = scores.iter().copied().fold(sink.unwrap_or(f32::NEG_INFINITY), f32::max);
        let mut sum = sink.map_or(0.0, |sink| (sink - max).exp());
        for score in &mut *scores {
            *score = (*score - max).exp();
            sum += *score;
        }
        for score in scores {
            *score /= sum;
        }
    }
}

impl WithSimd for Token<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Layout { kv_heads, group, key_dim, value_dim, value_stride, .. } = *self.layout;
        let (first, last) = (self.seen.first, self.seen.last);
        let len = last + 1 - first;
        let mut scores = vec![0f32; len * group.min(HEADS_TOGETHER)];
        for kv_head in 0..kv_heads {
            let mut heads = kv_head * group..(kv_head + 1) * group;
            while !heads.is_empty() {
                let together = heads.start..heads.end.min(heads.start + HEADS_TOGETHER);
                heads.start = together.end;
                for position in first..=last {
                    let key = &self.keys[self.place(position, kv_head) * key_dim..][..key_dim];
                    for (i, head) in together.clone().enumerate() {
                        let query = &self.query[head * key_dim..][..key_dim];
                        scores[i * len + position - first] = dot(simd, query, key) * self.attention.scale;
                    }
                }
                for (i, head) in together.clone().enumerate() {
                    self.weigh(head, &mut scores[i * len..][..len]);
                }
                for position in first..=last {
                    let value = &self.values[self.place(position, kv_head) * value_stride..][..value_dim];
                    for (i, head) in together.clone().enumerate() {
                        let out = &mut self.out[head * value_dim..][..value_dim];
                        add_scaled(simd, out, scores[i * len + position - first], value);
                    }
                }
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
    fn run(context: usize, query_len: usize, block_size: usize, attention: &Attention) -> Vec<Vec<f32>> {
        let count = context.div_ceil(block_size);
        let cache = KvCache::new((count + 2) * block_size, KV_HEADS, (DIM, DIM), &Device::Cpu).unwrap();
        cache.fill(f32::NAN).unwrap();
        let blocks: Vec<u32> = (0..count as u32).map(|block| count as u32 - block).collect();
        let slot = |p: usize| i64::from(blocks[p / block_size]) * block_size as i64 + (p % block_size) as i64;
        let slots: Vec<i64> = (0..context).map(slot).collect();
        write_kv(&cache, &rows(context, KV_HEADS, 5), &rows(context, KV_HEADS, 9), &slots).unwrap();
        let query = rows(context, HEADS, 1).narrow(0, context - query_len, query_len).unwrap();
        let freed = attention.reach.first(context - query_len) / block_size;
        let blocks = blocks[freed..].to_vec();
        let spans = vec![SeqSpan { query_len, context_len: context, freed, blocks }];
        let out = attend(&query, &cache, &Paging { block_size, spans }, attention).unwrap();
        out.to_vec2().unwrap()
    }

    fn attention(reach: Reach) -> Attention {
        Attention { scale: 0.3, reach, soft_cap: None, sinks: None }
    }

    /// The textbook formula in f64.
    fn plain(context: usize, attention: &Attention) -> Vec<Vec<f64>> {
        let get = |t: Tensor| t.to_vec3::<f32>().unwrap();
        let (q, k, v) =
            (get(rows(context, HEADS, 1)), get(rows(context, KV_HEADS, 5)), get(rows(context, KV_HEADS, 9)));
        let sinks = attention.sinks.as_ref().map(|sinks| sinks.to_vec1::<f32>().unwrap());
        let head = |t: usize, h: usize| {
            let g = h / (HEADS / KV_HEADS);
            let seen = attention.reach.first(t)..=t;
            let score = |j: usize| {
                let dot: f64 = q[t][h].iter().zip(&k[j][g]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let scaled = dot * f64::from(attention.scale);
                attention.soft_cap.map_or(scaled, |cap| f64::from(cap) * (scaled / f64::from(cap)).tanh())
            };
            let weights: Vec<f64> = seen.clone().map(|j| score(j).exp()).collect();
            let sink = sinks.as_ref().map_or(0.0, |sinks| f64::from(sinks[h]).exp());
            let sum = weights.iter().sum::<f64>() + sink;
            let value = |d: usize| {
                let terms = seen.clone().zip(&weights).map(|(j, w)| w * f64::from(v[j][g][d]));
                terms.sum::<f64>() / sum
            };
            (0..DIM).map(value).collect::<Vec<_>>()
        };
        (0..context).map(|t| (0..HEADS).flat_map(|h| head(t, h)).collect()).collect()
    }

    #[test]
    fn whole_prompts_agree_with_the_textbook() {
        let sinks = Tensor::new(&[0.5f32, -1.0, 2.0, 0.0], &Device::Cpu).unwrap();
        let plainly = attention(Reach::All);
        for kind in [
            plainly.clone(),
            attention(Reach::Window(5)),
            attention(Reach::Chunk(8)),
            Attention { sinks: Some(sinks), ..attention(Reach::Window(9)) },
            Attention { soft_cap: Some(0.7), ..plainly },
        ] {
            for (got, want) in run(37, 37, 4, &kind).iter().zip(plain(37, &kind)) {
                got.iter().zip(want).for_each(|(a, b)| assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}"));
            }
        }
    }

    #[test]
    fn chunk_and_block_size_change_no_bit() {
        for reach in [Reach::All, Reach::Window(19), Reach::Chunk(24)] {
            let whole = run(70, 70, 16, &attention(reach));
            for block_size in [1, 4, 64] {
                for chunk in [1, 5, 33] {
                    assert_eq!(run(70, chunk, block_size, &attention(reach)), whole[70 - chunk..]);
                }
            }
        }
    }

    #[test]
    fn values_in_a_latent_cache_are_the_first_part_of_the_keys() {
        let (tokens, value_dim) = (11, 12);
        let latent = rows(tokens, 1, 5);
        let slots: Vec<i64> = (0..tokens as i64).collect();
        let shared = KvCache::latent(16, DIM, value_dim, &Device::Cpu).unwrap();
        crate::write_latent(&shared, &latent.squeeze(1).unwrap(), &slots).unwrap();
        let apart = KvCache::new(16, 1, (DIM, value_dim), &Device::Cpu).unwrap();
        let values = latent.narrow(2, 0, value_dim).unwrap().contiguous().unwrap();
        write_kv(&apart, &latent, &values, &slots).unwrap();
        let spans = vec![SeqSpan { query_len: tokens, context_len: tokens, freed: 0, blocks: vec![0, 1] }];
        let paging = Paging { block_size: 8, spans };
        let out = |cache| {
            let out = attend(&rows(tokens, HEADS, 1), cache, &paging, &attention(Reach::All)).unwrap();
            out.to_vec2::<f32>().unwrap()
        };
        assert_eq!(out(&shared)[0].len(), HEADS * value_dim);
        assert_eq!(out(&shared), out(&apart));
    }

    #[test]
    fn a_freed_block_that_is_still_seen_is_refused() {
        let cache = KvCache::new(8, KV_HEADS, (DIM, DIM), &Device::Cpu).unwrap();
        let spans = vec![SeqSpan { query_len: 1, context_len: 8, freed: 1, blocks: vec![1] }];
        let paging = Paging { block_size: 4, spans };
        let attend = |window| attend(&rows(1, HEADS, 1), &cache, &paging, &attention(Reach::Window(window)));
        assert!(attend(4).is_ok());
        assert!(attend(5).is_err());
    }

    #[test]
    fn a_block_outside_the_cache_is_refused() {
        let cache = KvCache::new(8, KV_HEADS, (DIM, DIM), &Device::Cpu).unwrap();
        let spans = vec![SeqSpan { query_len: 1, context_len: 1, freed: 0, blocks: vec![2] }];
        let paging = Paging { block_size: 4, spans };
        assert!(attend(&rows(1, HEADS, 1), &cache, &paging, &attention(Reach::All)).is_err());
    }
}
