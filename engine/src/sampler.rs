//! Logits to a token: temperature, top-k, top-p, min-p, in that order, from a seed.
//!
//! Temperature 0 is greedy and exact: the largest logit, the lower id on a tie. Otherwise the draw is a pure
//! function of (seed, position, logits): the random number of a position does not depend on how many were
//! drawn before it, so a sequence that was preempted or batched otherwise draws the same tokens.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How a request wants its tokens drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keep only the this many likeliest tokens.
    pub top_k: Option<u32>,
    /// Keep the likeliest tokens until their probabilities reach this sum, in `(0, 1]`.
    pub top_p: f32,
    /// Drop tokens less likely than this fraction of the likeliest, in `[0, 1]`.
    pub min_p: f32,
    /// Makes the draw repeatable; `None` takes a fresh one per request.
    pub seed: Option<u64>,
}

/// Why sampling settings were refused: the setting, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{setting} must be {expected}")]
pub struct SamplingError {
    /// The setting's name as clients know it.
    pub setting: &'static str,
    /// Its range.
    pub expected: &'static str,
}

impl Sampling {
    /// The likeliest token at every step.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: None, top_p: 1.0, min_p: 0.0, seed: None };

    /// Checks the ranges.
    ///
    /// # Errors
    /// Returns the first setting that is out of range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |holds: bool, setting, expected| {
            if holds { Ok(()) } else { Err(SamplingError { setting, expected }) }
        };
        check((0.0..=2.0).contains(&self.temperature), "temperature", "between 0 and 2")?;
        check(self.top_k != Some(0), "top_k", "at least 1")?;
        check(self.top_p > 0.0 && self.top_p <= 1.0, "top_p", "above 0 and at most 1")?;
        check((0.0..=1.0).contains(&self.min_p), "min_p", "between 0 and 1")
    }
}

/// Draws a request's tokens.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    seed: u64,
}

impl Sampler {
    /// `fresh_seed` is used when the request names none.
    pub(crate) fn new(sampling: Sampling, fresh_seed: u64) -> Self {
        Self { sampling, seed: sampling.seed.unwrap_or(fresh_seed) }
    }

    /// The token at `position`, given its logits `[V]`.
    pub(crate) fn sample(&self, logits: &[f32], position: usize) -> u32 {
        if self.sampling.temperature == 0.0 {
            return argmax(logits);
        }
        let candidates = self.candidates(logits);
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = self.uniform(position) * total;
        for (token, weight) in &candidates {
            left -= weight;
            if left < 0.0 {
                return *token;
            }
        }
        // Rounding can leave a sliver above the last weight.
        candidates.last().expect("the likeliest token is always kept").0
    }

    /// The kept tokens, the likeliest first, with weights relative to the likeliest.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let descending =
            |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        if let Some(k) = top_k.map(|k| k as usize).filter(|k| *k < order.len()) {
            order.select_nth_unstable_by(k - 1, descending);
            order.truncate(k);
        }
        order.sort_unstable_by(descending);
        let max = f64::from(logits[order[0] as usize]);
        let weight = |token: u32| ((f64::from(logits[token as usize]) - max) / f64::from(temperature)).exp();
        let mut kept: Vec<(u32, f64)> = order.into_iter().map(|token| (token, weight(token))).collect();
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let nucleus = kept.iter().take_while(|(_, weight)| {
            let before = sum;
            sum += weight / total;
            before < f64::from(top_p)
        });
        let count = nucleus.count().max(1);
        kept.truncate(count);
        // A token without weight is one that a constraint forbids.
        kept.retain(|(_, weight)| *weight > 0.0 && *weight >= f64::from(min_p));
        kept
    }

    /// A number in `[0, 1)` that belongs to the seed and the position.
    fn uniform(&self, position: usize) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(position as u64);
        (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [0.0, 3.0, 1.0, 2.0, -1.0, 2.5];

    fn drawn(sampling: Sampling, draws: usize) -> Vec<usize> {
        let sampler = Sampler::new(Sampling { seed: Some(7), ..sampling }, 0);
        let mut counts = vec![0; LOGITS.len()];
        (0..draws).for_each(|position| counts[sampler.sample(&LOGITS, position) as usize] += 1);
        counts
    }

    const PLAIN: Sampling = Sampling { temperature: 1.0, ..Sampling::GREEDY };

    #[test]
    fn greedy_takes_the_largest_and_the_lower_id_on_a_tie() {
        let sampler = Sampler::new(Sampling::GREEDY, 0);
        assert_eq!(sampler.sample(&[1.0, 4.0, 4.0, 2.0], 0), 1);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let draws = 20_000;
        let total: f64 = LOGITS.iter().map(|x| f64::from(*x).exp()).sum();
        for (token, count) in drawn(PLAIN, draws).into_iter().enumerate() {
            let expected = f64::from(LOGITS[token]).exp() / total * draws as f64;
            // Five standard deviations of a binomial count.
            assert!(
                (count as f64 - expected).abs() < 5.0 * expected.sqrt().max(1.0),
                "{token}: {count} {expected}"
            );
        }
    }

    #[test]
    fn each_cut_keeps_exactly_its_tokens() {
        let kept = |sampling| {
            let tokens = Sampler::new(sampling, 0).candidates(&LOGITS);
            tokens.into_iter().map(|(token, _)| token).collect::<Vec<_>>()
        };
        assert_eq!(kept(Sampling { top_k: Some(2), ..PLAIN }), [1, 5]);
        // Probabilities in order: .478 .290 .176 .065 ...
        assert_eq!(kept(Sampling { top_p: 0.5, ..PLAIN }), [1, 5]);
        assert_eq!(kept(Sampling { top_p: 0.45, ..PLAIN }), [1]);
        // exp(2.0 - 3.0) = 0.37 stays, exp(1.0 - 3.0) = 0.14 goes.
        assert_eq!(kept(Sampling { min_p: 0.3, ..PLAIN }), [1, 5, 3]);
        assert_eq!(kept(Sampling { top_p: 1.0, ..PLAIN }).len(), 6);
    }

    #[test]
    fn the_same_seed_and_position_draw_the_same_token() {
        assert_eq!(drawn(PLAIN, 50), drawn(PLAIN, 50));
        let other = Sampler::new(Sampling { seed: Some(8), ..PLAIN }, 0);
        let sampler = Sampler::new(Sampling { seed: Some(7), ..PLAIN }, 0);
        assert!((0..50).any(|p| sampler.sample(&LOGITS, p) != other.sample(&LOGITS, p)));
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let error = Sampling { top_p: 0.0, ..PLAIN }.validate().unwrap_err();
        assert_eq!(error.to_string(), "top_p must be above 0 and at most 1");
        assert!(Sampling { temperature: f32::NAN, ..PLAIN }.validate().is_err());
    }
}
