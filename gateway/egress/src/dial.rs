//! One outbound connection: resolve once, check everything, connect to exactly what was checked.
//!
//! A [`Dialler`] belongs to one destination and takes no instruction about where to go, so neither a URI nor a
//! header can send it elsewhere. The name is looked up once per dial; what the guard saw is what is dialled,
//! which leaves nothing for an answer that changes between two look-ups. TLS is then asked for the policy's
//! host, never for the address.
//!
//! Deliberately absent: proxies, and the environment variables that would bring one in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use policy::{Destination, Revocations, Revoked, Scheme};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::Host;

use crate::connection::Connection;
use crate::guard::{Checked, Guard, Reason, Refusal};
use crate::resolver::{ResolveError, Resolver};
use crate::stats::Counters;

/// Most addresses of one answer that are tried. Each gets an equal share of the time that is left.
const ADDRESSES_TRIED_MAX: usize = 6;

/// Why there is no connection. Nothing of the request has been sent yet.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name could not be resolved.
    #[error("name resolution failed")]
    Dns(#[source] ResolveError),
    /// The provider or its host is revoked.
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
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// Name resolution, TCP and TLS took longer than the provider's connect timeout.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

/// Opens connections to one destination.
pub(crate) struct Dialler {
    pub(crate) destination: Arc<Destination>,
    pub(crate) guard: Guard,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) revocations: watch::Receiver<Arc<Revocations>>,
}

impl Dialler {
    /// Opens one connection, within the destination's connect timeout.
    pub(crate) async fn dial(&self) -> Result<Connection, DialError> {
        let limit = self.destination.timeouts().connect;
        let deadline = Instant::now() + limit;
        timeout_at(deadline, self.connect(deadline)).await.unwrap_or(Err(DialError::Timeout(limit)))
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, DialError> {
        self.check_revocations()?;
        let answer = self.resolve().await?;
        let checked = self.guard.check(answer).map_err(|refusal| self.refuse(refusal))?;
        self.counters.allow();
        let tcp = self.open(&checked, deadline).await?;
        match self.destination.scheme() {
            Scheme::Http => Ok(Connection::plain(tcp)),
            Scheme::Https => {
                let name = server_name(self.destination.host())?;
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                connector.connect(name, tcp).await.map(Connection::tls).map_err(DialError::Tls)
            }
        }
    }

    /// The pool may dial for a call that was decided a while ago.
    fn check_revocations(&self) -> Result<(), DialError> {
        let (provider, host) = (self.destination.provider(), self.destination.host());
        let Some(revoked) = self.revocations.borrow().of_provider(provider, Some(host)) else {
            return Ok(());
        };
        self.counters.refuse();
        tracing::warn!(%provider, list = revoked.as_str(), "dial refused: revoked");
        Err(DialError::Revoked(revoked))
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let addresses = match self.destination.host() {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => interleave(self.resolver.lookup(name).await.map_err(DialError::Dns)?),
        };
        let port = self.destination.port();
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    async fn open(&self, checked: &Checked, deadline: Instant) -> Result<TcpStream, DialError> {
        let addresses = checked.addresses();
        let tries = addresses.len().min(ADDRESSES_TRIED_MAX);
        let mut failure = None;
        for (index, &address) in addresses[..tries].iter().enumerate() {
            // One silent address must not use up the time of those behind it.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(tries - index).expect("at most ADDRESSES_TRIED_MAX");
            let attempt = timeout_at(Instant::now() + share, TcpStream::connect(address)).await;
            match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(tcp) => return self.accept(tcp, address),
                Err(source) => failure = Some(DialError::Connect { address, source }),
            }
        }
        Err(failure.expect("a checked answer is never empty"))
    }

    /// Takes an established connection, unless it leads back into this process.
    fn accept(&self, tcp: TcpStream, address: SocketAddr) -> Result<TcpStream, DialError> {
        let ready = tcp.set_nodelay(true).and_then(|()| tcp.local_addr());
        let local = ready.map_err(|source| DialError::Connect { address, source })?;
        if self.guard.is_own(local, address) {
            return Err(self.refuse(Refusal::Address { address, reason: Reason::OwnListener }));
        }
        tracing::debug!(provider = %self.destination.provider(), %address, "connected");
        Ok(tcp)
    }

    fn refuse(&self, refusal: Refusal) -> DialError {
        self.counters.refuse();
        tracing::warn!(provider = %self.destination.provider(), %refusal, "dial refused");
        DialError::Address(refusal)
    }
}

/// Alternates the address families, so that a machine without IPv6 does not try six IPv6 addresses first.
fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

fn server_name(host: &Host) -> Result<ServerName<'static>, DialError> {
    let invalid = |error| DialError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error));
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(invalid),
        Host::Ipv4(ip) => Ok(ServerName::IpAddress(IpAddr::V4(*ip).into())),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress(IpAddr::V6(*ip).into())),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use policy::{Policy, Provider, Source};
    use tokio::net::TcpListener;

    use super::*;
    use crate::tls::Roots;

    /// Is never asked, because the destination is an address.
    struct Nobody;

    impl Resolver for Nobody {
        fn lookup<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
            panic!("{name} was looked up")
        }
    }

    fn dialler(address: SocketAddr) -> Dialler {
        let text = format!(
            "version: 1\nmodels: {{}}\nworkflows: {{}}\nproviders:\n  up: {{ kind: openai, locality: local, \
             base_url: 'http://{address}', cidrs: [127.0.0.0/8] }}\n"
        );
        let policy = Policy::compile(&Source { name: "routes.yaml".to_owned(), text }).unwrap();
        let Some(Provider::Http(destination)) = policy.providers().next() else { panic!("no HTTP provider") };
        Dialler {
            destination: Arc::clone(destination),
            guard: Guard::new(destination, &[]),
            resolver: Arc::new(Nobody),
            tls: Roots::public().client_config(),
            counters: Arc::default(),
            revocations: watch::Sender::new(Arc::new(Revocations::none())).subscribe(),
        }
    }

    #[tokio::test]
    async fn a_dialled_socket_sends_small_pieces_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialler = dialler(listener.local_addr().unwrap());
        let checked = dialler.guard.check(dialler.resolve().await.unwrap()).unwrap();
        let tcp = dialler.open(&checked, Instant::now() + Duration::from_secs(20)).await.unwrap();
        // With Nagle's algorithm a request's last piece would wait for the acknowledgement of the one before.
        assert!(tcp.nodelay().unwrap());
    }

    #[test]
    fn address_families_take_turns() {
        let parse = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let answer = parse(&["::1", "::2", "::3", "10.0.0.1"]);
        assert_eq!(interleave(answer), parse(&["::1", "10.0.0.1", "::2", "::3"]));
        assert_eq!(interleave(parse(&["10.0.0.1", "10.0.0.2"])), parse(&["10.0.0.1", "10.0.0.2"]));
        assert_eq!(interleave(Vec::new()), Vec::<IpAddr>::new());
    }
}
