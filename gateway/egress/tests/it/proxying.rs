//! Providers behind a company's proxy: what the proxy is asked, and that nothing goes another way.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use egress::{Client, Direct, Fault, Retry, Vantage, Verdict, Way, Witness};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::gate::{Gate, Options, Rules, admit, chain, collect, outbound};
use crate::tls::Authority;
use crate::upstream::Upstream;
use crate::witnessing::Notes;

const YES: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A proxy that answers every CONNECT alike, and after a yes leads to one address, whatever it was asked for.
struct Corp {
    address: SocketAddr,
    asked: mpsc::Receiver<String>,
}

impl Corp {
    async fn start(tls: Option<TlsAcceptor>, answer: &'static str, onward: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (report, asked) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, report) = (tls.clone(), report.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, answer, onward, report).await,
                        // A client that does not like the certificate hangs up.
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(stream) => serve(stream, answer, onward, report).await,
                            Err(_) => drop(report),
                        },
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// Returns what the next CONNECT asked for.
    async fn asked(&mut self) -> String {
        let head = self.asked.recv().await.unwrap();
        head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned()
    }
}

async fn serve<S>(mut stream: S, answer: &str, onward: SocketAddr, report: mpsc::Sender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    report.send(read_head(&mut stream).await).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    if answer == YES {
        let mut tcp = TcpStream::connect(onward).await.unwrap();
        // However either side ends it.
        drop(copy_bidirectional(&mut stream, &mut tcp).await);
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Takes the next connection as `api.test`, and the request on it.
async fn request(upstream: &mut Upstream, authority: &Authority) -> TlsStream<TcpStream> {
    let tcp = upstream.connection().await;
    let mut stream = authority.acceptor("api.test", &[]).accept(tcp).await.unwrap();
    read_head(&mut stream).await;
    stream.read_exact(&mut [0; 2]).await.unwrap();
    stream
}

/// A provider in 127.0.0.0/8 that is not local, behind `proxy.test`: so a way around the proxy would be seen.
fn rules(upstream: &Upstream, url: &str, more: &str) -> Rules {
    let base_url = format!("https://api.test:{}/v1", upstream.port());
    let provider = "locality: dedicated, proxy: corp, cidrs: [127.0.0.0/8]";
    Rules::default()
        .proxy("corp", url, &format!("cidrs: [127.0.0.0/8], {more}"))
        .provider("api", &base_url, provider)
        .workflow("open", "{ mode: hosted, providers: [api] }", "api")
}

fn gate(rules: &Rules, options: &Options) -> (Arc<Direct>, Gate) {
    let (direct, gate) = Gate::with_way(rules, options);
    gate.names.answer("api.test", &["127.0.0.1"]);
    gate.names.answer("proxy.test", &["127.0.0.1"]);
    (direct, gate)
}

fn noting(authority: &Authority, folder: &Path, notes: &Arc<Notes>) -> Options {
    Options { witness: Arc::clone(notes) as Arc<dyn Witness>, ..authority.options(folder) }
}

#[tokio::test]
async fn a_call_goes_through_the_proxy_and_is_on_record_as_such() {
    for (scheme, vantage) in [
        ("http", Vantage::Local),
        ("http", Vantage::Proxy),
        ("https", Vantage::Local),
        ("https", Vantage::Proxy),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (authority, mut upstream) = (Authority::new(), Upstream::start().await);
        let tls = (scheme == "https").then(|| authority.acceptor("proxy.test", &[]));
        let mut corp = Corp::start(tls, YES, upstream.address()).await;
        let url = format!("{scheme}://proxy.test:{}", corp.address.port());
        let ca_file = folder.path().join("ca.pem");
        let more = format!("resolve: {}, ca_file: {}", vantage.as_str(), ca_file.display());
        let rules = match vantage {
            Vantage::Local => rules(&upstream, &url, &more),
            // Nobody could hold the proxy to networks.
            Vantage::Proxy => Rules::default()
                .proxy("corp", &url, &format!("cidrs: [127.0.0.0/8], {more}"))
                .provider("api", "https://api.test", "locality: hosted, proxy: corp")
                .workflow("open", "{ mode: hosted, providers: [api] }", "api"),
        };
        let notes = Arc::<Notes>::default();
        let (direct, gate) = gate(&rules, &noting(&authority, folder.path(), &notes));
        let (reply, ()) = tokio::join!(gate.send("open"), async {
            let mut stream = request(&mut upstream, &authority).await;
            assert_eq!(stream.get_ref().1.server_name(), Some("api.test"));
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");
        let expected = match vantage {
            Vantage::Local => (format!("127.0.0.1:{}", upstream.port()), 2),
            Vantage::Proxy => ("api.test:443".to_owned(), 1),
        };
        assert_eq!((corp.asked().await, gate.names.lookups()), expected);
        let verdict = Verdict::Opened { address: corp.address, vantage, proxy: Some("corp".to_owned()) };
        assert_eq!(notes.decisions().remove(0).verdict, verdict);
        direct.end_all(egress::CloseReason::Shutdown);
        let close = notes.closes(1).await.remove(0);
        if cfg!(target_os = "linux") || scheme == "https" {
            assert!(close.bytes_sent.unwrap() > 200 && close.bytes_received.unwrap() > 200, "{close:?}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_says_no_ends_the_dial_and_nothing_goes_another_way() {
    for (answer, code, fault) in [
        ("HTTP/1.1 407 Who?\r\n\r\n<html>", "egress.proxy_auth", Fault::Operator),
        ("HTTP/1.1 403 No\r\n\r\n<html>", "egress.proxy_refused", Fault::Upstream),
        ("HTTP/1.1 502 Cannot\r\n\r\n<html>", "egress.proxy_refused", Fault::Upstream),
        ("+OK\r\n", "egress.proxy_protocol", Fault::Upstream),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut upstream = Upstream::start().await;
        let mut corp = Corp::start(None, answer, upstream.address()).await;
        let url = format!("http://proxy.test:{}", corp.address.port());
        let notes = Arc::<Notes>::default();
        let options = noting(&Authority::new(), folder.path(), &notes);
        let (_, gate) = gate(&rules(&upstream, &url, ""), &options);
        let error = gate.send("open").await.unwrap_err();
        assert_eq!((error.code(), error.fault(), error.retry()), (code, fault, Retry::Safe));
        assert!(!chain(&error).contains("html"), "{}", chain(&error));
        assert_eq!(notes.decisions()[0].verdict, Verdict::Refused { code });
        assert_eq!(corp.asked().await, format!("127.0.0.1:{}", upstream.port()));
        assert!(corp.asked.try_recv().is_err(), "asked once");
        assert_eq!(upstream.connection_count().await, 0);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_ends_the_dial_and_nothing_goes_another_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut upstream = Upstream::start().await;
    // Bound and not listening: the port stays ours, and the system refuses connections to it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://proxy.test:{}", socket.local_addr().unwrap().port());
    let (_, gate) = gate(&rules(&upstream, &url, ""), &Authority::new().options(folder.path()));
    let error = gate.send("open").await.unwrap_err();
    assert_eq!(
        (error.code(), error.fault(), error.retry()),
        ("egress.proxy_connect", Fault::Upstream, Retry::Safe)
    );
    assert_eq!(upstream.connection_count().await, 0);
}

#[tokio::test]
async fn both_ends_of_the_way_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    for (name, address) in
        [("proxy.test", "10.0.0.1"), ("api.test", "10.0.0.1"), ("api.test", "169.254.169.254")]
    {
        let mut corp = Corp::start(None, YES, upstream.address()).await;
        let url = format!("http://proxy.test:{}", corp.address.port());
        let gate = Gate::with(&rules(&upstream, &url, ""), &Authority::new().options(folder.path()));
        gate.names.answer(name, &[address]);
        for other in ["proxy.test", "api.test"].into_iter().filter(|other| *other != name) {
            gate.names.answer(other, &["127.0.0.1"]);
        }
        let error = gate.send("open").await.unwrap_err();
        assert_eq!((error.code(), error.fault()), ("egress.address", Fault::Policy));
        assert!(corp.asked.try_recv().is_err(), "the proxy is not even asked");
    }
}

#[tokio::test]
async fn a_refused_address_is_followed_by_the_next_and_by_no_third() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let mut corp = Corp::start(None, "HTTP/1.1 502 no\r\n\r\n", upstream.address()).await;
    let url = format!("http://proxy.test:{}", corp.address.port());
    let gate = Gate::with(&rules(&upstream, &url, ""), &Authority::new().options(folder.path()));
    gate.names.answer("proxy.test", &["127.0.0.1"]);
    gate.names.answer("api.test", &["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    assert_eq!(gate.send("open").await.unwrap_err().code(), "egress.proxy_refused");
    for address in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(corp.asked().await, format!("{address}:{}", upstream.port()));
    }
    assert!(corp.asked.try_recv().is_err());
}

#[tokio::test]
async fn a_relayed_connection_is_cut_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, mut upstream) = (Authority::new(), Upstream::start().await);
    let tls = authority.acceptor("proxy.test", &[]);
    let corp = Corp::start(Some(tls), YES, upstream.address()).await;
    let url = format!("https://proxy.test:{}", corp.address.port());
    let more = format!("ca_file: {}", folder.path().join("ca.pem").display());
    let notes = Arc::<Notes>::default();
    let options = noting(&authority, folder.path(), &notes);
    let (direct, gate) = gate(&rules(&upstream, &url, &more), &options);
    let (reply, mut stream) = tokio::join!(gate.send("open"), async {
        let mut stream = request(&mut upstream, &authority).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    let reply = reply.unwrap();
    direct.end_all(egress::CloseReason::Revoked);
    assert!(collect(reply).await.is_err(), "a cut answer does not look like a whole one");
    assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)), "and the upstream is let go");
    assert_eq!(notes.closes(1).await[0].reason, egress::CloseReason::Revoked);
}

/// A provider that is reached without a proxy, with a rule for its certificate.
fn ruled(upstream: &Upstream, rule: &str) -> Rules {
    let more = format!("locality: local, cidrs: [127.0.0.0/8], tls: {{ {rule} }}");
    let base_url = format!("https://api.test:{}/v1", upstream.port());
    Rules::default().provider("api", &base_url, &more).workflow("docs", "{ mode: sealed }", "api")
}

#[tokio::test]
async fn another_key_than_the_pinned_one_has_a_code_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, mut upstream) = (Authority::new(), Upstream::start().await);
    let pin = format!("sha256/{}=", "A".repeat(43));
    let gate = Gate::with(&ruled(&upstream, &format!("pins: ['{pin}']")), &authority.options(folder.path()));
    gate.names.answer("api.test", &["127.0.0.1"]);
    let (reply, accepted) = tokio::join!(gate.send("docs"), async {
        let tcp = upstream.connection().await;
        authority.acceptor("api.test", &[]).accept(tcp).await.map(drop)
    });
    let error = reply.unwrap_err();
    assert_eq!((error.code(), error.fault()), ("egress.pin", Fault::Upstream));
    assert!(chain(&error).contains("its own is sha256/"), "{}", chain(&error));
    assert!(accepted.is_err());
}

#[tokio::test]
async fn the_next_policy_goes_by_the_files_of_its_own_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after, mut upstream) = (Authority::new(), Authority::new(), Upstream::start().await);
    let rules = ruled(&upstream, &format!("ca_file: {}", folder.path().join("ca.pem").display()));
    before.options(folder.path());
    let gate = Gate::with(&rules, &crate::gate::options());
    gate.names.answer("api.test", &["127.0.0.1"]);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (reply, _kept) = tokio::join!(gate.send("docs"), async {
        let mut stream = request(&mut upstream, &before).await;
        stream.write_all(answer).await.unwrap();
        stream
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");

    // The policy is the same, and the file at the same path is another one.
    after.options(folder.path());
    let policy = rules.compile();
    let next = gate.client.succeeded_by(Arc::clone(&policy)).unwrap();
    let admitted = admit(&policy, "docs");
    let call = next.send(&admitted, &admitted.hops()[0], outbound(http::HeaderMap::new(), "{}"));
    let (reply, ()) = tokio::join!(call, async {
        let mut stream = request(&mut upstream, &after).await;
        stream.write_all(answer).await.unwrap();
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_known_before_any_call() {
    let upstream = Upstream::start().await;
    let options = crate::gate::options();
    let policy = ruled(&upstream, "ca_file: /nonexistent/ca.pem").compile();
    let direct: Arc<dyn Way> =
        Direct::new(Arc::clone(&policy), options.surroundings(Arc::new(crate::gate::Silent)));
    let options = egress::Options {
        secrets_base: options.secrets_base,
        roots: options.roots,
        revocations: options.revocations,
    };
    let error = Client::new(policy, &direct, &options).err().unwrap();
    assert_eq!(
        chain(&error),
        "the provider api cannot be reached by TLS as the policy wants it: cannot read certificates from \
         /nonexistent/ca.pem: I/O error: No such file or directory (os error 2)"
    );
}
