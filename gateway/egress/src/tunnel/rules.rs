//! What the proxy asks before it dials.
//!
//! Who is calling, for which workflow, and may that workflow reach this target: everything that a policy says of
//! tunnels stands behind these questions, and everything that a list of revocations says.
//!
//! Deliberately absent: addresses. A rule speaks of names; what they resolve to is judged when it is known.

use std::net::IpAddr;

use ipnet::IpNet;
use policy::{Caller, IdentityError, Revoked, SelectError, WorkflowName};
use tokio::sync::watch;

use super::credentials::Credentials;
use super::request::Kind;
use super::target::Target;

/// Answers by a policy.
pub trait Rules: Send + Sync {
    /// Finds who is calling, and for which workflow.
    ///
    /// # Errors
    /// Returns [`NotAdmitted`] if nobody known is calling, or no workflow of theirs.
    fn admit(&self, shown: &Shown<'_>) -> Result<Guest, NotAdmitted>;

    /// Decides whether a guest may reach a target, as of now.
    ///
    /// # Errors
    /// Returns [`Denied`] if not.
    fn decide(&self, guest: &Guest, target: &Target, kind: Kind) -> Result<Passage, Denied>;

    /// Returns a number that changes whenever the answers of [`Self::decide`] may have changed.
    fn generation(&self) -> watch::Receiver<u64>;
}

/// What a peer shows of itself.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The address that it comes from, unless somebody in between has passed the request on.
    pub from: Option<IpAddr>,
    /// What it sent as credentials.
    pub credentials: Option<&'a Credentials>,
}

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Who.
    pub caller: Caller,
    /// For which workflow.
    pub workflow: WorkflowName,
    /// What becomes of that workflow's refusals.
    pub mode: Mode,
    /// How many connections that workflow may have open at once.
    pub connections_max: u32,
}

/// What becomes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It refuses.
    Enforce,
    /// It is put on record, and the request passes; so that a workflow's needs can be learnt before they are rules.
    Report,
}

impl Mode {
    /// Returns the word for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Nobody known is calling.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is not clear for which workflow, or the workflow is not theirs.
    #[error(transparent)]
    Workflow(#[from] SelectError),
}

/// What a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Networks that are not public and may be reached all the same.
    pub cidrs: Vec<IpNet>,
    /// What a tunnel may hold.
    pub inside: Inside,
}

impl Passage {
    /// Public addresses, and TLS for the name that was asked for.
    pub const PUBLIC_TLS: Self = Self { cidrs: Vec::new(), inside: Inside::Tls };
}

/// What a tunnel may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inside {
    /// TLS whose server name is the host that was asked for.
    Tls,
    /// Anything; nothing of it is looked at.
    Any,
}

/// Why a target may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// The list of revocations names the caller, the key, the workflow or the host.
    #[error("it is revoked: `{}` of the revocations", .0.as_str())]
    Revoked(Revoked),
    /// `defaults.deny_hosts` names the host.
    #[error("`defaults.deny_hosts` names the host")]
    DeniedHost,
    /// The workflow is sealed.
    #[error("the workflow is sealed")]
    Sealed,
    /// The workflow is gone from the policy, or the caller from the workflow.
    #[error("the workflow is no longer open to this caller")]
    Gone,
    /// A provider is declared there, and no rule names the host outright.
    #[error("a provider is declared there: calls to it go through the gateway")]
    OfProvider,
    /// No rule of the workflow names the target.
    #[error("the workflow's `egress.hosts` does not name it")]
    NotNamed,
}

impl Denied {
    /// Returns the code for records; one of a closed set.
    pub fn code(self) -> &'static str {
        match self {
            Self::Revoked(_) => "revoked",
            Self::DeniedHost => "tunnel.denied_host",
            Self::Sealed => "tunnel.sealed",
            Self::Gone => "tunnel.workflow",
            Self::OfProvider => "tunnel.of_provider",
            Self::NotNamed => "tunnel.not_named",
        }
    }

    /// Returns whether it is put on record and passed over: only what no rule names yet can be a matter of learning.
    pub(super) fn waived_by(self, mode: Mode) -> bool {
        match self {
            Self::NotNamed | Self::OfProvider => mode == Mode::Report,
            Self::Revoked(_) | Self::DeniedHost | Self::Sealed | Self::Gone => false,
        }
    }
}
