//! How long a new request would wait for its first token, so that one that would come too late is refused at once.
//!
//! The wait is what has to be read before it, by the pace at which prompts were read of late: tokens of prompts that
//! wait or are being read, interactive ones only for a request that is. It is an estimate and leans to the short side: it
//! does not know when the running replies will end, and it counts nothing for an engine that has not read anything yet.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::SubmitError;
use crate::schedule::queue::Priority;

/// The weight of one step in the pace.
const WEIGHT: f64 = 0.1;

/// The engine thread writes it, whoever submits reads it.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Tokens of prompts a second, as the bits of an `f64`; 0 before the first.
    tokens_per_second: AtomicU64,
    /// Tokens of prompts still to be read: of interactive work, and of all.
    interactive_tokens: AtomicU64,
    all_tokens: AtomicU64,
}

impl Pace {
    /// Records a step that read `tokens` of prompts.
    pub(crate) fn record(&self, tokens: usize, took: Duration) {
        // A step with one token, as a canary is, says what a step costs and not how fast prompts are read.
        if tokens <= 1 || took.is_zero() {
            return;
        }
        let (now, before) = (tokens as f64 / took.as_secs_f64(), self.tokens_per_second());
        let mean = if before == 0.0 { now } else { before + WEIGHT * (now - before) };
        self.tokens_per_second.store(mean.to_bits(), Relaxed);
    }

    /// Publishes what is still to be read.
    pub(crate) fn set_backlog(&self, interactive_tokens: usize, all_tokens: usize) {
        self.interactive_tokens.store(interactive_tokens as u64, Relaxed);
        self.all_tokens.store(all_tokens as u64, Relaxed);
    }

    /// Refuses a prompt whose first token would come later than its client waits.
    pub(crate) fn admits(
        &self,
        prompt_tokens: usize,
        priority: Priority,
        patience: Option<Duration>,
    ) -> Result<(), SubmitError> {
        let (Some(patience), expected) = (patience, self.expected(prompt_tokens, priority)) else {
            return Ok(());
        };
        match expected.checked_sub(patience).filter(|late| !late.is_zero()) {
            Some(retry_after) => Err(SubmitError::TooLate { expected, retry_after }),
            None => Ok(()),
        }
    }

    /// From now to the first token of a prompt.
    fn expected(&self, prompt_tokens: usize, priority: Priority) -> Duration {
        let backlog = match priority {
            Priority::Interactive => &self.interactive_tokens,
            Priority::Batch => &self.all_tokens,
        };
        let tokens = backlog.load(Relaxed) + prompt_tokens as u64;
        // No pace is no wait, and a pace near none is no number of seconds.
        Duration::try_from_secs_f64(tokens as f64 / self.tokens_per_second()).unwrap_or_default()
    }

    fn tokens_per_second(&self) -> f64 {
        f64::from_bits(self.tokens_per_second.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pace: &Pace, priority: Priority, patience: u64) -> Option<(u64, u64)> {
        match pace.admits(100, priority, Some(Duration::from_secs(patience))) {
            Err(SubmitError::TooLate { expected, retry_after }) => {
                Some((expected.as_secs(), retry_after.as_secs()))
            }
            other => {
                other.unwrap();
                None
            }
        }
    }

    #[test]
    fn who_would_wait_too_long_is_refused_and_told_how_long() {
        let pace = Pace::default();
        pace.set_backlog(900, 4900);
        assert_eq!(refused(&pace, Priority::Interactive, 1), None, "nothing is known of the pace yet");
        pace.record(200, Duration::from_secs(2));
        assert_eq!(refused(&pace, Priority::Interactive, 4), Some((10, 6)));
        assert_eq!(refused(&pace, Priority::Interactive, 10), None);
        assert_eq!(refused(&pace, Priority::Batch, 10), Some((50, 40)));
        assert!(pace.admits(100, Priority::Batch, None).is_ok(), "who waits is not refused");
    }

    #[test]
    fn the_pace_follows_slowly() {
        let pace = Pace::default();
        pace.record(100, Duration::from_secs(1));
        pace.record(0, Duration::from_secs(1));
        pace.record(200, Duration::from_secs(1));
        assert!((pace.tokens_per_second() - 110.0).abs() < 1e-9);
    }
}
