//! When an engine that broke is started again, and when it is left alone. Pure: the time is an argument.
//!
//! The first try comes after a second, each further one after twice as long, a minute at most. Whoever breaks too often
//! in a while stays down until somebody asks: a model that breaks on one kind of request would otherwise come back for
//! each of them, and nobody would look into it.

use std::collections::VecDeque;
use std::time::Duration;

/// How long the first try waits.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Tries within [`WINDOW`]; after those it stays down.
const TRIES_MAX: usize = 8;

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(600);

/// The failures of one engine that still count.
#[derive(Debug, Clone, Default)]
pub(super) struct Restarts {
    failures: VecDeque<Duration>,
    total: u64,
}

impl Restarts {
    /// Counts a failure. Returns when to try again; nothing if it is enough.
    pub(super) fn failed(&mut self, now: Duration) -> Option<Duration> {
        while self.failures.front().is_some_and(|at| now.saturating_sub(*at) > WINDOW) {
            self.failures.pop_front();
        }
        self.total += 1;
        self.failures.push_back(now);
        let tries = self.failures.len();
        (tries <= TRIES_MAX).then(|| now + WAIT_FIRST.saturating_mul(1 << (tries - 1)).min(WAIT_MAX))
    }

    /// Forgets what was: somebody looked at it.
    pub(super) fn forgive(&mut self) {
        self.failures.clear();
    }

    /// Failures since the process began.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_a_minute_and_then_it_is_enough() {
        let (mut restarts, mut now, mut waits) = (Restarts::default(), Duration::ZERO, Vec::new());
        while let Some(at) = restarts.failed(now) {
            waits.push(at.saturating_sub(now).as_secs());
            now = at;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(restarts.failed(now), None, "it stays down");
        restarts.forgive();
        assert_eq!(restarts.failed(now), Some(now + SECOND));
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut restarts = Restarts::default();
        for failure in 0..100 {
            let now = (WINDOW + SECOND) * failure;
            assert_eq!(restarts.failed(now), Some(now + SECOND));
        }
        assert_eq!(restarts.total(), 100);
    }
}
