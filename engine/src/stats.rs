//! What the engine thread tells the outside about itself, without being asked or slowed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A reading of an engine's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sequences in the queue.
    pub waiting_sequences: u64,
    /// Sequences in the current step.
    pub running_sequences: u64,
    /// KV blocks held by sequences.
    pub kv_blocks_used: u64,
    /// KV blocks that nobody holds and whose contents the prefix cache can still give.
    pub kv_blocks_kept: u64,
    /// KV blocks in the pool.
    pub kv_blocks_total: u64,
    /// Forward passes since the start.
    pub steps: u64,
    /// Sequences that gave their blocks back and were computed again, since the start.
    pub preemptions: u64,
    /// Tokens of prompts that the prefix cache had, since the start.
    pub prompt_tokens_cached: u64,
    /// Tokens that were drafted and read by the model, since the start.
    pub drafted_tokens: u64,
    /// Those of them that were right.
    pub accepted_tokens: u64,
    /// Requests that were held to a form, since the start.
    pub constrained_requests: u64,
    /// Whether the engine thread is alive.
    pub healthy: bool,
}

/// The engine thread's side of [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) waiting_sequences: AtomicU64,
    pub(crate) running_sequences: AtomicU64,
    pub(crate) kv_blocks_used: AtomicU64,
    pub(crate) kv_blocks_kept: AtomicU64,
    pub(crate) kv_blocks_total: AtomicU64,
    pub(crate) steps: AtomicU64,
    pub(crate) preemptions: AtomicU64,
    pub(crate) prompt_tokens_cached: AtomicU64,
    pub(crate) drafted_tokens: AtomicU64,
    pub(crate) accepted_tokens: AtomicU64,
    pub(crate) constrained_requests: AtomicU64,
    pub(crate) stopped: AtomicBool,
}

impl Counters {
    pub(crate) fn read(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            waiting_sequences: get(&self.waiting_sequences),
            running_sequences: get(&self.running_sequences),
            kv_blocks_used: get(&self.kv_blocks_used),
            kv_blocks_kept: get(&self.kv_blocks_kept),
            kv_blocks_total: get(&self.kv_blocks_total),
            steps: get(&self.steps),
            preemptions: get(&self.preemptions),
            prompt_tokens_cached: get(&self.prompt_tokens_cached),
            drafted_tokens: get(&self.drafted_tokens),
            accepted_tokens: get(&self.accepted_tokens),
            constrained_requests: get(&self.constrained_requests),
            healthy: !self.stopped.load(Ordering::Acquire),
        }
    }
}
