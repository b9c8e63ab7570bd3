//! What each kind of provider gets: path, query and headers; and that its answers are understood.

use serde_json::{Value, json};
use wire::eventstream::encode_event;

use crate::agents::{MESSAGE, MESSAGE_EVENTS, MESSAGES, RESPONSE, RESPONSES, events, message, response};
use crate::client::{CHAT, Reply, Said, ask, streamed, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::{Call, DOCUMENT, DONE, FIRST, SECOND, USAGE, Upstream};

/// A provider of `kind` whose base URL goes on with `below`, and that knows its one model as `model`.
async fn serve(kind: &str, below: &str, model: &str) -> (Upstream, Home, Gateway) {
    let upstream = Upstream::start().await;
    let routes = Routes::default().of_kind("up", kind, (upstream.port(), below), model);
    let home = Home::new(&routes.workflow("docs", "{ mode: hosted, providers: [up] }", "up"));
    let gateway = home.serve().await;
    (upstream, home, gateway)
}

async fn post(gateway: &Gateway, path: &str, request: &Value) -> Reply {
    gateway.client().request("POST", path, request.to_string()).await
}

fn check_path(call: &Call, path: &str) {
    let line = call.head.lines().next().unwrap();
    assert_eq!(line, format!("POST {path} HTTP/1.1"));
}

const DONE_GEMINI: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"from afar"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":2,"totalTokenCount":9},"modelVersion":"m","responseId":"r1"}"#;
const CONVERSED: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"from afar"}]}},"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9},"metrics":{"latencyMs":5}}"#;

fn conversed_events() -> Vec<u8> {
    [
        ("messageStart", r#"{"role":"assistant"}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"from"}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":" afar"}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("messageStop", r#"{"stopReason":"end_turn"}"#),
        (
            "metadata",
            r#"{"usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9},"metrics":{"latencyMs":5}}"#,
        ),
    ]
    .iter()
    .flat_map(|(name, data)| encode_event(name, data).to_vec())
    .collect()
}

fn check_said(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let said = Said::of(reply);
    assert_eq!((said.text.as_str(), said.finish.as_str()), ("from afar", "stop"));
    assert_eq!(said.usage.unwrap()["total_tokens"], 9);
}

#[tokio::test]
async fn azure_is_asked_at_its_newer_path() {
    let (mut upstream, _home, gateway) = serve("azure_openai", "", "my deployment").await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
        let call = upstream.call().await;
        check_path(&call, "/openai/v1/chat/completions");
        assert!(call.body.contains("\"my deployment\""), "{}", call.body);
        call.answer(DOCUMENT).await;
    });
    assert_eq!(reply.text(), DOCUMENT);
    let request = response("hello");
    let (reply, ()) = tokio::join!(post(&gateway, RESPONSES, &request), async {
        let call = upstream.call().await;
        check_path(&call, "/openai/v1/responses");
        call.answer(RESPONSE).await;
    });
    assert_eq!(reply.text(), RESPONSE);
}

#[tokio::test]
async fn azure_is_asked_at_the_path_of_a_deployment() {
    let kind = "azure_openai, api_version: 2025-04-01-preview";
    let (mut upstream, _home, gateway) = serve(kind, "", "my deployment").await;
    let version = "?api-version=2025-04-01-preview";
    for (path, request, expected) in [
        (CHAT, ask("hello"), format!("/openai/deployments/my%20deployment/chat/completions{version}")),
        (RESPONSES, response("hello"), format!("/openai/responses{version}")),
        (
            "/v1/embeddings",
            json!({ "model": "up", "input": "hello" }),
            format!("/openai/deployments/my%20deployment/embeddings{version}"),
        ),
    ] {
        let (reply, ()) = tokio::join!(post(&gateway, path, &request), async {
            let call = upstream.call().await;
            check_path(&call, &expected);
            call.answer(if path == RESPONSES { RESPONSE } else { DOCUMENT }).await;
        });
        assert!(reply.status == 200 || path == "/v1/embeddings", "{}", reply.text());
    }
}

#[tokio::test]
async fn bedrock_is_asked_at_an_escaped_path_and_its_binary_stream_is_read() {
    let model = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.anthropic.claude";
    let (mut upstream, home, gateway) = serve("bedrock", "", model).await;
    let path = "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Feu.anthropic.claude";
    let request = ask("hello");
    let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
        let call = upstream.call().await;
        check_path(&call, &format!("{path}/converse"));
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(asked["messages"], json!([{ "role": "user", "content": [{ "text": "hello" }] }]));
        assert_eq!(asked["inferenceConfig"]["maxTokens"], 40);
        call.answer(CONVERSED).await;
    });
    check_said(&reply);
    let request = streamed(ask("hello"));
    let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
        let mut call = upstream.call().await;
        check_path(&call, &format!("{path}/converse-stream"));
        call.begin_with("application/vnd.amazon.eventstream").await;
        for piece in conversed_events().chunks(11) {
            call.send_bytes(piece).await;
        }
        call.end().await;
    });
    check_said(&reply);
    for result in home.records_of("llm.result") {
        assert_eq!(result["result"]["tokens"], json!({ "in": 7, "out": 2 }));
    }
}

// Complaint 14.
#[tokio::test]
async fn a_binary_stream_that_is_cut_or_damaged_has_failed() {
    let mut damaged = conversed_events();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let whole = conversed_events();
    for bytes in [&whole[..middle], &damaged] {
        let (mut upstream, home, gateway) = serve("bedrock", "", "m").await;
        let request = streamed(ask("hello"));
        let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
            let mut call = upstream.call().await;
            call.begin_with("application/vnd.amazon.eventstream").await;
            call.send_bytes(bytes).await;
            call.end().await;
        });
        assert!(!reply.text().contains("[DONE]"), "{}", reply.text());
        assert!(reply.text().contains("\"error\""), "{}", reply.text());
        assert_eq!(home.result().await["result"]["outcome"], "failed");
    }
}

// Complaint 11.
#[tokio::test]
async fn an_error_of_bedrock_keeps_its_status() {
    let (mut upstream, _home, gateway) = serve("bedrock", "", "m").await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
        let headers = "x-amzn-errortype: ThrottlingException\r\nx-amzn-requestid: aws-1\r\n";
        let body = r#"{"message":"Too many requests"}"#;
        upstream.call().await.answer_with("429 Too Many Requests", headers, body).await;
    });
    assert_eq!(reply.status, 429);
    assert_eq!(reply.error()["message"], "Too many requests");
    assert_eq!(reply.header("x-portcullis-upstream-request-id"), Some("aws-1"));
    assert_eq!(reply.header("x-amzn-errortype"), None);
}

#[tokio::test]
async fn googles_models_are_asked_at_both_places() {
    let vertex = "/v1/projects/p/locations/l";
    for (kind, below, path) in [
        ("vertex", vertex, "/v1/projects/p/locations/l/publishers/google/models/gemini-3-flash"),
        ("gemini", "/v1beta", "/v1beta/models/gemini-3-flash"),
    ] {
        let (mut upstream, _home, gateway) = serve(kind, below, "gemini-3-flash").await;
        let request = ask("hello");
        let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
            let call = upstream.call().await;
            check_path(&call, &format!("{path}:generateContent"));
            let asked: Value = serde_json::from_str(&call.body).unwrap();
            assert_eq!(asked["contents"][0]["parts"][0]["text"], "hello");
            call.answer(DONE_GEMINI).await;
        });
        check_said(&reply);
        let request = streamed(ask("hello"));
        let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
            let call = upstream.call().await;
            check_path(&call, &format!("{path}:streamGenerateContent?alt=sse"));
            call.stream(&[&format!("data: {DONE_GEMINI}\r\n\r\n")]).await;
        });
        check_said(&reply);
    }
}

// Rule 23, complaint 22.
#[tokio::test]
async fn claude_on_vertex_is_asked_in_its_own_format() {
    let below = "/v1/projects/p/locations/l";
    let (mut upstream, _home, gateway) = serve("vertex", below, "anthropic/claude-opus@1").await;
    let path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus%401";
    let request = message("hello");
    let (reply, ()) = tokio::join!(post(&gateway, MESSAGES, &request), async {
        let call = upstream.call().await;
        check_path(&call, &format!("{path}:rawPredict"));
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        assert!(asked.get("model").is_none(), "{asked}");
        assert_eq!(asked["anthropic_version"], "vertex-2023-10-16");
        assert_eq!(call.header("anthropic-version"), None);
        call.answer(MESSAGE).await;
    });
    assert_eq!(reply.json()["content"][0]["text"], "from afar");
    let request = with(message("hello"), json!({ "stream": true }));
    let (reply, ()) = tokio::join!(post(&gateway, MESSAGES, &request), async {
        let call = upstream.call().await;
        check_path(&call, &format!("{path}:streamRawPredict"));
        call.stream(&MESSAGE_EVENTS).await;
    });
    assert_eq!(events(&reply).last().unwrap()["type"], "message_stop");
}

// Rule 23, rule 25, complaint 22, complaint 23.
#[tokio::test]
async fn anthropic_gets_its_own_headers_byte_for_byte_and_no_credential_of_the_caller() {
    let (mut upstream, _home, gateway) = serve("anthropic", "", "claude").await;
    let client = gateway.client();
    let client = client.with_header("anthropic-version", "2024-10-22");
    let client = client.with_header("anthropic-beta", "context-1m-2025-08-07,  novel-thing");
    let client = client.with_header("anthropic-beta", "second");
    let client =
        client.with_header("cookie", "of-the-caller").with_header("x-stainless-lang", "of-the-caller");
    let request = r#"{ "model" : "auto","max_tokens":40,"messages":[{"role":"user","content":"h\u0069"}],"x-new":{"b":2.50} }"#;
    let (reply, ()) = tokio::join!(client.request("POST", "/v1/messages?beta=true", request), async {
        let call = upstream.call().await;
        check_path(&call, "/v1/messages?beta=true");
        assert_eq!(call.body, request.replacen("\"auto\"", "\"claude\"", 1));
        assert_eq!(call.header("anthropic-version"), Some("2024-10-22"));
        let betas: Vec<&str> =
            call.head.lines().filter_map(|line| line.strip_prefix("anthropic-beta: ")).collect();
        assert_eq!(betas, ["context-1m-2025-08-07,  novel-thing", "second"]);
        assert!(!call.head.contains("of-the-caller"), "{}", call.head);
        assert_eq!(call.header("authorization"), None);
        assert_eq!(call.header("x-api-key"), None);
        call.answer(MESSAGE).await;
    });
    assert_eq!(reply.text(), MESSAGE);
    // No other query is passed on.
    let (_, ()) = tokio::join!(client.request("POST", "/v1/messages?beta=true&x=1", request), async {
        let call = upstream.call().await;
        check_path(&call, "/v1/messages");
        call.answer(MESSAGE).await;
    });
    let stream = MESSAGE_EVENTS.concat();
    let request = with(message("hello"), json!({ "stream": true }));
    let (reply, ()) = tokio::join!(post(&gateway, MESSAGES, &request), async {
        upstream.call().await.stream(&MESSAGE_EVENTS).await;
    });
    assert_eq!(reply.text(), stream);
}

// Rule 25.
#[tokio::test]
async fn what_a_provider_cannot_be_told_is_named_to_the_client_and_in_the_record() {
    let (mut upstream, home, gateway) = serve("anthropic", "", "claude").await;
    let mut asked = with(ask("hello"), json!({ "seed": 7 }));
    asked.as_object_mut().unwrap().remove("temperature");
    for (request, answer) in [(asked.clone(), None), (streamed(asked), Some(&MESSAGE_EVENTS))] {
        let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
            let call = upstream.call().await;
            assert!(!call.body.contains("seed"), "{}", call.body);
            match answer {
                Some(events) => call.stream(events).await,
                None => call.answer(MESSAGE).await,
            }
        });
        check_said(&reply);
        assert_eq!(reply.header("x-portcullis-dropped"), Some("seed"));
    }
    let results = home.records_of("llm.result");
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|result| result["route"]["dropped"] == json!(["seed"])), "{results:#?}");
}

// Rule 25.
#[tokio::test]
async fn a_field_that_must_survive_takes_the_call_to_a_provider_that_knows_it() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let routes = Routes::default().of_kind("one", "anthropic", (first.port(), ""), "claude");
    let routes = routes.local("two", second.port(), "").workflow("docs", "{ mode: sealed }", "one, two");
    let home = Home::new(&routes.and("must_survive: [seed]"));
    let gateway = home.serve().await;
    let request = with(streamed(ask("hello")), json!({ "seed": 7 }));
    let (reply, ()) = tokio::join!(post(&gateway, CHAT, &request), async {
        let call = second.call().await;
        assert!(call.body.contains("\"seed\":7"), "{}", call.body);
        call.stream(&[FIRST, SECOND, USAGE, DONE]).await;
    });
    check_said(&reply);
    assert_eq!(reply.header("x-portcullis-dropped"), None);
    assert_eq!(first.dials().await, 0);
    assert_eq!(home.result().await["route"]["attempt"], 2);
}

// Rule 25.
#[tokio::test]
async fn a_field_that_must_survive_and_cannot_is_named() {
    let mut upstream = Upstream::start().await;
    let routes = Routes::default().of_kind("up", "anthropic", (upstream.port(), ""), "claude");
    let home = Home::new(&routes.workflow("docs", "{ mode: sealed }", "up").and("must_survive: [seed]"));
    let gateway = home.serve().await;
    let reply = post(&gateway, CHAT, &with(ask("hello"), json!({ "seed": 7 }))).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(reply.error()["code"], "field_would_be_lost");
    assert_eq!(reply.error()["param"], "seed");
    assert_eq!(upstream.dials().await, 0);
}
