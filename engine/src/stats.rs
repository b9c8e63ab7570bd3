//! What the engine thread tells the outside about itself, without being asked or slowed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

/// A reading of an engine's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests in the engine: running, queued, and on their way to it.
    pub requests: u64,
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
    /// Forward passes in a row, up to the last one, that failed for everybody in them.
    pub failed_steps: u64,
    /// How long ago the last forward pass ended; nothing before the first.
    pub last_step_age: Option<Duration>,
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

/// The end of an engine's thread. Whoever holds this waits for it, and does not keep the engine alive.
#[derive(Clone, Debug)]
pub struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Waits until the thread has ended and what it held is freed.
    pub async fn come(&mut self) {
        // A sender that is gone went down with the thread.
        let _ = self.0.wait_for(|ended| *ended).await;
    }

    /// Whether the thread has ended.
    pub fn has_come(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// The engine thread's side of [`Stats`].
#[derive(Debug)]
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
    pub(crate) requests_max: AtomicU64,
    failed_steps: AtomicU64,
    /// When the last step ended, in milliseconds since `born`, plus one; 0 before the first.
    last_step_ms: AtomicU64,
    born: Instant,
    stopped: watch::Sender<bool>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            waiting_sequences: AtomicU64::default(),
            running_sequences: AtomicU64::default(),
            kv_blocks_used: AtomicU64::default(),
            kv_blocks_kept: AtomicU64::default(),
            kv_blocks_total: AtomicU64::default(),
            steps: AtomicU64::default(),
            preemptions: AtomicU64::default(),
            prompt_tokens_cached: AtomicU64::default(),
            drafted_tokens: AtomicU64::default(),
            accepted_tokens: AtomicU64::default(),
            constrained_requests: AtomicU64::default(),
            requests_max: AtomicU64::default(),
            failed_steps: AtomicU64::default(),
            last_step_ms: AtomicU64::default(),
            born: Instant::now(),
            stopped: watch::Sender::new(false),
        }
    }
}

impl Counters {
    /// Counts a forward pass that went well, for somebody in it at least.
    pub(crate) fn stepped(&self) {
        self.failed_steps.store(0, Ordering::Relaxed);
        self.count_step();
    }

    /// Counts a forward pass that failed for everybody in it.
    pub(crate) fn failed_step(&self) {
        self.failed_steps.fetch_add(1, Ordering::Relaxed);
        self.count_step();
    }

    fn count_step(&self) {
        self.last_step_ms.store(self.age_ms() + 1, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Says that the thread has ended.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    pub(crate) fn ending(&self) -> Closing {
        Closing(self.stopped.subscribe())
    }

    /// `places` are what is left of the requests that the engine takes.
    pub(crate) fn read(&self, places: &Semaphore) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last_step_ms = get(&self.last_step_ms).checked_sub(1);
        Stats {
            requests: get(&self.requests_max).saturating_sub(places.available_permits() as u64),
            waiting_sequences: get(&self.waiting_sequences),
            running_sequences: get(&self.running_sequences),
            kv_blocks_used: get(&self.kv_blocks_used),
            kv_blocks_kept: get(&self.kv_blocks_kept),
            kv_blocks_total: get(&self.kv_blocks_total),
            steps: get(&self.steps),
            failed_steps: get(&self.failed_steps),
            last_step_age: last_step_ms.map(|ms| Duration::from_millis(self.age_ms().saturating_sub(ms))),
            preemptions: get(&self.preemptions),
            prompt_tokens_cached: get(&self.prompt_tokens_cached),
            drafted_tokens: get(&self.drafted_tokens),
            accepted_tokens: get(&self.accepted_tokens),
            constrained_requests: get(&self.constrained_requests),
            healthy: !*self.stopped.borrow(),
        }
    }
}
