//! Proxies on loopback whose every answer is scripted.

use std::error::Error;
use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;

use policy::{Policy, Provider, Source};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::relay::Ending;
use super::*;
use crate::error::Fault;
use crate::tls::RootsError;

const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const CANARY: &str = "canary-8f3a:pa ss:word";
/// Of [`CANARY`], by RFC 4648.
const CANARY_BASE64: &str = "Y2FuYXJ5LThmM2E6cGEgc3M6d29yZA==";

/// A listener on loopback that plays the proxy.
struct Script(TcpListener);

impl Script {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.0.local_addr().unwrap()).await.unwrap()
    }

    async fn accept(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }
}

/// What a tunnel came to, the request that the proxy saw, and the proxy's end of the connection.
struct Met<S> {
    tunnel: Result<Tunnel, ProxyError>,
    request: String,
    proxy: S,
}

/// Opens a tunnel through a plain proxy that answers with `answer` once it was asked.
async fn meet(via: &Via, target: Target<'_>, answer: &[u8]) -> Met<TcpStream> {
    let script = Script::start().await;
    let tcp = script.dial().await;
    let answering = async {
        let mut proxy = script.accept().await;
        let request = read_request(&mut proxy).await;
        proxy.write_all(answer).await.unwrap();
        (request, proxy)
    };
    let (tunnel, (request, proxy)) = tokio::join!(via.tunnel(tcp, target), answering);
    Met { tunnel, request, proxy }
}

/// Reads a request without a byte behind its head.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the other side has ended, in whatever way.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}

fn plain() -> Via {
    via("http://proxy.test:3128", "", Path::new(""))
}

/// The way through the proxy at `url`, with `more` keys in its entry.
fn via(url: &str, more: &str, base: &Path) -> Via {
    Via::new(&proxy(url, more), base).unwrap()
}

fn proxy(url: &str, more: &str) -> Arc<Proxy> {
    let text = format!(
        "version: 1\nproxies:\n  corp: {{ url: '{url}', {more} }}\nmodels: {{}}\nworkflows: {{}}\nproviders:\n  \
         up: {{ kind: openai, base_url: 'https://up.test', locality: hosted, region: eu, proxy: corp }}\n"
    );
    let policy = Policy::compile(&Source { name: "routes.yaml".to_owned(), text }).unwrap();
    let Some(Provider::Http(destination)) = policy.providers().next() else { panic!("no HTTP provider") };
    Arc::clone(destination.proxy().unwrap())
}

fn anywhere() -> Target<'static> {
    Target::Name("api.test", 443)
}

#[track_caller]
fn direct(tunnel: Result<Tunnel, ProxyError>) -> TcpStream {
    match tunnel {
        Ok(Tunnel::Direct(tcp)) => tcp,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_names_its_target_and_nothing_else() {
    for (target, authority) in [
        (Target::Name("api.test", 443), "api.test:443"),
        (Target::Name("10.0.0.7", 8443), "10.0.0.7:8443"),
        (Target::Address(([192, 0, 2, 7], 443).into()), "192.0.2.7:443"),
        (Target::Address((Ipv6Addr::LOCALHOST, 8443).into()), "[::1]:8443"),
        (Target::Address("[fe80::1%7]:443".parse().unwrap()), "[fe80::1]:443"),
    ] {
        let met = meet(&plain(), target, OK.as_bytes()).await;
        assert_eq!(met.request, format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        direct(met.tunnel);
    }
}

#[tokio::test]
async fn a_name_that_would_change_the_request_is_not_sent() {
    for name in ["", "a b", "a\r\nx: y", "a\n", "a\0", "a:80", "[::1]", "a/b", "user@a", "a?b", "\u{e9}.test"]
    {
        let script = Script::start().await;
        let error = plain().tunnel(script.dial().await, Target::Name(name, 443)).await.unwrap_err();
        assert!(matches!(error, ProxyError::Target), "{name:?}: {error:?}");
        assert_eq!(rest(&mut script.accept().await).await, b"");
    }
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways() {
    for answer in [OK, "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 299 Fine\r\nvia: 1.1 x\r\n\r\n"] {
        let mut met = meet(&plain(), anywhere(), answer.as_bytes()).await;
        let mut tunnel = direct(met.tunnel);
        tunnel.write_all(b"hello").await.unwrap();
        tunnel.shutdown().await.unwrap();
        assert_eq!(rest(&mut met.proxy).await, b"hello");
        met.proxy.write_all(b"and back").await.unwrap();
        drop(met.proxy);
        assert_eq!(rest(&mut tunnel).await, b"and back");
    }
}

#[tokio::test]
async fn what_comes_behind_the_head_belongs_to_the_tunnel() {
    let long = vec![7; 50_000];
    for first in [&b"\x16\x03\x03"[..], b"\r\n\r\n", b"HTTP/1.1 407 no\r\n\r\n", &long] {
        // A stated length means nothing here.
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
        let met = meet(&plain(), anywhere(), &[head, first].concat()).await;
        drop(met.proxy);
        assert_eq!(rest(&mut direct(met.tunnel)).await, first);
    }
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let script = Script::start().await;
    let tcp = script.dial().await;
    let via = plain();
    let answering = async {
        let mut proxy = script.accept().await;
        proxy.set_nodelay(true).unwrap();
        read_request(&mut proxy).await;
        for byte in OK.bytes().chain(*b"tunnel") {
            proxy.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (tunnel, ()) = tokio::join!(via.tunnel(tcp, anywhere()), answering);
    assert_eq!(rest(&mut direct(tunnel)).await, b"tunnel");
}

#[tokio::test]
async fn an_answer_other_than_yes_closes_the_connection() {
    let html = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n\r\n<html>Squid says no</html>";
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(9000));
    for (answer, text, code) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n<html>",
            "the proxy does not accept the credential",
            "egress.proxy_auth",
        ),
        (html, "the proxy answered with 502", "egress.proxy_refused"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "the proxy answered with 100", "egress.proxy_refused"),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", "the proxy answered with 302", "egress.proxy_refused"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "the proxy's answer is not HTTP/1", "egress.proxy_protocol"),
        (&large, "the head of the proxy's answer is larger than 8 KiB", "egress.proxy_protocol"),
    ] {
        let mut met = meet(&plain(), anywhere(), answer.as_bytes()).await;
        let error = met.tunnel.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.failure().code()), (text, code));
        assert!(!format!("{error:?}").contains("html"), "{error:?}");
        assert_eq!(rest(&mut met.proxy).await, b"", "nothing may follow");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_up_gives_no_tunnel() {
    let head = OK.as_bytes();
    for length in [0, 5, head.len() - 1] {
        let script = Script::start().await;
        let tcp = script.dial().await;
        let via = plain();
        let answering = async {
            let mut proxy = script.accept().await;
            read_request(&mut proxy).await;
            proxy.write_all(&head[..length]).await.unwrap();
        };
        let (tunnel, ()) = tokio::join!(via.tunnel(tcp, anywhere()), answering);
        assert!(matches!(tunnel, Err(ProxyError::Closed(_))), "{tunnel:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_proxy_is_given_up_however_far_it_came() {
    for part in ["", "HTTP/1.1 200 OK\r\nvia:"] {
        let script = Script::start().await;
        let tcp = script.dial().await;
        let via = plain();
        let answering = async {
            let mut proxy = script.accept().await;
            proxy.write_all(part.as_bytes()).await.unwrap();
            proxy
        };
        let began = Instant::now();
        let (tunnel, mut proxy) = tokio::join!(via.tunnel(tcp, anywhere()), answering);
        assert!(matches!(tunnel, Err(ProxyError::Timeout(ANSWER_WAIT_MAX))), "{tunnel:?}");
        assert_eq!(began.elapsed(), ANSWER_WAIT_MAX);
        assert!(read_request(&mut proxy).await.starts_with("CONNECT"));
        assert_eq!(rest(&mut proxy).await, b"", "the connection is closed");
    }
}

/// A plain proxy with a credential in a file, and that file.
fn with_secret(folder: &Path, content: &str) -> Via {
    std::fs::write(folder.join("proxy-auth"), content).unwrap();
    via("http://proxy.test:3128", "auth_file: proxy-auth", folder)
}

/// Everything that could be logged about an error.
fn texts(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(|error| format!("{error} {error:?} ")).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn a_credential_is_read_for_each_tunnel() {
    let folder = tempfile::tempdir().unwrap();
    let via = with_secret(folder.path(), &format!("{CANARY}\n"));
    let met = meet(&via, anywhere(), OK.as_bytes()).await;
    assert!(met.tunnel.is_ok());
    let expected = format!(
        "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nProxy-Authorization: Basic {CANARY_BASE64}\r\n\r\n"
    );
    assert_eq!(met.request, expected);

    std::fs::write(folder.path().join("proxy-auth"), "user:next\r\n").unwrap();
    let met = meet(&via, anywhere(), OK.as_bytes()).await;
    assert!(met.request.ends_with("\r\nProxy-Authorization: Basic dXNlcjpuZXh0\r\n\r\n"), "{}", met.request);
}

#[tokio::test]
async fn a_credential_that_cannot_be_used_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    for (content, problem) in [
        ("", "empty"),
        ("canary", "not one line of the form user:password"),
        ("canary:a\r\nx: y", "not one line of the form user:password"),
        ("canary:a\ncanary:b\n", "not one line of the form user:password"),
        ("canary:\u{1}", "not one line of the form user:password"),
    ] {
        let via = with_secret(folder.path(), content);
        let script = Script::start().await;
        let error = via.tunnel(script.dial().await, anywhere()).await.unwrap_err();
        let source = error.source().unwrap().to_string();
        assert_eq!(source, format!("the secret in the file proxy-auth is {problem}"));
        assert!(!texts(&error).contains("canary"), "{}", texts(&error));
        assert_eq!(rest(&mut script.accept().await).await, b"");
    }
    let via = with_secret(folder.path(), CANARY);
    std::fs::remove_file(folder.path().join("proxy-auth")).unwrap();
    let script = Script::start().await;
    let error = via.tunnel(script.dial().await, anywhere()).await.unwrap_err();
    assert_eq!((error.failure().code(), error.failure().fault()), ("egress.proxy_secret", Fault::Operator));
}

#[tokio::test]
async fn a_credential_shows_in_no_text_even_if_the_proxy_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let via = with_secret(folder.path(), CANARY);
    let echoes = ["HTTP/1.1 407 X\r\nx: X\r\n\r\nX", "HTTP/1.1 502 X\r\n\r\nX", "HTTP/1.1 X\r\n", "X"];
    for answer in echoes.map(|answer| answer.replace('X', &format!("{CANARY} {CANARY_BASE64}"))) {
        let met = meet(&via, anywhere(), answer.as_bytes()).await;
        assert!(met.request.contains(CANARY_BASE64));
        let shown = texts(&met.tunnel.unwrap_err()) + &format!("{via:?}");
        for part in ["canary", "pa ss", CANARY_BASE64] {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Returns what accepts TLS as `name`.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
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
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Returns the way through a proxy that only this authority certifies.
    fn via(&self) -> Via {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), self.0.pem()).unwrap();
        via("https://proxy.test", "ca_file: ca.pem", folder.path())
    }
}

/// Opens a tunnel through a proxy behind TLS.
async fn meet_tls(via: &Via, acceptor: TlsAcceptor, answer: &[u8]) -> Met<TlsStream<TcpStream>> {
    let script = Script::start().await;
    let tcp = script.dial().await;
    let answering = async {
        let mut proxy = acceptor.accept(script.accept().await).await.unwrap();
        let request = read_request(&mut proxy).await;
        proxy.write_all(answer).await.unwrap();
        proxy.flush().await.unwrap();
        (request, proxy)
    };
    let (tunnel, (request, proxy)) = tokio::join!(via.tunnel(tcp, anywhere()), answering);
    Met { tunnel, request, proxy }
}

#[track_caller]
fn relayed(tunnel: Result<Tunnel, ProxyError>) -> (UnixStream, Relay) {
    match tunnel {
        Ok(Tunnel::Relayed { near, relay }) => (near, relay),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_proxy_behind_tls_is_asked_inside_it_and_its_tunnel_is_relayed() {
    let authority = Authority::new();
    let answer = [OK.as_bytes(), b"early "].concat();
    let mut met = meet_tls(&authority.via(), authority.acceptor("proxy.test"), &answer).await;
    assert_eq!(met.request, "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n");
    let session = met.proxy.get_ref().1;
    assert_eq!(session.server_name(), Some("proxy.test"));
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));

    let (mut near, mut relay) = relayed(met.tunnel);
    let sent = vec![7; 300_000];
    let (seen, ()) = tokio::join!(rest(&mut met.proxy), async {
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
    });
    assert_eq!(seen, sent);
    // One direction has ended, and the other has not.
    met.proxy.write_all(b"and late").await.unwrap();
    met.proxy.shutdown().await.unwrap();
    assert_eq!(rest(&mut near).await, b"early and late");
    assert_eq!(relay.ended().await, Ending::Finished);
    assert_eq!((relay.bytes_sent(), relay.bytes_received()), (300_000, 14));
}

#[tokio::test]
async fn a_refusal_behind_tls_is_the_same_refusal() {
    let authority = Authority::new();
    for (answer, code) in [
        ("HTTP/1.1 407 no\r\n\r\n", "egress.proxy_auth"),
        ("HTTP/1.1 503 no\r\n\r\n<html>", "egress.proxy_refused"),
        ("HTTP/2 200\r\n\r\n", "egress.proxy_protocol"),
    ] {
        let met = meet_tls(&authority.via(), authority.acceptor("proxy.test"), answer.as_bytes()).await;
        assert_eq!(met.tunnel.unwrap_err().failure().code(), code);
    }
}

#[tokio::test]
async fn a_proxy_with_another_certificate_is_told_nothing() {
    let (believed, stranger) = (Authority::new(), Authority::new());
    for acceptor in [believed.acceptor("other.test"), stranger.acceptor("proxy.test")] {
        let script = Script::start().await;
        let tcp = script.dial().await;
        let via = believed.via();
        let accepting = async { acceptor.accept(script.accept().await).await.map(drop) };
        let (tunnel, accepted) = tokio::join!(via.tunnel(tcp, anywhere()), accepting);
        let error = tunnel.unwrap_err();
        assert_eq!((error.failure().code(), error.failure().fault()), ("egress.proxy_tls", Fault::Upstream));
        assert!(accepted.is_err(), "the handshake must not end well for the proxy either");
    }
}

#[tokio::test]
async fn a_proxy_without_a_file_of_its_own_is_judged_by_the_public_authorities() {
    let via = via("https://proxy.test", "", Path::new(""));
    let acceptor = Authority::new().acceptor("proxy.test");
    let script = Script::start().await;
    let tcp = script.dial().await;
    let accepting = async { acceptor.accept(script.accept().await).await.map(drop) };
    let (tunnel, _) = tokio::join!(via.tunnel(tcp, anywhere()), accepting);
    assert_eq!(tunnel.unwrap_err().failure().code(), "egress.proxy_tls");
}

#[test]
fn a_certificate_file_that_cannot_be_used_is_named_before_any_dial() {
    let proxy = proxy("https://proxy.test", "ca_file: no-such.pem");
    let error = Via::new(&proxy, Path::new("/nonexistent")).unwrap_err();
    assert!(matches!(error, TlsError::Roots(RootsError::Read { .. })), "{error:?}");
    assert_eq!(error.to_string(), "cannot read certificates from /nonexistent/no-such.pem");
}
