//! What a tunnel carries once it is granted.

use egress::tunnel::{Inside, Kind, Mode, Verdict};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::server;

use super::stage::{Stage, basic, both_sides, connect, head, rest, soon};
use crate::upstream::Upstream;

/// A client and an origin that have shaken hands through a tunnel.
struct Pair {
    client: TlsStream<TcpStream>,
    origin: server::TlsStream<TcpStream>,
}

impl Pair {
    /// Shakes hands over a tunnel that is there.
    async fn through(tcp: TcpStream, upstream: &mut Upstream, alpn: &[&str]) -> Self {
        let (connector, acceptor) = both_sides(alpn);
        let (client, origin) = soon(async {
            tokio::join!(connector.connect(ServerName::try_from("origin.test").unwrap(), tcp), async {
                acceptor.accept(upstream.connection().await).await
            })
        })
        .await;
        Self { client: client.unwrap(), origin: origin.unwrap() }
    }

    /// Sends text each way.
    async fn exchange(&mut self, there: &str, back: &str) {
        self.client.write_all(there.as_bytes()).await.unwrap();
        let mut read = vec![0; there.len()];
        soon(self.origin.read_exact(&mut read)).await.unwrap();
        assert_eq!(read, there.as_bytes());
        self.origin.write_all(back.as_bytes()).await.unwrap();
        let mut read = vec![0; back.len()];
        soon(self.client.read_exact(&mut read)).await.unwrap();
        assert_eq!(read, back.as_bytes());
    }
}

/// A stage on which `origin.test` is this machine and may be reached at the upstream's port.
async fn stage() -> (Stage, Upstream, String) {
    let (stage, upstream) = (Stage::new().await, Upstream::start().await);
    let target = format!("origin.test:{}", upstream.port());
    stage.names.answer("origin.test", &["127.0.0.1"]);
    stage.book.allow(&target);
    (stage, upstream, target)
}

// E1, E5, E17
#[tokio::test]
async fn a_granted_tunnel_carries_tls_and_is_on_record_from_beginning_to_end() {
    let (stage, mut upstream, target) = stage().await;
    let mut pair = Pair::through(stage.tunnel(&target).await, &mut upstream, &[]).await;
    let [decision] = &stage.records.decisions()[..] else { panic!("one decision") };
    assert_eq!(decision.verdict, Verdict::Opened { address: upstream.address() });
    assert_eq!(decision.target.as_ref().unwrap().to_string(), target);
    assert_eq!(decision.caller.as_ref().unwrap().id, "ci");
    assert_eq!(decision.caller.as_ref().unwrap().key.as_ref().unwrap().as_str(), "ci");
    assert_eq!(decision.workflow.as_ref().unwrap().as_str(), "docs");
    assert_eq!((decision.kind, decision.mode), (Some(Kind::Connect), Some(Mode::Enforce)));
    assert_eq!(decision.would_deny, None);
    assert!(decision.lookup.is_some() && decision.connect.is_some());

    pair.exchange("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n").await;
    assert!(stage.records.closes().is_empty());
    drop(pair);
    let close = stage.records.close().await;
    assert_eq!((&close.id, close.sni.as_deref()), (&decision.id, Some("origin.test")));
    assert!(close.bytes_sent > 200 && close.bytes_received > 500, "a handshake and more: {close:?}");
    assert_eq!(stage.records.decisions().len(), 1);
    assert_eq!(stage.names.lookups(), 1);
}

// E21, E22
#[tokio::test]
async fn http2_and_websocket_pass_because_nobody_looks() {
    let (stage, mut upstream, target) = stage().await;
    let mut pair = Pair::through(stage.tunnel(&target).await, &mut upstream, &["h2"]).await;
    assert_eq!(pair.client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    pair.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\0\0\u{4}\0\0\0\0\0").await;

    let mut pair = Pair::through(stage.tunnel(&target).await, &mut upstream, &["http/1.1"]).await;
    let upgrade = "GET /chat HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    pair.exchange(upgrade, "HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    pair.exchange("\u{1}\u{5}hello", "\u{1}\u{5}world").await;
}

// E4, replay 1
#[tokio::test]
async fn case_and_a_trailing_dot_of_the_target_do_not_matter() {
    let (stage, mut upstream, target) = stage().await;
    let odd = format!("ORIGIN.Test.:{}", upstream.port());
    Pair::through(stage.tunnel(&odd).await, &mut upstream, &[]).await.exchange("there", "back").await;
    let close = stage.records.close().await;
    assert_eq!(close.sni.as_deref(), Some("origin.test"));
    assert_eq!(stage.records.decisions()[0].target.as_ref().unwrap().to_string(), target);
}

#[tokio::test]
async fn a_client_that_speaks_old_http_or_does_not_wait_for_the_200_gets_its_tunnel() {
    let (stage, mut upstream, target) = stage().await;
    let mut old = stage.send(&format!("CONNECT {target} HTTP/1.0\r\n{}\r\n", basic("docs", "ci"))).await;
    assert_eq!(head(&mut old).await, "HTTP/1.1 200 Connection established\r\n\r\n");
    Pair::through(old, &mut upstream, &[]).await.exchange("there", "back").await;

    let hello = super::hello::hello("origin.test");
    let mut hasty = stage.send("").await;
    hasty.write_all(&[connect(&target).as_bytes(), &hello].concat()).await.unwrap();
    let mut received = vec![0; hello.len()];
    soon(upstream.connection().await.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, hello);
}

#[tokio::test]
async fn an_end_in_one_direction_leaves_the_other_open() {
    let (stage, mut upstream, target) = stage().await;
    stage.book.allow_as(&target, Inside::Any, &["127.0.0.0/8"]);
    let mut client = stage.tunnel(&target).await;
    let mut origin = upstream.connection().await;
    client.write_all(b"all of it").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut origin).await, "all of it");
    origin.write_all(b"an answer").await.unwrap();
    drop(origin);
    assert_eq!(rest(&mut client).await, "an answer");
    let close = stage.records.close().await;
    assert_eq!((close.reason, close.bytes_sent, close.bytes_received), ("closed", 9, 9));
}

// E5: a rule may say that a port carries something else, where the server may speak first.
#[tokio::test]
async fn where_the_rule_says_so_anything_passes_unread() {
    let (stage, mut upstream, target) = stage().await;
    stage.book.allow_as(&target, Inside::Any, &["127.0.0.0/8"]);
    let mut client = stage.tunnel(&target).await;
    let mut origin = upstream.connection().await;
    origin.write_all(b"SSH-2.0-origin\r\n").await.unwrap();
    let mut banner = [0; 16];
    soon(client.read_exact(&mut banner)).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-origin\r\n");
}

// E1, replay 20
#[tokio::test]
async fn a_name_that_changes_its_mind_is_judged_by_the_one_answer_that_is_dialled() {
    let (stage, mut upstream, target) = stage().await;
    stage.names.answer("origin.test", &["10.0.0.1"]);
    let client = stage.tunnel(&target).await;
    upstream.connection().await;
    assert_eq!(stage.names.lookups(), 1);
    drop(client);
    let answer = rest(&mut stage.connect(&target).await).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(stage.names.lookups(), 2);
    assert_eq!(upstream.connection_count().await, 1);
}

// E18
#[tokio::test]
async fn what_is_revoked_is_cut_where_it_is() {
    let (stage, mut upstream, target) = stage().await;
    let mut pair = Pair::through(stage.tunnel(&target).await, &mut upstream, &[]).await;
    pair.exchange("there", "back").await;
    stage.book.revoke("other");
    pair.exchange("still", "here").await;
    stage.book.revoke("docs");
    let close = stage.records.close().await;
    assert_eq!(close.reason, "revoked");
    let mut rest = Vec::new();
    assert!(soon(pair.client.read_to_end(&mut rest)).await.is_err(), "TLS has not said goodbye");
}

#[tokio::test]
async fn a_stop_lets_tunnels_end_and_takes_no_new_ones() {
    let (mut stage, mut upstream, target) = stage().await;
    let mut pair = Pair::through(stage.tunnel(&target).await, &mut upstream, &[]).await;
    let address = stage.address;
    let (records, using) = (stage.records.clone(), async move {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        pair.exchange("there", "back").await;
    });
    tokio::join!(stage.stop(), using);
    assert_eq!(records.close().await.reason, "closed");
}
