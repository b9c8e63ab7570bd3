//! What agents may reach besides models: hosts and ports, through the proxy that stands before them.
//!
//! The rules speak of names and ports, never of addresses: what a name resolves to is judged when it is known. A port
//! is always one that somebody wrote, or 443. Deliberately absent: what goes through a tunnel.

use std::fmt;

use ipnet::IpNet;
use url::Host;

use crate::grant::{Grant, Refused};
use crate::host::HostPattern;
use crate::locality::EgressMode;
use crate::moment::Moment;
use crate::name::WorkflowName;
use crate::policy::{Contents, Policy};
use crate::provider::Provider;

/// The port of a host that is written without one.
pub(crate) const PORT: u16 = 443;

/// How an agent asks for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// By `CONNECT`: the agent speaks with the host itself.
    Connect,
    /// By a request in absolute form, such as `GET http://host/path`: the proxy reads and forwards it.
    Plain,
}

/// What an allowed connection may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelRule {
    /// The networks whose non-public addresses may be dialled, sorted.
    pub cidrs: Vec<IpNet>,
}

/// What becomes of a connection that no rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TunnelMode {
    /// It is refused.
    Enforce,
    /// It is put on record and opened all the same, so that a workflow's needs can be learnt before they are rules.
    Report {
        /// The first moment at which refusals count again.
        until: Option<Moment>,
    },
}

impl TunnelMode {
    /// The words for the mode in a policy file.
    pub(crate) const WORDS: [&'static str; 2] = ["enforce", "report"];

    /// Returns the word used in the policy file and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report { .. } => "report",
        }
    }

    /// Returns whether refusals count at some time.
    pub fn is_enforced(self, now: Moment) -> bool {
        match self {
            Self::Enforce => true,
            Self::Report { until } => until.is_some_and(|until| now >= until),
        }
    }
}

/// One entry of `egress.hosts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostRule {
    /// Written as a text alone: a provider at the host, on whatever port it is declared; and port 443 of a host that
    /// is no provider's.
    Host(HostPattern),
    /// Written with its ports, which are then all.
    Ports(HostPorts),
}

/// Ports of hosts, and how they may be reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPorts {
    pub(crate) host: HostPattern,
    /// Sorted, without repetition, never empty.
    pub(crate) ports: Vec<u16>,
    /// Whether requests in absolute form are forwarded too, at all ports but 443.
    pub(crate) plain: bool,
    /// Sorted, without repetition.
    pub(crate) cidrs: Vec<IpNet>,
}

impl HostRule {
    pub(crate) fn pattern(&self) -> &HostPattern {
        match self {
            Self::Host(host) | Self::Ports(HostPorts { host, .. }) => host,
        }
    }

    /// Returns whether a provider that is declared at `host` and `port` is meant.
    pub(crate) fn names_provider_at(&self, host: &Host, port: u16) -> bool {
        match self {
            Self::Host(pattern) => pattern.matches(host),
            Self::Ports(rule) => rule.host.matches(host) && rule.ports.contains(&port),
        }
    }

    /// Returns the networks whose non-public addresses the rule allows.
    pub(crate) fn networks(&self) -> &[IpNet] {
        match self {
            Self::Host(_) => &[],
            Self::Ports(rule) => &rule.cidrs,
        }
    }

    /// Returns the ports that may be reached so.
    pub(crate) fn ports(&self, tunnel: Tunnel) -> impl Iterator<Item = u16> {
        let (ports, plain): (&[u16], bool) = match self {
            Self::Host(_) => (&[PORT], false),
            Self::Ports(rule) => (&rule.ports, rule.plain),
        };
        let fits = move |port: u16| match tunnel {
            Tunnel::Connect => true,
            Tunnel::Plain => plain && port != PORT,
        };
        ports.iter().copied().filter(move |port| fits(*port))
    }

    /// Returns whether the rule names one host with its ports: whoever writes that means this very endpoint.
    fn is_explicit(&self) -> bool {
        matches!(self, Self::Ports(HostPorts { host: HostPattern::Exact(_), .. }))
    }
}

/// Such as `*.crates.io:443`, or `deb.example:80,443, plain HTTP too`.
impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<String> = self.ports(Tunnel::Connect).map(|port| port.to_string()).collect();
        write!(f, "{}:{}", self.pattern(), ports.join(","))?;
        if self.ports(Tunnel::Plain).next().is_some() {
            f.write_str(", plain HTTP too")?;
        }
        Ok(())
    }
}

impl Grant {
    fn permits_tunnel(
        &self,
        (host, port): (&Host, u16),
        tunnel: Tunnel,
        contents: &Contents,
    ) -> Result<TunnelRule, Refused> {
        if let Some(denied) = contents.deny_hosts.iter().find(|pattern| pattern.matches(host)) {
            return Err(Refused::DeniedHost(denied.to_string()));
        }
        if self.mode == EgressMode::Sealed {
            return Err(Refused::Sealed);
        }
        let allows = |rule: &&HostRule| rule.pattern().matches(host) && rule.ports(tunnel).any(|p| p == port);
        let rules: Vec<&HostRule> = self.hosts.iter().filter(allows).collect();
        if rules.is_empty() {
            return Err(Refused::NotNamed);
        }
        // What goes through a tunnel is neither routed nor recorded as a call, so this has to be meant.
        let is_provider = contents
            .providers
            .values()
            .any(|provider| matches!(provider, Provider::Http(to) if to.host == *host && to.port == port));
        if is_provider && !rules.iter().any(|rule| rule.is_explicit()) {
            return Err(Refused::OfProvider);
        }
        let mut cidrs: Vec<IpNet> = rules.iter().flat_map(|rule| rule.networks()).copied().collect();
        cidrs.sort_unstable();
        cidrs.dedup();
        Ok(TunnelRule { cidrs })
    }
}

impl Policy {
    /// Decides whether an agent of a workflow may have a connection to `host` and `port`.
    ///
    /// It knows nothing of [`TunnelMode`]: in `report`, [`Refused::NotNamed`] and [`Refused::OfProvider`] are what may
    /// be put on record and passed over, and no other refusal.
    ///
    /// # Errors
    /// Returns [`Refused`] if the host is denied to all, the workflow is sealed, or its `egress.hosts` does not name
    /// the host with the port; and if a provider is declared there that the entry does not name outright.
    pub fn may_tunnel(
        &self,
        workflow: &WorkflowName,
        host: &Host,
        port: u16,
        tunnel: Tunnel,
    ) -> Result<TunnelRule, Refused> {
        let workflow = self.workflow(workflow.as_str()).ok_or(Refused::UnknownWorkflow)?;
        workflow.grant.permits_tunnel((host, port), tunnel, self.contents())
    }
}
