//! A step as the model sees it: one flat list of tokens with positions, cache slots and spans.

use kernels::{Paging, SeqSpan};

use crate::schedule::block::BlockManager;
use crate::schedule::{Plan, Scheduler};

/// The T tokens of a step, prefill chunks and decode tokens side by side.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Token ids, `[T]`.
    pub(crate) tokens: Vec<u32>,
    /// Positions in their sequences, `[T]`.
    pub(crate) positions: Vec<u32>,
    /// Cache slots that receive the keys and values, `[T]`.
    pub(crate) slots: Vec<i64>,
    /// Which tokens belong together and where their context lies.
    pub(crate) paging: Paging,
    /// Rows of the batch whose logits are wanted, in the order of the plan's sampling items.
    pub(crate) logit_rows: Vec<u32>,
}

impl Batch {
    /// Lays the plan's items out one after the other.
    pub(crate) fn new(plan: &Plan, scheduler: &Scheduler, blocks: &BlockManager) -> Self {
        let block_size = blocks.block_size_tokens();
        let paging = Paging { block_size, spans: Vec::with_capacity(plan.items.len()) };
        let mut batch = Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            slots: Vec::new(),
            paging,
            logit_rows: Vec::new(),
        };
        for item in &plan.items {
            let sequence = scheduler.sequence(item.id);
            let end = item.start + item.len;
            batch.tokens.extend_from_slice(&sequence.tokens[item.start..end]);
            for position in item.start..end {
                let block = sequence.blocks[position / block_size].0;
                batch.positions.push(position as u32);
                batch.slots.push(i64::from(block) * block_size as i64 + (position % block_size) as i64);
            }
            if item.samples {
                batch.logit_rows.push(batch.tokens.len() as u32 - 1);
            }
            let blocks = sequence.blocks.iter().map(|block| block.0).collect();
            batch.paging.spans.push(SeqSpan { query_len: item.len, context_len: end, blocks });
        }
        batch
    }
}
