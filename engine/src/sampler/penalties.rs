//! Penalties for tokens that a sequence has already.
//!
//! The definitions are those of the `OpenAI` API for presence and frequency and of vLLM for repetition:
//!
//! | penalty | counts | a logit x becomes |
//! |---|---|---|
//! | repetition r | tokens of the prompt and of the reply, once each | x / r if x > 0, else x * r |
//! | frequency f | tokens of the reply, each time | x - f * count |
//! | presence p | tokens of the reply, once each | x - p |
//!
//! Repetition comes first, as in vLLM. What is counted are the sequence's own tokens alone, so neighbours, chunks and
//! preemption change nothing. Deliberately absent: a decay with distance and penalties for runs of tokens.

use std::collections::{HashMap, HashSet};

use super::{SamplingError, check};

/// How much tokens that were there already are made less likely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalties {
    /// Taken off once from each token of the reply so far, in `[-2, 2]`.
    pub presence: f32,
    /// Taken off from each token of the reply so far as often as it occurs, in `[-2, 2]`.
    pub frequency: f32,
    /// Divides the positive logits of tokens of prompt and reply, and multiplies the others, in `[0.01, 100]`.
    pub repetition: f32,
}

impl Penalties {
    /// No penalties.
    pub const NONE: Self = Self { presence: 0.0, frequency: 0.0, repetition: 1.0 };

    /// Checks the ranges. The bounds of the repetition penalty, which vLLM does not have, keep every logit finite.
    pub(super) fn validate(&self) -> Result<(), SamplingError> {
        check((-2.0..=2.0).contains(&self.presence), "presence_penalty", "between -2 and 2")?;
        check((-2.0..=2.0).contains(&self.frequency), "frequency_penalty", "between -2 and 2")?;
        check((0.01..=100.0).contains(&self.repetition), "repetition_penalty", "between 0.01 and 100")
    }
}

/// What a sequence's penalties are about.
#[derive(Clone, Debug)]
pub(super) struct History {
    penalties: Penalties,
    /// Tokens of the prompt and of the reply; empty if nobody asks for them.
    seen: HashSet<u32>,
    /// How often each token of the reply occurs in it.
    said: HashMap<u32, u32>,
}

impl History {
    /// Of a reply that has not begun; `None` without penalties, so that such a sequence keeps no books.
    pub(super) fn new(penalties: Penalties, prompt: &[u32]) -> Option<Self> {
        if penalties == Penalties::NONE {
            return None;
        }
        #[expect(clippy::float_cmp, reason = "exactly 1 is what is said for no penalty")]
        let repeats = penalties.repetition != 1.0;
        let seen = if repeats { prompt.iter().copied().collect() } else { HashSet::new() };
        Some(Self { penalties, seen, said: HashMap::new() })
    }

    /// Takes the reply's next token.
    pub(super) fn push(&mut self, token: u32) {
        *self.said.entry(token).or_default() += 1;
    }

    /// Applies the penalties. `logits` are `[V]`; the order of the tokens makes no difference, each is changed alone.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        let Penalties { presence, frequency, repetition } = self.penalties;
        let repeated = |logit: &mut f32| {
            *logit = if *logit > 0.0 { *logit / repetition } else { *logit * repetition };
        };
        for token in &self.seen {
            if let Some(logit) = logits.get_mut(*token as usize) {
                repeated(logit);
            }
        }
        for (token, count) in &self.said {
            let Some(logit) = logits.get_mut(*token as usize) else { continue };
            if !self.seen.contains(token) {
                repeated(logit);
            }
            *logit -= frequency * *count as f32 + presence;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, token by token, over the whole sequence.
    fn naive(penalties: Penalties, logits: &[f32], prompt: &[u32], reply: &[u32]) -> Vec<f32> {
        let one = |(token, logit): (usize, &f32)| {
            let count = reply.iter().filter(|said| **said as usize == token).count();
            let in_prompt = prompt.iter().any(|seen| *seen as usize == token);
            let mut logit = *logit;
            if count > 0 || in_prompt {
                logit = if logit > 0.0 { logit / penalties.repetition } else { logit * penalties.repetition };
            }
            if count > 0 {
                logit -= penalties.frequency * count as f32 + penalties.presence;
            }
            logit
        };
        logits.iter().enumerate().map(one).collect()
    }

    fn applied(penalties: Penalties, logits: &[f32], prompt: &[u32], reply: &[u32]) -> Vec<f32> {
        let mut logits = logits.to_vec();
        if let Some(mut history) = History::new(penalties, prompt) {
            for token in reply {
                history.push(*token);
            }
            history.apply(&mut logits);
        }
        logits
    }

    #[test]
    fn each_penalty_counts_its_own_tokens() {
        let (logits, prompt, reply) = ([1.0, -1.0, 2.0, 0.5], [0, 1], [2, 2]);
        let penalised = |penalties| applied(penalties, &logits, &prompt, &reply);
        assert_eq!(penalised(Penalties { presence: 0.5, ..Penalties::NONE }), [1.0, -1.0, 1.5, 0.5]);
        assert_eq!(penalised(Penalties { frequency: 0.5, ..Penalties::NONE }), [1.0, -1.0, 1.0, 0.5]);
        assert_eq!(penalised(Penalties { repetition: 2.0, ..Penalties::NONE }), [0.5, -2.0, 1.0, 0.5]);
        assert_eq!(penalised(Penalties::NONE), logits);
    }

    proptest! {
        #[test]
        fn penalties_are_what_the_definition_says(
            (presence, frequency, repetition) in (-2.0_f32..2.0, -2.0_f32..2.0, 0.5_f32..2.0),
            logits in prop::collection::vec(-20.0_f32..20.0, 12),
            prompt in prop::collection::vec(0_u32..14, 0..20),
            reply in prop::collection::vec(0_u32..14, 0..20),
        ) {
            for penalties in [
                Penalties { presence, ..Penalties::NONE },
                Penalties { frequency, ..Penalties::NONE },
                Penalties { repetition, ..Penalties::NONE },
                Penalties { presence, frequency, repetition },
            ] {
                prop_assert_eq!(
                    applied(penalties, &logits, &prompt, &reply),
                    naive(penalties, &logits, &prompt, &reply)
                );
            }
        }
    }
}
