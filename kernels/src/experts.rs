//! The experts' feed-forwards: each token through its own `top_k`, summed with its weights.
//!
//! `y[t] = Σ_j weight[t, j] * (W2[e] act(W1[e] x[t], W3[e] x[t]) + b2[e])` with `e = experts[t, j]`, added in the
//! routing's order. Tokens are gathered by expert so that each expert's weights are read once per step; the
//! results are scattered to `[T, top_k, C]` first and summed afterwards, so the sum does not depend on which
//! expert ran first. All experts' rows of a projection are shared out in one parallel loop: a layer of many small
//! experts wakes the threads twice, not twice for each expert.
//!
//! Bytes moved per step: the weights of the experts that have a token, once, and `2 T top_k C` activations.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::activation::{Activation, GateUp, gate_rows};
use crate::error::ensure;
use crate::gating::Routing;
use crate::linear::{Product, products};
use crate::view::HostView;
use crate::weight::Reading;
use crate::{KernelError, Weight};

const OP: &str = "experts";

/// Gate and up values below which waking other threads costs more than it saves.
const PARALLEL_MIN_GATES: usize = 1 << 14;

/// One layer's experts in the engine's canonical layout.
#[derive(Clone, Debug)]
pub struct Experts {
    /// `[E, 2 I, C]`: the gate's rows (W1) and the up projection's (W3).
    pub gate_up: Weight,
    /// How those rows stand.
    pub gate_up_rows: GateUp,
    /// `[E, 2 I]` f32.
    pub gate_up_bias: Option<Tensor>,
    /// `[E, C, I]`: the down projection (W2).
    pub down: Weight,
    /// `[E, C]` f32; added before the routing's weight is applied.
    pub down_bias: Option<Tensor>,
    /// What stands between the projections.
    pub activation: Activation,
    /// Where the routing's weight is applied.
    pub weighted: Weighted,
}

/// Where a token's routing weight is applied to an expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighted {
    /// On what the expert returns.
    Output,
    /// On what it is given, as in Llama 4.
    Input,
}

/// Returns the weighted sum of each token's experts.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `[T, C]` | f32, contiguous |
/// | `routing` | `[T, top_k]` | experts below E |
/// | result | `[T, C]` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type, stride or expert number differs from the table.
pub fn experts(x: &Tensor, layer: &Experts, routing: &Routing) -> Result<Tensor, KernelError> {
    let (tokens, width) = x.dims2()?;
    let ([count, _, _], [_, _, inner]) = (layer.gate_up.dims3(OP)?, layer.down.dims3(OP)?);
    let dims = (layer.gate_up.dims(), layer.down.dims());
    ensure(dims.0 == [count, 2 * inner, width] && dims.1 == [count, width, inner], OP, || {
        format!("gate_up {:?} and down {:?} do not belong together", dims.0, dims.1)
    })?;
    ensure(routing.experts.len() == tokens * routing.top_k, OP, || {
        format!("{tokens} tokens, other routing")
    })?;
    let (view, gate_up, down) = (HostView::new(OP, x)?, layer.gate_up.read(OP)?, layer.down.read(OP)?);
    let biases = (layer.gate_up_bias.as_ref(), layer.down_bias.as_ref());
    let gate_up_bias = bias_rows(biases.0, [count, 2 * inner])?;
    let down_bias = bias_rows(biases.1, [count, width])?;

    let mut groups = groups(view.f32(OP)?, width, layer.weighted, routing, count)?;
    project(&mut groups, &gate_up, 2 * inner, gate_up_bias.as_deref());
    activate(&mut groups, inner, layer);
    project(&mut groups, &down, width, down_bias.as_deref());
    let mut scattered = vec![0f32; routing.experts.len() * width];
    for group in &groups {
        for (place, row) in group.places.iter().zip(group.rows.chunks_exact(width)) {
            scattered[place * width..][..width].copy_from_slice(row);
        }
    }
    let out = combine(&scattered, routing, layer.weighted, width);
    Ok(Tensor::from_vec(out, (tokens, width), &Device::Cpu)?)
}

/// The tokens of one expert, on their way through it.
struct Group {
    expert: usize,
    /// Places `token * top_k + j` of the routing, in token order.
    places: Vec<usize>,
    /// A row for each place: what the expert is given, then what is made of it.
    rows: Vec<f32>,
}

/// The experts that have a token, with what each is given.
fn groups(
    x: &[f32],
    width: usize,
    weighted: Weighted,
    routing: &Routing,
    count: usize,
) -> Result<Vec<Group>, KernelError> {
    let group = |(expert, places): (usize, Vec<usize>)| {
        let mut rows = Vec::with_capacity(places.len() * width);
        for place in &places {
            let row = &x[place / routing.top_k * width..][..width];
            match weighted {
                Weighted::Output => rows.extend_from_slice(row),
                Weighted::Input => rows.extend(row.iter().map(|x| x * routing.weights[*place])),
            }
        }
        Group { expert, places, rows }
    };
    let places = places_by_expert(routing, count)?.into_iter().enumerate();
    Ok(places.filter(|(_, places)| !places.is_empty()).map(group).collect())
}

/// Replaces each group's rows by their product with its expert's matrix of `outputs` rows, plus the bias.
fn project(groups: &mut [Group], stack: &Reading<'_>, outputs: usize, bias: Option<&[f32]>) {
    let weight = |expert: usize| stack.rows().slice(expert * outputs..(expert + 1) * outputs);
    let list: Vec<Product<'_>> =
        groups.iter().map(|group| Product { x: &group.rows, weight: weight(group.expert) }).collect();
    let results = products(&list);
    for (group, mut rows) in groups.iter_mut().zip(results) {
        if let Some(bias) = bias {
            let bias = &bias[group.expert * outputs..][..outputs];
            for row in rows.chunks_exact_mut(outputs) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
        group.rows = rows;
    }
}

fn activate(groups: &mut [Group], inner: usize, layer: &Experts) {
    let Experts { gate_up_rows, activation, .. } = *layer;
    let one = |group: &mut Group| group.rows = gate_rows(&group.rows, inner, gate_up_rows, activation);
    if groups.iter().map(|group| group.rows.len()).sum::<usize>() < PARALLEL_MIN_GATES {
        groups.iter_mut().for_each(one);
    } else {
        groups.par_iter_mut().for_each(one);
    }
}

/// The biases of all experts, row by row.
fn bias_rows(bias: Option<&Tensor>, shape: [usize; 2]) -> Result<Option<Vec<f32>>, KernelError> {
    let Some(bias) = bias else { return Ok(None) };
    ensure(bias.dims() == shape, OP, || format!("a bias of shape {:?}, not {shape:?}", bias.dims()))?;
    Ok(Some(HostView::new(OP, bias)?.f32(OP)?.to_vec()))
}

/// For each expert, the places `token * top_k + j` that chose it, in token order.
fn places_by_expert(routing: &Routing, count: usize) -> Result<Vec<Vec<usize>>, KernelError> {
    let mut places = vec![Vec::new(); count];
    for (place, &expert) in routing.experts.iter().enumerate() {
        ensure((expert as usize) < count, OP, || format!("expert {expert} is outside the {count} known"))?;
        places[expert as usize].push(place);
    }
    Ok(places)
}

fn combine(scattered: &[f32], routing: &Routing, weighted: Weighted, width: usize) -> Vec<f32> {
    let tokens = routing.weights.len() / routing.top_k;
    let mut out = vec![0f32; tokens * width];
    for (place, row) in scattered.chunks_exact(width).enumerate() {
        let weight = if weighted == Weighted::Input { 1.0 } else { routing.weights[place] };
        let out = &mut out[place / routing.top_k * width..][..width];
        out.iter_mut().zip(row).for_each(|(y, x)| *y += weight * x);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    fn tensor(shape: impl Into<candle_core::Shape>, seed: u32) -> Tensor {
        let shape = shape.into();
        let value = |i: u32| ((i.wrapping_mul(2_891_336_453) ^ seed) % 1009) as f32 / 504.0 - 1.0;
        let values = (0..shape.elem_count() as u32).map(value).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn dense(tensor: &Tensor) -> Weight {
        Weight::dense(tensor.clone()).unwrap()
    }

    #[test]
    fn each_token_is_the_weighted_sum_of_its_experts() {
        let (tokens, width, inner, count) = (9, 12, 8, 5);
        let (gate_up, down) = (tensor((count, 2 * inner, width), 1), tensor((count, width, inner), 2));
        let layer = Experts {
            gate_up: dense(&gate_up),
            gate_up_rows: GateUp::Halves,
            gate_up_bias: None,
            down: dense(&down),
            down_bias: None,
            activation: Activation::Silu,
            weighted: Weighted::Output,
        };
        let x = tensor((tokens, width), 3);
        let chosen: Vec<u32> = (0..tokens as u32).flat_map(|t| [t % 5, (t * 3 + 1) % 5]).collect();
        let weights: Vec<f32> = (0..2 * tokens).map(|i| 0.1 + i as f32 / 20.0).collect();
        let routing = Routing { experts: chosen.clone(), weights: weights.clone(), top_k: 2 };
        let got = experts(&x, &layer, &routing).unwrap().to_vec2::<f32>().unwrap();
        for (t, got) in got.iter().enumerate() {
            let row = x.narrow(0, t, 1).unwrap();
            let one = |place: usize| {
                let e = chosen[place] as usize;
                let hidden = crate::linear(&row, &dense(&gate_up.get(e).unwrap()), None).unwrap();
                let hidden = crate::gate(&hidden, Activation::Silu).unwrap();
                (crate::linear(&hidden, &dense(&down.get(e).unwrap()), None).unwrap()
                    * f64::from(weights[place]))
                .unwrap()
            };
            let want = (one(2 * t) + one(2 * t + 1)).unwrap().to_vec2::<f32>().unwrap();
            got.iter().zip(&want[0]).for_each(|(a, b)| assert!((a - b).abs() < 1e-5));
        }
    }

    /// Experts with biases, their matrices in `format`.
    fn biased(format: Format, weighted: Weighted) -> Experts {
        let (count, width, inner) = (3, 512, 256);
        let stack = |rows: usize, width: usize, seed| {
            let values = tensor((count, rows, width), seed).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            Weight::encode(format, &[count, rows, width], &values).unwrap()
        };
        Experts {
            gate_up: stack(2 * inner, width, 11),
            gate_up_rows: GateUp::Halves,
            gate_up_bias: Some(tensor((count, 2 * inner), 12)),
            down: stack(width, inner, 13),
            down_bias: Some(tensor((count, width), 14)),
            activation: Activation::ClampedSwiglu { limit: 7.0, alpha: 1.702 },
            weighted,
        }
    }

    fn routing(tokens: std::ops::Range<u32>) -> Routing {
        let experts = tokens.clone().flat_map(|t| [t % 3, (t + 1 + t / 5 % 2) % 3]).collect();
        let weights = tokens.flat_map(|t| [0.75 - t as f32 / 40.0, 0.25 + t as f32 / 30.0]).collect();
        Routing { experts, weights, top_k: 2 }
    }

    fn bits(tensor: &Tensor) -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_token_has_the_same_bits_alone_and_in_any_batch() {
        let tokens = 13;
        for format in [Format::F32, Format::F16, Format::Bf16, Format::Q8_0, Format::Q4K] {
            for weighted in [Weighted::Output, Weighted::Input] {
                let layer = biased(format, weighted);
                let x = tensor((tokens, 512), 15);
                let together = bits(&experts(&x, &layer, &routing(0..tokens as u32)).unwrap());
                for t in 0..tokens {
                    let routing = routing(t as u32..t as u32 + 1);
                    let alone = bits(&experts(&x.narrow(0, t, 1).unwrap(), &layer, &routing).unwrap());
                    assert_eq!(alone, together[t * 512..][..512], "{format:?} {weighted:?} token {t}");
                }
            }
        }
    }

    #[test]
    fn biases_and_weights_on_the_input_follow_the_formula() {
        let (tokens, inner) = (4, 256);
        for weighted in [Weighted::Output, Weighted::Input] {
            let (layer, routing) = (biased(Format::Bf16, weighted), routing(0..tokens as u32));
            let x = tensor((tokens, 512), 16);
            let got = experts(&x, &layer, &routing).unwrap().to_vec2::<f32>().unwrap();
            for (t, got) in got.iter().enumerate() {
                let mut want = vec![0f32; 512];
                for place in [2 * t, 2 * t + 1] {
                    let (e, weight) = (routing.experts[place] as usize, f64::from(routing.weights[place]));
                    let (before, after) =
                        if weighted == Weighted::Input { (weight, 1.0) } else { (1.0, weight) };
                    let matrix = |stack: &Weight, rows: usize| {
                        let values = stack.to_f32(e * rows..(e + 1) * rows).unwrap();
                        let width = values.len() / rows;
                        dense(&Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap())
                    };
                    let bias = |bias: &Option<Tensor>| bias.as_ref().unwrap().get(e).unwrap();
                    let x = (x.narrow(0, t, 1).unwrap() * before).unwrap();
                    let (gate_up, down) = (matrix(&layer.gate_up, 2 * inner), matrix(&layer.down, 512));
                    let hidden = crate::linear(&x, &gate_up, Some(&bias(&layer.gate_up_bias))).unwrap();
                    let hidden = crate::gate(&hidden, layer.activation).unwrap();
                    let out = crate::linear(&hidden, &down, Some(&bias(&layer.down_bias))).unwrap();
                    let out = (out * after).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    want.iter_mut().zip(out).for_each(|(want, out)| *want += out);
                }
                let size = want.iter().fold(0f32, |a, b| a.max(b.abs()));
                got.iter().zip(&want).for_each(|(a, b)| assert!((a - b).abs() < 1e-5 * size, "{a} {b}"));
            }
        }
    }

    #[test]
    fn an_expert_that_does_not_exist_is_refused() {
        let layer = biased(Format::F32, Weighted::Output);
        let routing = Routing { experts: vec![0, 3], weights: vec![0.5, 0.5], top_k: 2 };
        let error = experts(&tensor((1, 512), 1), &layer, &routing).unwrap_err().to_string();
        assert_eq!(error, "experts: expert 3 is outside the 3 known");
    }
}
