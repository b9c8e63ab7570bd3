//! Which tokens go through the model in the next step. Pure: no clock, no device, no randomness.
//!
//! There is no prefill phase and no decode phase. A sequence has tokens and a count of computed ones; a step
//! takes the difference, cut to what is left of the step's token budget. A decoding sequence's difference is
//! one token; a new prompt's is its length; a preempted sequence's is everything it had. What the prefix cache
//! still has of a beginning is not computed again.
//!
//! Order: first what runs and is interactive, then interactive sequences that wait, then the same for batch work, each
//! while budget, places and blocks last. Who of the waiting is next is [`queue`]'s to say; if the next one does not fit,
//! nobody overtakes it. A chunk leaves a token of the budget for each of the running behind it, and half of the rest while
//! somebody waits for a place that is free: a long prompt stops no reply, and a short one begins beside it.
//!
//! When a running sequence needs a block and none is free, the running one of lowest rank gives all of its blocks back
//! and waits before all others (recompute preemption); batch work does so for interactive work that waits, too. Rank is
//! priority, then arrival. Who was preempted once counts as interactive from then on: it gives way only to what came
//! before it, so that each sequence is preempted a bounded number of times. The first in rank never gives way and every
//! admitted sequence fits the whole pool alone, so there is always progress.

pub(crate) mod block;
mod pool;
mod prefix;
pub(crate) mod queue;
pub(crate) mod sequence;
#[cfg(test)]
mod simulation;

use block::BlockManager;
use hashbrown::HashMap;
use kernels::Reach;
use queue::{Priority, Queue};
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
    /// Of these, the last ones are a draft.
    pub(crate) drafted: usize,
    /// Whether the chunk reaches the sequence's last token, so that the next one can be sampled.
    pub(crate) samples: bool,
    /// The logits of this many positions at the end of the chunk are wanted.
    pub(crate) rows: usize,
}

/// A step, in batch order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    /// Running sequences that gave their blocks back for this step.
    pub(crate) preempted: usize,
}

impl Plan {
    /// Tokens of chunks that are more than the one of a decoding sequence.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.items.iter().map(|item| item.len - item.drafted).filter(|len| *len > 1).sum()
    }
}

/// The live sequences of one engine.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: StepLimits,
    sequences: HashMap<SeqId, Sequence>,
    /// By rank.
    running: Vec<SeqId>,
    queue: Queue,
}

impl Scheduler {
    pub(crate) fn new(limits: StepLimits) -> Self {
        assert!(limits.tokens_max > 0 && limits.sequences_max > 0, "a step has room for something");
        Self { limits, sequences: HashMap::new(), running: Vec::new(), queue: Queue::default() }
    }

    /// Queues a sequence. The caller has checked that its full length fits the pool.
    pub(crate) fn add(&mut self, sequence: Sequence) {
        self.queue.join(sequence.id, &sequence.lane);
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
        self.queue.len()
    }

    /// Tokens of prompts that are still to be read: of interactive sequences, and of all.
    pub(crate) fn unread_tokens(&self) -> (usize, usize) {
        let unread = self.sequences.values().map(|sequence| (sequence.rank().0, sequence.remaining()));
        unread.filter(|(_, tokens)| *tokens > 1).fold((0, 0), |(interactive, all), (priority, tokens)| {
            (interactive + if priority == Priority::Interactive { tokens } else { 0 }, all + tokens)
        })
    }

    pub(crate) fn sequence(&self, id: SeqId) -> &Sequence {
        &self.sequences[&id]
    }

    /// Ends a sequence, for whatever reason, and frees its blocks, which can still be found by what they hold. The only
    /// way out.
    pub(crate) fn finish(&mut self, id: SeqId, blocks: &mut BlockManager) {
        if let Some(mut sequence) = self.sequences.remove(&id) {
            blocks.release(&mut sequence.tables);
            self.running.retain(|other| *other != id);
            self.queue.forget(id, &sequence.lane);
        }
    }

    /// Asks for a draft of what a decoding sequence says next, given its tokens and the most that is of use. The next step
    /// reads as much of it as there is room for, and [`Self::commit`] says what was right.
    pub(crate) fn propose(&mut self, id: SeqId, draft: impl FnOnce(&[u32], usize) -> Vec<u32>) {
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        // The token after the draft is sampled as well, and is the last one at most.
        let max = (sequence.len_max - sequence.tokens.len()).saturating_sub(1);
        if sequence.remaining() == 1 && max > 0 {
            sequence.draft = draft(&sequence.tokens, max);
            debug_assert!(sequence.draft.len() <= max, "a draft is longer than what is of use");
        }
    }

    /// Decides the next step and takes the blocks that it writes to.
    pub(crate) fn plan(&mut self, blocks: &mut BlockManager) -> Plan {
        let mut step = Step { plan: Plan::default(), budget: self.limits.tokens_max, next: 0 };
        // Before anybody takes a block: what one sequence no longer sees may be what another one lacks.
        for id in &self.running {
            let sequence = self.sequences.get_mut(id).expect("a running sequence is live");
            blocks.free_unseen(&mut sequence.tables, sequence.computed);
        }
        self.go_on(Priority::Interactive, &mut step, blocks);
        self.admit(Priority::Interactive, &mut step, blocks);
        self.go_on(Priority::Batch, &mut step, blocks);
        if self.queue.next(Priority::Interactive).is_none() {
            self.admit(Priority::Batch, &mut step, blocks);
        }
        self.top_up(&mut step, blocks);
        debug_assert!(self.is_consistent(&step.plan, blocks));
        step.plan
    }

    /// Plans the running sequences of a priority, from the first that is not planned yet.
    fn go_on(&mut self, priority: Priority, step: &mut Step, blocks: &mut BlockManager) {
        while step.budget > 0
            && let Some(&id) = self.running.get(step.next)
            && self.sequences[&id].rank().0 == priority
        {
            if self.take(id, step, blocks) {
                step.next += 1;
            } else {
                // The last one is not planned yet, so no item is undone.
                self.preempt_last(step, blocks);
            }
        }
    }

    /// Lets waiting sequences of a priority run. After a preemption the pool is exhausted: a newcomer would take what the
    /// victim gave, so it ends with the one that somebody made room for.
    fn admit(&mut self, priority: Priority, step: &mut Step, blocks: &mut BlockManager) {
        while step.budget > 0
            && step.plan.preempted == 0
            && let Some(id) = self.queue.next(priority)
        {
            while self.running.len() == self.limits.sequences_max || !self.take(id, step, blocks) {
                if !self.gives_way_to(id, step) {
                    return;
                }
                self.preempt_last(step, blocks);
            }
            self.queue.leave(id, &self.sequences[&id].lane);
            let rank = self.sequences[&id].rank();
            let place = self.running.partition_point(|other| self.sequences[other].rank() < rank);
            self.running.insert(place, id);
            step.next += usize::from(place <= step.next);
        }
    }

    /// Whether the last of the running is batch work that is not planned yet, and `id` is not.
    fn gives_way_to(&self, id: SeqId, step: &Step) -> bool {
        let last = self.running.last().filter(|_| step.next < self.running.len());
        last.is_some_and(|last| self.sequences[last].rank().0 == Priority::Batch)
            && self.sequences[&id].lane.priority == Priority::Interactive
    }

    /// Puts the next chunk of a sequence into the plan, or changes nothing if its blocks are not to be had.
    fn take(&mut self, id: SeqId, step: &mut Step, blocks: &mut BlockManager) -> bool {
        let share = self.share(id, step);
        let sequence = self.sequences.get_mut(&id).expect("a scheduled sequence is live");
        let begins = sequence.tables.is_empty();
        if begins {
            sequence.adopt(blocks);
        }
        let len = sequence.remaining().min(share);
        sequence.draft.truncate(share - len);
        if !blocks.grow(&mut sequence.tables, sequence.computed + len + sequence.draft.len()) {
            sequence.draft.clear();
            if !blocks.grow(&mut sequence.tables, sequence.computed + len) {
                if begins {
                    sequence.give_up(blocks);
                }
                return false;
            }
        }
        sequence.cached.get_or_insert(sequence.computed);
        let item = sequence.item(len);
        step.plan.items.push(item);
        step.budget -= item.len;
        self.queue.charge(&sequence.lane.tenant, item.len);
        true
    }

    /// The most tokens of one sequence: a token is kept for each that runs and is not planned yet, and half of the rest for
    /// those that could begin.
    fn share(&self, id: SeqId, step: &Step) -> usize {
        let is_first = self.running.get(step.next) == Some(&id);
        let kept = self.running.len() - step.next - usize::from(is_first);
        let rest = step.budget.saturating_sub(kept).max(1);
        let could_begin =
            self.queue.len() > usize::from(!is_first) && self.running.len() < self.limits.sequences_max;
        if could_begin { rest.div_ceil(2) } else { rest }
    }

    /// Gives what is left of the budget to chunks that were cut for newcomers who did not come.
    fn top_up(&mut self, step: &mut Step, blocks: &mut BlockManager) {
        for item in &mut step.plan.items {
            let sequence = self.sequences.get_mut(&item.id).expect("a planned sequence is live");
            let more = sequence.remaining().saturating_sub(item.len).min(step.budget);
            if more > 0 && blocks.grow(&mut sequence.tables, sequence.computed + item.len + more) {
                *item = sequence.item(item.len + more);
                step.budget -= more;
                self.queue.charge(&sequence.lane.tenant, more);
            }
        }
    }

    fn preempt_last(&mut self, step: &mut Step, blocks: &mut BlockManager) {
        let id = self.running.pop().expect("somebody runs");
        let sequence = self.sequences.get_mut(&id).expect("a running sequence is live");
        sequence.give_up(blocks);
        sequence.is_promoted = true;
        self.queue.come_back(id);
        step.plan.preempted += 1;
    }

    /// Records that an item went through the model, and the tokens sampled from it: none if it does not sample or the
    /// sequence ends, otherwise those of its draft that were right and the one after them. Returns whether the sequence
    /// reached its length limit.
    pub(crate) fn commit(&mut self, item: Item, sampled: &[u32], blocks: &mut BlockManager) -> bool {
        assert!(
            if item.samples { sampled.len() <= item.drafted + 1 } else { sampled.is_empty() },
            "an item is sampled exactly if its chunk ends the sequence"
        );
        let sequence = self.sequences.get_mut(&item.id).expect("a planned sequence is live until committed");
        assert_eq!(sequence.computed, item.start, "a step was committed twice");
        sequence.scored.start = sequence.scored.start.max(item.start + item.len);
        sequence.tokens.extend(sampled);
        sequence.draft.clear();
        sequence.compute(item.len - item.drafted + sampled.len().saturating_sub(1), blocks);
        sequence.tokens.len() >= sequence.len_max
    }

    /// The invariants that hold between steps and after each plan.
    pub(crate) fn is_consistent(&self, plan: &Plan, blocks: &BlockManager) -> bool {
        let planned: usize = plan.items.iter().map(|item| item.len).sum();
        let within_limits = planned <= self.limits.tokens_max
            && self.running.len() <= self.limits.sequences_max
            && plan.items.len() <= self.limits.sequences_max;
        let listed_once = self.running.len() + self.queue.len() == self.sequences.len()
            && self.running.iter().all(|id| self.sequences.contains_key(id))
            && self.running.is_sorted_by_key(|id| self.sequences[id].rank());
        let computed =
            self.sequences.values().all(|s| s.computed < s.tokens.len() && s.tokens.len() < s.len_max);
        let waiting_hold_nothing = self.sequences.values().all(|sequence| {
            self.running.contains(&sequence.id) || (sequence.tables.is_empty() && sequence.computed == 0)
        });
        let items_fit = plan.items.iter().all(|item| {
            let sequence = &self.sequences[&item.id];
            let end = item.start + item.len;
            item.len > 0
                && item.drafted == sequence.draft.len()
                && item.samples == (end - item.drafted == sequence.tokens.len())
                && sequence.tokens.len() + item.drafted < sequence.len_max
                && item.rows <= item.len
                && blocks.cover(&sequence.tables, item.start, end)
        });
        let progress = self.is_idle() || !plan.items.is_empty();
        let tables = self.sequences.values().map(|sequence| sequence.tables.as_slice());
        within_limits
            && listed_once
            && self.queue.is_consistent()
            && computed
            && waiting_hold_nothing
            && items_fit
            && progress
            && blocks.is_consistent(tables)
    }
}

/// A step in the making.
struct Step {
    plan: Plan,
    /// Tokens that are left of it.
    budget: usize,
    /// The first of the running that is not planned yet.
    next: usize,
}
