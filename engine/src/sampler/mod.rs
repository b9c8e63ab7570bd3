//! Logits to a token, in this order:
//!
//! ```text
//! penalties -> logit bias -> constraint -> no end before `min_tokens` -> temperature -> top-k -> top-p -> min-p -> draw
//! ```
//! The definitions are those of the `OpenAI` API, and vLLM's for what that API lacks (`top_k`, `min_p`,
//! `repetition_penalty`, `min_tokens`, stop tokens). The cuts stand in the order of transformers' warpers. A bias is
//! added after the penalties, so that its size is what the client wrote: vLLM adds it before, which differs only where
//! a repetition penalty scales it.
//!
//! Temperature 0 is greedy and exact: the largest logit, the lower id on a tie. Otherwise the draw is a pure
//! function of (seed, position, logits, the sequence's tokens so far): the random number of a position does not depend
//! on how many were drawn before it, so a sequence that was preempted or batched otherwise draws the same tokens.

mod logprobs;
mod penalties;

use std::cmp::Ordering;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use logprobs::ALTERNATIVES_MAX;
pub(crate) use logprobs::Logprobs;
use penalties::History;
pub use penalties::Penalties;

/// Most tokens with a bias of their own; the lists that clients send have a few hundred at most.
const BIASED_TOKENS_MAX: usize = 1024;

/// How many of the likeliest tokens are put in order first when top-p looks for its share. Most shares are smaller.
const NUCLEUS_TOKENS: usize = 64;

/// How a request wants its tokens drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keep only the this many likeliest tokens.
    pub top_k: Option<u32>,
    /// Keep the likeliest tokens until their probabilities reach this sum, in `(0, 1]`.
    pub top_p: f32,
    /// Drop tokens less likely than this fraction of the likeliest, in `[0, 1]`.
    pub min_p: f32,
    /// Makes the draw repeatable; `None` takes a fresh one per request. The choice with index i of a request that asks
    /// for several draws with the seed plus i.
    pub seed: Option<u64>,
    /// What makes tokens less likely that were there already.
    pub penalties: Penalties,
    /// Added to the logits of these tokens, each in `[-100, 100]`; the last one counts for a token that is named twice.
    pub bias: Vec<(u32, f32)>,
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

fn check(holds: bool, setting: &'static str, expected: &'static str) -> Result<(), SamplingError> {
    if holds { Ok(()) } else { Err(SamplingError { setting, expected }) }
}

impl Sampling {
    /// The likeliest token at every step.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: None,
        top_p: 1.0,
        min_p: 0.0,
        seed: None,
        penalties: Penalties::NONE,
        bias: Vec::new(),
    };

    /// Checks the ranges, for a model with `vocabulary` tokens.
    ///
    /// # Errors
    /// Returns the first setting that is out of range.
    pub fn validate(&self, vocabulary: usize) -> Result<(), SamplingError> {
        check((0.0..=2.0).contains(&self.temperature), "temperature", "between 0 and 2")?;
        check(self.top_k != Some(0), "top_k", "at least 1")?;
        check(self.top_p > 0.0 && self.top_p <= 1.0, "top_p", "above 0 and at most 1")?;
        check((0.0..=1.0).contains(&self.min_p), "min_p", "between 0 and 1")?;
        self.penalties.validate()?;
        check(self.bias.len() <= BIASED_TOKENS_MAX, "logit_bias", "of at most 1024 tokens")?;
        for (token, bias) in &self.bias {
            check((*token as usize) < vocabulary, "logit_bias", "of tokens that the model knows")?;
            check((-100.0..=100.0).contains(bias), "logit_bias", "between -100 and 100 for each token")?;
        }
        Ok(())
    }
}

/// Draws a request's tokens.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    seed: u64,
    history: Option<History>,
    /// Tokens that end the reply, which may not be drawn before `min_tokens` others.
    ends: Vec<u32>,
    min_tokens: usize,
    /// Tokens drawn so far.
    drawn: usize,
}

impl Sampler {
    /// Of the reply to `prompt`. `fresh_seed` is used when the request names none.
    pub(crate) fn new(sampling: Sampling, fresh_seed: u64, prompt: &[u32]) -> Self {
        let history = History::new(sampling.penalties, prompt);
        let seed = sampling.seed.unwrap_or(fresh_seed);
        Self { sampling, seed, history, ends: Vec::new(), min_tokens: 0, drawn: 0 }
    }

    /// Draws none of `ends` before it has drawn `min_tokens` tokens.
    pub(crate) fn with_least(mut self, min_tokens: usize, ends: Vec<u32>) -> Self {
        (self.min_tokens, self.ends) = (min_tokens, ends);
        self
    }

    /// Applies penalties and bias to the logits `[V]` of the next token.
    pub(crate) fn shape(&self, logits: &mut [f32]) {
        if let Some(history) = &self.history {
            history.apply(logits);
        }
        for (token, bias) in &self.sampling.bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
    }

    /// Makes the end impossible while it comes too early. Where nothing else can follow, as in a form that is
    /// complete, the end stays possible.
    pub(crate) fn hold_end(&self, logits: &mut [f32]) {
        if self.drawn >= self.min_tokens {
            return;
        }
        let possible = |(token, logit): (usize, &f32)| {
            *logit > f32::NEG_INFINITY && !self.ends.contains(&(token as u32))
        };
        if !logits.iter().enumerate().any(possible) {
            return;
        }
        for token in &self.ends {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// The token at `position`, given its shaped logits `[V]`.
    pub(crate) fn draw(&mut self, logits: &[f32], position: usize) -> u32 {
        let token = if self.sampling.temperature == 0.0 {
            argmax(logits)
        } else {
            self.drawn_among(&self.candidates(logits), position).unwrap_or_else(|| argmax(logits))
        };
        self.drawn += 1;
        if let Some(history) = &mut self.history {
            history.push(token);
        }
        token
    }

    /// `None` if there is no candidate: a constraint forbids every token, and its matcher will say so.
    fn drawn_among(&self, candidates: &[(u32, f64)], position: usize) -> Option<u32> {
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = self.uniform(position) * total;
        for (token, weight) in candidates {
            left -= weight;
            if left < 0.0 {
                return Some(*token);
            }
        }
        // Rounding can leave a sliver above the last weight.
        candidates.last().map(|(token, _)| *token)
    }

    /// The kept tokens with weights relative to the likeliest, in an order that the logits alone decide.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| (f64::from(logit - max) / f64::from(temperature)).exp();
        let all = (0_u32..).zip(logits).map(|(token, logit)| (token, weight(*logit)));
        // A token without weight is one that a constraint forbids.
        let mut kept: Vec<(u32, f64)> = all.filter(|(_, weight)| *weight > 0.0).collect();
        if let Some(k) = top_k.map(|k| k as usize).filter(|k| *k < kept.len()) {
            kept.select_nth_unstable_by(k - 1, likelier);
            kept.truncate(k);
        }
        // The share of top-p is one of what top-k keeps, whatever min-p drops of that.
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        if min_p > 0.0 {
            kept.retain(|(_, weight)| *weight >= f64::from(min_p));
        }
        if top_p < 1.0 {
            keep_share(&mut kept, f64::from(top_p) * total);
        }
        kept
    }

    /// A number in `[0, 1)` that belongs to the seed and the position.
    fn uniform(&self, position: usize) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(position as u64);
        (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The likelier token first, the lower id on a tie.
fn likelier(a: &(u32, f64), b: &(u32, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Keeps the likeliest until their weights reach `share`. Puts only as many in order as it takes to get there.
fn keep_share(kept: &mut Vec<(u32, f64)>, share: f64) {
    let mut ordered = NUCLEUS_TOKENS;
    loop {
        ordered = ordered.min(kept.len());
        if ordered < kept.len() {
            kept.select_nth_unstable_by(ordered, likelier);
        }
        kept[..ordered].sort_unstable_by(likelier);
        let mut sum = 0.0;
        let reached = kept[..ordered].iter().position(|(_, weight)| {
            sum += weight;
            sum >= share
        });
        if let Some(last) = reached {
            return kept.truncate(last + 1);
        }
        if ordered == kept.len() {
            return;
        }
        ordered *= 8;
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
mod tests;
