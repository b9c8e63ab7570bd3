//! Routers: which experts a token goes to, and with what weight.
//!
//! One function with a description covers the families; today's are softmax over all experts with or without
//! renormalisation (Mixtral, Qwen3-MoE). Ties go to the lower expert number, so the choice is the same on
//! every machine. Chosen experts are listed from the largest score down, and the weighted sum that follows adds
//! them in that order.

use candle_core::Tensor;

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "route";

/// How a family turns router logits into experts and weights.
#[derive(Clone, Copy, Debug)]
pub struct Gating {
    /// Experts per token.
    pub top_k: usize,
    /// Whether the chosen probabilities are divided by their sum.
    pub renormalise: bool,
}

/// The experts of each token, `[T, top_k]` row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Expert numbers, the largest score first.
    pub experts: Vec<u32>,
    /// Their weights.
    pub weights: Vec<f32>,
    /// Experts per token.
    pub top_k: usize,
}

/// Returns the experts and weights of each token: softmax over all E, then the `top_k` largest.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `logits` | `[T, E]` | f32, contiguous |
///
/// # Errors
/// Returns [`KernelError`] if fewer than `top_k` experts exist, or a shape or type differs.
pub fn route(logits: &Tensor, gating: Gating) -> Result<Routing, KernelError> {
    let (tokens, experts) = logits.dims2()?;
    let Gating { top_k, renormalise } = gating;
    ensure((1..=experts).contains(&top_k), OP, || format!("{top_k} of {experts} experts"))?;
    let view = HostView::new(OP, logits)?;
    let mut routing = Routing {
        experts: Vec::with_capacity(tokens * top_k),
        weights: Vec::with_capacity(tokens * top_k),
        top_k,
    };
    let mut order: Vec<u32> = Vec::with_capacity(experts);
    for row in view.f32(OP)?.chunks_exact(experts) {
        order.clear();
        order.extend(0..experts as u32);
        let descending = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
        order.select_nth_unstable_by(top_k - 1, descending);
        order[..top_k].sort_unstable_by(descending);
        let max = row[order[0] as usize];
        let probability = |expert: &u32| (row[*expert as usize] - max).exp();
        let whole: f32 = row.iter().map(|logit| (logit - max).exp()).sum();
        let chosen: f32 = order[..top_k].iter().map(probability).sum();
        let divisor = if renormalise { chosen } else { whole };
        routing.weights.extend(order[..top_k].iter().map(|expert| probability(expert) / divisor));
        routing.experts.extend_from_slice(&order[..top_k]);
    }
    Ok(routing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn routing(logits: &[f32], top_k: usize, renormalise: bool) -> Routing {
        let logits = Tensor::from_slice(logits, (1, logits.len()), &Device::Cpu).unwrap();
        route(&logits, Gating { top_k, renormalise }).unwrap()
    }

    #[test]
    fn the_largest_come_first_and_renormalised_weights_sum_to_one() {
        let got = routing(&[0.0, 2.0, 1.0, -3.0], 2, true);
        assert_eq!(got.experts, [1, 2]);
        assert!((got.weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let plain = routing(&[0.0, 2.0, 1.0, -3.0], 2, false);
        let whole: f64 = [0.0f64, 2.0, 1.0, -3.0].iter().map(|x| x.exp()).sum();
        assert!((f64::from(plain.weights[0]) - 2f64.exp() / whole).abs() < 1e-6);
    }

    #[test]
    fn ties_go_to_the_lower_expert() {
        assert_eq!(routing(&[1.0, 5.0, 5.0, 5.0], 2, true).experts, [1, 2]);
    }
}
