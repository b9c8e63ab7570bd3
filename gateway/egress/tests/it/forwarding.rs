//! What goes out, what comes back, and when.

use bytes::Bytes;
use egress::{BodyError, Fault, Outbound, Retry, path_segment};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::gate::{Gate, Options, Rules, chain, collect, options, outbound, sent};
use crate::upstream::Upstream;

fn rules(upstream: &Upstream, more: &str) -> Rules {
    Rules::default().local(upstream.port(), more).workflow("docs", "{ mode: sealed }", "up")
}

#[tokio::test]
async fn a_call_arrives_as_sent_and_its_answer_as_written() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let admitted = gate.admit("docs");
    let headers = [
        ("authorization", "Bearer pk_caller"),
        ("content-type", "application/json"),
        ("cookie", "a=b"),
        ("host", "elsewhere.test"),
        ("x-request-id", "r1"),
    ];
    let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let request = outbound(headers.into_iter().map(pair).collect(), "{\"model\": \"m\" }");
    let (reply, ()) = tokio::join!(sent(&gate.client, &admitted, request), async {
        let mut exchange = upstream.request().await;
        let port = upstream.port();
        assert!(exchange.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", exchange.head);
        assert_eq!(exchange.header("host"), Some(format!("up.test:{port}").as_str()));
        assert_eq!(exchange.header("x-request-id"), Some("r1"));
        assert_eq!(exchange.header("authorization"), None);
        assert_eq!(exchange.header("cookie"), None);
        assert_eq!(exchange.body, b"{\"model\": \"m\" }");
        exchange.write("HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nset-cookie: a=b\r\n").await;
        exchange.write("content-length: 4\r\n\r\n\x01\x02\r\n").await;
    });
    let reply = reply.unwrap();
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    let kept: HeaderMap = [pair(("retry-after", "7"))].into_iter().collect();
    assert_eq!(reply.headers, kept);
    assert_eq!(collect(reply).await.unwrap(), Bytes::from_static(b"\x01\x02\r\n"));
}

#[tokio::test]
async fn each_piece_is_handed_on_before_the_next_is_written() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let (reply, mut exchange) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.begin().await;
        exchange
    });
    let mut body = reply.unwrap().body;
    for piece in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        exchange.chunk(piece).await;
        assert_eq!(body.next().await.unwrap().unwrap(), piece);
    }
    exchange.write("0\r\n\r\n").await;
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn dropping_the_body_closes_the_connection() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let (reply, exchange) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.begin().await;
        exchange.chunk("data: 1\n\n").await;
        exchange
    });
    drop(reply.unwrap());
    exchange.closed().await;
}

#[tokio::test]
async fn dropping_a_body_that_is_not_streamed_closes_the_connection() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let (reply, exchange) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange
            .write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"a\"")
            .await;
        exchange
    });
    let mut body = reply.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "{\"a\"");
    drop(body);
    exchange.closed().await;
}

#[tokio::test]
async fn a_path_arrives_with_its_query_and_its_escapes_as_written() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let admitted = gate.admit("docs");
    let model = path_segment("eu.anthropic.claude-v1:0");
    for path in [
        "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21".to_owned(),
        format!("/model/{model}/converse-stream"),
        "/publishers/google/models/gemini:streamGenerateContent?alt=sse".to_owned(),
    ] {
        let expected = format!("POST /v1{path} HTTP/1.1\r\n");
        let request = Outbound { path, ..outbound(HeaderMap::new(), "{}") };
        let sent = sent(&gate.client, &admitted, request);
        let (reply, ()) = tokio::join!(sent, async {
            let mut exchange = upstream.request().await;
            assert!(exchange.head.starts_with(&expected), "{}", exchange.head);
            exchange.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        });
        assert_eq!(collect(reply.unwrap()).await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_path_that_could_lead_elsewhere_sends_nothing() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, "auth: { bearer_file: /nonexistent/key }"));
    let admitted = gate.admit("docs");
    let odd_model = format!("/model/{}/converse", path_segment(".."));
    for path in ["//evil.test/v1", "@evil.test", "/../admin", "/a/%2e%2e/b", "/a b", "/a#b", "", &odd_model] {
        let request = Outbound { path: path.to_owned(), ..outbound(HeaderMap::new(), "{}") };
        let error = sent(&gate.client, &admitted, request).await.unwrap_err();
        // The credential, which is not there, was not even looked for.
        assert_eq!((error.code(), error.fault()), ("egress.path", Fault::Policy), "{path:?}");
        assert_eq!(error.retry(), Retry::Safe);
        assert!(!chain(&error).contains("evil"), "{}", chain(&error));
    }
    assert_eq!(gate.names.lookups(), 0);
    assert_eq!(upstream.connection_count().await, 0);
}

#[tokio::test]
async fn giving_up_before_the_head_closes_the_connection() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let exchange = tokio::select! {
        exchange = upstream.request() => exchange,
        reply = gate.send("docs") => panic!("nobody answered, yet there is {reply:?}"),
    };
    exchange.closed().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_a_finished_one() {
    for whole in ["content-length: 9\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut upstream = Upstream::start().await;
        let gate = Gate::new(&rules(&upstream, ""));
        let (reply, ()) = tokio::join!(gate.send("docs"), async {
            let mut exchange = upstream.request().await;
            exchange.write(&format!("HTTP/1.1 200 OK\r\n{whole}")).await;
        });
        let error = collect(reply.unwrap()).await.unwrap_err();
        assert!(matches!(error, BodyError::Cut(_)), "{whole:?} gave {error:?}");
        assert_eq!(error.code(), "egress.cut");
    }
}

#[tokio::test]
async fn connections_are_reused_but_never_between_a_sealed_workflow_and_another() {
    let mut upstream = Upstream::start().await;
    let rules = rules(&upstream, "").workflow("open", "{ mode: hosted, providers: [up] }", "up");
    let gate = Gate::new(&rules);
    let (reply, mut sealed) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.answer("1").await;
        exchange
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "1");
    let (reply, ()) = tokio::join!(gate.send("docs"), async {
        sealed.read_request().await;
        sealed.answer("2").await;
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "2");
    let (reply, _open) = tokio::join!(gate.send("open"), async {
        let mut exchange = upstream.request().await;
        exchange.answer("3").await;
        exchange
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "3");
    assert_eq!(upstream.connection_count().await, 2);
    assert_eq!(gate.client.stats().dials_allowed, 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_upstream_has_closed_is_replaced() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    for _ in 0..3 {
        // The exchange, and with it the upstream's end of the connection, is gone before the next call.
        let (reply, ()) =
            tokio::join!(gate.send("docs"), async { upstream.request().await.answer("ok").await });
        assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");
    }
    assert_eq!(upstream.connection_count().await, 3);
}

#[tokio::test]
async fn redirects_are_refused_and_not_followed() {
    let mut elsewhere = Upstream::start().await;
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let mut upstream = Upstream::start().await;
        let gate = Gate::new(&rules(&upstream, ""));
        let (reply, ()) = tokio::join!(gate.send("docs"), async {
            let mut exchange = upstream.request().await;
            let location = elsewhere.address();
            let head =
                format!("HTTP/1.1 {status} Go\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n");
            exchange.write(&head).await;
        });
        let error = reply.unwrap_err();
        assert_eq!((error.code(), error.retry()), ("egress.redirect", Retry::Unsafe));
        assert_eq!(upstream.connection_count().await, 1);
    }
    assert_eq!(elsewhere.connection_count().await, 0);
}

#[tokio::test]
async fn answers_that_break_the_protocol_are_refused() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "",
    ] {
        let mut upstream = Upstream::start().await;
        let gate = Gate::new(&rules(&upstream, ""));
        let (reply, ()) = tokio::join!(gate.send("docs"), async {
            let mut exchange = upstream.request().await;
            exchange.write(answer).await;
        });
        let error = reply.map(|_| answer).unwrap_err();
        assert_eq!((error.code(), error.retry()), ("egress.protocol", Retry::Unsafe), "{answer:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let (reply, ()) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.write(&format!("HTTP/1.1 200 OK\r\nx-filler: {}", "a".repeat(100 * 1024))).await;
    });
    assert_eq!(reply.unwrap_err().code(), "egress.protocol");
}

#[tokio::test]
async fn the_providers_credential_replaces_the_callers_and_is_read_at_each_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut upstream = Upstream::start().await;
    let rules = rules(&upstream, "auth: { bearer_file: key }");
    let gate = Gate::with(&rules, &Options { secrets_base: folder.path().to_owned(), ..options() });
    gate.names.answer("up.test", &["127.0.0.1"]);
    let admitted = gate.admit("docs");
    for key in ["canary-1", "canary-2"] {
        std::fs::write(folder.path().join("key"), format!("{key}\n")).unwrap();
        let caller: HeaderMap = [(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer pk_caller"))]
            .into_iter()
            .collect();
        let sent = sent(&gate.client, &admitted, outbound(caller, "{}"));
        let (reply, ()) = tokio::join!(sent, async {
            let mut exchange = upstream.request().await;
            assert_eq!(exchange.header("authorization"), Some(format!("Bearer {key}").as_str()));
            exchange.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        });
        assert_eq!(collect(reply.unwrap()).await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_missing_credential_stops_the_call_before_any_connection() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, "auth: { header_file: { x-api-key: /nonexistent/key } }"));
    let error = gate.send("docs").await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("egress.secret", Retry::Safe));
    assert!(chain(&error).contains("/nonexistent/key"), "{}", chain(&error));
    assert_eq!(upstream.connection_count().await, 0);
}
