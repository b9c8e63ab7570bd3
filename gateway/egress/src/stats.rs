//! How often the dial guard said yes and no.
//!
//! Two numbers for metrics. Which call was refused and why is in the error and in the log.

use std::sync::atomic::{AtomicU64, Ordering};

/// Decisions about dialling since the client was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Dials whose addresses passed the guard.
    pub dials_allowed: u64,
    /// Calls and dials that the policy or the guard refused.
    pub dials_refused: u64,
}

/// The counters behind [`Stats`]. Relaxed: they order nothing, they only add up.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    allowed: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    pub(crate) fn allow(&self) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        Stats {
            dials_allowed: self.allowed.load(Ordering::Relaxed),
            dials_refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
