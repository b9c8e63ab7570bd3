//! The experts' feed-forwards: each token through its own `top_k`, summed with its weights.
//!
//! `y[t] = Σ_j weight[t, j] * W2[e] (silu(W1[e] x[t]) * W3[e] x[t])` with `e = experts[t, j]`, added in the
//! routing's order. Tokens are gathered by expert so that each expert's weights are read once per step; the
//! results are scattered to `[T, top_k, C]` first and summed afterwards, so the sum does not depend on which
//! expert ran first.
//!
//! Bytes moved per step: the weights of the experts that have a token, once, and `2 T top_k C` activations.

use candle_core::{Device, Tensor};

use crate::KernelError;
use crate::activation::gate;
use crate::error::ensure;
use crate::gating::Routing;
use crate::linear::product;
use crate::view::HostView;

const OP: &str = "experts";

/// One layer's experts in the engine's canonical layout.
#[derive(Clone, Debug)]
pub struct Experts {
    /// `[E, 2 I, C]`: the gate's rows (W1), then the up projection's (W3).
    pub gate_up: Tensor,
    /// `[E, C, I]`: the down projection (W2).
    pub down: Tensor,
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
    let (count, _, _) = layer.gate_up.dims3()?;
    let (_, _, inner) = layer.down.dims3()?;
    ensure(
        layer.gate_up.dims() == [count, 2 * inner, width] && layer.down.dims() == [count, width, inner],
        OP,
        || {
            format!(
                "gate_up {:?} and down {:?} do not belong together",
                layer.gate_up.dims(),
                layer.down.dims()
            )
        },
    )?;
    ensure(routing.experts.len() == tokens * routing.top_k, OP, || {
        format!("{tokens} tokens, other routing")
    })?;
    let views = (HostView::new(OP, x)?, HostView::new(OP, &layer.gate_up)?, HostView::new(OP, &layer.down)?);
    let (x, gate_up, down) = (views.0.f32(OP)?, views.1.f32(OP)?, views.2.f32(OP)?);

    let mut scattered = vec![0f32; routing.experts.len() * width];
    for (expert, places) in
        places_by_expert(routing, count)?.into_iter().enumerate().filter(|(_, p)| !p.is_empty())
    {
        let rows: Vec<f32> =
            places.iter().flat_map(|place| &x[place / routing.top_k * width..][..width]).copied().collect();
        let hidden =
            gate(&product(&rows, &gate_up[expert * 2 * inner * width..][..2 * inner * width], width), inner);
        let out = product(&hidden, &down[expert * width * inner..][..width * inner], inner);
        for (place, row) in places.iter().zip(out.chunks_exact(width)) {
            scattered[place * width..][..width].copy_from_slice(row);
        }
    }
    Ok(Tensor::from_vec(combine(&scattered, routing, width), (tokens, width), &Device::Cpu)?)
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

fn combine(scattered: &[f32], routing: &Routing, width: usize) -> Vec<f32> {
    let tokens = routing.weights.len() / routing.top_k;
    let mut out = vec![0f32; tokens * width];
    for (place, row) in scattered.chunks_exact(width).enumerate() {
        let weight = routing.weights[place];
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
        let layer =
            Experts { gate_up: tensor((count, 2 * inner, width), 1), down: tensor((count, width, inner), 2) };
        let x = tensor((tokens, width), 3);
        let chosen: Vec<u32> = (0..tokens as u32).flat_map(|t| [t % 5, (t * 3 + 1) % 5]).collect();
        let weights: Vec<f32> = (0..2 * tokens).map(|i| 0.1 + i as f32 / 20.0).collect();
        let routing = Routing { experts: chosen.clone(), weights: weights.clone(), top_k: 2 };
        let got = experts(&x, &layer, &routing).unwrap().to_vec2::<f32>().unwrap();
        for (t, got) in got.iter().enumerate() {
            let row = x.narrow(0, t, 1).unwrap();
            let one = |place: usize| {
                let e = chosen[place] as usize;
                let hidden = crate::linear(&row, &layer.gate_up.get(e).unwrap(), None).unwrap();
                let hidden = crate::silu_mul(&hidden).unwrap();
                (crate::linear(&hidden, &layer.down.get(e).unwrap(), None).unwrap()
                    * f64::from(weights[place]))
                .unwrap()
            };
            let want = (one(2 * t) + one(2 * t + 1)).unwrap().to_vec2::<f32>().unwrap();
            got.iter().zip(&want[0]).for_each(|(a, b)| assert!((a - b).abs() < 1e-5));
        }
    }
}
