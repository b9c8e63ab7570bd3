//! What a workflow may reach: the one rule, asked by the compiler and again at every dial.

use std::collections::BTreeSet;

use crate::host::HostPattern;
use crate::locality::{EgressMode, Locality};
use crate::name::ProviderName;
use crate::provider::{Destination, Provider};
use crate::revocations::Revoked;
use crate::tunnel::HostRule;

/// What the policy file grants a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) mode: EgressMode,
    pub(crate) providers: BTreeSet<ProviderName>,
    /// Sorted, without repetition.
    pub(crate) hosts: Vec<HostRule>,
}

/// Why a destination may not be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The policy has no such workflow.
    #[error("the policy has no such workflow")]
    UnknownWorkflow,
    /// The policy has no such provider.
    #[error("the policy has no such provider")]
    UnknownProvider,
    /// The provider is part of this process.
    #[error("the provider runs in this process and is never dialled")]
    InProcess,
    /// The host or the port is not the provider's.
    #[error("the provider is declared at another host or port")]
    OtherEndpoint,
    /// `deny_hosts` names the host.
    #[error("its host matches `{0}` in `defaults.deny_hosts`")]
    DeniedHost(String),
    /// The workflow is sealed and the provider is not local.
    #[error("a sealed workflow reaches only local providers")]
    Sealed,
    /// The list of revocations names the provider, its host or the workflow.
    #[error("it is revoked: `{}` of the revocations", .0.as_str())]
    Revoked(Revoked),
    /// The workflow's `egress` does not name the provider, or the host with its port.
    #[error("the workflow's `egress` does not name it")]
    NotNamed,
    /// A provider is declared at the host and port, and only an entry with ports that names the host outright opens
    /// a tunnel there.
    #[error("a provider is declared there: calls to it go through the gateway")]
    OfProvider,
}

impl Grant {
    /// Decides whether the workflow may reach `provider`. `deny_hosts` wins over every grant.
    pub(crate) fn permits(&self, provider: &Provider, deny_hosts: &[HostPattern]) -> Result<(), Refused> {
        // Nothing leaves the process for a model inside it.
        let Provider::Http(destination) = provider else { return Ok(()) };
        if let Some(denied) = deny_hosts.iter().find(|pattern| pattern.matches(&destination.host)) {
            return Err(Refused::DeniedHost(denied.to_string()));
        }
        let is_local = destination.locality == Locality::Local;
        match self.mode {
            // A local destination has no proxy, and a sealed workflow would not go through one.
            EgressMode::Sealed if is_local && destination.proxy.is_none() => Ok(()),
            EgressMode::Sealed => Err(Refused::Sealed),
            EgressMode::Hosted if is_local || self.names(destination) => Ok(()),
            EgressMode::Allowlist if self.names(destination) || self.names_host_of(destination) => Ok(()),
            EgressMode::Hosted | EgressMode::Allowlist => Err(Refused::NotNamed),
        }
    }

    fn names(&self, destination: &Destination) -> bool {
        self.providers.contains(&destination.provider)
    }

    fn names_host_of(&self, destination: &Destination) -> bool {
        self.hosts.iter().any(|rule| rule.names_provider_at(&destination.host, destination.port))
    }
}
