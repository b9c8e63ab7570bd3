//! Plain HTTP in absolute form.

use tokio::io::AsyncWriteExt;

use super::stage::{Stage, basic, rest, soon, status_and_code};
use crate::upstream::Upstream;

/// A stage on which plain HTTP goes to `origin.test`.
async fn stage() -> (Stage, Upstream, String) {
    let (stage, upstream) = (Stage::new().await, Upstream::start().await);
    let target = format!("origin.test:{}", upstream.port());
    stage.names.answer("origin.test", &["127.0.0.1"]);
    stage.book.allow_plain(&target);
    (stage, upstream, target)
}

fn request(method: &str, target: &str, more: &str) -> String {
    format!("{method} http://{target}/x?y=1 HTTP/1.1\r\nhost: {target}\r\n{}{more}", basic("docs", "ci"))
}

// E6, E23
#[tokio::test]
async fn an_exchange_goes_on_without_what_belongs_to_this_side() {
    let (stage, mut upstream, target) = stage().await;
    let more = "accept: text/plain\r\nproxy-connection: keep-alive\r\nconnection: x-own, content-length\r\nx-own: a\r\n\
                x-forwarded-host: evil.test\r\nupgrade: h2c\r\nte: trailers\r\ncontent-length: 5\r\n\r\nhelloGET /second";
    let mut client = stage.send(&request("POST", &target, more)).await;
    let mut exchange = upstream.request().await;
    assert_eq!(
        exchange.head,
        format!(
            "POST /x?y=1 HTTP/1.1\r\nhost: {target}\r\naccept: text/plain\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"
        )
    );
    assert_eq!(exchange.body, b"hello");
    exchange
        .write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nkeep-alive: 1\r\nx-a: b\r\ncontent-length: 2\r\n\r\nok")
        .await;
    drop(exchange);
    let answer = rest(&mut client).await;
    assert_eq!(answer, "HTTP/1.1 201 \r\nx-a: b\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_eq!(stage.records.close().await.reason, "closed");
    assert_eq!(stage.records.decisions().len(), 1, "the second request is thrown away");
}

// Replay 14, replay 15
#[tokio::test]
async fn a_body_in_chunks_ends_where_every_reader_sees_its_end() {
    let (stage, mut upstream, target) = stage().await;
    let good = "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut client = stage.send(&request("POST", &target, good)).await;
    let mut origin = upstream.connection().await;
    let received = super::stage::head(&mut origin).await;
    assert!(received.contains("\r\ntransfer-encoding: chunked\r\n"), "{received}");
    let mut body = [0; 15];
    soon(tokio::io::AsyncReadExt::read_exact(&mut origin, &mut body)).await.unwrap();
    assert_eq!(&body, b"5\r\nhello\r\n0\r\n\r\n");
    origin.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").await.unwrap();
    drop(origin);
    assert_eq!(rest(&mut client).await, "HTTP/1.1 200 \r\nconnection: close\r\n\r\nok");

    let bad = "transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n";
    let mut client = stage.send(&request("POST", &target, bad)).await;
    let mut origin = upstream.connection().await;
    assert!(!rest(&mut origin).await.contains("hello"));
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(stage.records.closes()[1].reason, "tunnel.bad_body");
}

// Replay 13, replay 14
#[tokio::test]
async fn an_answer_that_readers_take_differently_is_none() {
    for bad in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\nx-a: b\n\n",
        "SSH-2.0-origin\r\n\r\n",
        "",
    ] {
        let (stage, mut upstream, target) = stage().await;
        let mut client = stage.send(&request("GET", &target, "\r\n")).await;
        let mut exchange = upstream.request().await;
        exchange.write(bad).await;
        drop(exchange);
        assert_eq!(status_and_code(&rest(&mut client).await), (502, "tunnel.bad_answer"), "{bad:?}");
        assert_eq!(stage.records.close().await.reason, "tunnel.bad_answer");
    }
}

// E20, replay 35
#[tokio::test]
async fn plain_http_passes_only_where_a_rule_says_so() {
    let (stage, mut upstream, target) = stage().await;
    let other = format!("other.test:{}", upstream.port());
    stage.book.allow(&other);
    let answer = stage.answer(&request("GET", &other, "\r\n")).await;
    assert_eq!(status_and_code(&answer), (403, "tunnel.not_named"));
    let mismatch = format!("GET http://{target}/ HTTP/1.1\r\nhost: evil.test\r\n{}\r\n", basic("docs", "ci"));
    assert_eq!(status_and_code(&stage.answer(&mismatch).await), (400, "tunnel.request"));
    assert_eq!(upstream.connection_count().await, 0);
}
