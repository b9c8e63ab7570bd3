//! Why a call got no answer.
//!
//! An error says which upstream, what failed, who can do something about it, and whether another upstream may be
//! asked instead. It never holds a credential, a prompt or an upstream's text.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use policy::ProviderName;

use crate::dial::{DialError, DialFailure};
use crate::path::PathError;
use crate::secret::SecretError;

/// A call that got no answer from its upstream.
#[derive(Debug, thiserror::Error)]
#[error("no answer from provider {provider}")]
pub struct SendError {
    pub(crate) provider: ProviderName,
    #[source]
    pub(crate) kind: FailureKind,
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum FailureKind {
    /// The workflow may not use this destination.
    #[error("the policy does not allow it")]
    Denied(#[source] policy::Refused),
    /// The path would lead elsewhere, or cannot be sent: a model's name is odd, or a fault is ours.
    #[error("its path cannot be sent")]
    Path(#[source] PathError),
    /// The provider's credential cannot be used.
    #[error("its credential cannot be used")]
    Secret(#[source] SecretError),
    /// There is no connection.
    #[error("no connection")]
    Dial(#[source] Arc<DialError>),
    /// The upstream took the request and did not begin to answer.
    #[error("no answer within {0:?}")]
    FirstByteTimeout(Duration),
    /// The time for the exchange ran out before the answer began.
    #[error("the time for the exchange ran out")]
    TotalTimeout,
    /// The upstream wants the caller to go elsewhere, which only the policy may say.
    #[error("it answered with a redirect ({0})")]
    Redirect(StatusCode),
    /// The upstream wants to go on in another protocol.
    #[error("it wants to switch protocols")]
    Upgrade,
    /// The answer is compressed, which no request asks for: behind it, neither usage nor the end of a stream
    /// could be seen.
    #[error("it compressed its answer unasked")]
    Compressed,
    /// The exchange broke the rules of HTTP, or broke off.
    #[error("the exchange failed")]
    Protocol {
        /// Whether the request may have reached the upstream.
        retry: Retry,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether the request may be sent somewhere else, or again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing of the request reached the upstream.
    Safe,
    /// The upstream may have received it, and may have acted on it.
    Unsafe,
}

/// Who can do something about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever writes the policy: it forbids the call, or its answer from DNS, or names a model that no path can hold.
    Policy,
    /// Whoever runs this gateway: a credential, a name server.
    Operator,
    /// The upstream, or the network on the way to it.
    Upstream,
}

impl SendError {
    /// Returns the provider that was asked.
    pub fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// Returns what failed.
    pub fn kind(&self) -> &FailureKind {
        &self.kind
    }

    /// Returns whether the policy refused it, here or where connections are opened.
    pub fn is_denied(&self) -> bool {
        match &self.kind {
            FailureKind::Denied(_) => true,
            FailureKind::Dial(error) => error.failure() == DialFailure::Denied,
            _ => false,
        }
    }

    /// Returns the code for records and metrics; one of a closed set.
    pub fn code(&self) -> &'static str {
        match &self.kind {
            FailureKind::Denied(policy::Refused::Revoked(_)) => "revoked",
            FailureKind::Denied(_) => "egress.denied",
            FailureKind::Path(_) => "egress.path",
            FailureKind::Secret(SecretError::Signature(_)) => "egress.signature",
            FailureKind::Secret(_) => "egress.secret",
            FailureKind::Dial(error) => error.failure().code(),
            FailureKind::FirstByteTimeout(_) => "egress.timeout_first_byte",
            FailureKind::TotalTimeout => "egress.timeout_total",
            FailureKind::Redirect(_) => "egress.redirect",
            FailureKind::Upgrade | FailureKind::Compressed | FailureKind::Protocol { .. } => {
                "egress.protocol"
            }
        }
    }

    /// Returns who can do something about it.
    pub fn fault(&self) -> Fault {
        match &self.kind {
            FailureKind::Denied(_) | FailureKind::Path(_) => Fault::Policy,
            FailureKind::Secret(_) => Fault::Operator,
            FailureKind::Dial(error) => error.failure().fault(),
            FailureKind::FirstByteTimeout(_)
            | FailureKind::TotalTimeout
            | FailureKind::Redirect(_)
            | FailureKind::Upgrade
            | FailureKind::Compressed
            | FailureKind::Protocol { .. } => Fault::Upstream,
        }
    }

    /// Says whether the request may be sent to another upstream.
    pub fn retry(&self) -> Retry {
        match &self.kind {
            FailureKind::Denied(_) | FailureKind::Path(_) | FailureKind::Secret(_) | FailureKind::Dial(_) => {
                Retry::Safe
            }
            FailureKind::FirstByteTimeout(_)
            | FailureKind::TotalTimeout
            | FailureKind::Redirect(_)
            | FailureKind::Upgrade
            | FailureKind::Compressed => Retry::Unsafe,
            FailureKind::Protocol { retry, .. } => *retry,
        }
    }
}
