//! Clients of Responses, such as Codex: before other APIs, before a model in the process, and before their own API.

use serde_json::{Value, json};

use crate::agents::{
    CREATED, FAILED, MESSAGE, MESSAGE_EVENTS, OUTPUT, RESPONSE, RESPONSES, completed, events, named, order,
    response,
};
use crate::client::{Reply, checked_error, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, FIRST, SECOND, USAGE, Upstream};

const ORDER: [&str; 9] = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
];

async fn post(gateway: &Gateway, request: &Value) -> Reply {
    gateway.client().request("POST", RESPONSES, request.to_string()).await
}

fn streaming(text: &str) -> Value {
    with(response(text), json!({ "stream": true }))
}

/// A gateway whose workflow asks providers of `OpenAI`'s own API, one after the other.
async fn serve(ports: &[u16]) -> (Home, Gateway) {
    let mut routes = Routes::default();
    let names: Vec<String> = (0..ports.len()).map(|i| format!("hop{i}")).collect();
    for (name, port) in names.iter().zip(ports) {
        routes = routes.local(name, *port, "server: openai");
    }
    let names = names.join(", ");
    let home =
        Home::new(&routes.workflow("docs", &format!("{{ mode: hosted, providers: [{names}] }}"), &names));
    let gateway = home.serve().await;
    (home, gateway)
}

/// The stream is whole: in order, numbered without a gap, and complete in what clients index.
fn check_whole(events: &[Value], text: &str) {
    assert_eq!(order(events), ORDER);
    let numbers = events.iter().map(|event| event["sequence_number"].as_u64().unwrap());
    assert!(numbers.eq(0..events.len() as u64), "{events:#?}");
    let deltas: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(deltas, text);
    let done = events.iter().find(|event| event["type"] == "response.output_item.done").unwrap();
    assert_eq!(done["item"]["content"][0]["text"], text);
    let response = &events.last().unwrap()["response"];
    check_usage(&response["usage"]);
    assert_eq!(response["id"], events[0]["response"]["id"]);
}

fn check_usage(usage: &Value) {
    let counted = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("{name}: {usage}"));
    assert_eq!(counted("input_tokens") + counted("output_tokens"), counted("total_tokens"));
    assert!(usage["input_tokens_details"]["cached_tokens"].is_u64(), "{usage}");
    assert!(usage["output_tokens_details"]["reasoning_tokens"].is_u64(), "{usage}");
}

fn output_text(response: &Value) -> &str {
    let output = response["output"].as_array().unwrap();
    let message = output.iter().find(|item| item["type"] == "message").unwrap();
    message["content"][0]["text"].as_str().unwrap()
}

// Rule 13, rule 14.
#[tokio::test]
async fn a_stream_of_chat_chunks_becomes_responses_events_in_order() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        let call = upstream.call().await;
        assert!(call.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", call.head);
        call.stream(&[FIRST, SECOND, USAGE, DONE]).await;
    });
    let events = events(&reply);
    check_whole(&events, "from afar");
    assert_eq!(events.last().unwrap()["response"]["usage"]["total_tokens"], 9);
    assert!(!reply.text().contains("[DONE]"), "rule 3");

    let request = response("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        upstream.call().await.answer(DOCUMENT).await;
    });
    let said = reply.json();
    assert_eq!(said["object"], "response");
    assert_eq!(said["status"], "completed");
    assert_eq!(output_text(&said), "from afar");
    check_usage(&said["usage"]);
}

// Rule 13, rule 14.
#[tokio::test]
async fn a_stream_of_messages_becomes_responses_events_in_order() {
    let mut upstream = Upstream::start().await;
    let routes = Routes::default().of_kind("up", "anthropic", (upstream.port(), ""), "claude");
    let home = Home::new(&routes.workflow("docs", "{ mode: sealed }", "up"));
    let gateway = home.serve().await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        let call = upstream.call().await;
        assert!(call.head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{}", call.head);
        assert_eq!(call.header("anthropic-version"), Some("2023-06-01"));
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(asked["model"], "claude");
        assert_eq!(asked["max_tokens"], 40);
        call.stream(&MESSAGE_EVENTS).await;
    });
    check_whole(&events(&reply), "from afar");
    let request = response("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        upstream.call().await.answer(MESSAGE).await;
    });
    assert_eq!(output_text(&reply.json()), "from afar");
    assert_eq!(reply.json()["usage"]["total_tokens"], 9);
}

// Rule 13, rule 14.
#[tokio::test]
async fn the_model_in_the_process_answers_in_responses() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let whole = post(&gateway, &response("Say hello.")).await.json();
    check_usage(&whole["usage"]);
    assert!(whole["usage"]["input_tokens"].as_u64().unwrap() > 0);
    let events = events(&post(&gateway, &streaming("Say hello.")).await);
    let end = events.last().unwrap();
    assert_eq!(end["response"]["usage"], whole["usage"]);
    assert_eq!(output_text(&end["response"]), output_text(&whole));
    assert_eq!(end["response"]["status"], whole["status"]);
    let terminal = format!("response.{}", whole["status"].as_str().unwrap());
    assert_eq!(end["type"], terminal);
    // Rule 14: an answer that was cut off says so.
    let cut = post(&gateway, &with(streaming("Say hello."), json!({ "max_output_tokens": 16 }))).await;
    let end = named(&cut.events()).pop().unwrap();
    if end["response"]["usage"]["output_tokens"] == 16 {
        assert_eq!(end["type"], "response.incomplete");
        assert_eq!(end["response"]["incomplete_details"]["reason"], "max_output_tokens");
    }
}

// Rule 25.
#[tokio::test]
async fn bytes_pass_both_ways_where_the_provider_speaks_responses() {
    let mut upstream = Upstream::start().await;
    let (home, gateway) = serve(&[upstream.port()]).await;
    let [item, end] = completed();
    let stream = [
        CREATED,
        OUTPUT[0],
        OUTPUT[1],
        "event: response.novel\r\ndata: {\"type\":\"response.novel\",  \"x\":1.50}\r\n\r\n",
        OUTPUT[2],
        &item,
        &end,
    ];
    let request = r#"{ "stream":true,"model" : "auto","input":[{"role":"user","content":"h\u0069","x-new":{"b":2.50}}], "zeta": {"z": 1e3, "a": "é\u00e9"}, "store":false }"#;
    let (reply, ()) = tokio::join!(gateway.client().request("POST", RESPONSES, request), async {
        let call = upstream.call().await;
        assert!(call.head.starts_with("POST /v1/responses HTTP/1.1\r\n"), "{}", call.head);
        assert_eq!(call.body, request.replacen("\"auto\"", "\"upstream-hop0\"", 1));
        call.stream(&stream).await;
    });
    assert_eq!(reply.text(), stream.concat());
    assert_eq!(home.result().await["result"]["tokens"]["in"], 7);
    let request = request.replacen("true", "false", 1);
    let document = RESPONSE.replacen('{', "{ \"novel\":[1.50],", 1);
    let (reply, ()) = tokio::join!(gateway.client().request("POST", RESPONSES, request.clone()), async {
        let call = upstream.call().await;
        assert_eq!(call.body, request.replacen("\"auto\"", "\"upstream-hop0\"", 1));
        call.answer(&document).await;
    });
    assert_eq!(reply.text(), document);
}

// Rule 4, complaint 12.
#[tokio::test]
async fn the_next_answers_when_the_first_only_says_that_it_began() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let (home, gateway) = serve(&[first.port(), second.port()]).await;
    let [item, end] = completed();
    let stream = [CREATED, OUTPUT[0], OUTPUT[1], OUTPUT[2], &item, &end];
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        first.call().await.stream(&[CREATED, FAILED]).await;
        second.call().await.stream(&stream).await;
    });
    assert_eq!(reply.text(), stream.concat(), "nothing of the first has reached the client");
    assert_eq!(home.result().await["route"]["attempt"], 2);
}

// Rule 4, complaint 11.
#[tokio::test]
async fn when_only_beginnings_come_the_client_hears_a_status() {
    let mut upstream = Upstream::start().await;
    let (home, gateway) = serve(&[upstream.port()]).await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        upstream.call().await.stream(&[CREATED, FAILED]).await;
    });
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(checked_error(&reply.json())["message"], "your quota is used up");
    assert_eq!(home.result().await["result"]["outcome"], "failed");
}

// Complaint 13.
#[tokio::test]
async fn nobody_stands_in_once_something_has_been_said() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let (home, gateway) = serve(&[first.port(), second.port()]).await;
    let stream = [CREATED, OUTPUT[0], OUTPUT[1], OUTPUT[2], FAILED];
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        first.call().await.stream(&stream).await;
    });
    assert_eq!(reply.text(), stream.concat());
    assert_eq!(second.dials().await, 0);
    assert_eq!(home.result().await["result"]["outcome"], "failed");
}

// Rule 5, complaint 14.
#[tokio::test]
async fn a_stream_that_stops_without_its_end_has_failed() {
    let mut upstream = Upstream::start().await;
    let (home, gateway) = serve(&[upstream.port()]).await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        upstream.call().await.stream(&[CREATED, OUTPUT[0], OUTPUT[1], OUTPUT[2]]).await;
    });
    let events = events(&reply);
    let (end, before) = events.split_last().unwrap();
    assert_eq!(before.len(), 4, "{events:#?}");
    assert_eq!(end["type"], "response.failed");
    assert_eq!(end["response"]["status"], "failed");
    assert!(end["response"]["error"]["code"].is_string(), "{end}");
    assert_eq!(home.result().await["result"]["outcome"], "failed");
}

// Rule 5, complaint 14.
#[tokio::test]
async fn a_translated_stream_that_stops_without_its_end_has_failed() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        upstream.call().await.stream(&[FIRST]).await;
    });
    let events = events(&reply);
    let end = events.last().unwrap();
    assert_eq!(end["type"], "response.failed");
    assert!(!order(&events).contains(&"response.completed"), "{events:#?}");
    let numbers = events.iter().map(|event| event["sequence_number"].as_u64().unwrap());
    assert!(numbers.eq(0..events.len() as u64), "{events:#?}");
}

// Rule 15, complaint 10.
#[tokio::test]
async fn a_rate_limit_arrives_as_the_status_that_it_is() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        let body = r#"{"error":{"message":"try again in 1.5s","code":"rate_limit_exceeded"}}"#;
        upstream.call().await.answer_with("429 Too Many Requests", "retry-after: 2\r\n", body).await;
    });
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("retry-after"), Some("2"));
    let error = reply.error();
    assert_eq!(error["message"], "try again in 1.5s");
    assert_eq!(error["code"], "rate_limit_exceeded");
}
