//! Providers: what serves models, and what may be dialled to reach one.
//!
//! A [`Destination`] is all that egress learns about an upstream. Secrets are references to be read at use, so
//! neither a policy nor its digest ever holds one.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Host;

use crate::api::Api;
use crate::auth::Auth;
use crate::locality::Locality;
use crate::name::ProviderName;
use crate::proxy::Proxy;
use crate::tls::TlsRule;

/// A provider, as the policy means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// Models in this process.
    Engine {
        /// The provider's name.
        name: ProviderName,
        /// What the models run on.
        device: Device,
    },
    /// An HTTP service.
    Http(Arc<Destination>),
}

impl Provider {
    /// Returns the provider's name.
    pub fn name(&self) -> &ProviderName {
        match self {
            Self::Engine { name, .. } => name,
            Self::Http(destination) => &destination.provider,
        }
    }

    /// Returns where the provider computes; this process is local by nature.
    pub fn locality(&self) -> Locality {
        match self {
            Self::Engine { .. } => Locality::Local,
            Self::Http(destination) => destination.locality,
        }
    }
}

/// What an in-process model runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// An accelerator where the build and the machine have one, otherwise the CPU.
    Auto,
    /// The CPU, always.
    Cpu,
}

impl Device {
    /// Every device.
    pub(crate) const ALL: [Self; 2] = [Self::Auto, Self::Cpu];

    /// Returns the word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
        }
    }
}

/// The URL scheme of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text; only local destinations may use it.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// Returns the scheme as it stands in a URL, without `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How long egress waits for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the response head.
    pub first_byte: Duration,
    /// Between two pieces of a response body.
    pub idle: Duration,
    /// For the whole exchange.
    pub total: Duration,
}

/// An upstream that may be dialled: the compiled form of an HTTP provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub(crate) provider: ProviderName,
    pub(crate) api: Api,
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) base_path: String,
    pub(crate) cidrs: Vec<IpNet>,
    pub(crate) locality: Locality,
    pub(crate) region: Option<String>,
    pub(crate) auth: Auth,
    pub(crate) proxy: Option<Arc<Proxy>>,
    pub(crate) tls: TlsRule,
    pub(crate) timeouts: Timeouts,
    pub(crate) health: Option<Probe>,
    pub(crate) breaker: BreakerRule,
}

/// How to find out whether a destination works without a call that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The path to ask for, from the root of the host and not from the base path: a server's health is seldom part
    /// of its API.
    pub path: String,
    /// From one question to the next.
    pub interval: Duration,
}

/// When calls to a destination stop for a while because too many failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// How many failures within the window are too many.
    pub failures: u32,
    /// How long a failure counts.
    pub window: Duration,
    /// How long calls stop before one is let through to try.
    pub open_for: Duration,
}

impl Default for BreakerRule {
    /// Returns what holds where the policy says nothing.
    fn default() -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self { failures: 5, window: half_a_minute, open_for: half_a_minute }
    }
}

impl Destination {
    /// Returns the provider that this destination belongs to.
    pub fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// Returns the wire format that the destination speaks.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Returns the URL scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host: a name to resolve, or an address to take as it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path before every endpoint: empty, or with a leading and without a trailing slash.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Returns the networks whose non-public addresses may be dialled, sorted.
    ///
    /// For a [`Locality::Local`] destination the list is not empty and *every* dialled address must lie inside
    /// it, public or not: that is what makes the destination local.
    pub fn cidrs(&self) -> &[IpNet] {
        &self.cidrs
    }

    /// Returns where the destination computes.
    pub fn locality(&self) -> Locality {
        self.locality
    }

    /// Returns the region that the policy declares, a label for people and records.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Returns how requests are authenticated.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Returns the proxy that every connection to the destination goes through; a [`Locality::Local`] destination has
    /// none.
    pub fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref()
    }

    /// Returns what is asked of the destination's certificate.
    pub fn tls(&self) -> &TlsRule {
        &self.tls
    }

    /// Returns how long to wait.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Returns how the destination is asked whether it works, where the policy says so.
    pub fn health(&self) -> Option<&Probe> {
        self.health.as_ref()
    }

    /// Returns when calls to the destination stop for a while.
    pub fn breaker(&self) -> &BreakerRule {
        &self.breaker
    }
}
