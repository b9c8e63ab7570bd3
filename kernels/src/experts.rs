//! The experts' feed-forwards: each token through its own `top_k`, summed with its weights.
//!
//! `y[t] = Σ_j weight[t, j] * (W2[e] act(W1[e] x[t], W3[e] x[t]) + b2[e])` with `e = experts[t, j]`, added in the
//! routing's order. Tokens are gathered by expert so that each expert's weights are read once per step; the
//! results are scattered to `[T, top_k, C]` first and summed afterwards, so the sum does not depend on which
//! expert ran first.
//!
//! Bytes moved per step: the weights of the experts that have a token, once, and `2 T top_k C` activations.

use candle_core::{Device, Tensor};

use crate::activation::{Activation, GateUp, gate_rows};
use crate::error::ensure;
use crate::gating::Routing;
use crate::linear::product;
use crate::view::HostView;
use crate::{KernelError, Weight};

const OP: &str = "experts";

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
    let (gate_up, down) = (layer.gate_up.tensor(), layer.down.tensor());
    let (count, inner) = (gate_up.dims3()?.0, down.dims3()?.2);
    ensure(gate_up.dims() == [count, 2 * inner, width] && down.dims() == [count, width, inner], OP, || {
        format!("gate_up {:?} and down {:?} do not belong together", gate_up.dims(), down.dims())
    })?;
    ensure(routing.experts.len() == tokens * routing.top_k, OP, || {
        format!("{tokens} tokens, other routing")
    })?;
    let views = (HostView::new(OP, x)?, HostView::new(OP, gate_up)?, HostView::new(OP, down)?);
    let (x, gate_up, down) = (views.0.f32(OP)?, views.1.f32(OP)?, views.2.f32(OP)?);
    let gate_up_bias = bias_rows(layer.gate_up_bias.as_ref(), [count, 2 * inner])?;
    let down_bias = bias_rows(layer.down_bias.as_ref(), [count, width])?;

    let mut scattered = vec![0f32; routing.experts.len() * width];
    for (expert, places) in
        places_by_expert(routing, count)?.into_iter().enumerate().filter(|(_, p)| !p.is_empty())
    {
        let mut rows: Vec<f32> =
            places.iter().flat_map(|place| &x[place / routing.top_k * width..][..width]).copied().collect();
        if layer.weighted == Weighted::Input {
            for (place, row) in places.iter().zip(rows.chunks_exact_mut(width)) {
                row.iter_mut().for_each(|x| *x *= routing.weights[*place]);
            }
        }
        let mut hidden = product(&rows, &gate_up[expert * 2 * inner * width..][..2 * inner * width], width);
        add_bias(&mut hidden, gate_up_bias.as_deref(), expert, 2 * inner);
        let hidden = gate_rows(&hidden, inner, layer.gate_up_rows, layer.activation);
        let mut out = product(&hidden, &down[expert * width * inner..][..width * inner], inner);
        add_bias(&mut out, down_bias.as_deref(), expert, width);
        for (place, row) in places.iter().zip(out.chunks_exact(width)) {
            scattered[place * width..][..width].copy_from_slice(row);
        }
    }
    let out = combine(&scattered, routing, layer.weighted, width);
    Ok(Tensor::from_vec(out, (tokens, width), &Device::Cpu)?)
}

/// The biases of all experts, row by row.
fn bias_rows(bias: Option<&Tensor>, shape: [usize; 2]) -> Result<Option<Vec<f32>>, KernelError> {
    let Some(bias) = bias else { return Ok(None) };
    ensure(bias.dims() == shape, OP, || format!("a bias of shape {:?}, not {shape:?}", bias.dims()))?;
    Ok(Some(HostView::new(OP, bias)?.f32(OP)?.to_vec()))
}

fn add_bias(rows: &mut [f32], bias: Option<&[f32]>, expert: usize, width: usize) {
    let Some(bias) = bias else { return };
    for row in rows.chunks_exact_mut(width) {
        row.iter_mut().zip(&bias[expert * width..]).for_each(|(y, b)| *y += b);
    }
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

    fn tensor(shape: impl Into<candle_core::Shape>, seed: u32) -> Tensor {
        let shape = shape.into();
        let value = |i: u32| ((i.wrapping_mul(2_891_336_453) ^ seed) % 1009) as f32 / 504.0 - 1.0;
        let values = (0..shape.elem_count() as u32).map(value).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn each_token_is_the_weighted_sum_of_its_experts() {
        let (tokens, width, inner, count) = (9, 12, 8, 5);
        let (gate_up, down) = (tensor((count, 2 * inner, width), 1), tensor((count, width, inner), 2));
        let dense = |tensor: &Tensor| Weight::dense(tensor.clone()).unwrap();
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
}
