//! What can be read in two ways is read in neither: requests on the agents' address, and hosts in a policy.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{CHAT, ask};
use crate::gateway::{Gateway, Home};
use crate::patience::within;
use crate::routes::Routes;

/// Sends bytes, says that no more will come, and returns all that is answered.
async fn answers(gateway: &Gateway, bytes: &str) -> String {
    let mut tcp = TcpStream::connect(gateway.address()).await.unwrap();
    // Who is shown out may find it closed.
    let _ = tcp.write_all(bytes.as_bytes()).await;
    let _ = tcp.shutdown().await;
    let mut answer = Vec::new();
    let _ = within("the end of a connection", tcp.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn count(answer: &str) -> usize {
    answer.matches("HTTP/1.1 ").count() + answer.matches("HTTP/1.0 ").count()
}

// Replay 13, 14
#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_answered_once_and_as_wrong() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let mut wrong = Vec::new();
    let hidden = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let length = hidden.len();
    for (version, headers, body) in [
        // Whose body is the second request?
        (
            "1.1",
            format!("content-length: {length}\r\ntransfer-encoding: chunked"),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "1.1",
            format!("transfer-encoding: chunked\r\ncontent-length: {length}"),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("1.1", format!("content-length: 0\r\ncontent-length: {length}"), hidden.to_owned()),
        ("1.1", "transfer-encoding: chunked, identity".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("1.1", "transfer-encoding: xchunked".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("1.1", "content-length: +0".to_owned(), hidden.to_owned()),
        ("1.1", "content-length: 0x0".to_owned(), hidden.to_owned()),
        ("1.1", "content-length : 0".to_owned(), hidden.to_owned()),
        ("1.1", "x-a: b\r\n content-length: 0".to_owned(), hidden.to_owned()),
        ("1.0", "transfer-encoding: chunked".to_owned(), format!("0\r\n\r\n{hidden}")),
    ] {
        let request = format!("POST {CHAT} HTTP/{version}\r\nhost: localhost\r\n{headers}\r\n\r\n{body}");
        let answer = answers(&gateway, &request).await;
        if count(&answer) > 1 || answer.contains(" 200 ") {
            wrong.push(format!("{version} {headers:?}:\n{answer}"));
        }
    }
    assert!(wrong.is_empty(), "answered twice, or as if it were right: {}", wrong.concat());
    // Something else than HTTP/1 is not begun by a header.
    let upgrade = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n{hidden}"
    );
    let answer = answers(&gateway, &upgrade).await;
    assert!(!answer.contains(" 101 "), "{answer}");
    assert!(
        (1..=2).contains(&count(&answer)),
        "an answer to the first, and to the second at most:\n{answer}"
    );
}

// Replay 15
#[tokio::test]
async fn a_body_that_nobody_reads_is_no_next_request() {
    let home = Home::new(&Routes::demo().defaults("limits: { max_body: 64KiB }"));
    let gateway = home.serve().await;
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(4096);
    for (path, status) in [("/nowhere", " 404 "), (CHAT, " 413 "), ("/w/other/v1/chat/completions", " 403 ")]
    {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        );
        let answer = answers(&gateway, &request).await;
        // Who still writes when the connection is closed may not see why.
        assert!(count(&answer) <= 1, "{path}:\n{answer}");
        assert!(answer.is_empty() || answer.contains(status), "{path}:\n{answer}");
    }
    assert_eq!(gateway.client().chat(&ask("hello")).await.status, 200);
}

// E4, E20, replay 2, 22, 32
#[tokio::test]
async fn a_base_url_says_one_thing_or_the_policy_does_not_load() {
    let mut loaded = Vec::new();
    for base_url in [
        "http://api.test/v1",
        "HTTP://api.test/v1",
        "ftp://api.test/v1",
        "FILE:///etc/passwd",
        "https://user@api.test/v1",
        "https://user:hunter2@api.test/v1",
        "https://api.test@evil.test/v1",
        "https://[api.test]/v1",
        "https://api..test/v1",
        "https://api.test../v1",
        "https://-api.test/v1",
        "https://ex_ample.test/v1",
        "https://api.test:0/v1",
        "https://api.test:99999/v1",
        "https://api.test/v1?to=evil.test",
        "https://api.test/v1#evil.test",
        "https://xn--api-.test/v1",
        "https://127.1/v1",
        "https://0x7f.1/v1",
        "https://2130706433/v1",
        "https://[::ffff:10.0.0.1]/v1",
        "https:///v1",
        "",
    ] {
        let routes = Routes::default().provider("api", base_url, "locality: hosted, region: us").workflow(
            "api",
            "{ mode: hosted, providers: [api] }",
            "api",
        );
        let home = Home::new(&routes);
        let output = home.run(&["check"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("hunter2"), "{said}");
        if output.status.code() != Some(1) {
            loaded.push(base_url);
        }
    }
    assert_eq!(loaded, Vec::<&str>::new());
}
