//! A proxy for agents over rules that the test writes, with names that the test answers and a record it can read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egress::tunnel::{
    Close, Credentials, Decision, Denied, Dialled, Exit, Guest, Inside, Kind, Limits, Mode, NotAdmitted,
    Parts, Passage, Proxy, Rules, Shown, Target, Unrecorded, Witness,
};
use ipnet::IpNet;
use policy::key::ApiKey;
use policy::{KeyId, Moment, Policy, Presented, Revoked, Source};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::gate::Names;
use crate::upstream::PATIENCE;

/// Says that the test goes on only when something has happened, and fails when it does not.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens soon")
}

/// Returns the settings of a client that believes `roots` and offers `alpn`.
pub(crate) fn client_config(roots: RootCertStore, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Returns both sides of TLS with `origin.test` that believe each other.
pub(crate) fn both_sides(alpn: &[&str]) -> (TlsConnector, TlsAcceptor) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["origin.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (TlsConnector::from(client_config(roots, alpn)), TlsAcceptor::from(Arc::new(config)))
}

/// The key of a caller with one workflow, `docs`, and that of one with two.
pub(crate) fn key(id: &str) -> ApiKey {
    ApiKey::from_entropy(KeyId::new(id).unwrap(), [7; 32])
}

/// Returns the header of a caller's key and a user name.
pub(crate) fn basic(user: &str, id: &str) -> String {
    let text = format!("{user}:{}", key(id).expose());
    format!("proxy-authorization: Basic {}\r\n", STANDARD.encode(text))
}

/// Rules that are written down as such. Who is who comes from a real policy.
pub(crate) struct Book {
    policy: Policy,
    pages: Mutex<Pages>,
    generation: watch::Sender<u64>,
}

#[derive(Default)]
struct Pages {
    passages: BTreeMap<(String, Kind), Passage>,
    denied_hosts: BTreeSet<String>,
    reporting: BTreeSet<String>,
    revoked: BTreeSet<String>,
    network: Option<IpNet>,
    connections_max: Option<u32>,
}

impl Default for Book {
    fn default() -> Self {
        let workflow = |name: &str, callers: &str| {
            format!(
                "  {name}:\n    owner: team\n    callers:\n{callers}    egress: {{ mode: sealed }}\n    \
                 route: [ {{ to: [up] }} ]\n"
            )
        };
        let lines = |ids: &[&str]| {
            ids.iter().map(|id| format!("      {}\n", key(id).caller_line())).collect::<Vec<_>>().concat()
        };
        let text = format!(
            "version: 1\nproviders:\n  up: {{ kind: openai, locality: local, base_url: \"http://up.test/v1\", cidrs: \
             [127.0.0.0/8] }}\nmodels:\n  up: {{ provider: up, name: up }}\nworkflows:\n{}{}{}",
            workflow("docs", &lines(&["ci", "both"])),
            workflow("other", &lines(&["both"])),
            workflow("network", "      - { loopback: true }\n"),
        );
        let source = Source { name: "routes.yaml".to_owned(), text: text.clone() };
        let policy = Policy::compile(&source).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Self { policy, pages: Mutex::default(), generation: watch::Sender::new(0) }
    }
}

impl Book {
    fn change(&self, change: impl FnOnce(&mut Pages)) {
        change(&mut self.pages.lock().unwrap());
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Allows TLS to a target, also at an address of this machine.
    pub(crate) fn allow(&self, target: &str) {
        self.allow_as(target, Inside::Tls, &["127.0.0.0/8"]);
    }

    pub(crate) fn allow_as(&self, target: &str, inside: Inside, cidrs: &[&str]) {
        let cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
        let key = (target.to_owned(), Kind::Connect);
        self.change(|pages| drop(pages.passages.insert(key, Passage { cidrs, inside })));
    }

    pub(crate) fn allow_plain(&self, target: &str) {
        let passage = Passage { cidrs: vec!["127.0.0.0/8".parse().unwrap()], inside: Inside::Any };
        let key = (target.to_owned(), Kind::Plain);
        self.change(|pages| drop(pages.passages.insert(key, passage)));
    }

    pub(crate) fn deny_host(&self, host: &str) {
        self.change(|pages| {
            pages.denied_hosts.insert(host.to_owned());
        });
    }

    pub(crate) fn report(&self, workflow: &str) {
        self.change(|pages| {
            pages.reporting.insert(workflow.to_owned());
        });
    }

    pub(crate) fn revoke(&self, workflow: &str) {
        self.change(|pages| {
            pages.revoked.insert(workflow.to_owned());
        });
    }

    pub(crate) fn trust(&self, network: &str) {
        self.change(|pages| pages.network = Some(network.parse().unwrap()));
    }

    pub(crate) fn limit(&self, max: u32) {
        self.change(|pages| pages.connections_max = Some(max));
    }
}

impl Rules for Book {
    fn admit(&self, shown: &Shown<'_>) -> Result<Guest, NotAdmitted> {
        let pages = self.pages.lock().unwrap();
        let loopback = shown.from.is_some_and(|ip| pages.network.is_some_and(|net| net.contains(&ip)));
        let api_key = shown.credentials.map(Credentials::key);
        let presented = Presented { loopback, api_key, now: Moment::from_unix_s(0) };
        let caller = self.policy.identify(&presented)?;
        let named = shown.credentials.and_then(Credentials::workflow);
        let workflow = self.policy.select(&caller, named)?.name().clone();
        let is_reporting = pages.reporting.contains(workflow.as_str());
        Ok(Guest {
            caller,
            workflow,
            mode: if is_reporting { Mode::Report } else { Mode::Enforce },
            connections_max: pages.connections_max.unwrap_or(100),
        })
    }

    fn decide(&self, guest: &Guest, target: &Target, kind: Kind) -> Result<Passage, Denied> {
        let pages = self.pages.lock().unwrap();
        if pages.revoked.contains(guest.workflow.as_str()) {
            return Err(Denied::Revoked(Revoked::Workflow));
        }
        if pages.denied_hosts.contains(&target.host().to_string()) {
            return Err(Denied::DeniedHost);
        }
        pages.passages.get(&(target.to_string(), kind)).cloned().ok_or(Denied::NotNamed)
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}

/// What was put on record.
#[derive(Default)]
pub(crate) struct Records {
    log: Mutex<(Vec<Decision>, Vec<Close>)>,
    news: Notify,
    is_full: AtomicBool,
}

impl Records {
    pub(crate) fn decisions(&self) -> Vec<Decision> {
        self.log.lock().unwrap().0.clone()
    }

    pub(crate) fn closes(&self) -> Vec<Close> {
        self.log.lock().unwrap().1.clone()
    }

    /// From here on nothing can be recorded.
    pub(crate) fn fill(&self) {
        self.is_full.store(true, Ordering::SeqCst);
    }

    /// Waits for the close that is the only one.
    pub(crate) async fn close(&self) -> Close {
        loop {
            let news = self.news.notified();
            if let [close] = &self.closes()[..] {
                return close.clone();
            }
            soon(news).await;
        }
    }
}

impl Witness for Records {
    fn decided(&self, decision: Decision) -> Result<(), Unrecorded> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Unrecorded);
        }
        self.log.lock().unwrap().0.push(decision);
        self.news.notify_waiters();
        Ok(())
    }

    fn closed(&self, close: Close) {
        self.log.lock().unwrap().1.push(close);
        self.news.notify_waiters();
    }
}

/// Limits that no test waits for.
pub(crate) const PATIENT: Limits = Limits {
    head: Duration::from_secs(60),
    connect: Duration::from_secs(60),
    hello: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    life: Duration::from_secs(60),
    drain: Duration::from_secs(60),
    connections_max: 100,
};

/// A proxy that listens, and everything around it.
pub(crate) struct Stage {
    pub(crate) book: Arc<Book>,
    pub(crate) names: Arc<Names>,
    pub(crate) records: Arc<Records>,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

/// Puts a proxy together without a listener.
pub(crate) fn proxy(
    book: &Arc<Book>,
    exit: Arc<dyn Exit>,
    records: &Arc<Records>,
    limits: Limits,
) -> Arc<Proxy> {
    let rules: Arc<dyn Rules> = book.clone();
    let witness: Arc<dyn Witness> = records.clone();
    Arc::new(Proxy::new(Parts { rules, exit, witness, run: "run".to_owned() }, limits))
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(PATIENT).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (book, names, records) = (Arc::<Book>::default(), Arc::<Names>::default(), Arc::default());
        let exit = Arc::new(Dialled::new(names.clone(), vec![address]));
        let proxy = proxy(&book, exit, &records, limits);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(proxy.serve(listener, async move { drop(stopped.await) }));
        Self { book, names, records, address, stop: Some(stop), serving }
    }

    /// Sends bytes on a new connection.
    pub(crate) async fn send(&self, text: &str) -> TcpStream {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(text.as_bytes()).await.unwrap();
        tcp
    }

    /// Asks for a tunnel with the key of `docs`.
    pub(crate) async fn connect(&self, target: &str) -> TcpStream {
        self.send(&connect(target)).await
    }

    /// Asks for a tunnel with the key of `docs`, and waits until it is there.
    pub(crate) async fn tunnel(&self, target: &str) -> TcpStream {
        let mut tcp = self.connect(target).await;
        assert_eq!(head(&mut tcp).await, "HTTP/1.1 200 Connection established\r\n\r\n");
        tcp
    }

    /// Sends bytes on a new connection and reads all of the answer, after which the proxy hangs up.
    pub(crate) async fn answer(&self, text: &str) -> String {
        rest(&mut self.send(text).await).await
    }

    /// Stops, and waits until the proxy has.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        soon(&mut self.serving).await.unwrap();
    }
}

/// Returns a request for a tunnel with the key of `docs`.
pub(crate) fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{}\r\n", basic("docs", "ci"))
}

/// Reads the head of an answer.
pub(crate) async fn head(tcp: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(tcp.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the other side hangs up.
pub(crate) async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Takes status and code out of a refusal.
#[track_caller]
pub(crate) fn status_and_code(answer: &str) -> (u16, &str) {
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let code = answer.lines().find_map(|line| line.strip_prefix("x-portcullis-error: "));
    (status.unwrap_or_else(|| panic!("{answer:?}")), code.unwrap_or_default())
}
