//! What is known of one upstream, and the one place where calls begin and end.
//!
//! An upstream is a model at a provider. The lock is taken for a few instructions when a call begins, answers and ends.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::breaker::{Breaker, BreakerRule, Pass, State};
use crate::chance;
use crate::conversation::Prefix;
use crate::failure::Failure;
use crate::health::Health;
use crate::latency::Latency;
use crate::prefixes::Prefixes;
use crate::retry::{Budget, RetryRule};

/// When to ask again whether a provider is well that its probes say is not.
const HEALTH_WAIT: Duration = Duration::from_secs(5);
/// Copies for comparison that may be on their way to one upstream.
pub const SHADOWS_MAX: u32 = 16;

#[derive(Debug)]
pub(crate) struct Upstream {
    /// The same in every process, so that all of them split alike.
    id: u64,
    health: Arc<Health>,
    inflight: AtomicU32,
    shadows: AtomicU32,
    retries: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    breaker: Breaker,
    latency: Latency,
    budget: Budget,
    /// The upstream asked to be left alone until then.
    aside: Duration,
}

/// What an order can be made from.
pub(crate) struct Glance {
    pub(crate) inflight: u32,
    pub(crate) load: f64,
    pub(crate) is_barred: bool,
}

/// What there is to see of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its provider.
    pub provider: Box<str>,
    /// Its model.
    pub model: Box<str>,
    /// Its breaker.
    pub breaker: State,
    /// How often that has opened.
    pub opened: u64,
    /// Until when it asked to be left alone, if that is still to come.
    pub aside: Option<Duration>,
    /// Whether its provider's probes say that it is well.
    pub is_healthy: bool,
    /// Calls on their way.
    pub inflight: u32,
    /// Second tries so far.
    pub retries: u64,
}

impl Upstream {
    pub(crate) fn new(provider: &str, model: &str, health: Arc<Health>, now: Duration) -> Self {
        Self {
            id: chance::hash(chance::hash(4, provider.as_bytes()), model.as_bytes()),
            health,
            inflight: AtomicU32::new(0),
            shadows: AtomicU32::new(0),
            retries: AtomicU64::new(0),
            known: Mutex::new(Known {
                breaker: Breaker::new(),
                latency: Latency::default(),
                budget: Budget::new(now),
                aside: Duration::ZERO,
            }),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn glance(&self, now: Duration) -> Glance {
        let known = self.known();
        let inflight = self.inflight.load(Relaxed);
        let is_barred = known.aside > now || !self.health.is_up() || known.breaker.bars(now).is_some();
        Glance { inflight, load: known.latency.load(inflight, now), is_barred }
    }

    pub(crate) fn snapshot(&self, (provider, model): (&str, &str), now: Duration) -> Snapshot {
        let known = self.known();
        Snapshot {
            provider: provider.into(),
            model: model.into(),
            breaker: known.breaker.state(now),
            opened: known.breaker.opened(),
            aside: Some(known.aside).filter(|aside| *aside > now),
            is_healthy: self.health.is_up(),
            inflight: self.inflight.load(Relaxed),
            retries: self.retries.load(Relaxed),
        }
    }

    /// Takes a second try out of the budget, if there is one.
    pub(crate) fn spend(&self, now: Duration) -> bool {
        self.known().budget.spend(now)
    }

    /// The provider's probes say that it is well again.
    pub(crate) fn hurry(&self, now: Duration) {
        self.known().breaker.hurry(now);
    }
}

/// A call that is on its way to an upstream. Dropped without a word, it says nothing about the upstream.
#[derive(Debug)]
pub struct Attempt {
    upstream: Arc<Upstream>,
    rule: BreakerRule,
    pass: Pass,
    begun: Duration,
    /// What the upstream will have seen once it answers.
    teaches: Option<(Arc<Prefixes>, Box<Prefix>)>,
    verdict: Verdict,
    place: Place,
}

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of the question's hops it goes to.
    pub hop: usize,
    /// Which try at that hop it is, from 1.
    pub tries: u32,
}

/// What a plan sends a call under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) rule: BreakerRule,
    pub(crate) retry: RetryRule,
    pub(crate) place: Place,
    pub(crate) manners: Manners,
}

/// What a call makes of it that its upstream asked to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It leaves it alone: somebody else can be asked, or there will be a second try.
    Yields,
    /// It goes all the same. There is nobody else, so the upstream speaks for itself: a client that comes too early
    /// hears that from the upstream, in its words, and not from us.
    Insists,
}

/// What has been said of the upstream.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    None,
    Answered,
    Failed,
}

impl Attempt {
    /// Begins a call, or says when it makes sense to ask again.
    pub(crate) fn begin(
        upstream: &Arc<Upstream>,
        Terms { rule, retry, place, manners }: Terms,
        teaches: Option<(Arc<Prefixes>, Box<Prefix>)>,
        now: Duration,
    ) -> Result<Self, Duration> {
        let mut known = upstream.known();
        if known.aside > now && manners == Manners::Yields {
            return Err(known.aside);
        }
        if !upstream.health.is_up() {
            return Err(now + HEALTH_WAIT);
        }
        let pass = known.breaker.admit(now)?;
        if place.tries == 1 {
            known.budget.earn(retry.budget_percent);
        } else {
            upstream.retries.fetch_add(1, Relaxed);
        }
        drop(known);
        upstream.inflight.fetch_add(1, Relaxed);
        let upstream = Arc::clone(upstream);
        Ok(Self { upstream, rule, pass, begun: now, teaches, verdict: Verdict::None, place })
    }

    /// Returns what it is for.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Notes that a good answer has begun. Only the first time counts.
    pub fn answered(&mut self, now: Duration) {
        if self.verdict != Verdict::None {
            return;
        }
        self.verdict = Verdict::Answered;
        let mut known = self.upstream.known();
        known.latency.observe(now.saturating_sub(self.begun), now);
        known.breaker.answered(self.pass, &self.rule, now);
        drop(known);
        if let Some((prefixes, prefix)) = self.teaches.take() {
            prefixes.learn(&prefix, self.upstream.id);
        }
    }

    /// Notes that it failed, before an answer or in the middle of one. Only the first failure counts.
    pub fn failed(&mut self, failure: Failure, now: Duration) {
        let is_known = self.verdict == Verdict::Failed;
        if is_known || failure == Failure::Blameless {
            return;
        }
        let mut known = self.upstream.known();
        if let Failure::Pressed(wait) = failure {
            // Not set aside for less than somebody else was told.
            known.aside = known.aside.max(now + wait.unwrap_or_default());
        }
        if self.verdict == Verdict::None {
            known.latency.punish(now.saturating_sub(self.begun), now);
        }
        if failure.is_blamed() {
            known.breaker.failed(self.pass, &self.rule, now);
        } else if self.verdict == Verdict::None {
            known.breaker.forgotten(self.pass);
        }
        self.verdict = Verdict::Failed;
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.upstream.inflight.fetch_sub(1, Relaxed);
        if self.verdict == Verdict::None {
            self.upstream.known().breaker.forgotten(self.pass);
        }
    }
}

/// Leave to send a copy of a call to an upstream for comparison. Nothing about it counts for the upstream.
#[derive(Debug)]
pub struct Shadow(Arc<Upstream>);

impl Shadow {
    /// Gives leave if the upstream is well and not many copies are on their way to it.
    pub(crate) fn begin(upstream: &Arc<Upstream>, now: Duration) -> Option<Self> {
        let known = upstream.known();
        let is_well = upstream.health.is_up() && known.aside <= now;
        // A trial is worth too much for a copy.
        if !is_well || known.breaker.state(now) != State::Closed {
            return None;
        }
        drop(known);
        let taken = upstream
            .shadows
            .fetch_update(Relaxed, Relaxed, |count| if count < SHADOWS_MAX { Some(count + 1) } else { None });
        taken.ok().map(|_| Self(Arc::clone(upstream)))
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.0.shadows.fetch_sub(1, Relaxed);
    }
}
