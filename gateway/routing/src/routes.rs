//! Everything that is known of every upstream, for as long as the process lives: policies come and go around it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::breaker::BreakerRule;
use crate::chance;
use crate::conversation::{Conversation, Prefix};
use crate::health::{Change, Health, Probed, Schedule};
use crate::order::{self, Balance, Basis, Order};
use crate::plan::{Plan, Planned, Progress};
use crate::prefixes::Prefixes;
use crate::price::{Price, Tokens};
use crate::retry::RetryRule;
use crate::upstream::{Shadow, Snapshot, Upstream};

/// A destination that a call may go to.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// Whose it is.
    pub provider: &'a str,
    /// Which model there.
    pub model: &'a str,
    /// What it costs; nothing if nobody said.
    pub price: Option<Price>,
    /// When to stop asking it.
    pub breaker: BreakerRule,
}

/// A call that wants to go somewhere.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Where it may go.
    pub hops: &'a [Hop<'a>],
    /// How to choose among them.
    pub order: Order<'a>,
    /// What it is a part of.
    pub conversation: Conversation,
    /// How its prompt begins; only [`Balance::Prefix`] looks at it.
    pub prefix: &'a Prefix,
    /// How long it is expected to be; only [`Balance::Cost`] looks at it.
    pub tokens: Tokens,
    /// How often each hop may be tried.
    pub retry: RetryRule,
    /// When it must be over.
    pub deadline: Duration,
}

/// All upstreams. Time is what has passed since a moment of the caller's choice, the same one in every call.
#[derive(Debug)]
pub struct Routes {
    seed: u64,
    /// How many plans there were: each has chances of its own.
    plans: AtomicU64,
    /// Read by every call, written when one goes somewhere new.
    known: RwLock<HashMap<Box<str>, Provider>>,
    prefixes: Arc<Prefixes>,
    /// Locked by the one that sends probes, for a few instructions.
    schedule: Mutex<Schedule>,
}

#[derive(Debug, Default)]
struct Provider {
    health: Arc<Health>,
    models: HashMap<Box<str>, Arc<Upstream>>,
}

impl Routes {
    /// Knows nobody yet. All that is left to chance is drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            plans: AtomicU64::new(0),
            known: RwLock::default(),
            prefixes: Arc::default(),
            schedule: Mutex::default(),
        }
    }

    /// Plans the tries of a call.
    pub fn begin(&self, question: &Question<'_>, now: Duration) -> Plan {
        let seed = chance::pair(self.seed, self.plans.fetch_add(1, Relaxed));
        let upstreams = self.upstreams(question.hops, now);
        let candidates: Vec<_> =
            upstreams.iter().zip(question.hops).map(|(upstream, hop)| (&**upstream, hop.price)).collect();
        let basis = Basis {
            conversation: question.conversation,
            prefix: question.prefix,
            tokens: question.tokens,
            prefixes: &self.prefixes,
            seed,
            now,
        };
        let order = order::arrange(question.order, &candidates, &basis);
        let planned = |hop: usize| Planned {
            upstream: Arc::clone(&upstreams[hop]),
            rule: question.hops[hop].breaker,
            hop,
        };
        let teaches = (question.order == Order::Balance(Balance::Prefix))
            .then(|| (Arc::clone(&self.prefixes), Box::new(*question.prefix)));
        Plan {
            hops: order.into_iter().map(planned).collect(),
            teaches,
            retry: question.retry,
            deadline: question.deadline,
            seed,
            progress: Progress::default(),
        }
    }

    /// Meets upstreams before the first call goes there, so that they are seen.
    pub fn meet(&self, hops: &[Hop<'_>], now: Duration) {
        self.upstreams(hops, now);
    }

    /// Gives leave to send a copy of a call to `hop`, if that is well and not many are on their way to it.
    pub fn shadow(&self, hop: &Hop<'_>, now: Duration) -> Option<Shadow> {
        let upstream = self.upstreams(std::slice::from_ref(hop), now).pop()?;
        Shadow::begin(&upstream, now)
    }

    /// Probes exactly these providers from now on, each `every` so often.
    pub fn watch<'a>(&self, providers: impl IntoIterator<Item = (&'a str, Duration)>, now: Duration) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let wanted = providers.into_iter().map(|(name, every)| {
            let provider = known.entry(name.into()).or_default();
            (name.into(), every, Arc::clone(&provider.health))
        });
        let wanted = wanted.collect();
        drop(known);
        self.schedule().watch(wanted, self.seed, now);
    }

    /// Takes the names of the providers that are to be probed now. Each must be followed by a result.
    pub fn take_due(&self, now: Duration) -> Vec<Box<str>> {
        self.schedule().take_due(now)
    }

    /// Says when the next probe is due, if one is to be.
    pub fn next_due(&self) -> Option<Duration> {
        self.schedule().next_due()
    }

    /// Takes the result of a probe in.
    pub fn probed(&self, provider: &str, probed: Probed, now: Duration) {
        if self.schedule().probed(provider, probed, self.seed, now) != Change::CameUp {
            return;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let models = known.get(provider).into_iter().flat_map(|provider| provider.models.values());
        models.for_each(|upstream| upstream.hurry(now));
    }

    /// Forgets every upstream that `keep` does not want, once a new policy no longer names it.
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (name, provider) in known.iter_mut() {
            provider.models.retain(|model, _| keep(name, model));
        }
    }

    /// Returns what there is to see of every upstream, in the order of their names.
    pub fn snapshot(&self, now: Duration) -> Vec<Snapshot> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Snapshot> = known
            .iter()
            .flat_map(|(name, provider)| {
                provider.models.iter().map(move |(model, upstream)| upstream.snapshot((name, model), now))
            })
            .collect();
        all.sort_unstable_by(|a, b| (&a.provider, &a.model).cmp(&(&b.provider, &b.model)));
        all
    }

    /// The upstreams behind `hops`, in their order.
    fn upstreams(&self, hops: &[Hop<'_>], now: Duration) -> Vec<Arc<Upstream>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let find = |hop: &Hop<'_>| known.get(hop.provider)?.models.get(hop.model).map(Arc::clone);
        if let Some(all) = hops.iter().map(find).collect() {
            return all;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let meet = |hop: &Hop<'_>| {
            let provider = known.entry(hop.provider.into()).or_default();
            let health = Arc::clone(&provider.health);
            let new = || Arc::new(Upstream::new(hop.provider, hop.model, health, now));
            Arc::clone(provider.models.entry(hop.model.into()).or_insert_with(new))
        };
        hops.iter().map(meet).collect()
    }

    fn schedule(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
