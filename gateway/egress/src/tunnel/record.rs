//! What the proxy puts on record.
//!
//! Every request ends in exactly one [`Decision`], whether it is refused, fails or opens a tunnel; every connection
//! that was opened ends in exactly one [`Close`]. Both are guards that write when they are dropped, so neither a task
//! that is cancelled nor one that panics leaves a gap.
//!
//! Deliberately absent: paths, headers and content. A record says who reached whom, and how much passed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::{CallerKind, KeyId, WorkflowName};
use tokio::time::Instant;

use super::exit::Connected;
use super::relay::Traffic;
use super::request::Kind;
use super::rules::{Guest, Mode};
use super::target::Target;

/// Keeps the record.
pub trait Witness: Send + Sync {
    /// Takes what came of a request, before a byte of it goes anywhere.
    ///
    /// # Errors
    /// Returns [`Unrecorded`] if it cannot be kept. A tunnel is then not opened.
    fn decided(&self, decision: Decision) -> Result<(), Unrecorded>;

    /// Takes the end of a connection.
    fn closed(&self, close: Close);
}

/// A decision could not be put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be put on record")]
pub struct Unrecorded;

/// What came of one request. What is missing was not known yet when the request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The name of the request in all records: unique over processes and restarts.
    pub id: String,
    /// Where the request came from.
    pub peer: SocketAddr,
    /// Who sent it.
    pub caller: Option<CallerFacts>,
    /// On whose behalf.
    pub workflow: Option<WorkflowName>,
    /// What becomes of that workflow's refusals.
    pub mode: Option<Mode>,
    /// Where it wanted to go.
    pub target: Option<Target>,
    /// What it wanted there.
    pub kind: Option<Kind>,
    /// What came of it.
    pub verdict: Verdict,
    /// The code with which it would have been refused in `enforce` mode.
    pub would_deny: Option<&'static str>,
    /// Time for the look-up; nothing if there was none.
    pub lookup: Option<Duration>,
    /// Time from the answer to the connection; nothing if there is none.
    pub connect: Option<Duration>,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerFacts {
    /// How they were recognised.
    pub kind: CallerKind,
    /// Their name.
    pub id: String,
    /// The key that they showed.
    pub key: Option<KeyId>,
}

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is.
    Opened {
        /// What was connected to.
        address: SocketAddr,
    },
    /// There is none, and why: a code of a closed set.
    Refused {
        /// The code.
        code: &'static str,
    },
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The request that opened it.
    pub id: String,
    /// Why it ended; a code of a closed set.
    pub reason: &'static str,
    /// The server name in the client's hello.
    pub sni: Option<String>,
    /// The code with which the tunnel would have been closed in `enforce` mode.
    pub would_deny: Option<&'static str>,
    /// Bytes sent to the target.
    pub bytes_sent: u64,
    /// Bytes received from it.
    pub bytes_received: u64,
    /// How long it was open.
    pub open: Duration,
}

/// The code of a request that nobody came to answer.
const ABANDONED: &str = "tunnel.abandoned";
/// The same, if a fault of ours is the reason.
const PANICKED: &str = "tunnel.panicked";

fn cut_code() -> &'static str {
    if std::thread::panicking() { PANICKED } else { ABANDONED }
}

/// A request that is not decided yet.
pub(super) struct Pending {
    witness: Arc<dyn Witness>,
    decision: Option<Decision>,
}

impl Pending {
    pub(super) fn begin(witness: Arc<dyn Witness>, id: String, peer: SocketAddr) -> Self {
        let decision = Decision {
            id,
            peer,
            caller: None,
            workflow: None,
            mode: None,
            target: None,
            kind: None,
            verdict: Verdict::Refused { code: ABANDONED },
            would_deny: None,
            lookup: None,
            connect: None,
        };
        Self { witness, decision: Some(decision) }
    }

    pub(super) fn asked_for(&mut self, target: &Target, kind: Kind) {
        let decision = self.decision();
        (decision.target, decision.kind) = (Some(target.clone()), Some(kind));
    }

    pub(super) fn came_from(&mut self, guest: &Guest) {
        let Guest { caller, workflow, mode, .. } = guest;
        let decision = self.decision();
        decision.caller =
            Some(CallerFacts { kind: caller.kind(), id: caller.id().to_owned(), key: caller.key().cloned() });
        (decision.workflow, decision.mode) = (Some(workflow.clone()), Some(*mode));
    }

    pub(super) fn would_be_denied(&mut self, code: &'static str) {
        self.decision().would_deny = Some(code);
    }

    /// The request gets no connection.
    pub(super) fn refused(mut self, code: &'static str) {
        self.decision().verdict = Verdict::Refused { code };
        self.write_or_say();
    }

    /// The request has a connection, which is not to be used if this fails.
    pub(super) fn opened(mut self, connected: &Connected) -> Result<Open, Unrecorded> {
        let decision = self.decision();
        decision.verdict = Verdict::Opened { address: connected.address };
        (decision.lookup, decision.connect) = (connected.lookup, Some(connected.connect));
        let id = decision.id.clone();
        self.write()?;
        let close = Close {
            id,
            reason: ABANDONED,
            sni: None,
            would_deny: None,
            bytes_sent: 0,
            bytes_received: 0,
            open: Duration::ZERO,
        };
        let witness = Arc::clone(&self.witness);
        Ok(Open { witness, close: Some(close), traffic: Arc::new(Traffic::begin()), began: Instant::now() })
    }

    fn decision(&mut self) -> &mut Decision {
        self.decision.as_mut().expect("it is taken when the guard ends, and then nobody has the guard")
    }

    /// Nothing opens after this, so nothing has to be held back where the record cannot be kept.
    fn write_or_say(&mut self) {
        if let Err(error) = self.write() {
            tracing::error!(%error, "a refusal is not on record");
        }
    }

    fn write(&mut self) -> Result<(), Unrecorded> {
        self.decision.take().map_or(Ok(()), |decision| self.witness.decided(decision))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(decision) = &mut self.decision {
            decision.verdict = Verdict::Refused { code: cut_code() };
            self.write_or_say();
        }
    }
}

/// A connection that is open.
pub(super) struct Open {
    witness: Arc<dyn Witness>,
    close: Option<Close>,
    traffic: Arc<Traffic>,
    began: Instant,
}

impl Open {
    /// Returns what counts the bytes.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    pub(super) fn said_hello(&mut self, name: Option<String>) {
        self.close().sni = name;
    }

    pub(super) fn would_be_closed(&mut self, code: &'static str) {
        self.close().would_deny = Some(code);
    }

    /// The connection ends.
    pub(super) fn end(mut self, reason: &'static str) {
        self.write(reason);
    }

    fn close(&mut self) -> &mut Close {
        self.close.as_mut().expect("it is taken when the guard ends, and then nobody has the guard")
    }

    fn write(&mut self, reason: &'static str) {
        if let Some(close) = self.close.take() {
            let (bytes_sent, bytes_received) = (self.traffic.sent(), self.traffic.received());
            let open = self.began.elapsed();
            self.witness.closed(Close { reason, bytes_sent, bytes_received, open, ..close });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.write(cut_code());
    }
}
