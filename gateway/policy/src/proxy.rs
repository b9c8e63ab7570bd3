//! Proxies that stand between the gateway and its providers: the only way out of many companies.
//!
//! A provider names its proxy; nothing else chooses one, neither the environment nor a caller. What is absent on
//! purpose: a way around a proxy that does not answer, and patterns of hosts that are called without it.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use url::Host;

use crate::name::ProxyName;
use crate::provider::Scheme;

/// A proxy that connections may have to go through, by `CONNECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(crate) name: ProxyName,
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) auth_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) resolve: Resolve,
    pub(crate) cidrs: Vec<IpNet>,
}

/// Who turns a destination's name into an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolve {
    /// The gateway, which checks every address and tells the proxy which one to connect to.
    Local,
    /// The proxy, which is told the name. Nobody but the proxy then decides which addresses are reached.
    Proxy,
}

impl Resolve {
    /// Both ways, the one that the gateway can vouch for first.
    pub(crate) const ALL: [Self; 2] = [Self::Local, Self::Proxy];

    /// Returns the word used in the policy file and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Proxy => "proxy",
        }
    }
}

impl Proxy {
    /// Returns the proxy's name in the policy.
    pub fn name(&self) -> &ProxyName {
        &self.name
    }

    /// Returns what the proxy itself is spoken to in: plain HTTP or TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the proxy's host: a name to resolve, or an address to take as it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the file with `user:password` on one line, to be read at use; a relative path is relative to the folder
    /// of the policy file.
    pub fn auth_file(&self) -> Option<&Path> {
        self.auth_file.as_deref()
    }

    /// Returns the file with certificates that the proxy's own may be signed by, besides the public roots.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Returns who resolves the names of destinations.
    pub fn resolve(&self) -> Resolve {
        self.resolve
    }

    /// Returns the networks whose non-public addresses the proxy itself may have, sorted.
    pub fn cidrs(&self) -> &[IpNet] {
        &self.cidrs
    }
}

/// Such as `http://proxy.corp.example:3128`.
impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}
