//! A client over a policy written in the test, with names that the test answers.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use egress::{
    BodyError, Client, Direct, Outbound, Passage, Reply, ResolveError, Resolver, Roots, SendError,
    Surroundings, Unwitnessed, Way, Witness,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use http::HeaderMap;
use policy::{Admitted, Facts, Hop, Moment, Policy, Presented, Revocations, Source};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker;

/// Answers from a script; a name with several answers gives one after the other and then keeps to the last.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    lookups: AtomicUsize,
}

impl Names {
    /// Adds the next answer for `name`.
    pub(crate) fn answer(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.answers.lock().unwrap().entry(name.to_owned()).or_default().push_back(addresses);
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

impl Resolver for Names {
    fn lookup<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.get_mut(name) {
            None => Err(ResolveError::new(name, "the test knows no such name")),
            Some(queue) if queue.len() > 1 => Ok(queue.pop_front().unwrap()),
            Some(queue) => Ok(queue[0].clone()),
        };
        async { answer }.boxed()
    }
}

/// A resolver that never comes back.
pub(crate) struct Silent;

impl Resolver for Silent {
    fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        std::future::pending().boxed()
    }
}

/// A policy under construction: providers with one model each, and workflows that route to them.
#[derive(Default)]
pub(crate) struct Rules {
    proxies: String,
    providers: String,
    models: String,
    workflows: String,
}

impl Rules {
    /// Adds an `openai` provider and a model of the same name; `more` are further keys of the provider.
    pub(crate) fn provider(self, name: &str, base_url: &str, more: &str) -> Self {
        self.provider_of("openai", name, base_url, more)
    }

    /// Adds a provider of a kind.
    pub(crate) fn provider_of(mut self, kind: &str, name: &str, base_url: &str, more: &str) -> Self {
        writeln!(self.providers, "  {name}: {{ kind: {kind}, base_url: \"{base_url}\", {more} }}").unwrap();
        writeln!(self.models, "  {name}: {{ provider: {name}, name: upstream-{name} }}").unwrap();
        self
    }

    /// Adds a proxy; `more` are further keys of it.
    pub(crate) fn proxy(mut self, name: &str, url: &str, more: &str) -> Self {
        writeln!(self.proxies, "  {name}: {{ url: \"{url}\", {more} }}").unwrap();
        self
    }

    /// Adds a local provider inside 127.0.0.0/8, reached as `up.test`.
    pub(crate) fn local(self, port: u16, more: &str) -> Self {
        let base_url = format!("http://up.test:{port}/v1");
        self.provider("up", &base_url, &format!("locality: local, cidrs: [127.0.0.0/8], {more}"))
    }

    /// Adds a workflow that routes to the model `to`.
    pub(crate) fn workflow(mut self, name: &str, egress: &str, to: &str) -> Self {
        writeln!(
            self.workflows,
            "  {name}:\n    owner: team\n    callers: [ {{ loopback: true }} ]\n    egress: {egress}\n    \
             route: [ {{ to: [{to}] }} ]"
        )
        .unwrap();
        self
    }

    pub(crate) fn compile(&self) -> Arc<Policy> {
        let mut text = "version: 1\n".to_owned();
        let parts = [
            ("proxies", &self.proxies),
            ("providers", &self.providers),
            ("models", &self.models),
            ("workflows", &self.workflows),
        ];
        for (key, entries) in parts.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            write!(text, "{key}:\n{entries}").unwrap();
        }
        let source = Source { name: "routes.yaml".to_owned(), text: text.clone() };
        Arc::new(Policy::compile(&source).unwrap_or_else(|error| panic!("{error}\n{text}")))
    }
}

/// What a client and its way are made with, beyond policy and names.
pub(crate) struct Options {
    pub(crate) own_addresses: Vec<SocketAddr>,
    pub(crate) secrets_base: PathBuf,
    pub(crate) roots: Roots,
    pub(crate) revocations: watch::Receiver<Arc<Revocations>>,
    pub(crate) witness: Arc<dyn Witness>,
}

impl Options {
    pub(crate) fn surroundings(&self, resolver: Arc<dyn Resolver>) -> Surroundings {
        Surroundings {
            resolver,
            own_addresses: self.own_addresses.clone(),
            revocations: self.revocations.clone(),
            witness: Arc::clone(&self.witness),
            secrets_base: self.secrets_base.clone(),
            run: "run".to_owned(),
        }
    }

    /// Makes a client whose connections this process opens, or the broker at the other end of a line.
    pub(crate) fn client(&self, policy: Arc<Policy>, resolver: Arc<dyn Resolver>) -> Client {
        self.client_and_way(policy, resolver).1
    }

    fn client_and_way(&self, policy: Arc<Policy>, resolver: Arc<dyn Resolver>) -> (Arc<Direct>, Client) {
        let direct = Direct::new(Arc::clone(&policy), self.surroundings(resolver));
        let opener = Arc::clone(&direct);
        let way: Arc<dyn Way> = if crate::BROKERED { broker::in_front_of(opener, &policy) } else { opener };
        let options = egress::Options {
            secrets_base: self.secrets_base.clone(),
            roots: self.roots.clone(),
            revocations: self.revocations.clone(),
        };
        (direct, Client::new(policy, &way, &options).unwrap())
    }
}

/// A client, the policy it enforces, and the names it can look up.
pub(crate) struct Gate {
    pub(crate) client: Client,
    pub(crate) names: Arc<Names>,
    policy: Arc<Policy>,
}

impl Gate {
    /// Makes a client for `rules`; `up.test` is 127.0.0.1.
    pub(crate) fn new(rules: &Rules) -> Self {
        let gate = Self::with(rules, &options());
        gate.names.answer("up.test", &["127.0.0.1"]);
        gate
    }

    /// Makes a client that can look up nothing yet.
    pub(crate) fn with(rules: &Rules, options: &Options) -> Self {
        Self::with_way(rules, options).1
    }

    /// Makes one, and returns what opens its connections, too.
    pub(crate) fn with_way(rules: &Rules, options: &Options) -> (Arc<Direct>, Self) {
        let policy = rules.compile();
        let names = Arc::<Names>::default();
        let resolver: Arc<dyn Resolver> = names.clone();
        let (direct, client) = options.client_and_way(Arc::clone(&policy), resolver);
        (direct, Self { client, names, policy })
    }

    /// Asks the policy as a caller on loopback.
    pub(crate) fn admit(&self, workflow: &str) -> Admitted {
        admit(&self.policy, workflow)
    }

    /// Sends the plain request of the tests on the workflow's first hop.
    pub(crate) async fn send(&self, workflow: &str) -> Result<Reply, SendError> {
        let admitted = self.admit(workflow);
        sent(&self.client, &admitted, outbound(HeaderMap::new(), "{}")).await
    }

    /// Sends it on a hop that may be another workflow's.
    pub(crate) async fn send_on(&self, admitted: &Admitted, hop: &Hop) -> Result<Reply, SendError> {
        self.client.send(admitted, hop, outbound(HeaderMap::new(), "{}")).await
    }
}

pub(crate) fn admit(policy: &Policy, workflow: &str) -> Admitted {
    let caller =
        policy.identify(&Presented { loopback: true, api_key: None, now: Moment::from_unix_s(0) }).unwrap();
    let workflow = policy.select(&caller, Some(workflow)).unwrap();
    let facts = Facts { model: "auto".to_owned(), ..Facts::default() };
    match policy.decide(workflow, &facts) {
        policy::Decision::Allow(admitted) => admitted,
        policy::Decision::Deny(denial) => panic!("{denial:?}"),
    }
}

/// A list that never changes.
pub(crate) fn nothing_revoked() -> watch::Receiver<Arc<Revocations>> {
    watch::Sender::new(Arc::new(Revocations::none())).subscribe()
}

pub(crate) fn options() -> Options {
    Options {
        own_addresses: Vec::new(),
        secrets_base: PathBuf::new(),
        roots: Roots::public(),
        revocations: nothing_revoked(),
        witness: Arc::new(Unwitnessed),
    }
}

pub(crate) fn listening_on(own: SocketAddr) -> Options {
    Options { own_addresses: vec![own], ..options() }
}

/// A request with time to spare: tests that wait for a timeout set a shorter one in the policy.
pub(crate) fn outbound(headers: HeaderMap, body: &'static str) -> Outbound {
    let deadline = Instant::now() + Duration::from_secs(60);
    Outbound {
        path: "/chat/completions".to_owned(),
        headers,
        body: Bytes::from_static(body.as_bytes()),
        deadline,
        passage: Passage::default(),
    }
}

/// Sends a request on the first hop of what was admitted.
pub(crate) async fn sent(
    client: &Client,
    admitted: &Admitted,
    request: Outbound,
) -> Result<Reply, SendError> {
    client.send(admitted, &admitted.hops()[0], request).await
}

/// Reads a body to its end.
pub(crate) async fn collect(mut reply: Reply) -> Result<Bytes, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(piece) = reply.body.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole.freeze())
}

/// Writes an error with all its causes, as a log would.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
