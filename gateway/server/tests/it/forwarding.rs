//! Calls that go on to a provider: what passes, in both directions, and when.

use std::iter::zip;

use serde_json::{Value, json};

use crate::client::{Said, ask, data, streamed, with};
use crate::gateway::Home;
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, FIRST, SECOND, USAGE, Upstream};

/// An event as a reader gets it: without its empty line.
fn bare(event: &str) -> &str {
    event.trim_end_matches('\n')
}

#[tokio::test]
async fn events_arrive_while_the_provider_holds_the_stream_open() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let (mut stream, mut call) = upstream.stream_to(&gateway).await;
    assert_eq!(stream.event().await.unwrap(), bare(FIRST));
    // Each is read before the provider writes the next.
    for event in [SECOND, USAGE, ": still here\n\n", DONE] {
        call.send(event).await;
        assert_eq!(stream.event().await.unwrap(), bare(event));
    }
    // The end of the stream is its `[DONE]`; whether the provider then hangs up does not matter.
    assert_eq!(stream.event().await, None);
    assert_eq!(home.result().await["result"]["outcome"], "completed");
    drop(call);
}

#[tokio::test]
async fn an_event_in_pieces_arrives_whole() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let whole = [FIRST, SECOND, USAGE, DONE].concat();
    let request = streamed(ask("hello"));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let mut call = upstream.call().await;
        call.begin().await;
        for piece in whole.as_bytes().chunks(7) {
            call.send(std::str::from_utf8(piece).unwrap()).await;
        }
        call.end().await;
    });
    assert_eq!(reply.text(), whole);
}

#[tokio::test]
async fn bytes_that_nobody_here_knows_survive_both_ways() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::open(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = r#"{ "stream":false,"model" : "up","messages":[{"role":"user","content":"h\u0069","x-new":{"b":2.50,"a":1e3}}],
        "zeta": {"z": 1, "a": "é\u00e9" , "deep":[[[{}]]]}, "temperature":0.10,"alpha":123456789012345678901234567890 }"#;
    let document = r#"{ "id":"c1","novel" : {"z":[1.50,1e2],"a":null}, "choices":[{"index":0,"message":{"role":"assistant","content":"\u0061","extra":[]},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"beyond":1.0},"é":1 }"#;
    let (reply, ()) = tokio::join!(gateway.client().post(request), async {
        let call = upstream.call().await;
        assert_eq!(call.body, request.replacen("\"up\"", "\"upstream-up\"", 1));
        assert!(call.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", call.head);
        call.answer(document).await;
    });
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text(), document);

    let request = request.replacen("false", "true,\"stream_options\":{\"include_usage\":true,\"q\":1.0}", 1);
    let stream = [
        ": a comment\n\n",
        "id: 7\r\nevent: novel\r\ndata: {\"choices\":[],  \"x\":1.50}\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u0061\",\"y\":{\"z\":1e2}}}]}\n\n",
        "data:{\"split\":\ndata: true}\n\n",
        "data: [DONE]\n\n",
    ];
    let (reply, ()) = tokio::join!(gateway.client().post(request.clone()), async {
        let call = upstream.call().await;
        assert_eq!(call.body, request.replacen("\"up\"", "\"upstream-up\"", 1));
        call.stream(&stream).await;
    });
    assert_eq!(reply.text(), stream.concat());
}

#[tokio::test]
async fn usage_that_the_client_did_not_ask_for_is_recorded_and_hidden() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = with(ask("hello"), json!({ "stream": true }));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let call = upstream.call().await;
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        let expected = with(streamed(ask("hello")), json!({ "model": "upstream-up" }));
        assert_eq!(asked, expected, "usage is asked for, and nothing else is added");
        call.stream(&[FIRST, SECOND, USAGE, DONE]).await;
    });
    assert_eq!(reply.text(), [FIRST, SECOND, DONE].concat());
    let result = home.result().await;
    assert_eq!(result["result"]["tokens"], json!({ "in": 7, "out": 2 }));
    assert_eq!(result["result"]["finish"], "stop");
    assert_eq!(gateway.metric("portcullis_tokens_total", "kind=\"prompt\"").await, 7);
}

#[tokio::test]
async fn usage_that_the_client_asked_for_arrives() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = streamed(ask("hello"));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        upstream.call().await.stream(&[FIRST, SECOND, USAGE, DONE]).await;
    });
    let said = Said::in_events(&reply.events());
    assert_eq!(said.text, "from afar");
    assert_eq!(said.usage.unwrap()["total_tokens"], 9);
    assert_eq!(reply.text(), [FIRST, SECOND, USAGE, DONE].concat());
}

#[tokio::test]
async fn the_callers_credentials_stay_and_the_providers_go() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), "auth: { bearer_file: secret }"));
    home.write("secret", "first-secret\n");
    let gateway = home.serve().await;
    let client = [
        ("authorization", "Bearer sk-of-the-caller"),
        ("cookie", "session=of-the-caller"),
        ("x-api-key", "sk-of-the-caller"),
        ("x-client-ip", "10.0.0.1"),
        ("openai-organization", "of-the-caller"),
        ("user-agent", "of-the-caller"),
    ]
    .into_iter()
    .fold(gateway.client().clone(), |client, (name, value)| client.with_header(name, value));
    // A provider's new key is used as soon as it is in the file.
    for secret in ["first-secret", "second, longer secret"] {
        home.write("secret", secret);
        let request = ask("hello");
        let (reply, ()) = tokio::join!(client.chat(&request), async {
            let call = upstream.call().await;
            assert_eq!(call.header("authorization"), Some(format!("Bearer {secret}").as_str()));
            assert!(!call.head.contains("of-the-caller"), "{}", call.head);
            assert!(!call.head.contains("10.0.0.1"), "{}", call.head);
            call.answer(DOCUMENT).await;
        });
        assert_eq!(reply.status, 200);
    }
    let log = gateway.stop().await;
    assert!(!log.contains("secret"), "{log}");
    assert!(!log.contains("of-the-caller"), "{log}");
}

#[tokio::test]
async fn only_harmless_headers_of_the_provider_come_back() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let headers = "content-type: application/json\r\nx-request-id: of-the-provider\r\n\
                       x-ratelimit-remaining-tokens: 5\r\nset-cookie: a=b\r\nserver: nginx\r\n";
        upstream.call().await.answer_with("200 OK", headers, DOCUMENT).await;
    });
    assert_eq!(reply.header("x-ratelimit-remaining-tokens"), Some("5"));
    assert_eq!(reply.header("x-portcullis-upstream-request-id"), Some("of-the-provider"));
    assert!(reply.header("x-request-id").is_some_and(|id| id != "of-the-provider"));
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(reply.header("server"), None);
}

#[tokio::test]
async fn a_provider_that_does_not_stream_is_passed_on_as_a_document() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = streamed(ask("hello"));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        upstream.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.text(), DOCUMENT);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_ends_the_providers_work() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    for request in [ask("hello"), streamed(ask("hello"))] {
        let connection = gateway.client().post_and_hold(&request).await;
        let call = upstream.call().await;
        drop(connection);
        call.closed().await;
    }
    gateway.stop().await;
    let results = home.records_of("llm.result");
    assert_eq!(results.len(), 2);
    for (intent, result) in zip(home.records_of("llm.intent"), results) {
        assert_eq!(result["intent"], intent["id"]);
        assert_eq!(result["result"]["outcome"], "aborted");
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_the_providers_work() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let (mut stream, call) = upstream.stream_to(&gateway).await;
    assert_eq!(data(&stream.event().await.unwrap())["choices"][0]["delta"]["content"], "from");
    drop(stream);
    call.closed().await;
    assert_eq!(home.result().await["result"]["outcome"], "aborted");
    assert_eq!(gateway.metric("portcullis_in_flight_requests", "").await, 0);
}

#[tokio::test]
async fn a_client_that_leaves_a_document_ends_the_providers_work() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let connection = gateway.client().post_and_hold(&ask("hello")).await;
    let mut call = upstream.call().await;
    call.begin_with("application/json").await;
    call.send("{\"id\":").await;
    drop(connection);
    call.closed().await;
    assert_eq!(home.result().await["result"]["outcome"], "aborted");
}
