//! Which tokens go through the model in the next step. Pure: no clock, no device, no randomness.
//!
//! There is no prefill phase and no decode phase. A sequence has tokens and a count of computed ones; a step
//! takes the difference, cut to what is left of the step's token budget. A decoding sequence's difference is
//! one token; a new prompt's is its length; a preempted sequence's is everything it had.
//!
//! Order: running sequences first, in order of arrival, then waiting ones while budget, places and blocks
//! last; nobody overtakes in the queue. When a running sequence needs a block and none is free, the youngest
//! running one gives all of its blocks back and goes to the head of the queue (recompute preemption). The
//! oldest sequence is never the victim of a younger one and every admitted sequence fits the whole pool
//! alone, so there is always progress.
//!
//! Deliberately absent: priorities, fair shares and prefix sharing.

pub(crate) mod block;
pub(crate) mod sequence;
#[cfg(test)]
mod simulation;

use std::collections::{HashMap, VecDeque};

use block::BlockManager;
use kernels::Reach;
use sequence::{SeqId, Sequence};

/// What bounds a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepLimits {
    /// Tokens in one forward pass.
    pub(crate) tokens_max: usize,
    /// Sequences in one forward pass.
    pub(crate) sequences_max: usize,
}

/// Blocks that one sequence can hold at once in a group of this reach; `None` if that grows with the sequence.
///
/// A chunk of `tokens_max` tokens and the keys before it that its first token sees, at the worst place in a block.
pub(crate) fn reach_blocks_max(reach: Reach, limits: StepLimits, block_size: usize) -> Option<usize> {
    reach.keys_max().map(|keys| (keys.saturating_sub(1) + limits.tokens_max).div_ceil(block_size) + 1)
}

/// One sequence's part of a step: positions `start..start + len` go through the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: SeqId,
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Whether the chunk ends at the sequence's last token, so that the next one can be sampled.
    pub(crate) samples: bool,
}

/// A step, in batch order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    /// Running sequences that gave their blocks back for this step.
    pub(crate) preempted: usize,
}

/// The live sequences of one engine.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: StepLimits,
    sequences: HashMap<SeqId, Sequence>,
    /// In order of arrival.
    running: Vec<SeqId>,
    waiting: VecDeque<SeqId>,
}

impl Scheduler {
    pub(crate) fn new(limits: StepLimits) -> Self {
        assert!(limits.tokens_max > 0 && limits.sequences_max > 0, "a step has room for something");
        Self { limits, sequences: HashMap::new(), running: Vec::new(), waiting: VecDeque::new() }
    }

    /// Queues a sequence. The caller has checked that its full length fits the pool.
    pub(crate) fn add(&mut self, sequence: Sequence) {
        self.waiting.push_back(sequence.id);
        let earlier = self.sequences.insert(sequence.id, sequence);
        assert!(earlier.is_none(), "a sequence number was used twice");
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.sequences.is_empty()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn sequence(&self, id: SeqId) -> &Sequence {
        &self.sequences[&id]
    }

    /// Ends a sequence, for whatever reason, and frees its blocks. The only way out.
    pub(crate) fn finish(&mut self, id: SeqId, blocks: &mut BlockManager) {
        if let Some(mut sequence) = self.sequences.remove(&id) {
            blocks.release(&mut sequence.tables);
            self.running.retain(|other| *other != id);
            self.waiting.retain(|other| *other != id);
        }
    }

    /// Decides the next step and takes the blocks that it writes to.
    pub(crate) fn plan(&mut self, blocks: &mut BlockManager) -> Plan {
        let mut plan = Plan::default();
        let mut budget = self.limits.tokens_max;
        // Before anybody takes a block: what one sequence no longer sees may be what another one lacks.
        for id in &self.running {
            let sequence = self.sequences.get_mut(id).expect("a running sequence is live");
            blocks.free_unseen(&mut sequence.tables, sequence.computed);
        }
        self.plan_running(&mut plan, &mut budget, blocks);
        // After a preemption the pool is exhausted: a newcomer would take what the victim gave.
        if plan.preempted == 0 {
            self.plan_waiting(&mut plan, &mut budget, blocks);
        }
        debug_assert!(self.is_consistent(&plan, blocks));
        plan
    }

    fn plan_running(&mut self, plan: &mut Plan, budget: &mut usize, blocks: &mut BlockManager) {
        let mut next = 0;
        while next < self.running.len() && *budget > 0 {
            let id = self.running[next];
            if self.take(id, plan, budget, blocks) {
                next += 1;
            } else {
                // The victim is behind `next` in the order or `next` itself, so no planned item is undone.
                let victim = self.running.pop().expect("the sequence at `next` is running");
                self.preempt(victim, blocks);
                plan.preempted += 1;
            }
        }
    }

    fn plan_waiting(&mut self, plan: &mut Plan, budget: &mut usize, blocks: &mut BlockManager) {
        while *budget > 0 && self.running.len() < self.limits.sequences_max {
            let Some(&id) = self.waiting.front() else { break };
            if !self.take(id, plan, budget, blocks) {
                break;
            }
            self.waiting.pop_front();
            self.running.push(id);
        }
    }

    /// Puts the next chunk of a sequence into the plan, or changes nothing if its blocks are not to be had.
    fn take(&mut self, id: SeqId, plan: &mut Plan, budget: &mut usize, blocks: &mut BlockManager) -> bool {
        let sequence = self.sequences.get_mut(&id).expect("a scheduled sequence is live");
        let len = sequence.remaining().min(*budget);
        if !blocks.grow(&mut sequence.tables, sequence.computed + len) {
            return false;
        }
        let samples = len == sequence.remaining();
        plan.items.push(Item { id, start: sequence.computed, len, samples });
        *budget -= len;
        true
    }

    fn preempt(&mut self, id: SeqId, blocks: &mut BlockManager) {
        let sequence = self.sequences.get_mut(&id).expect("a running sequence is live");
        blocks.release(&mut sequence.tables);
        sequence.computed = 0;
        self.waiting.push_front(id);
    }

    /// Records that an item went through the model, and the token sampled from it if it samples. Returns
    /// whether the sequence reached its length limit.
    pub(crate) fn commit(&mut self, item: Item, sampled: Option<u32>) -> bool {
        assert_eq!(
            item.samples,
            sampled.is_some(),
            "an item is sampled exactly if its chunk ends the sequence"
        );
        let sequence = self.sequences.get_mut(&item.id).expect("a planned sequence is live until committed");
        assert_eq!(sequence.computed, item.start, "a step was committed twice");
        sequence.computed += item.len;
        sequence.tokens.extend(sampled);
        sequence.tokens.len() >= sequence.len_max
    }

    /// The invariants that hold between steps and after each plan.
    pub(crate) fn is_consistent(&self, plan: &Plan, blocks: &BlockManager) -> bool {
        let planned: usize = plan.items.iter().map(|item| item.len).sum();
        let within_limits = planned <= self.limits.tokens_max
            && self.running.len() <= self.limits.sequences_max
            && plan.items.len() <= self.limits.sequences_max;
        let listed_once = self.running.len() + self.waiting.len() == self.sequences.len()
            && self.running.iter().chain(&self.waiting).all(|id| self.sequences.contains_key(id));
        let computed =
            self.sequences.values().all(|s| s.computed < s.tokens.len() && s.tokens.len() < s.len_max);
        let waiting_hold_nothing = self
            .waiting
            .iter()
            .all(|id| self.sequences[id].tables.is_empty() && self.sequences[id].computed == 0);
        let items_fit = plan.items.iter().all(|item| {
            let sequence = &self.sequences[&item.id];
            let end = item.start + item.len;
            item.len > 0
                && item.samples == (end == sequence.tokens.len())
                && blocks.cover(&sequence.tables, item.start, end)
        });
        let progress = self.is_idle() || !plan.items.is_empty();
        let tables = self.sequences.values().map(|sequence| sequence.tables.as_slice());
        within_limits
            && listed_once
            && computed
            && waiting_hold_nothing
            && items_fit
            && progress
            && blocks.is_consistent(tables)
    }
}
