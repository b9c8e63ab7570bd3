//! The way to a connection, whoever opens it.
//!
//! Whoever wants one says what for, in names: a workflow, a provider, a host and a port. Whoever opens it decides,
//! resolves and checks for itself, and takes no address from the one who asks. [`Direct`](crate::Direct) does so in
//! the same process; [`Brokered`](crate::Brokered) asks a process that is allowed to, and gets a connected socket.
//!
//! Deliberately absent: TLS to the provider. It stays with whoever speaks to the provider, so that a broker never
//! sees what a call says.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use policy::{Policy, ProviderName, WorkflowName};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Host;

use crate::dial::DialError;
use crate::stats::Stats;
use crate::stream::Stream;

/// Opens connections.
pub trait Way: Send + Sync {
    /// Opens one connection, by `deadline` at the latest.
    fn open<'a>(&'a self, ask: &'a Ask, deadline: Instant) -> BoxFuture<'a, Result<Opened, DialError>>;

    /// Decides by `policy` from here on, and cuts the connections that it no longer allows.
    ///
    /// Called before the policy takes effect for calls: a call of the policy before that only the policy before
    /// allows is refused from then on.
    fn adopt<'a>(&'a self, policy: &'a Arc<Policy>) -> BoxFuture<'a, Result<(), NotAdopted>>;

    /// Returns how often dialling was allowed and refused so far, as far as it is known on this side.
    fn stats(&self) -> Stats;
}

/// What a connection is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// On whose behalf.
    pub workflow: WorkflowName,
    /// The provider to reach.
    pub provider: ProviderName,
    /// Its host, as the policy has it.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// To do what.
    pub purpose: Purpose,
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Calls of agents.
    Call,
    /// Finding out whether an upstream works.
    Probe,
    /// An agent's own connection, through the controlled proxy.
    Tunnel,
    /// Seeing that it is refused.
    SealTest,
}

impl Purpose {
    /// Returns the word for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Probe => "probe",
            Self::Tunnel => "tunnel",
            Self::SealTest => "seal_test",
        }
    }
}

/// The name of one dial, in every record that speaks of it: unique over processes and restarts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DialId(Arc<str>);

impl DialId {
    /// Names the dial `number` of the process run `run`.
    pub(crate) fn new(run: &str, number: u64) -> Self {
        Self(format!("{run}-{number}").into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection that was opened.
pub struct Opened {
    pub(crate) stream: Stream,
    /// The dial that opened it.
    pub dial: DialId,
    pub(crate) lease: Lease,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("dial", &self.dial).finish_non_exhaustive()
    }
}

/// Tells whoever opened a connection, by being dropped, that nobody uses it any more.
///
/// It must outlive the stream: what it tells closes the connection for good.
pub(crate) struct Lease(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Lease {
    pub(crate) fn new(over: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(over)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(over) = self.0.take() {
            over();
        }
    }
}

/// Why whoever opens connections goes on deciding by the policy before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker did not take the policy: {0}")]
pub struct NotAdopted(pub String);
