//! Second tries: how many, how long to wait before one, and how many all calls together may have.
//!
//! The wait is drawn evenly from zero to `BASE x 2^(tries - 1)`, at most `CAP`: with full jitter, callers that failed
//! together do not come back together (Brooker, "Exponential Backoff And Jitter", AWS 2015). An upstream that names a
//! time is given it, and the jitter on top.
//!
//! The budget of an upstream is a bucket of tries. Each call to it puts in a share of one, time puts in some more, a
//! second try takes one out. When every call fails, the upstream sees `1 + share` times the traffic, not `attempts`
//! times.

use std::time::Duration;

use crate::chance;
use crate::failure::Failure;

/// Longest wait before the first second try.
const BASE: Duration = Duration::from_millis(100);
/// Longest wait that we choose.
const CAP: Duration = Duration::from_secs(2);
/// Longest wait that an upstream may ask for before a second try; longer ones are the client's to wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Second tries that a second brings, however few calls there are.
pub const BUDGET_PER_SECOND: u32 = 1;
/// Second tries that can be saved up; a new upstream begins with as many.
pub const BUDGET_SAVED_MAX: u32 = 10;

/// How often a hop may be tried for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Tries in all at one hop; 1 means no second one.
    pub attempts: u32,
    /// How many of a hundred calls to an upstream may be second tries.
    pub budget_percent: u32,
}

impl Default for RetryRule {
    fn default() -> Self {
        Self { attempts: 1, budget_percent: 20 }
    }
}

/// How long to wait after `tries` at a hop ended in `failure`; nothing if there is to be no other one there.
pub(crate) fn wait(rule: RetryRule, tries: u32, failure: Failure, seed: u64) -> Option<Duration> {
    if tries >= rule.attempts || !failure.is_unaccepted() {
        return None;
    }
    let longest = BASE.saturating_mul(1 << (tries - 1).min(16)).min(CAP);
    let jitter = longest.mul_f64(chance::unit(seed));
    match failure {
        Failure::Pressed(Some(named)) => (named <= PATIENCE).then(|| named + jitter),
        _ => Some(jitter),
    }
}

/// A bucket of second tries, in thousandths.
#[derive(Debug)]
pub(crate) struct Budget {
    thousandths: u64,
    at: Duration,
}

const FULL: u64 = BUDGET_SAVED_MAX as u64 * 1000;

impl Budget {
    pub(crate) fn new(now: Duration) -> Self {
        Self { thousandths: FULL, at: now }
    }

    /// A call goes to the upstream for the first time.
    pub(crate) fn earn(&mut self, percent: u32) {
        self.thousandths = (self.thousandths + u64::from(percent) * 10).min(FULL);
    }

    /// Takes a second try out, if there is one.
    pub(crate) fn spend(&mut self, now: Duration) -> bool {
        // What is less than a millisecond is not lost: `at` moves by what was counted.
        let earned = now.saturating_sub(self.at).as_millis() as u64;
        self.at += Duration::from_millis(earned);
        let more = earned.saturating_mul(u64::from(BUDGET_PER_SECOND));
        self.thousandths = self.thousandths.saturating_add(more).min(FULL);
        let has_one = self.thousandths >= 1000;
        if has_one {
            self.thousandths -= 1000;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: RetryRule = RetryRule { attempts: 3, budget_percent: 20 };

    #[test]
    fn only_what_was_not_accepted_is_tried_again() {
        let again = |failure| wait(THREE, 1, failure, 7).is_some();
        assert!(again(Failure::Unreached));
        assert!(again(Failure::Pressed(Some(Duration::from_secs(1)))));
        for failure in
            [Failure::Pressed(None), Failure::Broken, Failure::Late, Failure::Cut, Failure::Blameless]
        {
            assert!(!again(failure), "{failure:?}");
        }
    }

    #[test]
    fn there_are_no_more_tries_than_attempts() {
        assert!(wait(THREE, 2, Failure::Unreached, 7).is_some());
        assert!(wait(THREE, 3, Failure::Unreached, 7).is_none());
        assert!(wait(RetryRule::default(), 1, Failure::Unreached, 7).is_none());
    }

    #[test]
    fn waits_grow_to_a_limit_and_fill_their_range() {
        let many = RetryRule { attempts: 100, ..THREE };
        for (tries, longest) in [(1, 0.1), (2, 0.2), (5, 1.6), (6, 2.0), (90, 2.0)] {
            let waits: Vec<f64> = (0..2000)
                .map(|seed| wait(many, tries, Failure::Unreached, seed).unwrap().as_secs_f64())
                .collect();
            let (least, most) = waits.iter().fold((f64::MAX, 0.0_f64), |(l, m), w| (l.min(*w), m.max(*w)));
            assert!(most <= longest && most > longest * 0.99, "{tries}: {most}");
            assert!(least < longest * 0.01, "{tries}: {least}");
        }
    }

    #[test]
    fn a_named_wait_is_kept_and_one_that_is_too_long_is_not_waited_for() {
        let named = |seconds| wait(THREE, 1, Failure::Pressed(Some(Duration::from_secs(seconds))), 7);
        assert!(named(3).unwrap() >= Duration::from_secs(3));
        assert!(named(3).unwrap() <= Duration::from_secs(3) + BASE);
        assert!(named(0).is_some());
        assert!(named(11).is_none());
    }

    #[test]
    fn the_budget_is_a_share_of_the_calls_and_a_little_for_the_time() {
        let mut budget = Budget::new(Duration::ZERO);
        let mut spent = 0;
        for call in 0..10_000_u32 {
            budget.earn(10);
            spent += u32::from(budget.spend(Duration::from_millis(u64::from(call))));
        }
        let most = BUDGET_SAVED_MAX + 10_000 * 10 / 100 + 10 * BUDGET_PER_SECOND;
        assert!(spent <= most, "{spent} of {most}");
        assert!(spent >= most - 2, "and it is given out: {spent} of {most}");
    }

    #[test]
    fn savings_have_a_limit() {
        let mut budget = Budget::new(Duration::ZERO);
        let later = Duration::from_secs(1_000_000);
        let spent = (0..100).filter(|_| budget.spend(later)).count();
        assert_eq!(spent, BUDGET_SAVED_MAX as usize);
    }
}
