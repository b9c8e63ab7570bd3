//! A provider whose every step the test takes, and which counts who comes.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::client::{CHAT, EventStream, ask, streamed};
use crate::gateway::Gateway;
use crate::patience::{eventually, within};

/// Calls that wait for the test.
const CALLS_MAX: usize = 64;

/// A whole answer of the provider.
pub(crate) const DOCUMENT: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"from afar"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#;

/// Events of a stream of the provider, each with its empty line.
pub(crate) const FIRST: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"from\"},\"finish_reason\":null}]}\n\n";
pub(crate) const SECOND: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" afar\"},\"finish_reason\":\"stop\"}]}\n\n";
pub(crate) const USAGE: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A certificate authority of the test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The authority's certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Believes this authority alone.
    pub(crate) fn connector(&self) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// An acceptor with a certificate for `name`.
    pub(crate) fn acceptor(&self, name: &str) -> TlsAcceptor {
        self.acceptor_with(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// An acceptor with a certificate of any kind.
    pub(crate) fn acceptor_with(&self, params: &CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A listener on a free port of 127.0.0.1 that hands each call to the test.
pub(crate) struct Upstream {
    address: SocketAddr,
    /// Everyone who ever connected; the acceptor adds them, the test looks.
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    /// Connections that the test itself opened.
    own: HashSet<SocketAddr>,
    calls: mpsc::Receiver<Call>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// Starts one that speaks TLS.
    pub(crate) async fn start_tls(authority: &Authority) -> Self {
        Self::listen(Some(authority.acceptor("127.0.0.1"))).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peers = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let seen = Arc::clone(&peers);
        tokio::spawn(async move {
            while let Ok((tcp, peer)) = listener.accept().await {
                seen.lock().unwrap().push(peer);
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    // Who only connects, or does not like the certificate, makes no call.
                    if let Ok(call) = Call::read(tcp, tls).await {
                        let _ = sender.send(call).await;
                    }
                });
            }
        });
        Self { address, peers, own: HashSet::new(), calls }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets a client of the gateway ask for a stream and begins one with [`FIRST`]: the client's side of it, and ours.
    pub(crate) async fn stream_to(&mut self, gateway: &Gateway) -> (EventStream, Call) {
        self.stream_at(gateway, CHAT, &streamed(ask("hello"))).await
    }

    /// The same for a request of any dialect.
    pub(crate) async fn stream_at(
        &mut self,
        gateway: &Gateway,
        path: &str,
        request: &Value,
    ) -> (EventStream, Call) {
        tokio::join!(gateway.client().open_at(path, request), async {
            let mut call = self.call().await;
            call.begin().await;
            call.send(FIRST).await;
            call
        })
    }

    /// Waits for the next call.
    pub(crate) async fn call(&mut self) -> Call {
        within("a call at the provider", self.calls.recv()).await.unwrap()
    }

    /// How many connections the gateway has opened.
    ///
    /// One may still be on its way through the listener. So the test opens one of its own, which comes out behind
    /// all others.
    pub(crate) async fn dials(&mut self) -> usize {
        let probe = TcpStream::connect(self.address).await.unwrap().local_addr().unwrap();
        self.own.insert(probe);
        eventually("the test's own connection", async || {
            let peers = self.peers.lock().unwrap();
            peers.contains(&probe).then(|| peers.iter().filter(|peer| !self.own.contains(peer)).count())
        })
        .await
    }
}

/// A connection on which one request has been read. Dropping it closes the connection.
pub(crate) struct Call {
    io: Box<dyn Io>,
    /// Request line and headers, as they came.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Call {
    async fn read(tcp: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let mut io: Box<dyn Io> = match tls {
            Some(tls) => Box::new(tls.accept(tcp).await?),
            None => Box::new(tcp),
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await?);
        }
        let mut call = Self { io, head: String::from_utf8(head).unwrap(), body: String::new() };
        let mut body = vec![0; call.header("content-length").map_or(0, |length| length.parse().unwrap())];
        call.io.read_exact(&mut body).await?;
        call.body = String::from_utf8(body).unwrap();
        Ok(call)
    }

    /// A header of the request, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    async fn try_write(&mut self, text: &str) -> io::Result<()> {
        self.io.write_all(text.as_bytes()).await?;
        self.io.flush().await
    }

    async fn write(&mut self, text: &str) {
        self.try_write(text).await.unwrap();
    }

    /// Answers with a document and closes the connection.
    pub(crate) async fn answer(self, document: &str) {
        self.try_answer(document).await.unwrap();
    }

    /// Answers with a document, if there is still somebody to take it.
    pub(crate) async fn try_answer(mut self, document: &str) -> io::Result<()> {
        self.try_write(&whole("200 OK", "content-type: application/json\r\n", document)).await?;
        self.io.shutdown().await
    }

    /// Answers with a status, headers (each with its line end) and a body, and closes the connection.
    pub(crate) async fn answer_with(mut self, status: &str, headers: &str, body: &str) {
        self.write(&whole(status, headers, body)).await;
        self.io.shutdown().await.unwrap();
    }

    /// Writes the head of a stream of events.
    pub(crate) async fn begin(&mut self) {
        self.begin_with("text/event-stream").await;
    }

    /// Writes the head of an answer that comes in pieces.
    pub(crate) async fn begin_with(&mut self, content_type: &str) {
        self.write(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
    }

    /// Writes a piece.
    pub(crate) async fn send(&mut self, text: &str) {
        self.try_send(text).await.unwrap();
    }

    /// Writes a piece, if there is still somebody to take it.
    pub(crate) async fn try_send(&mut self, text: &str) -> io::Result<()> {
        self.try_write(&format!("{:x}\r\n{text}\r\n", text.len())).await
    }

    /// Writes a piece that is no text.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let head = format!("{:x}\r\n", bytes.len());
        self.io.write_all(&[head.as_bytes(), bytes, b"\r\n"].concat()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Ends an answer that came in pieces.
    pub(crate) async fn end(mut self) {
        self.write("0\r\n\r\n").await;
    }

    /// Answers with a whole stream.
    pub(crate) async fn stream(mut self, events: &[&str]) {
        self.begin().await;
        for event in events {
            self.send(event).await;
        }
        self.end().await;
    }

    /// Waits until the gateway has closed the connection; fails if it sends more instead.
    pub(crate) async fn closed(mut self) {
        let end = within("the gateway to hang up", self.io.read_u8()).await;
        let kind = end.expect_err("the gateway sends more").kind();
        assert!(matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{kind}");
    }
}

/// A whole answer, after which the connection closes.
fn whole(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}
