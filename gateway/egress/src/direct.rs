//! Opening a connection in this process: decide, resolve once, check everything, connect to exactly what was checked.
//!
//! The name is looked up once per dial; what the guard saw is what is dialled, which leaves nothing for an answer that
//! changes between two look-ups. The decision is by the policy that was adopted last, whatever policy the one who asks
//! goes by, and by the list of revocations of this moment.
//!
//! Deliberately absent: the environment variables that would bring a proxy in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use policy::{Destination, Policy, Revocations, Revoked};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use url::Host;

use crate::dial::{DialError, DialFailure};
use crate::guard::{Checked, Guard, Reason, Refusal};
use crate::kept::{Kept, Place};
use crate::resolver::Resolver;
use crate::stats::{Counters, Stats};
use crate::stream::Stream;
use crate::way::{Ask, DialId, Lease, NotAdopted, Opened, Way};
use crate::witness::{CloseReason, Decision, Unrecorded, Vantage, Verdict, Witness};

/// Most addresses of one answer that are tried. Each gets an equal share of the time that is left.
const ADDRESSES_TRIED_MAX: usize = 6;

/// Connections that one workflow may have open at once.
const CONNECTIONS_MAX: u32 = 1024;

/// What is needed to open connections, beyond the policy.
pub struct Surroundings {
    /// Answers names.
    pub resolver: Arc<dyn Resolver>,
    /// Addresses on which this program listens; none of them is ever dialled.
    pub own_addresses: Vec<SocketAddr>,
    /// What is revoked at this moment: no policy can allow it.
    pub revocations: watch::Receiver<Arc<Revocations>>,
    /// Who keeps the record.
    pub witness: Arc<dyn Witness>,
    /// A name for this run of the process, for the names of its dials: no two runs share one.
    pub run: String,
}

/// Opens connections in this process.
pub struct Direct {
    policy: RwLock<Arc<Policy>>,
    surroundings: Surroundings,
    kept: Arc<Kept>,
    counters: Counters,
    dials: AtomicU64,
}

/// A connection that is not handed over yet.
struct Connected {
    stream: Stream,
    second: OwnedFd,
    place: Place,
}

impl Direct {
    /// Makes the way of a policy. Opens nothing yet.
    pub fn new(policy: Arc<Policy>, surroundings: Surroundings) -> Arc<Self> {
        let kept = Kept::new(Arc::clone(&surroundings.witness));
        let policy = RwLock::new(policy);
        Arc::new(Self { policy, surroundings, kept, counters: Counters::default(), dials: AtomicU64::new(0) })
    }

    /// Puts `policy` in force, and cuts what it no longer allows.
    pub fn decide_by(&self, policy: &Arc<Policy>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(policy);
        self.recheck();
    }

    /// Cuts the connections that policy and revocations no longer allow: to be called when the latter change.
    pub fn recheck(&self) {
        self.kept.end_where(CloseReason::Revoked, |ask| self.decide(ask).is_err());
    }

    /// Ends a connection.
    pub(crate) fn end(&self, dial: &DialId, reason: CloseReason) {
        self.kept.end(dial, reason);
    }

    /// Ends all connections.
    pub fn end_all(&self, reason: CloseReason) {
        self.kept.end_where(reason, |_| true);
    }

    /// Opens a connection, and puts on record what came of it.
    pub(crate) async fn dial(&self, ask: &Ask, deadline: Instant) -> Result<(Stream, DialId), DialError> {
        let dial = DialId::new(&self.surroundings.run, self.dials.fetch_add(1, Ordering::Relaxed));
        let mut record = Record::begin(&*self.surroundings.witness, Decision::of(dial.clone(), ask));
        let limit = deadline.saturating_duration_since(Instant::now());
        let connecting = self.connect(ask, deadline, record.decision());
        let outcome = timeout_at(deadline, connecting).await.unwrap_or(Err(DialError::Timeout(limit)));
        if let Err(error) = &outcome {
            self.note(ask, error);
            record.decision().verdict = Verdict::Refused { code: error.failure().code() };
        }
        let recorded = record.end();
        let Connected { stream, second, place } = outcome?;
        recorded.map_err(|Unrecorded| DialError::Unrecorded)?;
        self.kept.keep(dial.clone(), ask.clone(), second, place);
        Ok((stream, dial))
    }

    fn note(&self, ask: &Ask, error: &DialError) {
        let is_refusal = matches!(
            error.failure(),
            DialFailure::Denied | DialFailure::Revoked | DialFailure::Address | DialFailure::Limit
        );
        if is_refusal {
            self.counters.refuse();
            tracing::warn!(workflow = %ask.workflow, provider = %ask.provider, %error, "dial refused");
        }
    }

    async fn connect(
        &self,
        ask: &Ask,
        deadline: Instant,
        decision: &mut Decision,
    ) -> Result<Connected, DialError> {
        let destination = self.decide(ask)?;
        let place = self.kept.place(&ask.workflow, CONNECTIONS_MAX);
        let place = place.ok_or(DialError::Limit(CONNECTIONS_MAX))?;
        let began = Instant::now();
        let answer = self.resolve(&destination).await?;
        let resolved = Instant::now();
        decision.lookup = matches!(destination.host(), Host::Domain(_)).then(|| resolved - began);
        let guard = Guard::new(&destination, &self.surroundings.own_addresses);
        let checked = guard.check(answer).map_err(DialError::Address)?;
        self.counters.allow();
        let (tcp, address) = open(&guard, &checked, deadline).await?;
        decision.connect = Some(resolved.elapsed());
        decision.verdict = Verdict::Opened { address, vantage: Vantage::Local, proxy: None };
        let second = tcp.as_fd().try_clone_to_owned();
        let second = second.map_err(|source| DialError::Connect { address, source })?;
        Ok(Connected { stream: Stream::Tcp(tcp), second, place })
    }

    /// The decision: the policy's, and then the list's, which wins.
    fn decide(&self, ask: &Ask) -> Result<Arc<Destination>, DialError> {
        let list = self.surroundings.revocations.borrow();
        let revoked = |revoked: Revoked| Err(DialError::Revoked(revoked));
        list.of_workflow(&ask.workflow)
            .or_else(|| list.of_provider(&ask.provider, Some(&ask.host)))
            .map_or(Ok(()), revoked)?;
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        let destination = policy.may_dial(&ask.workflow, &ask.provider, &ask.host, ask.port);
        destination.cloned().map_err(DialError::Denied)
    }

    async fn resolve(&self, destination: &Destination) -> Result<Vec<SocketAddr>, DialError> {
        let addresses = match destination.host() {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => {
                interleave(self.surroundings.resolver.lookup(name).await.map_err(DialError::Dns)?)
            }
        };
        let port = destination.port();
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

impl Way for Direct {
    fn open<'a>(&'a self, ask: &'a Ask, deadline: Instant) -> BoxFuture<'a, Result<Opened, DialError>> {
        async move {
            let (stream, dial) = self.dial(ask, deadline).await?;
            let (kept, name) = (Arc::clone(&self.kept), dial.clone());
            let lease = Lease::new(move || kept.end(&name, CloseReason::Closed));
            Ok(Opened { stream, dial, lease })
        }
        .boxed()
    }

    fn adopt<'a>(&'a self, policy: &'a Arc<Policy>) -> BoxFuture<'a, Result<(), NotAdopted>> {
        self.decide_by(policy);
        async { Ok(()) }.boxed()
    }

    fn stats(&self) -> Stats {
        self.counters.read()
    }
}

/// The record of one dial, which is made even if the dial is abandoned.
struct Record<'a> {
    witness: &'a dyn Witness,
    decision: Option<Decision>,
}

impl<'a> Record<'a> {
    fn begin(witness: &'a dyn Witness, decision: Decision) -> Self {
        Self { witness, decision: Some(decision) }
    }

    fn decision(&mut self) -> &mut Decision {
        self.decision.as_mut().expect("it is taken at the end alone")
    }

    fn end(mut self) -> Result<(), Unrecorded> {
        let decision = self.decision.take().expect("it ends once");
        self.witness.decided(decision)
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if let Some(decision) = self.decision.take() {
            // There is no connection, so nothing has to be taken back if it cannot be kept.
            let _ = self.witness.decided(decision);
        }
    }
}

/// Connects to one of the addresses, in their order.
pub(crate) async fn open(
    guard: &Guard,
    checked: &Checked,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let addresses = checked.addresses();
    let tries = addresses.len().min(ADDRESSES_TRIED_MAX);
    let mut failure = None;
    for (index, &address) in addresses[..tries].iter().enumerate() {
        // One silent address must not use up the time of those behind it.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(tries - index).expect("at most ADDRESSES_TRIED_MAX");
        let attempt = timeout_at(Instant::now() + share, TcpStream::connect(address)).await;
        match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(tcp) => return accept(guard, tcp, address).map(|tcp| (tcp, address)),
            Err(source) => failure = Some(DialError::Connect { address, source }),
        }
    }
    Err(failure.expect("a checked answer is never empty"))
}

/// Takes an established connection, unless it leads back into this program.
fn accept(guard: &Guard, tcp: TcpStream, address: SocketAddr) -> Result<TcpStream, DialError> {
    let ready = tcp.set_nodelay(true).and_then(|()| tcp.local_addr());
    let local = ready.map_err(|source| DialError::Connect { address, source })?;
    if guard.is_own(local, address) {
        return Err(DialError::Address(Refusal::Address { address, reason: Reason::OwnListener }));
    }
    Ok(tcp)
}

/// Alternates the address families, so that a machine without IPv6 does not try six IPv6 addresses first.
pub(crate) fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dialled_socket_sends_small_pieces_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = Guard::within("127.0.0.0/8");
        let checked = guard.check(vec![address]).unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let (tcp, _) = open(&guard, &checked, deadline).await.unwrap();
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
