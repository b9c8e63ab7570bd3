//! Names to addresses.
//!
//! Only names that a policy declares are ever looked up, so the set of names is finite and DNS cannot carry data
//! out. A name is taken as absolute: the machine's search list is not applied, because
//! `api.example.com.corp.example` is not what the policy says.
//!
//! Deliberately absent: any judgement of the answer. That is [`guard`](crate::guard).

use std::net::IpAddr;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{ResolverBuilder, TokioResolver};

/// Answers name look-ups for outbound connections.
pub trait Resolver: Send + Sync {
    /// Looks up all addresses of `name`, a host name of a policy, once.
    ///
    /// # Errors
    /// Returns [`ResolveError`] if the name has no address or nobody answered.
    fn lookup<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// Why a name has no answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {name}")]
pub struct ResolveError {
    name: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl ResolveError {
    /// Makes the error for `name` from whatever went wrong.
    pub fn new(name: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { name: name.to_owned(), source: source.into() }
    }
}

/// Resolves by the machine's hosts file and name servers, with a cache that honours the records' lifetime.
///
/// Both are read once, when the resolver is made.
#[derive(Debug)]
pub struct SystemResolver {
    inner: TokioResolver,
}

impl SystemResolver {
    /// Reads the machine's configuration.
    ///
    /// A machine without usable name servers gets a resolver that knows the hosts file alone: a gateway that
    /// serves only its own models needs no DNS, and must start without.
    ///
    /// # Errors
    /// Returns [`ResolveError`] if the configuration cannot be put to use.
    pub fn new() -> Result<Self, ResolveError> {
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "no name servers; only the hosts file resolves names");
            TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
        });
        Self::build(builder).map_err(|error| ResolveError::new("the system's names", error))
    }

    fn build(builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<Self, NetError> {
        Ok(Self { inner: builder.build()? })
    }
}

impl Resolver for SystemResolver {
    fn lookup<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        async move {
            let mut absolute = Name::from_ascii(name).map_err(|error| ResolveError::new(name, error))?;
            absolute.set_fqdn(true);
            let answer =
                self.inner.lookup_ip(absolute).await.map_err(|error| ResolveError::new(name, error))?;
            Ok(answer.iter().collect())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};

    use hickory_resolver::config::NameServerConfig;
    use tokio::net::UdpSocket;

    use super::*;

    const A: u16 = 1;
    const AAAA: u16 = 28;
    const HEADER_BYTES: usize = 12;

    type Queries = Arc<Mutex<Vec<(String, u16)>>>;

    /// A name server that knows `api.example.com` alone, and writes down what it is asked.
    async fn name_server() -> (SocketAddr, Queries) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let queries = Queries::default();
        let log = Arc::clone(&queries);
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                let (name, kind, end) = question(&packet[..length]);
                socket.send_to(&answer(&packet[..end], &name, kind), peer).await.unwrap();
                log.lock().unwrap().push((name, kind));
            }
        });
        (address, queries)
    }

    /// Returns the name and type asked for, and where the question ends.
    fn question(packet: &[u8]) -> (String, u16, usize) {
        let mut labels = Vec::new();
        let mut at = HEADER_BYTES;
        while packet[at] != 0 {
            let end = at + 1 + usize::from(packet[at]);
            labels.push(String::from_utf8(packet[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        (labels.join("."), u16::from_be_bytes([packet[at + 1], packet[at + 2]]), at + 5)
    }

    fn answer(query: &[u8], name: &str, kind: u16) -> Vec<u8> {
        let address: Option<&[u8]> = match (name, kind) {
            ("api.example.com", A) => Some(&[192, 0, 2, 7]),
            ("api.example.com", AAAA) => Some(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
            _ => None,
        };
        let code = if address.is_some() { 0 } else { 3 };
        let mut packet = query.to_vec();
        // Flags, then the counts of questions, answers, authorities and additions.
        packet[2..HEADER_BYTES].copy_from_slice(&[
            0x81,
            0x80 | code,
            0,
            1,
            0,
            u8::from(code == 0),
            0,
            0,
            0,
            0,
        ]);
        if let Some(address) = address {
            let [high, low] = kind.to_be_bytes();
            let length = u8::try_from(address.len()).unwrap();
            // The name by reference, type, class, a minute to live, and the address.
            packet.extend([0xc0, 12, high, low, 0, 1, 0, 0, 0, 60, 0, length]);
            packet.extend(address);
        }
        packet
    }

    fn resolver(name_server: SocketAddr) -> SystemResolver {
        let mut server = NameServerConfig::udp(name_server.ip());
        server.connections[0].port = name_server.port();
        let corp = Name::from_ascii("corp.test.").unwrap();
        let config = ResolverConfig::from_parts(Some(corp.clone()), vec![corp], vec![server]);
        let provider = TokioRuntimeProvider::default();
        SystemResolver::build(TokioResolver::builder_with_config(config, provider)).unwrap()
    }

    #[tokio::test]
    async fn both_families_are_asked_for_once_and_kept_while_they_live() {
        let (address, queries) = name_server().await;
        let resolver = resolver(address);
        for _ in 0..3 {
            let mut found = resolver.lookup("api.example.com").await.unwrap();
            found.sort_unstable();
            assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        }
        let mut queries = queries.lock().unwrap().clone();
        queries.sort_unstable();
        assert_eq!(queries, [("api.example.com".to_owned(), A), ("api.example.com".to_owned(), AAAA)]);
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error_and_no_search_list_is_tried() {
        let (address, queries) = name_server().await;
        let error = resolver(address).lookup("api").await.unwrap_err();
        assert_eq!(error.to_string(), "cannot resolve api");
        assert!(queries.lock().unwrap().iter().all(|(name, _)| name == "api"), "{queries:?}");
    }
}
