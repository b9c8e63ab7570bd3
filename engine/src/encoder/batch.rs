//! Which texts go through the network together. Pure.
//!
//! A batch is a rectangle as long as its longest text, so what it costs is counted with the padding. Texts wait in
//! the order in which they came; a request's own were sorted by length before, so that like stands beside like.

use std::collections::VecDeque;

/// Bounds on one forward pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Tokens, padding included. A longer text goes alone.
    pub(super) tokens_max: usize,
    /// Texts.
    pub(super) texts_max: usize,
    /// Memory of the attention's scores.
    pub(super) attention: AttentionMemory,
}

/// What the scores of every token for every other take, which grows with the square of a text's length.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttentionMemory {
    pub(super) bytes_max: u64,
    /// Scores of each pair of tokens that are alive at once: heads, times the copies that the network holds.
    pub(super) scores_per_pair: usize,
}

impl AttentionMemory {
    fn bytes(self, texts: usize, longest: usize) -> u64 {
        let scores = (texts * self.scores_per_pair * longest * longest) as u64;
        scores * size_of::<f32>() as u64
    }

    /// The longest text that fits, in tokens.
    pub(super) fn longest(self) -> usize {
        let bytes_of_one = self.bytes(1, 1).max(1);
        (self.bytes_max / bytes_of_one).isqrt() as usize
    }
}

impl Limits {
    fn hold(&self, texts: usize, longest: usize) -> bool {
        let fits = self.attention.bytes(texts, longest) <= self.attention.bytes_max;
        texts <= self.texts_max && texts * longest <= self.tokens_max && fits
    }

    /// Takes the next batch from the front of `queue`, of which `len` says how long an element is. At least one
    /// unless the queue is empty.
    pub(super) fn take<T>(&self, queue: &mut VecDeque<T>, len: impl Fn(&T) -> usize) -> Vec<T> {
        let (mut texts, mut longest) = (0, 0);
        for waiting in queue.iter() {
            longest = longest.max(len(waiting));
            if texts > 0 && !self.hold(texts + 1, longest) {
                break;
            }
            texts += 1;
        }
        queue.drain(..texts).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::{AttentionMemory, Limits};

    fn limits(tokens_max: usize, texts_max: usize, bytes_max: u64) -> Limits {
        Limits { tokens_max, texts_max, attention: AttentionMemory { bytes_max, scores_per_pair: 8 } }
    }

    proptest! {
        #[test]
        fn batches_keep_the_order_lose_nothing_and_stay_within_every_limit(
            lens in prop::collection::vec(1usize..50, 0..60),
            tokens_max in 1usize..200,
            texts_max in 1usize..10,
            bytes_max in 1u64..100_000,
        ) {
            let limits = limits(tokens_max, texts_max, bytes_max);
            let mut queue: VecDeque<usize> = lens.iter().copied().collect();
            let mut taken = Vec::new();
            while !queue.is_empty() {
                let batch = limits.take(&mut queue, |len| *len);
                prop_assert!(!batch.is_empty(), "a batch makes progress");
                let (texts, longest) = (batch.len(), *batch.iter().max().unwrap());
                if texts > 1 {
                    prop_assert!(texts <= texts_max && texts * longest <= tokens_max);
                    prop_assert!((texts * longest * longest * 8 * 4) as u64 <= bytes_max);
                }
                // What was left out did not fit.
                if let Some(next) = queue.front() {
                    let longest = longest.max(*next);
                    let bytes = ((texts + 1) * longest * longest * 8 * 4) as u64;
                    prop_assert!(texts == texts_max || (texts + 1) * longest > tokens_max || bytes > bytes_max);
                }
                taken.extend(batch);
            }
            prop_assert_eq!(taken, lens);
        }
    }

    #[test]
    fn the_longest_text_is_the_one_whose_scores_just_fit() {
        let memory = AttentionMemory { bytes_max: 1 << 20, scores_per_pair: 8 };
        let longest = memory.longest();
        assert!(memory.bytes(1, longest) <= memory.bytes_max);
        assert!(memory.bytes(1, longest + 1) > memory.bytes_max);
    }
}
