//! Tunnels that are not used for what they were granted for.

use std::time::Duration;

use egress::tunnel::Limits;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stage::{PATIENT, Stage, client_config, soon};
use crate::upstream::Upstream;

/// What a client says first to `name`.
pub(super) fn hello(name: &str) -> Vec<u8> {
    let config = client_config(RootCertStore::empty(), &["h2", "http/1.1"]);
    let mut client = ClientConnection::new(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The record of a fatal alert.
const ACCESS_DENIED: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 49];

/// Says `first` inside a tunnel to `origin.test` and checks that the tunnel is closed, with `alert` as the last word.
async fn check_closed(first: &[u8], code: &str, alert: &[u8]) {
    let (stage, mut upstream) = (Stage::new().await, Upstream::start().await);
    let target = format!("origin.test:{}", upstream.port());
    stage.names.answer("origin.test", &["127.0.0.1"]);
    stage.book.allow(&target);
    let mut client = stage.tunnel(&target).await;
    let mut origin = upstream.connection().await;
    client.write_all(first).await.unwrap();
    let mut received = Vec::new();
    soon(origin.read_to_end(&mut received)).await.unwrap();
    assert!(received.is_empty(), "{code}: the origin got {received:?}");
    let mut last = Vec::new();
    soon(client.read_to_end(&mut last)).await.unwrap();
    assert_eq!(last, alert, "{code}");
    let close = stage.records.close().await;
    assert_eq!((close.reason, close.bytes_sent, close.bytes_received), (code, 0, 0));
}

// E5, E6, replay 7
#[tokio::test]
async fn a_tunnel_for_one_name_is_closed_before_a_byte_of_another_use_passes() {
    check_closed(&hello("evil.test"), "tunnel.other_sni", &ACCESS_DENIED).await;
    check_closed(&hello("origin.test.evil.test"), "tunnel.other_sni", &ACCESS_DENIED).await;
    // A client that connects to an address sends no name.
    check_closed(&hello("127.0.0.1"), "tunnel.no_sni", &ACCESS_DENIED).await;
    check_closed(b"GET / HTTP/1.1\r\nhost: evil.test\r\n\r\n", "tunnel.not_tls", &[]).await;
    check_closed(b"SSH-2.0-client\r\n", "tunnel.not_tls", &[]).await;
    check_closed(&[0x16, 3, 1, 0, 4, 14, 0, 0, 0], "tunnel.hello_malformed", &ACCESS_DENIED).await;
    let mut with_nul = hello("origin.test");
    let at = with_nul.windows(11).position(|window| window == b"origin.test").unwrap();
    with_nul[at + 6] = 0;
    check_closed(&with_nul, "tunnel.hello_malformed", &ACCESS_DENIED).await;
    let mut long = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x7f, 0xff];
    long.resize(20 << 10, 0);
    check_closed(&long, "tunnel.hello_too_long", &ACCESS_DENIED).await;
}

// E5
#[tokio::test]
async fn a_hello_in_single_bytes_arrives_whole() {
    let (stage, mut upstream) = (Stage::new().await, Upstream::start().await);
    let target = format!("origin.test:{}", upstream.port());
    stage.names.answer("origin.test", &["127.0.0.1"]);
    stage.book.allow(&target);
    let mut client = stage.tunnel(&target).await;
    client.set_nodelay(true).unwrap();
    let hello = hello("origin.test");
    for byte in &hello {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut received = vec![0; hello.len()];
    soon(upstream.connection().await.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, hello);
}

// E5, E15
#[tokio::test]
async fn a_hello_that_does_not_come_ends_the_tunnel() {
    let limits = Limits { hello: Duration::from_millis(50), ..PATIENT };
    let (stage, mut upstream) = (Stage::with(limits).await, Upstream::start().await);
    let target = format!("origin.test:{}", upstream.port());
    stage.names.answer("origin.test", &["127.0.0.1"]);
    stage.book.allow(&target);
    let mut client = stage.tunnel(&target).await;
    client.write_all(&hello("origin.test")[..20]).await.unwrap();
    let mut received = Vec::new();
    soon(upstream.connection().await.read_to_end(&mut received)).await.unwrap();
    assert!(received.is_empty());
    assert_eq!(stage.records.close().await.reason, "tunnel.timeout_hello");
}

// E5, E18
#[tokio::test]
async fn in_report_mode_a_misused_tunnel_goes_on_and_is_on_record() {
    for (first, code) in [
        (hello("evil.test"), "tunnel.other_sni"),
        (hello("127.0.0.1"), "tunnel.no_sni"),
        (b"SSH-2.0-client\r\n".to_vec(), "tunnel.not_tls"),
    ] {
        let (stage, mut upstream) = (Stage::new().await, Upstream::start().await);
        let target = format!("origin.test:{}", upstream.port());
        stage.names.answer("origin.test", &["127.0.0.1"]);
        stage.book.allow(&target);
        stage.book.report("docs");
        let mut client = stage.tunnel(&target).await;
        client.write_all(&first).await.unwrap();
        let mut received = vec![0; first.len()];
        soon(upstream.connection().await.read_exact(&mut received)).await.unwrap();
        assert_eq!(received, first);
        drop(client);
        let close = stage.records.close().await;
        assert_eq!(close.would_deny, Some(code));
    }
}

// E5
#[tokio::test]
async fn a_tunnel_to_an_address_has_no_name_to_compare() {
    let (stage, mut upstream) = (Stage::new().await, Upstream::start().await);
    let target = format!("127.0.0.1:{}", upstream.port());
    let refused = stage.answer(&super::stage::connect(&target)).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    stage.book.allow(&target);
    let mut client = stage.tunnel(&target).await;
    let hello = hello("127.0.0.1");
    client.write_all(&hello).await.unwrap();
    let mut received = vec![0; hello.len()];
    soon(upstream.connection().await.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, hello);
    assert_eq!(stage.names.lookups(), 0);
}
