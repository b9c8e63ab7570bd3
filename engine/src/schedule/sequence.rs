//! One request's tokens and how far they have been computed.

use std::ops::Range;

use super::Item;
use super::block::{BlockManager, BlockTable};
use super::prefix::Chain;
use super::queue::{Lane, Priority};

/// A sequence's number, unique in its engine's life and rising with arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeqId(pub(crate) u64);

/// A prompt and what was generated after it.
///
/// Positions of a live sequence (half-open):
///   `[0, cached)`              keys and values were there before it came
///   `[0, computed)`            keys and values are in the cache
///   `[computed, tokens.len())` still to be put through the model: a prompt, or one decode token, or
///                              everything again after a preemption
///   `[tokens.len(), …)`        drafted, while a step is planned
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SeqId,
    pub(crate) lane: Lane,
    pub(crate) tokens: Vec<u32>,
    pub(crate) computed: usize,
    /// Of these tokens, those of the prompt that were found when it first ran; `None` before.
    pub(crate) cached: Option<usize>,
    /// What is put through the model behind its tokens in the step that is planned, to see whether it is right.
    pub(super) draft: Vec<u32>,
    /// One for each group of layers; none while it holds nothing.
    pub(crate) tables: Vec<BlockTable>,
    /// Tokens, prompt included, after which the sequence ends.
    pub(crate) len_max: usize,
    /// Positions whose logits are wanted beside those of the last token, as far as they have not been given.
    pub(crate) scored: Range<usize>,
    /// What its full blocks hold.
    pub(super) chain: Chain,
    /// Whether it has lost its blocks once, after which it yields to nobody that came later.
    pub(super) is_promoted: bool,
}

impl Sequence {
    /// A sequence that has not run yet. `new_max` is at least 1.
    pub(crate) fn new(id: SeqId, lane: Lane, prompt: Vec<u32>, new_max: usize) -> Self {
        assert!(!prompt.is_empty(), "an empty prompt has no position to predict from");
        assert!(new_max > 0, "a sequence generates at least one token");
        let len_max = prompt.len() + new_max;
        let chain = Chain::of(&lane.tenant);
        Self {
            id,
            lane,
            tokens: prompt,
            computed: 0,
            cached: None,
            draft: Vec::new(),
            tables: Vec::new(),
            len_max,
            chain,
            is_promoted: false,
            scored: 0..0,
        }
    }

    /// Wants the logits of every position of the prompt, each once. What was computed for somebody else has none, so
    /// such a sequence computes all of its prompt.
    pub(crate) fn with_scores(mut self) -> Self {
        self.scored = 0..self.tokens.len() - 1;
        self
    }

    /// The positions of a chunk whose logits are wanted, beside those of the last token.
    pub(crate) fn scored_within(&self, start: usize, end: usize) -> Range<usize> {
        start.max(self.scored.start)..end.min(self.scored.end)
    }

    /// Tokens to put through the model before the next one can be sampled.
    pub(crate) fn remaining(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Its place among the running: the last one is the first to give way.
    pub(super) fn rank(&self) -> (Priority, SeqId) {
        let priority = if self.is_promoted { Priority::Interactive } else { self.lane.priority };
        (priority, self.id)
    }

    /// Its next `len` tokens and its draft as a part of a step.
    pub(super) fn item(&self, len: usize) -> Item {
        let (samples, drafted) = (len == self.remaining(), self.draft.len());
        let rows = if samples { drafted + 1 } else { 0 };
        Item { id: self.id, start: self.computed, len: len + drafted, drafted, samples, rows }
    }

    /// The tokens that an item of it puts through the model.
    pub(crate) fn tokens_of(&self, item: &Item) -> impl Iterator<Item = u32> {
        self.tokens[item.start..].iter().chain(&self.draft).copied().take(item.len)
    }

    /// What is guessed to follow its tokens.
    pub(crate) fn draft(&self) -> &[u32] {
        &self.draft
    }

    /// Takes over what the cache still has of its beginning. At least one token is left, whose logits give the next.
    pub(super) fn adopt(&mut self, blocks: &mut BlockManager) {
        let block_size = blocks.block_size_tokens();
        // Positions whose logits are wanted are computed, whoever has computed them before.
        let end = if self.scored.is_empty() { self.tokens.len() - 1 } else { self.scored.start };
        let full = end / block_size;
        self.computed = blocks.adopt(&mut self.tables, self.chain.keys(&self.tokens, block_size, full));
    }

    /// Records that `len` more tokens went through the model; others may find the blocks that they filled.
    pub(super) fn compute(&mut self, len: usize, blocks: &mut BlockManager) {
        let block_size = blocks.block_size_tokens();
        let filled = self.computed / block_size;
        self.computed += len;
        let keys = self.chain.keys(&self.tokens, block_size, self.computed / block_size);
        blocks.name(&self.tables, keys, filled);
    }

    /// Gives all blocks back and begins anew.
    pub(super) fn give_up(&mut self, blocks: &mut BlockManager) {
        blocks.release(&mut self.tables);
        self.draft.clear();
        self.computed = 0;
    }
}
