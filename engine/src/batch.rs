//! A step as the model sees it: one flat list of tokens with positions, cache slots and spans.

use kernels::{Paging, SeqSpan};

use crate::schedule::block::BlockManager;
use crate::schedule::sequence::SeqId;
use crate::schedule::{Plan, Scheduler};

/// The T tokens of a step, prefill chunks and decode tokens side by side.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Token ids, `[T]`.
    pub(crate) tokens: Vec<u32>,
    /// Positions in their sequences, `[T]`.
    pub(crate) positions: Vec<u32>,
    /// Where the tokens' keys are, for each group of layers.
    pub(crate) groups: Vec<GroupBatch>,
    /// Rows of the batch whose logits are wanted, in the order of the plan's items.
    pub(crate) logit_rows: Vec<u32>,
    /// Further rows whose logits are wanted: those of prompts of which log-probabilities are told.
    pub(crate) scored_rows: Vec<ScoredRow>,
}

/// A row of the batch whose logits tell the probability of a prompt's token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoredRow {
    /// The row.
    pub(crate) row: u32,
    /// Whose prompt.
    pub(crate) id: SeqId,
    /// The token that comes next in it.
    pub(crate) next: u32,
}

/// A step's place in the caches of one group of layers.
#[derive(Debug)]
pub(crate) struct GroupBatch {
    /// Cache slots that receive the keys and values, `[T]`.
    pub(crate) slots: Vec<i64>,
    /// Which tokens belong together and where their context lies.
    pub(crate) paging: Paging,
}

impl Batch {
    /// Lays the plan's items out one after the other.
    pub(crate) fn new(plan: &Plan, scheduler: &Scheduler, blocks: &BlockManager) -> Self {
        let group = |group| GroupBatch::new(plan, scheduler, blocks, group);
        let mut batch = Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            groups: (0..blocks.groups()).map(group).collect(),
            logit_rows: Vec::new(),
            scored_rows: Vec::new(),
        };
        for item in &plan.items {
            let end = item.start + item.len;
            let sequence = scheduler.sequence(item.id);
            let first_row = batch.tokens.len();
            batch.scored_rows.extend(sequence.scored_within(item.start, end).map(|position| ScoredRow {
                row: (first_row + position - item.start) as u32,
                id: item.id,
                next: sequence.tokens[position + 1],
            }));
            batch.tokens.extend(sequence.tokens_of(item));
            batch.positions.extend((item.start..end).map(|position| position as u32));
            let rows = batch.tokens.len() as u32;
            batch.logit_rows.extend(rows - item.rows as u32..rows);
        }
        batch
    }
}

impl GroupBatch {
    fn new(plan: &Plan, scheduler: &Scheduler, blocks: &BlockManager, group: usize) -> Self {
        let block_size = blocks.block_size_tokens();
        let mut slots = Vec::new();
        let mut spans = Vec::with_capacity(plan.items.len());
        for item in &plan.items {
            let table = &scheduler.sequence(item.id).tables[group];
            let end = item.start + item.len;
            for position in item.start..end {
                let block = table.block_at(position / block_size);
                slots.push(i64::from(block.0) * block_size as i64 + (position % block_size) as i64);
            }
            spans.push(SeqSpan {
                query_len: item.len,
                context_len: end,
                freed: table.freed(),
                blocks: table.blocks().iter().map(|block| block.0).collect(),
            });
        }
        Self { slots, paging: Paging { block_size, spans } }
    }
}
