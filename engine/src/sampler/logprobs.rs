//! Log-probabilities: the natural logarithm of the softmax of a row of logits.
//!
//! They are of the model's own distribution, before temperature, penalties, bias and constraint, as the `OpenAI` API
//! gives them and vLLM does by default (`raw_logprobs`): what a client measures is the model and not its settings.
//! The token that was drawn always has one, whether it is among the likeliest or not. Deliberately absent: the
//! distribution that was drawn from.

/// Most alternatives for each token, as the `OpenAI` API and vLLM by default have it.
pub const ALTERNATIVES_MAX: u32 = 20;

/// The log-probabilities of one position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Logprobs {
    /// That of the token that stands there.
    pub(crate) chosen: f32,
    /// The likeliest tokens with theirs, the likeliest first, the lower id first on a tie.
    pub(crate) likeliest: Vec<(u32, f32)>,
}

impl Logprobs {
    /// Those of `token` and of the `alternatives` likeliest, given the model's logits `[V]`, of which none is NaN.
    pub(crate) fn of(logits: &[f32], token: u32, alternatives: u32) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from((logit - max).exp())).sum();
        let logprob = |token: u32| (f64::from(logits[token as usize] - max) - sum.ln()) as f32;
        let likeliest = likeliest(logits, alternatives as usize);
        let likeliest = likeliest.into_iter().map(|token| (token, logprob(token))).collect();
        Self { chosen: logprob(token), likeliest }
    }
}

/// The `count` largest logits' tokens in order. One pass, since `count` is small.
fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut best: Vec<u32> = Vec::with_capacity(count + 1);
    for (token, logit) in logits.iter().enumerate() {
        let is_full = best.len() == count;
        if is_full && best.last().is_none_or(|last| *logit <= logits[*last as usize]) {
            continue;
        }
        // Behind all that are as large: those have lower ids.
        let at = best.partition_point(|other| logits[*other as usize] >= *logit);
        best.insert(at, token as u32);
        best.truncate(count);
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn probabilities_sum_to_one_and_the_likeliest_are_the_largest(
            logits in prop::collection::vec((-30_i16..30).prop_map(|x| f32::from(x) / 2.0), 1..40),
            alternatives in 0_u32..45,
            token in any::<prop::sample::Index>(),
        ) {
            let token = token.index(logits.len()) as u32;
            let all = Logprobs::of(&logits, token, logits.len() as u32);
            let total: f64 = all.likeliest.iter().map(|(_, logprob)| f64::from(*logprob).exp()).sum();
            prop_assert!((total - 1.0).abs() < 1e-5, "{}", total);

            let mut order: Vec<u32> = (0..logits.len() as u32).collect();
            order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
            order.truncate(alternatives as usize);
            let some = Logprobs::of(&logits, token, alternatives);
            prop_assert_eq!(some.likeliest.iter().map(|(token, _)| *token).collect::<Vec<_>>(), order);
            let chosen = all.likeliest.iter().find(|(other, _)| *other == token).map(|(_, logprob)| *logprob);
            prop_assert_eq!(Some(some.chosen), chosen);
        }
    }

    #[test]
    fn a_forbidden_token_has_no_probability_and_disturbs_nobody() {
        let logprobs = Logprobs::of(&[0.0, f32::NEG_INFINITY, 0.0], 1, 1);
        assert!(logprobs.chosen.is_infinite() && logprobs.chosen < 0.0);
        assert!((logprobs.likeliest[0].1 - 0.5_f32.ln()).abs() < 1e-6);
    }
}
