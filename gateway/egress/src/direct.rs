//! Opening a connection in this process: decide, resolve once, check everything, connect to exactly what was checked.
//!
//! The name is looked up once per dial; what the guard saw is what is dialled, which leaves nothing for an answer that
//! changes between two look-ups. The decision is by the policy that was adopted last, whatever policy the one who asks
//! goes by, and by the list of revocations of this moment.
//!
//! Where the policy names a proxy, the proxy is what is connected to, and nothing else: both ends of that way are checked,
//! the proxy's addresses by its own networks, and the destination's unless resolving them is left to the proxy.
//!
//! Deliberately absent: the environment variables that would bring a proxy in, and a way around one that fails.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use policy::{Destination, Policy, Proxy, Resolve, Revocations, Revoked};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use url::Host;

use crate::connect::{interleave, open};
use crate::dial::{DialError, DialFailure};
use crate::guard::{Checked, Guard};
use crate::kept::{Kept, Place, Second};
use crate::proxy::relay::Relay;
use crate::proxy::{ProxyError, Target, Tunnel, Via};
use crate::resolver::Resolver;
use crate::stats::{Counters, Stats};
use crate::stream::Stream;
use crate::tls::TlsError;
use crate::way::{Ask, DialId, Lease, NotAdopted, Opened, Purpose, Way};
use crate::witness::{CloseReason, Decision, Unrecorded, Vantage, Verdict, Witness};

/// Most addresses that a proxy is asked for, one after the other: one of each family.
const TARGETS_TRIED_MAX: usize = 2;

/// How long a connection stays that was revoked: whoever uses it ends it within half a second, and says why.
const REVOKED_GRACE: Duration = Duration::from_secs(1);

/// How long a connection stays that the next policy does not allow: for the calls that began under the policy before.
const REPLACED_GRACE: Duration = Duration::from_secs(60);

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
    /// Folder from which relative files of proxies are meant: that of the policy file.
    pub secrets_base: PathBuf,
    /// A name for this run of the process, for the names of its dials: no two runs share one.
    pub run: String,
}

/// Opens connections in this process.
pub struct Direct {
    policy: watch::Sender<Arc<Policy>>,
    /// Ways through the proxies that were needed since the policy took effect; held for the reading of a file.
    vias: Mutex<Vec<(Arc<Proxy>, Arc<Via>)>>,
    surroundings: Surroundings,
    kept: Arc<Kept>,
    counters: Counters,
    dials: AtomicU64,
}

/// A connection that is not handed over yet.
struct Connected {
    stream: Stream,
    second: Second,
    place: Place,
}

impl Direct {
    /// Makes the way of a policy. Opens nothing yet.
    pub fn new(policy: Arc<Policy>, surroundings: Surroundings) -> Arc<Self> {
        let kept = Kept::new(Arc::clone(&surroundings.witness));
        let policy = watch::Sender::new(policy);
        let (vias, counters, dials) = (Mutex::default(), Counters::default(), AtomicU64::new(0));
        Arc::new(Self { policy, vias, surroundings, kept, counters, dials })
    }

    /// Puts `policy` in force for every dial from now on.
    pub fn decide_by(&self, policy: &Arc<Policy>) {
        self.policy.send_replace(Arc::clone(policy));
        self.vias().clear();
    }

    /// Cuts, from now on, every connection that the policy or the list of revocations no longer allows.
    ///
    /// Whoever uses it has a while to end what runs in its own words: a second after a revocation, a minute
    /// after another policy, because a call keeps the policy with which it began.
    ///
    /// # Panics
    /// Panics outside of a runtime.
    pub fn keep_watch(self: &Arc<Self>) {
        let mut lists = self.surroundings.revocations.clone();
        let mut policies = self.policy.subscribe();
        let watched = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let grace = tokio::select! {
                    changed = lists.changed() => changed.map(|()| REVOKED_GRACE),
                    changed = policies.changed() => changed.map(|()| REPLACED_GRACE),
                };
                let Ok(grace) = grace else { return };
                let watched = Weak::clone(&watched);
                tokio::spawn(async move {
                    tokio::time::sleep(grace).await;
                    if let Some(direct) = watched.upgrade() {
                        direct.recheck();
                    }
                });
            }
        });
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
        // That the seal was tried is no news of an upstream.
        if is_refusal && ask.purpose != Purpose::SealTest {
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
        let max = self.policy().connections_max(&ask.workflow);
        let place = self.kept.place(&ask.workflow, max).ok_or(DialError::Limit(max))?;
        let (stream, relay) = match destination.proxy() {
            None => (self.connect_to(&destination, deadline, decision).await?, None),
            Some(proxy) => Box::pin(self.connect_through(proxy, &destination, deadline, decision)).await?,
        };
        let socket = stream.as_fd().try_clone_to_owned();
        let socket = socket.map_err(|_| DialError::Unavailable)?;
        Ok(Connected { stream, second: Second { socket, relay }, place })
    }

    async fn connect_to(
        &self,
        destination: &Destination,
        deadline: Instant,
        decision: &mut Decision,
    ) -> Result<Stream, DialError> {
        let guard = Guard::new(destination, &self.surroundings.own_addresses);
        let checked = self.resolve(&guard, destination.host(), destination.port(), decision).await?;
        self.counters.allow();
        let began = Instant::now();
        let (tcp, address) = open(&guard, &checked, deadline).await?;
        decision.connect = Some(began.elapsed());
        decision.verdict = Verdict::Opened { address, vantage: Vantage::Local, proxy: None };
        Ok(Stream::Tcp(tcp))
    }

    async fn connect_through(
        &self,
        proxy: &Arc<Proxy>,
        destination: &Destination,
        deadline: Instant,
        decision: &mut Decision,
    ) -> Result<(Stream, Option<Relay>), DialError> {
        let via = self.via(proxy).map_err(|error| DialError::Proxy(ProxyError::Setup(error)))?;
        let guard = Guard::of_proxy(proxy, &self.surroundings.own_addresses);
        let entrance = self.resolve(&guard, proxy.host(), proxy.port(), decision).await?;
        let (targets, vantage) = self.targets(proxy, destination, decision).await?;
        self.counters.allow();
        let began = Instant::now();
        let mut refused = None;
        for target in targets {
            let (tcp, address) = open(&guard, &entrance, deadline).await.map_err(no_entrance)?;
            let tunnel = match via.tunnel(tcp, target).await {
                Ok(tunnel) => tunnel,
                // It may not connect there, or it cannot: it may have no addresses of that family itself.
                Err(error @ ProxyError::Refused(_)) => {
                    refused = Some(error);
                    continue;
                }
                Err(error) => return Err(DialError::Proxy(error)),
            };
            decision.connect = Some(began.elapsed());
            decision.verdict = Verdict::Opened { address, vantage, proxy: Some(proxy.name().to_string()) };
            return Ok(match tunnel {
                Tunnel::Direct(tcp) => (Stream::Tcp(tcp), None),
                Tunnel::Relayed { near, relay } => (Stream::Relayed(near), Some(relay)),
            });
        }
        Err(DialError::Proxy(refused.expect("there is a target, and all were refused")))
    }

    /// Returns what the proxy is asked for, and who vouches for its addresses.
    async fn targets<'a>(
        &self,
        proxy: &Proxy,
        destination: &'a Destination,
        decision: &mut Decision,
    ) -> Result<(Vec<Target<'a>>, Vantage), DialError> {
        let (host, port) = (destination.host(), destination.port());
        if let (Resolve::Proxy, Host::Domain(name)) = (proxy.resolve(), host) {
            return Ok((vec![Target::Name(name, port)], Vantage::Proxy));
        }
        let guard = Guard::new(destination, &self.surroundings.own_addresses);
        let checked = self.resolve(&guard, host, port, decision).await?;
        let first = checked.addresses().iter().take(TARGETS_TRIED_MAX);
        Ok((first.map(|&address| Target::Address(address)).collect(), Vantage::Local))
    }

    /// Returns the way through a proxy; files that it needs are read once for each policy.
    fn via(&self, proxy: &Arc<Proxy>) -> Result<Arc<Via>, TlsError> {
        let mut vias = self.vias();
        if let Some((_, via)) = vias.iter().find(|(known, _)| known == proxy) {
            return Ok(Arc::clone(via));
        }
        let via = Arc::new(Via::new(proxy, &self.surroundings.secrets_base)?);
        vias.push((Arc::clone(proxy), Arc::clone(&via)));
        Ok(via)
    }

    fn vias(&self) -> MutexGuard<'_, Vec<(Arc<Proxy>, Arc<Via>)>> {
        // Every change is complete before anything could panic.
        self.vias.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The decision: the policy's, and then the list's, which wins.
    fn decide(&self, ask: &Ask) -> Result<Arc<Destination>, DialError> {
        let list = self.surroundings.revocations.borrow();
        let revoked = |revoked: Revoked| Err(DialError::Revoked(revoked));
        list.of_workflow(&ask.workflow)
            .or_else(|| list.of_provider(&ask.provider, Some(&ask.host)))
            .map_or(Ok(()), revoked)?;
        let policy = self.policy();
        let destination = policy.may_dial(&ask.workflow, &ask.provider, &ask.host, ask.port);
        destination.cloned().map_err(DialError::Denied)
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Looks a host up, once, and checks the answer.
    async fn resolve(
        &self,
        guard: &Guard,
        host: &Host,
        port: u16,
        decision: &mut Decision,
    ) -> Result<Checked, DialError> {
        let began = Instant::now();
        let addresses = match host {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => {
                let answer = self.surroundings.resolver.lookup(name).await.map_err(DialError::Dns)?;
                *decision.lookup.get_or_insert_default() += began.elapsed();
                interleave(answer)
            }
        };
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        guard.check(addresses).map_err(DialError::Address)
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

/// A proxy that nobody reaches is another trouble than a provider that nobody reaches.
fn no_entrance(error: DialError) -> DialError {
    match error {
        DialError::Connect { address, source } => DialError::Proxy(ProxyError::Connect { address, source }),
        other => other,
    }
}
