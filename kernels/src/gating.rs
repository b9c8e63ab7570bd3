//! Routers: which experts a token goes to, and with what weight.
//!
//! One function with a description covers the families:
//!
//! | family | score | bias for the choice | weights |
//! |---|---|---|---|
//! | Mixtral, Qwen3-MoE | softmax over all E | no | chosen probabilities over their sum |
//! | Qwen2-MoE, `OLMoE` | softmax over all E | no | chosen probabilities |
//! | GLM-4.5, `MiniMax`-M2 | sigmoid | yes | chosen scores over their sum, times a factor |
//!
//! Ties go to the lower expert number, so the choice is the same on every machine. Chosen experts are listed
//! from the best choice down, and the weighted sum that follows adds them in that order. Absent: choosing
//! groups of experts first (`DeepSeek`).

use candle_core::Tensor;

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "route";

/// Keeps a sum of sigmoids that all underflow from dividing by zero, as the reference implementations do.
const SIGMOID_SUM_MIN: f32 = 1e-20;

/// What a router makes of its logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Probabilities over all experts.
    Softmax,
    /// Each expert for itself.
    Sigmoid,
}

/// How a family turns router logits into experts and weights.
#[derive(Clone, Copy, Debug)]
pub struct Gating {
    /// Experts per token.
    pub top_k: usize,
    /// What the logits become.
    pub score: Score,
    /// Whether the chosen scores are divided by their sum.
    pub renormalise: bool,
    /// Factor on every weight, after all else.
    pub scale: f32,
}

/// The experts of each token, `[T, top_k]` row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Expert numbers, the best choice first.
    pub experts: Vec<u32>,
    /// Their weights.
    pub weights: Vec<f32>,
    /// Experts per token.
    pub top_k: usize,
}

/// Returns the experts and weights of each token.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `logits` | `[T, E]` | f32, contiguous |
/// | `choice_bias` | `[E]` | f32; added to the scores for the choice, not for the weights |
///
/// # Errors
/// Returns [`KernelError`] if fewer than `top_k` experts exist, or a shape or type differs.
pub fn route(logits: &Tensor, choice_bias: Option<&Tensor>, gating: Gating) -> Result<Routing, KernelError> {
    let (tokens, experts) = logits.dims2()?;
    let top_k = gating.top_k;
    ensure((1..=experts).contains(&top_k), OP, || format!("{top_k} of {experts} experts"))?;
    let view = HostView::new(OP, logits)?;
    let bias_view = choice_bias.map(|bias| HostView::new(OP, bias)).transpose()?;
    let bias = bias_view.as_ref().map(|view| view.f32(OP)).transpose()?;
    ensure(bias.is_none_or(|bias| bias.len() == experts), OP, || {
        format!("a bias for other than {experts} experts")
    })?;
    let room = tokens * top_k;
    let mut routing = Routing { experts: Vec::with_capacity(room), weights: Vec::with_capacity(room), top_k };
    let mut order: Vec<u32> = Vec::with_capacity(experts);
    for row in view.f32(OP)?.chunks_exact(experts) {
        let scores = scores(row, gating.score);
        // Without a bias the logits decide: two of them can differ where their scores round to one number.
        let keys =
            bias.map(|bias| scores.iter().zip(bias).map(|(score, bias)| score + bias).collect::<Vec<_>>());
        let keys = keys.as_deref().unwrap_or(row);
        order.clear();
        order.extend(0..experts as u32);
        let descending = |a: &u32, b: &u32| keys[*b as usize].total_cmp(&keys[*a as usize]).then(a.cmp(b));
        order.select_nth_unstable_by(top_k - 1, descending);
        order[..top_k].sort_unstable_by(descending);
        let chosen = order[..top_k].iter().map(|expert| scores[*expert as usize]);
        let divisor = match (gating.renormalise, gating.score) {
            (false, _) => 1.0,
            (true, Score::Softmax) => chosen.clone().sum::<f32>(),
            (true, Score::Sigmoid) => chosen.clone().sum::<f32>() + SIGMOID_SUM_MIN,
        };
        routing.weights.extend(chosen.map(|score| score / divisor * gating.scale));
        routing.experts.extend_from_slice(&order[..top_k]);
    }
    Ok(routing)
}

fn scores(logits: &[f32], score: Score) -> Vec<f32> {
    match score {
        Score::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        Score::Softmax => {
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
            logits.iter().map(|logit| (logit - max).exp() / sum).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn routing(logits: &[f32], top_k: usize, renormalise: bool) -> Routing {
        let logits = Tensor::from_slice(logits, (1, logits.len()), &Device::Cpu).unwrap();
        route(&logits, None, Gating { top_k, score: Score::Softmax, renormalise, scale: 1.0 }).unwrap()
    }

    #[test]
    fn a_bias_moves_the_choice_and_not_the_weights() {
        let tensor = |values: &[f32], rows: &[usize]| Tensor::from_slice(values, rows, &Device::Cpu).unwrap();
        let gating = Gating { top_k: 2, score: Score::Sigmoid, renormalise: true, scale: 2.5 };
        let bias = tensor(&[0.0, 0.0, 5.0], &[3]);
        let got = route(&tensor(&[1.0, 2.0, -1.0], &[1, 3]), Some(&bias), gating).unwrap();
        assert_eq!(got.experts, [2, 1]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let want = 2.5 * sigmoid(-1.0) / (sigmoid(-1.0) + sigmoid(2.0));
        assert!((f64::from(got.weights[0]) - want).abs() < 1e-6);
        assert!((got.weights.iter().sum::<f32>() - 2.5).abs() < 1e-5);
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
