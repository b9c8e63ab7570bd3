//! The parts of a serving process. A list, and how it is built; what happens to a call is in `pipeline`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Semaphore, watch};

use crate::active::Active;
use crate::metrics::Metrics;
use crate::routed::Router;
use crate::stored::Stored;

/// Calls in the process at once, streams included; the next one is told to come back.
const CALLS_MAX: usize = 4096;

/// Everything that a call needs.
pub(crate) struct App {
    /// The policy in force, with what was built for it. Only `reload` sends; a reader clones and lets go at once.
    pub(crate) generations: watch::Sender<Arc<Active>>,
    pub(crate) audit: audit::Log,
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

impl App {
    /// Puts the parts together.
    pub(crate) fn new(first: Active, audit: audit::Log) -> Self {
        Self {
            generations: watch::Sender::new(Arc::new(first)),
            audit,
            metrics: Metrics::new(),
            router: Router::new(),
            places: Arc::new(Semaphore::new(CALLS_MAX)),
            stored: Arc::default(),
            started_s: jiff::Timestamp::now().as_second().unsigned_abs(),
            draining: AtomicBool::new(false),
        }
    }

    /// The generation in force. Whoever answers a call asks once and keeps what it got.
    pub(crate) fn active(&self) -> Arc<Active> {
        Arc::clone(&self.generations.borrow())
    }
}
