//! The two ops that a step spends its time in, next to candle-core doing the same on the same threads.
//!
//! `linear` is measured for weights in every format. candle-core's quantised product rounds the activations to 8 bits
//! as well, ours does not: its rows say what exact arithmetic costs, not who does the same work faster.
//!
//! Read the ratio of two rows of one run, not a row alone: the machine's clock and its other work are in both.
//! candle-core may add in any order, ours may not, so a ratio also says what batch invariance costs.

use std::fmt;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{D, DType, Device, Module, Tensor};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use kernels::{Format, Weight, WeightBuilder};

fn main() {
    divan::main();
}

fn values(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::rand(-1f32, 1f32, shape, &Device::Cpu).expect("the host has room")
}

/// `x [tokens, width]` times a weight of `[outputs, width]`.
#[derive(Clone, Copy)]
struct Product {
    tokens: usize,
    outputs: usize,
    width: usize,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T={} {}x{}", self.tokens, self.outputs, self.width)
    }
}

impl Product {
    const fn new(tokens: usize, outputs: usize, width: usize) -> Self {
        Self { tokens, outputs, width }
    }

    fn operands(self) -> (Tensor, Tensor) {
        (values((self.tokens, self.width)), values((self.outputs, self.width)))
    }

    fn multiply_adds(self) -> ItemsCount {
        ItemsCount::new(self.tokens * self.outputs * self.width)
    }
}

/// Decode of one, of some, and a prefill chunk, over a square and a tall weight.
const PRODUCTS: [Product; 6] = [
    Product::new(1, 1024, 1024),
    Product::new(8, 1024, 1024),
    Product::new(64, 1024, 1024),
    Product::new(1, 4096, 1024),
    Product::new(8, 4096, 1024),
    Product::new(64, 4096, 1024),
];

#[divan::bench(args = PRODUCTS)]
fn linear(bencher: Bencher<'_, '_>, product: Product) {
    let (x, weight) = product.operands();
    let weight = kernels::Weight::dense(weight).expect("a matrix of f32");
    bencher
        .counter(product.multiply_adds())
        .bench_local(|| kernels::linear(&x, &weight, None).expect("the shapes fit"));
}

#[divan::bench(args = PRODUCTS)]
fn linear_candle(bencher: Bencher<'_, '_>, product: Product) {
    let (x, weight) = product.operands();
    let multiply = || x.matmul(&weight.t()?);
    bencher.counter(product.multiply_adds()).bench_local(|| multiply().expect("the shapes fit"));
}

/// Small enough for the last-level cache as f32, and larger than any.
const SHAPES: [(usize, usize); 2] = [(4096, 1024), (16384, 4096)];

/// A product with a weight in some format.
#[derive(Clone, Copy)]
struct Stored<F> {
    format: F,
    product: Product,
}

impl<F: fmt::Debug> fmt::Display for Stored<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.format, self.product)
    }
}

/// Every format at T = 1, 8 and 64 over the small shape, at T = 1 over the large one.
fn stored<F: Copy>(formats: &[F]) -> Vec<Stored<F>> {
    let [small, large] = SHAPES;
    let products = [(1, small), (8, small), (64, small), (1, large)];
    let products = products.map(|(tokens, (outputs, width))| Product::new(tokens, outputs, width));
    products
        .into_iter()
        .flat_map(|product| formats.iter().map(move |format| Stored { format: *format, product }))
        .collect()
}

fn formats() -> Vec<Stored<Format>> {
    use Format::{Bf16, F16, F32, Fp8, Mxfp4, Q4_0, Q4K, Q5K, Q6K, Q8_0};
    stored(&[F32, F16, Bf16, Fp8 { block: 128 }, Mxfp4, Q8_0, Q4_0, Q4K, Q5K, Q6K])
}

/// A weight of values that are not subnormal, whose bytes are cheap to make.
fn weight(Stored { format, product: Product { outputs, width, .. } }: Stored<Format>) -> Weight {
    let mut builder = WeightBuilder::new(format, &[outputs, width]).expect("the widths are multiples of 256");
    let codes: Vec<u8> = (0..outputs * width).map(|i| (i as u8).wrapping_mul(37) & 0xbf).collect();
    let mut rows = builder.all();
    match format {
        Format::Fp8 { block } => rows.fp8(&codes, &vec![0.01; outputs * width.div_ceil(block)]),
        Format::Mxfp4 => rows.mxfp4(&codes[..codes.len() / 2], &codes[..codes.len() / 32]),
        _ => {
            let values = values((outputs, width)).flatten_all().and_then(|values| values.to_vec1());
            rows.encode(&values.expect("a tensor of f32"))
        }
    }
    .expect("the lengths are the format's");
    builder.finish()
}

#[divan::bench(args = formats())]
fn linear_stored(bencher: Bencher<'_, '_>, case: Stored<Format>) {
    let (x, weight) = (values((case.product.tokens, case.product.width)), weight(case));
    bencher
        .counter(case.product.multiply_adds())
        .bench_local(|| kernels::linear(&x, &weight, None).expect("the shapes fit"));
}

#[divan::bench(args = stored(&[GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K]))]
fn linear_stored_candle(bencher: Bencher<'_, '_>, case: Stored<GgmlDType>) {
    let (x, weight) = case.product.operands();
    let weight = QTensor::quantize(&weight, case.format).and_then(QMatMul::from_qtensor);
    let weight = weight.expect("the widths are multiples of 256");
    bencher.counter(case.product.multiply_adds()).bench_local(|| weight.forward(&x).expect("the shapes fit"));
}

#[divan::bench(args = stored(&[DType::F32, DType::BF16]))]
fn linear_dense_candle(bencher: Bencher<'_, '_>, case: Stored<DType>) {
    let (x, weight) = case.product.operands();
    let cast = |x: Tensor| x.to_dtype(case.format).expect("candle-core knows the type");
    let (x, weight) = (cast(x), cast(weight));
    let multiply = || x.matmul(&weight.t()?);
    bencher.counter(case.product.multiply_adds()).bench_local(|| multiply().expect("the shapes fit"));
}

/// One decoding sequence of a model with grouped query heads: H = 32, K = 8, D = 128.
const HEADS: usize = 32;
const KV_HEADS: usize = 8;
const HEAD_DIM: usize = 128;
const BLOCK_SIZE: u32 = 16;
const CONTEXTS: [u32; 2] = [512, 4096];

fn scale() -> f32 {
    1.0 / (HEAD_DIM as f32).sqrt()
}

/// Keys and values of one sequence.
fn cache_bytes(context: u32) -> BytesCount {
    BytesCount::new(2 * context as usize * KV_HEADS * HEAD_DIM * DType::F32.size_in_bytes())
}

#[divan::bench(args = CONTEXTS)]
fn attention_decode(bencher: Bencher<'_, '_>, context: u32) {
    let slots = context as usize;
    let cache = kernels::KvCache::new(slots, KV_HEADS, (HEAD_DIM, HEAD_DIM), &Device::Cpu)
        .expect("the host has room");
    let rows = || values((slots, KV_HEADS, HEAD_DIM));
    // Blocks in reversed physical order: a cache in use is not contiguous either.
    let blocks: Vec<u32> = (0..context / BLOCK_SIZE).rev().collect();
    let slot = |position: u32| {
        i64::from(blocks[(position / BLOCK_SIZE) as usize] * BLOCK_SIZE + position % BLOCK_SIZE)
    };
    let places: Vec<i64> = (0..context).map(slot).collect();
    kernels::write_kv(&cache, &rows(), &rows(), &places).expect("the shapes fit");
    let spans = vec![kernels::SeqSpan { query_len: 1, context_len: slots, freed: 0, blocks }];
    let paging = kernels::Paging { block_size: BLOCK_SIZE as usize, spans };
    let attention =
        kernels::Attention { scale: scale(), reach: kernels::Reach::All, soft_cap: None, sinks: None };
    let query = values((1, HEADS, HEAD_DIM));
    bencher
        .counter(cache_bytes(context))
        .bench_local(|| kernels::attend(&query, &cache, &paging, &attention).expect("the shapes fit"));
}

/// The peer has it easier: its keys and values lie contiguous per head, without pages.
#[divan::bench(args = CONTEXTS)]
fn attention_decode_candle(bencher: Bencher<'_, '_>, context: u32) {
    let positions = context as usize;
    let (query, key, value) = (
        values((KV_HEADS, HEADS / KV_HEADS, HEAD_DIM)),
        values((KV_HEADS, positions, HEAD_DIM)),
        values((KV_HEADS, positions, HEAD_DIM)),
    );
    let attend = || {
        let scores = (query.matmul(&key.t()?)? * f64::from(scale()))?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?.matmul(&value)
    };
    bencher.counter(cache_bytes(context)).bench_local(|| attend().expect("the shapes fit"));
}
