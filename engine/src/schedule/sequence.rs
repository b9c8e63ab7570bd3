//! One request's tokens and how far they have been computed.

use super::block::BlockTable;

/// A sequence's number, unique in its engine's life and rising with arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeqId(pub(crate) u64);

/// A prompt and what was generated after it.
///
/// Positions of a live sequence (half-open):
///   `[0, computed)`            keys and values are in the cache
///   `[computed, tokens.len())` still to be put through the model: a prompt, or one decode token, or
///                              everything again after a preemption
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SeqId,
    pub(crate) tokens: Vec<u32>,
    pub(crate) computed: usize,
    /// One for each group of layers; none while it holds nothing.
    pub(crate) tables: Vec<BlockTable>,
    /// Tokens, prompt included, after which the sequence ends.
    pub(crate) len_max: usize,
}

impl Sequence {
    /// A sequence that has not run yet. `new_max` is at least 1.
    pub(crate) fn new(id: SeqId, prompt: Vec<u32>, new_max: usize) -> Self {
        assert!(!prompt.is_empty(), "an empty prompt has no position to predict from");
        assert!(new_max > 0, "a sequence generates at least one token");
        let len_max = prompt.len() + new_max;
        Self { id, tokens: prompt, computed: 0, tables: Vec::new(), len_max }
    }

    /// Tokens to put through the model before the next one can be sampled.
    pub(crate) fn remaining(&self) -> usize {
        self.tokens.len() - self.computed
    }
}
