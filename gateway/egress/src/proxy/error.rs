//! Why a proxy gave no way through.
//!
//! A proxy's own words are not kept: they may be a page of HTML, and they may repeat what we sent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::secret::SecretError;
use crate::tls::TlsError;

/// No tunnel through the proxy. Nothing of the request has been sent yet, to anybody.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The files for TLS with the proxy cannot be used.
    #[error("the proxy cannot be reached by TLS as the policy wants it")]
    Setup(#[source] TlsError),
    /// The credential for the proxy cannot be used.
    #[error("the credential for the proxy cannot be used")]
    Secret(#[source] SecretError),
    /// No connection to the proxy itself.
    #[error("cannot connect to the proxy at {address}")]
    Connect {
        /// The address tried last.
        address: SocketAddr,
        /// What it answered.
        source: io::Error,
    },
    /// The destination's name cannot be written into a CONNECT request.
    #[error("the destination's name holds a character that no CONNECT request can hold")]
    Target,
    /// The TLS handshake with the proxy failed; it has not been told where to go, nor who asks.
    #[error("the TLS handshake with the proxy failed")]
    Tls(#[source] io::Error),
    /// The proxy wants a credential, or another one (407).
    #[error("the proxy does not accept the credential")]
    Auth,
    /// The proxy does not connect.
    #[error("the proxy answered with {}", .0.as_u16())]
    Refused(StatusCode),
    /// What answered does not speak HTTP/1.
    #[error("the proxy's answer is not HTTP/1")]
    Malformed,
    /// The head of the answer is too large.
    #[error("the head of the proxy's answer is larger than 8 KiB")]
    TooLarge,
    /// The connection ended before the answer was complete.
    #[error("the proxy closed the connection before it answered")]
    Closed(#[source] io::Error),
    /// The proxy did not answer.
    #[error("no answer from the proxy within {0:?}")]
    Timeout(Duration),
}

/// Why there is no tunnel, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyFailure {
    /// A file cannot be used.
    Setup,
    /// The credential cannot be used.
    Secret,
    /// Nobody accepts.
    Connect,
    /// The name cannot be sent.
    Target,
    /// The TLS handshake failed.
    Tls,
    /// The credential is not accepted.
    Auth,
    /// The proxy does not connect.
    Refused,
    /// The answer is no answer.
    Protocol,
    /// There was no answer.
    Closed,
    /// It took too long.
    Timeout,
}

impl ProxyError {
    /// Returns what failed, in one word.
    pub fn failure(&self) -> ProxyFailure {
        match self {
            Self::Setup(_) => ProxyFailure::Setup,
            Self::Secret(_) => ProxyFailure::Secret,
            Self::Connect { .. } => ProxyFailure::Connect,
            Self::Target => ProxyFailure::Target,
            Self::Tls(_) => ProxyFailure::Tls,
            Self::Auth => ProxyFailure::Auth,
            Self::Refused(_) => ProxyFailure::Refused,
            Self::Malformed | Self::TooLarge => ProxyFailure::Protocol,
            Self::Closed(_) => ProxyFailure::Closed,
            Self::Timeout(_) => ProxyFailure::Timeout,
        }
    }
}

impl ProxyFailure {
    /// Returns the code for records and metrics; one of a closed set.
    pub fn code(self) -> &'static str {
        match self {
            Self::Setup => "egress.proxy_setup",
            Self::Secret => "egress.proxy_secret",
            Self::Connect => "egress.proxy_connect",
            Self::Target => "egress.proxy_target",
            Self::Tls => "egress.proxy_tls",
            Self::Auth => "egress.proxy_auth",
            Self::Refused => "egress.proxy_refused",
            Self::Protocol => "egress.proxy_protocol",
            Self::Closed => "egress.proxy_closed",
            Self::Timeout => "egress.proxy_timeout",
        }
    }

    /// Returns who can do something about it.
    ///
    /// A refusal is the upstream's: proxies answer with the same codes when they may not and when they cannot connect.
    pub fn fault(self) -> Fault {
        match self {
            Self::Setup | Self::Secret | Self::Auth => Fault::Operator,
            Self::Target => Fault::Policy,
            Self::Connect | Self::Tls | Self::Refused | Self::Protocol | Self::Closed | Self::Timeout => {
                Fault::Upstream
            }
        }
    }
}
