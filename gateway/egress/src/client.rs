//! Sending one admitted request to one upstream.
//!
//! Every call is decided again here, from names alone and against this client's own policy: a hop that belongs
//! to somebody else's decision, or to an older policy, opens nothing. What is dialled is the destination that
//! the second decision returned, never the one that the hop brought along.
//!
//! Connections are pooled per workflow and provider: no workflow shares connections or TLS sessions with another, so the
//! record of a connection is about one workflow. A client never changes; the next policy gets one of its own, which
//! takes over the pools of what is still the same.
//!
//! Deliberately absent: retries, fallback and what probes mean, which are the caller's; redirects, which nobody follows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use policy::{
    Admitted, Destination, Hop, Policy, Provider, ProviderName, Refused, Revocations, Target, WorkflowName,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::auth::{Credentials, Unsigned};
use crate::body::Body;
use crate::dial::Dialler;
use crate::error::{FailureKind, SendError};
use crate::header;
use crate::passage::Passage;
use crate::pool::{self, Pool};
use crate::stats::{Counters, Stats};
use crate::tls::{Roots, Sessions, Unprepared, reads_no_file};
use crate::way::{Ask, Purpose, Way};

/// What a client needs to know beyond the policy.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder from which relative secret files are meant: that of the policy file.
    pub secrets_base: PathBuf,
    /// Certificate authorities that upstreams may be certified by.
    pub roots: Roots,
    /// What is revoked at this moment: no policy can allow it, and no kept connection is used for it.
    pub revocations: watch::Receiver<Arc<Revocations>>,
}

/// A request for an upstream, always a `POST`.
#[derive(Debug)]
pub struct Outbound {
    /// Endpoint below the provider's base URL, with a leading slash and perhaps a query, such as
    /// `/chat/completions`. Names in it are written by [`path_segment`](crate::path_segment).
    pub path: String,
    /// The caller's headers; those that are on the list for the destination's API are sent.
    pub headers: HeaderMap,
    /// The body, sent as it is.
    pub body: Bytes,
    /// When the whole exchange must be over; the provider's own total timeout may end it earlier.
    pub deadline: Instant,
    /// Where it is noted which connection carried it, and how much.
    pub passage: Passage,
}

/// The answer of an upstream. Its status may be an error: that is the upstream's word, not ours.
#[derive(Debug)]
pub struct Reply {
    /// Never informational, never a redirect.
    pub status: StatusCode,
    /// Those of the upstream's headers that may reach a caller.
    pub headers: HeaderMap,
    /// The bytes as they arrive.
    pub body: Body,
}

/// The one way out: sends admitted requests to the destinations of one policy.
pub struct Client {
    policy: Arc<Policy>,
    pools: Mutex<Pools>,
    sessions: Sessions,
    credentials: Arc<Credentials>,
    counters: Arc<Counters>,
    way: Arc<dyn Way>,
    options: Options,
}

/// Those that were needed so far.
type Pools = HashMap<(WorkflowName, ProviderName), Arc<Pool>>;

impl Client {
    /// Makes the client of one policy. Opens nothing yet, but reads the files that TLS needs.
    ///
    /// # Errors
    /// Returns [`Unprepared`] if one of them cannot be used.
    pub fn new(policy: Arc<Policy>, way: &Arc<dyn Way>, options: &Options) -> Result<Self, Unprepared> {
        let sessions = Sessions::new(&policy, &options.roots, &options.secrets_base)?;
        let credentials = Arc::new(Credentials::new(options.secrets_base.clone()));
        let (pools, counters) = (Mutex::default(), Arc::default());
        let (way, options) = (Arc::clone(way), options.clone());
        Ok(Self { policy, pools, sessions, credentials, counters, way, options })
    }

    /// Makes the client of the next policy. It goes on counting where this one is, and takes over the connections of
    /// every workflow to every destination that has not changed in any respect and is still open to it. Files of
    /// certificates may have changed unseen, so connections that depend on one are opened anew.
    ///
    /// # Errors
    /// Returns [`Unprepared`] if a file that TLS needs cannot be used.
    pub fn succeeded_by(&self, policy: Arc<Policy>) -> Result<Self, Unprepared> {
        let sessions = Sessions::new(&policy, &self.options.roots, &self.options.secrets_base)?;
        let is_kept = |(workflow, provider): &(WorkflowName, ProviderName), pool: &Pool| {
            let before = pool.destination();
            let after = policy.may_dial(workflow, provider, before.host(), before.port());
            after.is_ok_and(|after| **after == **before) && reads_no_file(before.tls())
        };
        let mut pools = self.pools().clone();
        pools.retain(|key, pool| is_kept(key, pool));
        let (credentials, counters) = (Arc::clone(&self.credentials), Arc::clone(&self.counters));
        let (way, options) = (Arc::clone(&self.way), self.options.clone());
        Ok(Self { policy, pools: Mutex::new(pools), sessions, credentials, counters, way, options })
    }

    /// Returns the connections of a workflow to a destination.
    fn pool(&self, workflow: &WorkflowName, destination: &Arc<Destination>, purpose: Purpose) -> Arc<Pool> {
        let key = (workflow.clone(), destination.provider().clone());
        let pool = || {
            Arc::new(Pool::new(Dialler {
                ask: Ask {
                    workflow: workflow.clone(),
                    provider: destination.provider().clone(),
                    host: destination.host().clone(),
                    port: destination.port(),
                    purpose,
                },
                destination: Arc::clone(destination),
                way: Arc::clone(&self.way),
                tls: self.sessions.fresh(destination.provider()),
                certificate: Mutex::default(),
            }))
        };
        // A probe's connections are its own, so that a record says which were opened for what.
        if purpose == Purpose::Probe {
            return pool();
        }
        Arc::clone(self.pools().entry(key).or_insert_with(pool))
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        // Every change is complete before anything could panic.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `request` to the upstream of `hop` and returns as soon as the head of the answer is there.
    ///
    /// Dropping the future, or later the reply's body, ends the exchange at the upstream too; the request's
    /// passage tells how far it got.
    ///
    /// # Errors
    /// Returns [`SendError`] if the policy forbids the destination, or no answer began in time.
    pub async fn send(&self, admitted: &Admitted, hop: &Hop, request: Outbound) -> Result<Reply, SendError> {
        let result = self.answer(admitted, hop, request).await;
        result.map_err(|kind| SendError { provider: hop.provider().clone(), kind })
    }

    /// Asks `provider` for `path`, counted from the root of its host, and returns the status of the answer.
    ///
    /// It is decided like a call, for a workflow that reaches the provider: where no workflow may send anything, no
    /// probe goes either. It carries no credential, nothing of a caller, and the body of the answer is not read.
    ///
    /// # Errors
    /// Returns [`SendError`] if no workflow reaches the provider, or no answer began in time.
    pub async fn probe(&self, provider: &ProviderName, path: &str) -> Result<StatusCode, SendError> {
        let result = self.status_of(provider, path).await;
        result.map_err(|kind| SendError { provider: provider.clone(), kind })
    }

    async fn status_of(&self, provider: &ProviderName, path: &str) -> Result<StatusCode, FailureKind> {
        let (destination, workflow) = self.decide_probe(provider).map_err(|refused| {
            self.counters.refuse();
            FailureKind::Denied(refused)
        })?;
        let pool = self.pool(workflow, destination, Purpose::Probe);
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = pool::root_uri(destination, path)?;
        *request.headers_mut() = header::of_probe();
        let timeouts = destination.timeouts();
        let deadline = Instant::now() + timeouts.first_byte.min(timeouts.total);
        let answer = timeout_at(deadline, pool.exchange(request, &Passage::default())).await;
        Ok(answer.unwrap_or(Err(FailureKind::TotalTimeout))?.status())
    }

    /// The second decision: the policy's, and then the list's, which wins.
    fn may_dial(&self, workflow: &WorkflowName, named: &Destination) -> Result<&Arc<Destination>, Refused> {
        let (provider, host) = (named.provider(), named.host());
        let destination = self.policy.may_dial(workflow, provider, host, named.port())?;
        let list = self.options.revocations.borrow();
        let revoked = list.of_workflow(workflow).or_else(|| list.of_provider(provider, Some(host)));
        revoked.map_or(Ok(destination), |revoked| Err(Refused::Revoked(revoked)))
    }

    /// The first workflow, by name, that may dial the provider stands for all of them.
    fn decide_probe(&self, provider: &ProviderName) -> Result<(&Arc<Destination>, &WorkflowName), Refused> {
        let named = self.policy.providers().find_map(|known| match known {
            Provider::Http(destination) if destination.provider() == provider => Some(destination),
            _ => None,
        });
        let named = named.ok_or(Refused::UnknownProvider)?;
        let mut refused = Refused::UnknownWorkflow;
        for workflow in self.policy.workflows() {
            match self.may_dial(workflow.name(), named) {
                Ok(destination) => return Ok((destination, workflow.name())),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    /// Returns how often dialling was allowed and refused so far.
    pub fn stats(&self) -> Stats {
        let (here, there) = (self.counters.read(), self.way.stats());
        Stats {
            dials_allowed: here.dials_allowed + there.dials_allowed,
            dials_refused: here.dials_refused + there.dials_refused,
        }
    }

    async fn answer(&self, admitted: &Admitted, hop: &Hop, request: Outbound) -> Result<Reply, FailureKind> {
        let destination = self.decide(admitted, hop)?;
        let timeouts = destination.timeouts();
        let deadline = request.deadline.min(Instant::now() + timeouts.total);
        let pool = self.pool(admitted.workflow(), destination, Purpose::Call);
        let passage = request.passage.clone();
        let exchange = async {
            let request = self.prepare(destination, request).await?;
            pool.exchange(request, &passage).await
        };
        let response = timeout_at(deadline, exchange).await.unwrap_or(Err(FailureKind::TotalTimeout))?;
        check_head(&response)?;
        let (head, frames) = response.into_parts();
        let idle = timeouts.idle.min(admitted.limits().stream_idle);
        let body = Body::new(frames, (idle, deadline), passage);
        Ok(Reply { status: head.status, headers: header::inbound(&head.headers), body })
    }

    fn decide(&self, admitted: &Admitted, hop: &Hop) -> Result<&Arc<Destination>, FailureKind> {
        let decision = match hop.target() {
            Target::Engine(_) => Err(Refused::InProcess),
            Target::Http(named) => self.may_dial(admitted.workflow(), named),
        };
        decision.map_err(|refused| {
            self.counters.refuse();
            tracing::warn!(workflow = %admitted.workflow(), provider = %hop.provider(), %refused, "call refused");
            FailureKind::Denied(refused)
        })
    }

    async fn prepare(
        &self,
        destination: &Destination,
        outbound: Outbound,
    ) -> Result<Request<Full<Bytes>>, FailureKind> {
        let uri = pool::uri(destination, &outbound.path)?;
        let mut headers = header::outbound(destination.api(), &outbound.headers);
        let unsigned = Unsigned { uri: &uri, body: &outbound.body };
        // Last, because a signature covers all that came before it.
        self.credentials
            .authenticate(&mut headers, destination.auth(), unsigned, SystemTime::now())
            .await
            .map_err(FailureKind::Secret)?;
        let mut request = Request::new(Full::new(outbound.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Refuses heads that only a confused or hostile upstream sends.
fn check_head(response: &Response<Incoming>) -> Result<(), FailureKind> {
    let status = response.status();
    if status.is_redirection() {
        return Err(FailureKind::Redirect(status));
    }
    if status.is_informational() {
        return Err(FailureKind::Upgrade);
    }
    match response.headers().get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(FailureKind::Compressed),
        _ => Ok(()),
    }
}
