//! From a name to a connection, for an agent.
//!
//! As for the gateway's own connections: one look-up per dial, the whole answer judged, and exactly a judged address
//! dialled. A name that agents choose may resolve to whatever its owner likes, so the addresses have to be public
//! ones unless the rule says otherwise.
//!
//! Deliberately absent: a way around the guard. What is never dialled is not dialled in `report` mode either.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipnet::IpNet;
use tokio::time::Instant;
use url::Host;

use super::target::Target;
use crate::connect::{interleave, open};
use crate::dial::DialError;
use crate::guard::Guard;
use crate::resolver::Resolver;
pub use crate::stream::Io;

/// Opens connections to targets.
pub trait Exit: Send + Sync {
    /// Opens a connection by `deadline`, at an address that is public or inside `cidrs`.
    ///
    /// # Errors
    /// Returns [`DialError`] if there is none.
    fn open<'a>(
        &'a self,
        target: &'a Target,
        cidrs: &'a [IpNet],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Connected, DialError>>;
}

/// A connection to a target.
pub struct Connected {
    /// The bytes.
    pub stream: Box<dyn Io>,
    /// What was connected to.
    pub address: SocketAddr,
    /// Time for the look-up; nothing if there was none.
    pub lookup: Option<Duration>,
    /// Time from the answer to the connection.
    pub connect: Duration,
}

/// Resolves, checks and dials in this process.
pub struct Dialled {
    resolver: Arc<dyn Resolver>,
    own: Vec<SocketAddr>,
}

impl Dialled {
    /// Makes the exit; `own` are addresses on which this program listens, and which nobody reaches through it.
    pub fn new(resolver: Arc<dyn Resolver>, own: Vec<SocketAddr>) -> Self {
        Self { resolver, own }
    }

    async fn connect(
        &self,
        target: &Target,
        cidrs: &[IpNet],
        deadline: Instant,
    ) -> Result<Connected, DialError> {
        let began = Instant::now();
        let addresses = match target.host() {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => interleave(self.resolver.lookup(name).await.map_err(DialError::Dns)?),
        };
        let resolved = Instant::now();
        let answer = addresses.into_iter().map(|ip| SocketAddr::new(ip, target.port())).collect();
        let guard = Guard::of_tunnel(cidrs, &self.own);
        let checked = guard.check(answer).map_err(DialError::Address)?;
        let (tcp, address) = open(&guard, &checked, deadline).await?;
        Ok(Connected {
            stream: Box::new(tcp),
            address,
            lookup: matches!(target.host(), Host::Domain(_)).then(|| resolved - began),
            connect: resolved.elapsed(),
        })
    }
}

impl Exit for Dialled {
    fn open<'a>(
        &'a self,
        target: &'a Target,
        cidrs: &'a [IpNet],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Connected, DialError>> {
        self.connect(target, cidrs, deadline).boxed()
    }
}
