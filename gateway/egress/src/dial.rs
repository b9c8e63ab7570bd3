//! One outbound connection: asked for by name, opened by whoever may, and then TLS with the name that the policy holds.
//!
//! A [`Dialler`] belongs to one workflow and one destination and takes no instruction about where to go, so neither a
//! URI nor a header can send it elsewhere. TLS is asked for the policy's host, never for an address.
//!
//! Deliberately absent: who opens the connection, and how. That is the [`Way`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use policy::{Destination, Refused, Revoked, Scheme};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::connection::Connection;
use crate::error::Fault;
use crate::guard::Refusal;
use crate::proxy::{ProxyError, ProxyFailure};
use crate::resolver::ResolveError;
use crate::tls::{Leaf, PinMismatch, leaf, server_name};
use crate::way::{Ask, Way};

/// Why there is no connection. Nothing of the request has been sent yet.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Whoever opens connections does not allow it.
    #[error("the policy does not allow it")]
    Denied(#[source] Refused),
    /// The workflow has as many connections as it may have.
    #[error("the workflow has {0} connections open, which is its limit")]
    Limit(u32),
    /// The name could not be resolved.
    #[error("name resolution failed")]
    Dns(#[source] ResolveError),
    /// The workflow, the provider or its host is revoked.
    #[error("it is revoked: `{}` of the revocations", .0.as_str())]
    Revoked(Revoked),
    /// The answer held an address that may not be dialled.
    #[error(transparent)]
    Address(Refusal),
    /// No address accepted a connection; this is the last one's reason.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address tried last.
        address: SocketAddr,
        /// What it answered.
        source: io::Error,
    },
    /// The proxy that the policy names gave no way through.
    #[error("no way through the proxy")]
    Proxy(#[source] ProxyError),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The certificate is valid, and not one that the policy waits for.
    #[error("the TLS handshake was broken off")]
    Pin(#[source] PinMismatch),
    /// Name resolution, TCP and TLS took longer than the provider's connect timeout.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The dial could not be put on record.
    #[error("the dial cannot be put on record")]
    Unrecorded,
    /// The process that opens connections is not there, or was replaced meanwhile.
    #[error("the broker is not available")]
    Unavailable,
    /// The process that opens connections says that there is none.
    #[error("the broker: {message}")]
    Reported {
        /// What failed there.
        kind: DialFailure,
        /// What it says of it.
        message: String,
    },
}

/// Why there is no connection, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialFailure {
    /// The policy does not allow it.
    Denied,
    /// It is revoked.
    Revoked,
    /// Too many are open.
    Limit,
    /// The name does not resolve.
    Dns,
    /// An address may not be dialled.
    Address,
    /// Nobody accepts.
    Connect,
    /// The proxy gives no way through.
    Proxy(ProxyFailure),
    /// The TLS handshake failed.
    Tls,
    /// No pinned key certified the upstream.
    Pin,
    /// It took too long.
    Timeout,
    /// It cannot be put on record.
    Unrecorded,
    /// Nobody is there to open it.
    Unavailable,
}

impl DialFailure {
    /// Returns the code for records and metrics; one of a closed set.
    pub fn code(self) -> &'static str {
        match self {
            Self::Denied => "egress.denied",
            Self::Revoked => "revoked",
            Self::Limit => "egress.limit",
            Self::Dns => "egress.dns",
            Self::Address => "egress.address",
            Self::Connect => "egress.connect",
            Self::Proxy(failure) => failure.code(),
            Self::Tls => "egress.tls",
            Self::Pin => "egress.pin",
            Self::Timeout => "egress.timeout_connect",
            Self::Unrecorded => "egress.unrecorded",
            Self::Unavailable => "egress.unavailable",
        }
    }

    /// Returns who can do something about it.
    pub fn fault(self) -> Fault {
        match self {
            Self::Denied | Self::Revoked | Self::Address | Self::Limit => Fault::Policy,
            Self::Dns | Self::Unrecorded | Self::Unavailable => Fault::Operator,
            Self::Proxy(failure) => failure.fault(),
            Self::Connect | Self::Tls | Self::Pin | Self::Timeout => Fault::Upstream,
        }
    }
}

impl DialError {
    /// Returns what failed, in one word.
    pub fn failure(&self) -> DialFailure {
        match self {
            Self::Denied(Refused::Revoked(_)) | Self::Revoked(_) => DialFailure::Revoked,
            Self::Denied(_) => DialFailure::Denied,
            Self::Limit(_) => DialFailure::Limit,
            Self::Dns(_) => DialFailure::Dns,
            Self::Address(_) => DialFailure::Address,
            Self::Connect { .. } => DialFailure::Connect,
            Self::Proxy(error) => DialFailure::Proxy(error.failure()),
            Self::Tls(_) => DialFailure::Tls,
            Self::Pin(_) => DialFailure::Pin,
            Self::Timeout(_) => DialFailure::Timeout,
            Self::Unrecorded => DialFailure::Unrecorded,
            Self::Unavailable => DialFailure::Unavailable,
            Self::Reported { kind, .. } => *kind,
        }
    }
}

/// Opens connections to one destination, on behalf of one workflow.
pub(crate) struct Dialler {
    pub(crate) ask: Ask,
    pub(crate) destination: Arc<Destination>,
    pub(crate) way: Arc<dyn Way>,
    pub(crate) tls: Arc<ClientConfig>,
    /// What the upstream's certificate said last; held for a comparison.
    pub(crate) certificate: Mutex<Option<Leaf>>,
}

impl Dialler {
    /// Opens one connection, within the destination's connect timeout.
    pub(crate) async fn dial(&self) -> Result<Connection, DialError> {
        let limit = self.destination.timeouts().connect;
        let deadline = Instant::now() + limit;
        timeout_at(deadline, self.connect(deadline)).await.unwrap_or(Err(DialError::Timeout(limit)))
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, DialError> {
        let opened = self.way.open(&self.ask, deadline).await?;
        match self.destination.scheme() {
            Scheme::Http => Ok(Connection::plain(opened)),
            Scheme::Https => {
                let name = server_name(self.destination.host());
                let name = name.map_err(|error| DialError::Tls(io::Error::other(error)))?;
                let (dial, lease) = (opened.dial, opened.lease);
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                let stream = connector.connect(name, opened.stream.into_io()).await.map_err(no_session)?;
                self.note(leaf(stream.get_ref().1));
                Ok(Connection::tls(stream, dial, lease))
            }
        }
    }

    /// Logs the upstream's certificate when it is seen first, and when another one is seen.
    fn note(&self, certificate: Option<Leaf>) {
        let mut last = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == certificate {
            return;
        }
        if let Some(Leaf { issuer, spki_sha256 }) = &certificate {
            let key = format!("sha256/{}", BASE64.encode(spki_sha256));
            let provider = self.destination.provider();
            tracing::info!(%provider, issuer, key, "an upstream shows this certificate");
        }
        *last = certificate;
    }
}

/// rustls would write a wrong pin as a list of numbers.
fn no_session(error: io::Error) -> DialError {
    match PinMismatch::cause_of(&error) {
        Some(mismatch) => DialError::Pin(mismatch),
        None => DialError::Tls(error),
    }
}
