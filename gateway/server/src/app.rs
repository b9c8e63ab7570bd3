//! The parts of a serving process. A list, and how it is built; what happens to a call is in `pipeline`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use policy::Revocations;
use tokio::sync::{Semaphore, watch};

use crate::active::Active;
use crate::clock;
use crate::metrics::Metrics;
use crate::reload::Failure;
use crate::routed::Router;
use crate::seal_check::{Report, SealCheck};
use crate::stored::Stored;

/// Calls in the process at once, streams included; the next one is told to come back.
const CALLS_MAX: usize = 4096;

/// Everything that a call needs.
pub(crate) struct App {
    /// The policy in force, with what was built for it. Only `reload` sends; a reader clones and lets go at once.
    pub(crate) generations: watch::Sender<Arc<Active>>,
    /// What is revoked at this moment, for calls that run as for those that come. Only `overlay` sends.
    pub(crate) revocations: watch::Sender<Arc<Revocations>>,
    /// What could not be reloaded. `reload` and `overlay` write each their own part, and whoever reports reads; held
    /// for a copy.
    failing: Mutex<Failing>,
    pub(crate) audit: audit::Log,
    /// Whether the walls of this process hold.
    pub(crate) seal: SealCheck,
    pub(crate) metrics: Metrics,
    /// What is known of upstreams; it outlives every policy.
    pub(crate) router: Router,
    pub(crate) places: Arc<Semaphore>,
    /// Answers that a client may continue by their id.
    pub(crate) stored: Arc<Stored>,
    /// When this process started, in seconds since the Unix epoch.
    pub(crate) started_s: u64,
    /// Set once on SIGTERM: running calls go on, new ones are refused.
    pub(crate) draining: AtomicBool,
}

/// The files whose present state was not taken, and why.
#[derive(Clone, Default)]
pub(crate) struct Failing {
    pub(crate) policy: Option<Failure>,
    pub(crate) revocations: Option<Failure>,
}

impl App {
    /// Puts the parts together.
    pub(crate) fn new(
        first: Active,
        revocations: watch::Sender<Arc<Revocations>>,
        audit: audit::Log,
        seal: SealCheck,
    ) -> Self {
        Self {
            generations: watch::Sender::new(Arc::new(first)),
            revocations,
            failing: Mutex::default(),
            audit,
            seal,
            metrics: Metrics::new(),
            router: Router::new(),
            places: Arc::new(Semaphore::new(CALLS_MAX)),
            stored: Arc::default(),
            started_s: clock::unix_s(),
            draining: AtomicBool::new(false),
        }
    }

    /// Tries the walls of this process, and puts on record what comes of it.
    pub(crate) async fn try_seal(&self) -> Result<Report, audit::AuditError> {
        let report = self.seal.run(&self.active().policy).await;
        for event in report.events() {
            self.audit.note(event).await?;
        }
        Ok(report)
    }

    /// The generation in force. Whoever answers a call asks once and keeps what it got.
    pub(crate) fn active(&self) -> Arc<Active> {
        Arc::clone(&self.generations.borrow())
    }

    /// What could not be reloaded.
    pub(crate) fn failing(&self) -> Failing {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what could not be reloaded, or that it could.
    pub(crate) fn fail(&self, note: impl FnOnce(&mut Failing)) {
        note(&mut self.failing.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
