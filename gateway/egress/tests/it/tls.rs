//! Encrypted upstreams: whom the client believes, and what it asks for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use egress::{Fault, Retry, Roots, RootsError};
use futures_util::{StreamExt, stream};
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::gate::{Gate, Options, Rules, collect, options};
use crate::upstream::{PATIENCE, Upstream};

/// A certificate authority of the test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Returns client options that believe this authority.
    pub(crate) fn options(&self, folder: &Path) -> Options {
        let file = folder.join("ca.pem");
        std::fs::write(&file, self.0.pem()).unwrap();
        Options { roots: Roots::public_and_file(&file).unwrap(), ..options() }
    }

    /// Returns an acceptor with a certificate for `name`, offering `alpn`.
    pub(crate) fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a served request looked like.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    server_name: Option<String>,
    version: Version,
    authority: String,
}

/// Serves every request with the pieces that the test feeds, and reports what it saw.
struct Server {
    address: SocketAddr,
    seen: mpsc::Receiver<(Seen, mpsc::Sender<Bytes>)>,
}

impl Server {
    async fn start(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (report, seen) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // A client that does not like the certificate hangs up; the next one may.
                let Ok(stream) = acceptor.accept(tcp).await else { continue };
                let server_name = stream.get_ref().1.server_name().map(str::to_owned);
                let report = report.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let (server_name, report) = (server_name.clone(), report.clone());
                    async move { Ok::<_, Infallible>(serve(&request, server_name, &report).await) }
                });
                let serving = async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    // The test ends when the client has what it wants, however the connection ends.
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                };
                tokio::spawn(serving);
            }
        });
        Self { address, seen }
    }

    /// Waits for the next request; gives what it looked like, and the feed of its answer.
    async fn request(&mut self) -> (Seen, mpsc::Sender<Bytes>) {
        timeout(PATIENCE, self.seen.recv()).await.expect("a request gets through").unwrap()
    }
}

type Pieces = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

async fn serve(
    request: &Request<Incoming>,
    server_name: Option<String>,
    report: &mpsc::Sender<(Seen, mpsc::Sender<Bytes>)>,
) -> Response<Pieces> {
    let in_header = || request.headers().get("host").unwrap().to_str().unwrap().to_owned();
    let authority = request.uri().authority().map_or_else(in_header, ToString::to_string);
    let (feed, mut pieces) = mpsc::channel(1);
    report.send((Seen { server_name, version: request.version(), authority }, feed)).await.unwrap();
    let pieces = stream::poll_fn(move |context| pieces.poll_recv(context));
    Response::new(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece))).boxed()))
}

fn rules(port: u16) -> Rules {
    let more = "locality: local, cidrs: [127.0.0.0/8]";
    let base_url = format!("https://up.test:{port}/v1");
    Rules::default().provider("up", &base_url, more).workflow("docs", "{ mode: sealed }", "up")
}

fn gate(port: u16, options: &Options) -> Gate {
    let gate = Gate::with(&rules(port), options);
    gate.names.answer("up.test", &["127.0.0.1"]);
    gate
}

#[tokio::test]
async fn the_session_is_for_the_policys_host_over_either_version() {
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let mut server = Server::start(authority.acceptor("up.test", alpn)).await;
        let gate = gate(server.address.port(), &authority.options(folder.path()));
        let (reply, ()) = tokio::join!(gate.send("docs"), async {
            let (seen, feed) = server.request().await;
            let authority = format!("up.test:{}", server.address.port());
            assert_eq!(seen, Seen { server_name: Some("up.test".to_owned()), version, authority });
            feed.send(Bytes::from_static(b"ok")).await.unwrap();
        });
        assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn dropping_a_body_ends_its_http2_stream_and_spares_its_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut server = Server::start(authority.acceptor("up.test", &["h2"])).await;
    let gate = gate(server.address.port(), &authority.options(folder.path()));
    let (first, first_feed) = tokio::join!(gate.send("docs"), async { server.request().await.1 });
    let (second, second_feed) = tokio::join!(gate.send("docs"), async { server.request().await.1 });
    assert_eq!(gate.client.stats().dials_allowed, 1, "both streams must share one connection");
    drop(first.unwrap());
    first_feed.closed().await;
    second_feed.send(Bytes::from_static(b"still here")).await.unwrap();
    drop(second_feed);
    assert_eq!(collect(second.unwrap()).await.unwrap(), "still here");
}

#[tokio::test]
async fn a_certificate_for_another_name_or_by_another_authority_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let believed = Authority::new();
    let stranger = Authority::new();
    for acceptor in [believed.acceptor("other.test", &[]), stranger.acceptor("up.test", &[])] {
        let mut server = Server::start(acceptor).await;
        let gate = gate(server.address.port(), &believed.options(folder.path()));
        let error = gate.send("docs").await.unwrap_err();
        assert_eq!((error.code(), error.fault()), ("egress.tls", Fault::Upstream));
        assert_eq!(error.retry(), Retry::Safe);
        assert!(server.seen.try_recv().is_err(), "no request may follow a refused certificate");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_tls_is_refused() {
    let mut upstream = Upstream::start().await;
    let gate = gate(upstream.port(), &options());
    let (reply, ()) = tokio::join!(gate.send("docs"), async {
        let mut tcp = upstream.connection().await;
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    assert_eq!(reply.unwrap_err().code(), "egress.tls");
}

#[test]
fn a_file_without_usable_authorities_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    assert!(matches!(Roots::public_and_file(&file), Err(RootsError::Read { .. })));
    std::fs::write(&file, "no certificate here").unwrap();
    assert!(matches!(Roots::public_and_file(&file), Err(RootsError::Empty { .. })));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(Roots::public_and_file(&file), Err(RootsError::Certificate { .. })));
}
