//! The tries of one call: which hop next, when, and when to give up.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::BreakerRule;
use crate::chance;
use crate::conversation::Prefix;
use crate::failure::Failure;
use crate::prefixes::Prefixes;
use crate::retry::{self, RetryRule};
use crate::upstream::{Attempt, Manners, Place, Terms, Upstream};

/// What to do next for a call.
#[derive(Debug)]
pub enum Step {
    /// Send it; the attempt says to which hop.
    Try(Attempt),
    /// Ask again at this time.
    Wait(Duration),
    /// Every hop had its tries: what the last one said stands.
    Spent,
    /// Nothing was sent, because nothing may be sent to any hop before this time.
    Barred(Duration),
}

/// The tries of one call.
#[derive(Debug)]
pub struct Plan {
    pub(crate) hops: Vec<Planned>,
    /// What replicas learn of the prompt.
    pub(crate) teaches: Option<(Arc<Prefixes>, Box<Prefix>)>,
    pub(crate) retry: RetryRule,
    pub(crate) deadline: Duration,
    pub(crate) seed: u64,
    pub(crate) progress: Progress,
}

/// A hop in its place of the order.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) rule: BreakerRule,
    /// Its number in the question.
    pub(crate) hop: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The present hop, by its place in the order.
    at: usize,
    /// Tries at it that have ended.
    tries: u32,
    /// Tries anywhere.
    sent: u32,
    not_before: Duration,
    /// When the first of the hops that were passed over can be asked again.
    opens: Option<Duration>,
}

impl Plan {
    /// Returns the hop that comes first in the order, whether or not it can be asked.
    pub fn first(&self) -> Option<usize> {
        self.hops.first().map(|planned| planned.hop)
    }

    /// Says what to do next. A try that was handed out before must have failed, and been reported.
    pub fn next(&mut self, now: Duration) -> Step {
        let (manners, retry) = (self.manners(), self.retry);
        let progress = &mut self.progress;
        if now < progress.not_before {
            return Step::Wait(progress.not_before);
        }
        while let Some(Planned { upstream, rule, hop }) = self.hops.get(progress.at) {
            let place = Place { hop: *hop, tries: progress.tries + 1 };
            let terms = Terms { rule: *rule, retry, place, manners };
            match Attempt::begin(upstream, terms, self.teaches.clone(), now) {
                Ok(attempt) => {
                    progress.sent += 1;
                    return Step::Try(attempt);
                }
                Err(until) => {
                    progress.opens = Some(progress.opens.map_or(until, |opens| opens.min(until)));
                    (progress.at, progress.tries) = (progress.at + 1, 0);
                }
            }
        }
        match progress.opens {
            Some(until) if progress.sent == 0 => Step::Barred(until),
            _ => Step::Spent,
        }
    }

    fn manners(&self) -> Manners {
        if self.hops.len() == 1 && self.retry.attempts == 1 { Manners::Insists } else { Manners::Yields }
    }

    /// Reports that a try failed before anything reached the client.
    pub fn failed(&mut self, mut attempt: Attempt, failure: Failure, now: Duration) {
        attempt.failed(failure, now);
        let progress = &mut self.progress;
        progress.tries += 1;
        let seed = chance::pair(self.seed, u64::from(progress.sent));
        // One that asks for time gets it, if somebody else can be asked meanwhile.
        let moves_on = matches!(failure, Failure::Pressed(_)) && progress.at + 1 < self.hops.len();
        let wait = retry::wait(self.retry, progress.tries, failure, seed)
            .filter(|wait| !moves_on && now + *wait < self.deadline && attempt.upstream().spend(now));
        if let Some(wait) = wait {
            progress.not_before = now + wait;
        } else {
            (progress.at, progress.tries) = (progress.at + 1, 0);
        }
    }
}
