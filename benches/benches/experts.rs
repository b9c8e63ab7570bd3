//! One mixture-of-experts layer next to the same layer written with candle-core's own ops.
//!
//! The peer does what is usual where there is no grouped kernel: for each expert that has a token, gather, three
//! products, scatter. Weights and routing are the same; only the arithmetic differs.

use candle_core::{Device, Tensor};
use divan::Bencher;
use divan::counter::ItemsCount;
use kernels::{Activation, Experts, GateUp, Routing, Weight, Weighted};

/// A small layer with the proportions of the open models: E experts, `TOP_K` a token, width C, inner width I.
const EXPERTS: usize = 32;
const TOP_K: usize = 4;
const WIDTH: usize = 512;
const INNER: usize = 256;

const TOKENS: [usize; 3] = [1, 8, 64];

fn main() {
    divan::main();
}

fn values(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::rand(-1f32, 1f32, shape, &Device::Cpu).expect("the host has room")
}

struct Layer {
    experts: Experts,
    /// The same weights for the peer.
    gate_up: Tensor,
    down: Tensor,
    x: Tensor,
    routing: Routing,
}

impl Layer {
    fn new(tokens: usize) -> Self {
        // Distinct experts for each token, and all of them in use once there are enough tokens.
        let chosen = |token: usize| (0..TOP_K).map(move |j| ((token * 5 + j * 7) % EXPERTS) as u32);
        let weight = 1.0 / TOP_K as f32;
        let (gate_up, down) = (values((EXPERTS, 2 * INNER, WIDTH)), values((EXPERTS, WIDTH, INNER)));
        let dense = |tensor: &Tensor| Weight::dense(tensor.clone()).expect("a stack of f32");
        Self {
            experts: Experts {
                gate_up: dense(&gate_up),
                gate_up_rows: GateUp::Halves,
                gate_up_bias: None,
                down: dense(&down),
                down_bias: None,
                activation: Activation::Silu,
                weighted: Weighted::Output,
            },
            gate_up,
            down,
            x: values((tokens, WIDTH)),
            routing: Routing {
                experts: (0..tokens).flat_map(chosen).collect(),
                weights: vec![weight; tokens * TOP_K],
                top_k: TOP_K,
            },
        }
    }

    /// The tokens of one expert, and the weight of each.
    fn assigned(&self, expert: usize) -> (Vec<u32>, Vec<f32>) {
        let places = self.routing.experts.iter().zip(&self.routing.weights).enumerate();
        let chosen = places.filter(|(_, (chosen, _))| **chosen as usize == expert);
        chosen.map(|(place, (_, weight))| ((place / TOP_K) as u32, *weight)).unzip()
    }

    fn by_candle(&self) -> candle_core::Result<Tensor> {
        let mut y = self.x.zeros_like()?;
        for expert in 0..EXPERTS {
            let (tokens, weights) = self.assigned(expert);
            if tokens.is_empty() {
                continue;
            }
            let count = tokens.len();
            let tokens = Tensor::from_vec(tokens, count, &Device::Cpu)?;
            let weights = Tensor::from_vec(weights, (count, 1), &Device::Cpu)?;
            let gate_up = self.x.index_select(&tokens, 0)?.matmul(&self.gate_up.get(expert)?.t()?)?;
            let hidden = (gate_up.narrow(1, 0, INNER)?.silu()? * gate_up.narrow(1, INNER, INNER)?)?;
            let out = hidden.matmul(&self.down.get(expert)?.t()?)?.broadcast_mul(&weights)?;
            y = y.index_add(&tokens, &out, 0)?;
        }
        Ok(y)
    }
}

#[divan::bench(args = TOKENS)]
fn experts(bencher: Bencher<'_, '_>, tokens: usize) {
    let layer = Layer::new(tokens);
    bencher
        .counter(ItemsCount::new(tokens))
        .bench_local(|| kernels::experts(&layer.x, &layer.experts, &layer.routing).expect("the shapes fit"));
}

#[divan::bench(args = TOKENS)]
fn experts_candle(bencher: Bencher<'_, '_>, tokens: usize) {
    let layer = Layer::new(tokens);
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| layer.by_candle().expect("the shapes fit"));
}
