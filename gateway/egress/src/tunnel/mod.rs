//! The controlled proxy for agents: what a sandbox may reach beside the models, by the same policy.
//!
//! An agent's tools (git, package managers, anything that honours `HTTPS_PROXY`) ask for a tunnel to a name:
//!
//! ```text
//! bytes --head, request--> Request       one strict reading; the target is a value from here on
//! Request --Rules::admit--> Guest        credentials or place: who, and for which workflow
//! Guest + Target --Rules::decide--> Passage      by names alone; revocations and deny lists win
//! Target + Passage --Exit--> Connected   one look-up, the whole answer judged, a judged address dialled
//! Connected --Witness--> Open            on record before a byte is sent
//! Open: 200, the client's hello must name the target, then bytes both ways, counted
//! ```
//!
//! A request in absolute form, for plain HTTP, takes the same way where a rule says so, and then one exchange.
//!
//! Whoever is refused is told why and what to do, and the connection is closed with all that came behind the request.
//!
//! What it cannot see, because TLS passes through it closed: the host in the requests inside, a second hello after a
//! retry, the inner name of an encrypted hello, what is asked and answered. A grant to a host is a grant to everything
//! that this host serves.
//!
//! Deliberately absent: interception of TLS, proxies behind this one, and names from anywhere but the request line.

mod chunks;
mod client;
mod credentials;
mod exit;
mod head;
mod hello;
mod in_force;
mod places;
mod plain;
mod record;
mod refusal;
mod relay;
mod request;
mod rules;
mod session;
mod target;
mod through;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use credentials::Credentials;
pub use exit::{Connected, Dialled, Exit, Io};
pub use in_force::InForce;
pub use record::{CallerFacts, Close, Decision, Unrecorded, Verdict, Witness};
pub use request::Kind;
pub use rules::{Denied, Guest, Inside, Mode, NotAdmitted, Passage, Rules, Shown};
pub use target::{Target, TargetError};

use places::Places;
use record::Pending;
use refusal::Refusal;

/// How long to wait after the system refused to accept a connection: it is out of descriptors, and some must close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What the proxy works with.
pub struct Parts {
    /// Decides.
    pub rules: Arc<dyn Rules>,
    /// Connects.
    pub exit: Arc<dyn Exit>,
    /// Keeps the record.
    pub witness: Arc<dyn Witness>,
    /// A name for this run of the process, for the names of its requests: no two runs share one.
    pub run: String,
}

/// How long things may take, and how many there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a request to arrive.
    pub head: Duration,
    /// For look-up and connection.
    pub connect: Duration,
    /// For the client's hello after the 200.
    pub hello: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// For a connection as a whole.
    pub life: Duration,
    /// For what is open when the proxy stops.
    pub drain: Duration,
    /// Connections of all agents together.
    pub connections_max: usize,
}

impl Limits {
    /// What suits package managers and git: a big clone is silent for minutes while the server counts.
    pub const STANDARD: Self = Self {
        head: Duration::from_secs(10),
        connect: Duration::from_secs(10),
        hello: Duration::from_secs(5),
        idle: Duration::from_secs(10 * 60),
        life: Duration::from_secs(24 * 60 * 60),
        drain: Duration::from_secs(30),
        connections_max: 4096,
    };
}

/// The proxy.
pub struct Proxy {
    rules: Arc<dyn Rules>,
    exit: Arc<dyn Exit>,
    witness: Arc<dyn Witness>,
    run: String,
    requests: AtomicU64,
    limits: Limits,
    places: Arc<Places>,
}

impl Proxy {
    /// Puts a proxy together.
    pub fn new(parts: Parts, limits: Limits) -> Self {
        let Parts { rules, exit, witness, run } = parts;
        let (requests, places) = (AtomicU64::new(0), Arc::default());
        Self { rules, exit, witness, run, requests, limits, places }
    }

    /// Accepts agents until `shutdown`, and then waits for those that are there, as long as the limits say.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let mut sessions = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                    report(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let proxy = Arc::clone(&self);
                        sessions.spawn(async move {
                            let _place = place;
                            // Small pieces of a handshake must not wait for each other; without it they only do.
                            drop(stream.set_nodelay(true));
                            proxy.serve_connection(stream, peer).await;
                        });
                    }
                    Err(_) => self.turn_away(&stream, peer),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let all = async {
            while let Some(ended) = sessions.join_next().await {
                report(ended);
            }
        };
        if timeout(self.limits.drain, all).await.is_err() {
            tracing::info!(left = sessions.len(), "closing the tunnels that outlasted the drain");
        }
        sessions.shutdown().await;
    }

    /// Serves one connection that was accepted from `peer`, to its end.
    pub async fn serve_connection(&self, stream: impl Io, peer: SocketAddr) {
        session::run(self, stream, peer).await;
    }

    /// Answers without waiting for anything: what would wait is what there is no room for.
    fn turn_away(&self, stream: &TcpStream, peer: SocketAddr) {
        let refusal = Refusal::full();
        self.begin(peer).refused(refusal.code());
        tracing::warn!(%peer, "turned away: too many connections");
        drop(stream.try_write(refusal.response().as_bytes()));
    }

    fn begin(&self, peer: SocketAddr) -> Pending {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        Pending::begin(Arc::clone(&self.witness), format!("{}-{number}", self.run), peer)
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a tunnel's task panicked");
    }
}
