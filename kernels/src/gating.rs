//! Routers: which experts a token goes to, and with what weight.
//!
//! One function with a description covers the families:
//!
//! | family | score | bias for the choice | groups | weights |
//! |---|---|---|---|---|
//! | Mixtral, Qwen3-MoE, Mistral Small 4 | softmax over all E | no | no | chosen probabilities over their sum |
//! | Qwen2-MoE, `OLMoE`, `DeepSeek`-V2-Lite | softmax over all E | no | no | chosen probabilities |
//! | `DeepSeek`-V2 | softmax over all E | no | by their best | chosen probabilities, times a factor |
//! | `DeepSeek`-V3, Kimi-K2 | sigmoid | yes | by their best two | chosen scores over their sum, times a factor |
//! | GLM-4.5, `MiniMax`-M2 | sigmoid | yes | no | chosen scores over their sum, times a factor |
//! | gpt-oss, Granite-MoE | softmax over the chosen | no | no | as scored |
//! | Llama 4 | sigmoid | no | no | chosen scores |
//! | Phi-3.5-MoE | two sparse mixers | no | no | as scored |
//!
//! Ties go to the lower expert number, so the choice is the same on every machine. Chosen experts are listed
//! from the best choice down, and the weighted sum that follows adds them in that order.

use candle_core::Tensor;

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "route";

/// Keeps a sum of sigmoids that all underflow from dividing by zero, as the reference implementations do.
const SIGMOID_SUM_MIN: f32 = 1e-20;

/// What a router makes of its logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Probabilities over all experts.
    Softmax,
    /// Each expert for itself.
    Sigmoid,
    /// Probabilities over the chosen experts alone.
    SoftmaxOfChosen,
    /// The best expert, then the best of the others: each with its probability among those of the experts then
    /// left that lie within `2 * jitter` of the best, relative to the larger of the two (arXiv:2409.12136).
    SparseMixer {
        /// The config's `router_jitter_noise`.
        jitter: f32,
    },
}

/// A choice of groups before that of experts; groups are neighbouring experts, all of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Groups in all; divides E.
    pub count: usize,
    /// Groups whose experts may be chosen.
    pub kept: usize,
    /// What a group is worth.
    pub worth: GroupWorth,
}

/// What a group of experts is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupWorth {
    /// The best of its experts.
    Best,
    /// The sum of its best two.
    BestTwo,
}

/// How a family turns router logits into experts and weights.
#[derive(Clone, Copy, Debug)]
pub struct Gating {
    /// Experts per token.
    pub top_k: usize,
    /// What the logits become.
    pub score: Score,
    /// Groups to choose from first, if any.
    pub groups: Option<Groups>,
    /// Whether the chosen scores are divided by their sum.
    pub renormalise: bool,
    /// Factor on every weight, after all else.
    pub scale: f32,
}

impl Gating {
    /// The plain router: the chosen scores as they are.
    pub const fn plain(top_k: usize, score: Score) -> Self {
        Self { top_k, score, groups: None, renormalise: false, scale: 1.0 }
    }
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
/// Returns [`KernelError`] if fewer than `top_k` experts can be chosen, a sparse mixer is to choose other than two,
/// or a shape or type differs.
pub fn route(logits: &Tensor, choice_bias: Option<&Tensor>, gating: Gating) -> Result<Routing, KernelError> {
    let (tokens, experts) = logits.dims2()?;
    check(gating, experts)?;
    let view = HostView::new(OP, logits)?;
    let bias_view = choice_bias.map(|bias| HostView::new(OP, bias)).transpose()?;
    let bias = bias_view.as_ref().map(|view| view.f32(OP)).transpose()?;
    ensure(bias.is_none_or(|bias| bias.len() == experts), OP, || {
        format!("a bias for other than {experts} experts")
    })?;
    let room = tokens * gating.top_k;
    let mut routing =
        Routing { experts: Vec::with_capacity(room), weights: Vec::with_capacity(room), top_k: gating.top_k };
    for row in view.f32(OP)?.chunks_exact(experts) {
        match gating.score {
            Score::SparseMixer { jitter } => mix(row, jitter, &mut routing),
            _ => choose(row, bias, gating, &mut routing),
        }
    }
    Ok(routing)
}

fn check(gating: Gating, experts: usize) -> Result<(), KernelError> {
    let Gating { top_k, groups, score, .. } = gating;
    let choice = match groups {
        None => experts,
        Some(Groups { count, kept, .. }) => {
            let whole = count > 0 && experts.is_multiple_of(count) && kept <= count;
            ensure(whole, OP, || format!("{kept} of {count} groups over {experts} experts"))?;
            experts / count * kept
        }
    };
    ensure((1..=choice).contains(&top_k), OP, || format!("{top_k} of {choice} experts"))?;
    let two = top_k == 2 || !matches!(score, Score::SparseMixer { .. });
    ensure(two, OP, || format!("a sparse mixer chooses 2 experts, not {top_k}"))
}

/// One token's choice by score.
fn choose(logits: &[f32], bias: Option<&[f32]>, gating: Gating, routing: &mut Routing) {
    let scores = scores(logits, gating.score);
    let keys = match (bias, gating.groups) {
        (Some(bias), _) => scores.iter().zip(bias).map(|(score, bias)| score + bias).collect(),
        // Worth adds scores up.
        (None, Some(_)) => scores.clone(),
        // Two logits can differ where their scores round to one number.
        (None, None) => logits.to_vec(),
    };
    let descending = |a: &u32, b: &u32| keys[*b as usize].total_cmp(&keys[*a as usize]).then(a.cmp(b));
    let mut order: Vec<u32> = match gating.groups {
        None => (0..keys.len() as u32).collect(),
        Some(groups) => experts_of_best_groups(&keys, groups),
    };
    let top_k = gating.top_k;
    order.select_nth_unstable_by(top_k - 1, descending);
    order.truncate(top_k);
    order.sort_unstable_by(descending);
    let mut weights: Vec<f32> = order.iter().map(|expert| scores[*expert as usize]).collect();
    if gating.score == Score::SoftmaxOfChosen {
        weights = softmax(&weights);
    }
    let divisor = match (gating.renormalise, gating.score) {
        (false, _) => 1.0,
        (true, Score::Sigmoid) => weights.iter().sum::<f32>() + SIGMOID_SUM_MIN,
        (true, _) => weights.iter().sum::<f32>(),
    };
    routing.weights.extend(weights.iter().map(|weight| weight / divisor * gating.scale));
    routing.experts.extend(order);
}

/// The experts of the groups that are worth the most.
fn experts_of_best_groups(keys: &[f32], Groups { count, kept, worth }: Groups) -> Vec<u32> {
    let size = keys.len() / count;
    let worth = |group: &[f32]| {
        let mut best = [f32::NEG_INFINITY; 2];
        for &key in group {
            if key > best[0] {
                best = [key, best[0]];
            } else if key > best[1] {
                best[1] = key;
            }
        }
        match worth {
            GroupWorth::Best => best[0],
            GroupWorth::BestTwo => best[0] + best[1],
        }
    };
    let worths: Vec<f32> = keys.chunks_exact(size).map(worth).collect();
    let mut groups: Vec<usize> = (0..count).collect();
    groups.sort_unstable_by(|a, b| worths[*b].total_cmp(&worths[*a]).then(a.cmp(b)));
    let experts = groups[..kept].iter().flat_map(|group| group * size..(group + 1) * size);
    experts.map(|expert| expert as u32).collect()
}

/// One token's choice by two sparse mixers.
fn mix(logits: &[f32], jitter: f32, routing: &mut Routing) {
    let mut left = logits.to_vec();
    for _ in 0..2 {
        let best = (0..left.len()).fold(0, |best, i| if left[i] > left[best] { i } else { best });
        let max = left[best];
        let close = |(logit, left): (&f32, &f32)| {
            // Relative to the larger of the two, as the reference has it, which measures by all experts' logits.
            let far = (max - logit) / logit.abs().max(max) > 2.0 * jitter;
            if far { f32::NEG_INFINITY } else { *left }
        };
        let kept: Vec<f32> = logits.iter().zip(&left).map(close).collect();
        routing.experts.push(best as u32);
        routing.weights.push(softmax(&kept)[best]);
        left[best] = f32::NEG_INFINITY;
    }
}

fn scores(logits: &[f32], score: Score) -> Vec<f32> {
    match score {
        Score::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        Score::Softmax => softmax(logits),
        Score::SoftmaxOfChosen | Score::SparseMixer { .. } => logits.to_vec(),
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
    logits.iter().map(|logit| (logit - max).exp() / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn routing(logits: &[f32], top_k: usize, renormalise: bool) -> Routing {
        let logits = Tensor::from_slice(logits, (1, logits.len()), &Device::Cpu).unwrap();
        route(&logits, None, Gating { renormalise, ..Gating::plain(top_k, Score::Softmax) }).unwrap()
    }

    #[test]
    fn a_bias_moves_the_choice_and_not_the_weights() {
        let tensor = |values: &[f32], rows: &[usize]| Tensor::from_slice(values, rows, &Device::Cpu).unwrap();
        let gating = Gating { renormalise: true, scale: 2.5, ..Gating::plain(2, Score::Sigmoid) };
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

    fn chosen(logits: &[f32], gating: Gating) -> Routing {
        let logits = Tensor::from_slice(logits, (1, logits.len()), &Device::Cpu).unwrap();
        route(&logits, None, gating).unwrap()
    }

    #[test]
    fn the_best_group_by_its_best_need_not_be_the_best_by_two() {
        let logits = [3.0, -9.0, 2.5, 2.4];
        let by = |worth| {
            let groups = Some(Groups { count: 2, kept: 1, worth });
            chosen(&logits, Gating { groups, ..Gating::plain(1, Score::Sigmoid) }).experts
        };
        assert_eq!(by(GroupWorth::Best), [0]);
        assert_eq!(by(GroupWorth::BestTwo), [2]);
    }

    #[test]
    fn the_chosen_alone_share_a_softmax() {
        let got = chosen(&[0.0, 2.0, 1.0, -3.0], Gating::plain(2, Score::SoftmaxOfChosen));
        assert_eq!(got.experts, [1, 2]);
        let want = 1.0 / (1.0 + (-1f64).exp());
        assert!((f64::from(got.weights[0]) - want).abs() < 1e-6);
    }

    #[test]
    fn a_sparse_mixer_weighs_the_best_among_those_close_to_it() {
        // Within 20 % of 10: 9 is close, 7 is not. Then 9 is the best left, and 7 is not within 20 % of it.
        let got = chosen(&[7.0, 10.0, 9.0], Gating::plain(2, Score::SparseMixer { jitter: 0.1 }));
        assert_eq!(got.experts, [1, 2]);
        assert!((f64::from(got.weights[0]) - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-6);
        assert!((f64::from(got.weights[1]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn more_experts_than_the_kept_groups_have_are_refused() {
        let groups = Some(Groups { count: 2, kept: 1, worth: GroupWorth::Best });
        let gating = Gating { groups, ..Gating::plain(3, Score::Softmax) };
        let logits = Tensor::zeros((1, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert_eq!(route(&logits, None, gating).unwrap_err().to_string(), "route: 3 of 2 experts");
    }
}
