//! What whoever opens connections puts on record, independently of whoever uses them.
//!
//! Every dial ends in exactly one [`Decision`], also one that is abandoned half-way; every connection that was opened
//! ends in exactly one [`Close`].
//!
//! Deliberately absent: where the record is kept.

use std::net::SocketAddr;
use std::time::Duration;

use policy::{ProviderName, WorkflowName};
use url::Host;

use crate::way::{Ask, DialId, Purpose};

/// Keeps the record.
pub trait Witness: Send + Sync {
    /// Takes the end of a dial, before a connection is handed over.
    ///
    /// # Errors
    /// Returns [`Unrecorded`] if it cannot be kept. A connection is then not handed over.
    fn decided(&self, decision: Decision) -> Result<(), Unrecorded>;

    /// Takes the end of a connection.
    fn closed(&self, close: Close);
}

/// Nobody looks on: for tests, and for a process whose own records say as much.
#[derive(Debug, Clone, Copy)]
pub struct Unwitnessed;

impl Witness for Unwitnessed {
    fn decided(&self, _: Decision) -> Result<(), Unrecorded> {
        Ok(())
    }

    fn closed(&self, _: Close) {}
}

/// A decision could not be put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the dial cannot be put on record")]
pub struct Unrecorded;

/// What came of one dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The dial.
    pub dial: DialId,
    /// What the connection was wanted for.
    pub purpose: Purpose,
    /// On whose behalf.
    pub workflow: WorkflowName,
    /// The provider, unless an agent connects by itself.
    pub provider: Option<ProviderName>,
    /// The host that was asked for.
    pub host: Host,
    /// The port that was asked for.
    pub port: u16,
    /// Yes or no.
    pub verdict: Verdict,
    /// Time for the look-up; nothing if there was none.
    pub lookup: Option<Duration>,
    /// Time from the checked answer to the connection.
    pub connect: Option<Duration>,
}

impl Decision {
    /// Begins the record of a dial that has come to nothing so far.
    pub(crate) fn of(dial: DialId, ask: &Ask) -> Self {
        Self {
            dial,
            purpose: ask.purpose,
            workflow: ask.workflow.clone(),
            provider: Some(ask.provider.clone()),
            host: ask.host.clone(),
            port: ask.port,
            verdict: Verdict::Refused { code: "egress.abandoned" },
            lookup: None,
            connect: None,
        }
    }
}

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is.
    Opened {
        /// What was connected to: the upstream, or the proxy.
        address: SocketAddr,
        /// Who looked the name up.
        vantage: Vantage,
        /// The proxy, by its name in the policy.
        proxy: Option<String>,
    },
    /// There is none, and why: a code of a closed set.
    Refused {
        /// The code.
        code: &'static str,
    },
}

/// Who looked a name up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vantage {
    /// We did, and checked the answer.
    Local,
    /// The proxy did; its answer was not seen.
    Proxy,
}

impl Vantage {
    /// Returns the word for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Proxy => "proxy",
        }
    }
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The dial that opened it.
    pub dial: DialId,
    /// Why it ended.
    pub reason: CloseReason,
    /// Bytes sent to the other side, if the system tells.
    pub bytes_sent: Option<u64>,
    /// Bytes received from it.
    pub bytes_received: Option<u64>,
    /// How long it was open.
    pub open: Duration,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Whoever used it was done with it.
    Closed,
    /// The policy or the list of revocations no longer allows it.
    Revoked,
    /// Whoever used it is gone.
    UserGone,
    /// Whoever opened it stops.
    Shutdown,
}

impl CloseReason {
    /// Returns the word for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Revoked => "revoked",
            Self::UserGone => "gateway_gone",
            Self::Shutdown => "shutdown",
        }
    }
}
