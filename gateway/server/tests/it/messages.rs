//! Clients of Messages, such as Claude Code, before a provider of chat completions, and before a model in the process.

use serde_json::{Value, json};

use crate::agents::{MESSAGES, events, message, message_error, named, order};
use crate::client::{Reply, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, FIRST, SECOND, USAGE, Upstream};

/// What a client insists on: each block between its start and its stop, and the end last.
const ORDER: [&str; 6] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
];

async fn serve() -> (Upstream, Home, Gateway) {
    let upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    (upstream, home, gateway)
}

async fn post(gateway: &Gateway, request: &Value) -> Reply {
    gateway.client().request("POST", MESSAGES, request.to_string()).await
}

fn streaming(text: &str) -> Value {
    with(message(text), json!({ "stream": true }))
}

fn text_of(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect()
}

// Rule 10, rule 12, complaint 3.
#[tokio::test]
async fn a_stream_of_chat_chunks_becomes_messages_events_in_order() {
    let (mut upstream, home, gateway) = serve().await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        let call = upstream.call().await;
        assert!(call.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", call.head);
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(asked["model"], "upstream-up");
        assert_eq!(asked["messages"], json!([{ "role": "user", "content": "hello" }]));
        assert_eq!(asked["stream_options"]["include_usage"], true);
        call.stream(&[FIRST, SECOND, USAGE, DONE]).await;
    });
    let events = events(&reply);
    assert_eq!(order(&events), ORDER);
    assert_eq!(text_of(&events), "from afar");
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["delta"], json!({ "stop_reason": "end_turn", "stop_sequence": null }));
    assert_eq!(end["usage"]["input_tokens"], 7);
    assert_eq!(end["usage"]["output_tokens"], 2);
    // Rule 3: this dialect has no `[DONE]`.
    assert!(!reply.text().contains("[DONE]"));
    assert_eq!(home.result().await["result"]["tokens"], json!({ "in": 7, "out": 2 }));
}

#[tokio::test]
async fn a_document_of_chat_becomes_a_message() {
    let (mut upstream, _home, gateway) = serve().await;
    let request = message("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        upstream.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
    let said = reply.json();
    assert_eq!(said["type"], "message");
    assert_eq!(said["role"], "assistant");
    assert_eq!(said["content"], json!([{ "type": "text", "text": "from afar" }]));
    assert_eq!(said["stop_reason"], "end_turn");
    assert_eq!(said["stop_sequence"], Value::Null);
    assert_eq!(said["usage"]["input_tokens"], 7);
    assert_eq!(said["usage"]["output_tokens"], 2);
}

// Complaint 5, complaint 6, rule 12.
#[tokio::test]
async fn the_model_in_the_process_counts_the_prompt_before_it_answers() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let whole = post(&gateway, &message("Say hello.")).await.json();
    let events = events(&post(&gateway, &streaming("Say hello.")).await);
    assert_eq!(order(&events), ORDER);
    let counted = whole["usage"]["input_tokens"].as_u64().unwrap();
    assert!(counted > 0, "{whole}");
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], counted);
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
    assert_eq!(end["delta"]["stop_reason"], whole["stop_reason"]);
    assert_eq!(text_of(&events), whole["content"][0]["text"].as_str().unwrap());
}

// Rule 18, rule 19, rule 21, complaint 10, complaint 11.
#[tokio::test]
async fn a_rate_limit_is_told_in_the_clients_words_with_when_to_come_back() {
    for request in [message("hello"), streaming("hello")] {
        // A gateway of its own for each: it would leave the provider alone for seven seconds.
        let (mut upstream, home, gateway) = serve().await;
        let (reply, ()) = tokio::join!(post(&gateway, &request), async {
            let body = r#"{"error":{"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
            let headers = "retry-after: 7\r\nretry-after-ms: 6500\r\nx-request-id: of-the-provider\r\n";
            upstream.call().await.answer_with("429 Too Many Requests", headers, body).await;
        });
        assert_eq!(reply.status, 429);
        assert_eq!(reply.header("retry-after"), Some("7"));
        assert_eq!(reply.header("retry-after-ms"), Some("6500"));
        assert_eq!(reply.header("x-portcullis-upstream-request-id"), Some("of-the-provider"));
        assert!(reply.header("request-id").is_some_and(|id| id != "of-the-provider"));
        assert_eq!(message_error(&reply), json!({ "type": "rate_limit_error", "message": "slow down" }));
        // Rule 21: the provider's id is in the trail.
        let result = home.result().await;
        assert!(result.to_string().contains("of-the-provider"), "{result:#?}");
    }
}

// Rule 18.
#[tokio::test]
async fn a_refused_credential_of_ours_is_not_an_authentication_error_of_the_client() {
    let (mut upstream, _home, gateway) = serve().await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        let body = r#"{"error":{"message":"Incorrect API key provided: sk-abc"}}"#;
        upstream.call().await.answer_with("401 Unauthorized", "", body).await;
    });
    assert_eq!(reply.status, 502);
    assert_eq!(message_error(&reply)["type"], "api_error");
    assert!(!reply.text().contains("sk-abc"));
}

// Rule 18, rule 21.
#[tokio::test]
async fn what_the_gateway_itself_refuses_is_told_in_the_clients_words() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let unknown = post(&gateway, &with(message("hello"), json!({ "model": "other" }))).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(message_error(&unknown)["type"], "not_found_error");
    let unreadable = gateway.client().request("POST", MESSAGES, "{").await;
    assert_eq!(unreadable.status, 400);
    assert_eq!(message_error(&unreadable)["type"], "invalid_request_error");
    let keyed = gateway.client().with_key("pck_x_wrong");
    let stranger = keyed.request("POST", MESSAGES, message("hello").to_string()).await;
    assert_eq!(stranger.status, 401);
    assert_eq!(message_error(&stranger)["type"], "authentication_error");
    let nowhere = gateway.client().request("POST", "/v1/messages/batches", "{}").await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(message_error(&nowhere)["type"], "not_found_error");
    let method = gateway.client().get(MESSAGES).await;
    assert_eq!(method.status, 405);
    assert_eq!(message_error(&method)["type"], "invalid_request_error");
}

// Rule 5, complaint 14.
#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_event_and_no_end() {
    let error = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\"}}\n\n";
    for last in [None, Some(error)] {
        let (mut upstream, home, gateway) = serve().await;
        let request = streaming("hello");
        let (stream, ()) = tokio::join!(gateway.client().open_at(MESSAGES, &request), async {
            let mut call = upstream.call().await;
            call.begin().await;
            call.send(FIRST).await;
            if let Some(last) = last {
                call.send(last).await;
            }
            call.end().await;
        });
        let events = named(&stream.rest().await);
        assert_eq!(text_of(&events), "from");
        let (end, before) = events.split_last().unwrap();
        assert_eq!(end["type"], "error");
        assert_eq!(end["error"]["type"], "api_error", "{end}");
        assert!(!order(before).contains(&"message_stop"), "{events:#?}");
        assert!(!order(before).contains(&"message_delta"), "{events:#?}");
        assert_eq!(home.result().await["result"]["outcome"], "failed");
    }
}

// Rule 7, rule 15, complaint 15.
#[tokio::test]
async fn usage_that_nobody_counted_is_absent_in_the_record() {
    let (mut upstream, home, gateway) = serve().await;
    let request = streaming("hello");
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        upstream.call().await.stream(&[FIRST, SECOND, DONE]).await;
    });
    assert_eq!(order(&events(&reply)), ORDER);
    let result = home.result().await;
    assert_eq!(result["result"]["outcome"], "completed");
    let tokens = &result["result"]["tokens"];
    assert!(tokens.get("in").is_none_or(Value::is_null), "{result}");
    assert!(tokens.get("out").is_none_or(Value::is_null), "{result}");
}

// Rule 8, complaint 16.
#[tokio::test]
async fn parallel_calls_of_tools_become_blocks_of_their_own() {
    let (mut upstream, _home, gateway) = serve().await;
    let tools = json!({ "tools": [{ "name": "look", "input_schema": { "type": "object" } }] });
    let request = with(streaming("hello"), tools);
    let piece = |calls: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": { "tool_calls": calls }, "finish_reason": finish });
        format!("data: {}\n\n", json!({ "id": "c1", "created": 1, "model": "m", "choices": [choice] }))
    };
    let begin = |index: u32, id: &str| json!([{ "index": index, "id": id, "type": "function", "function": { "name": "look", "arguments": "" } }]);
    let more = |index: u32, text: &str| json!([{ "index": index, "function": { "arguments": text } }]);
    let chunks = [
        piece(begin(0, "a"), Value::Null),
        piece(more(0, "{\"at\":"), Value::Null),
        piece(more(0, "1}"), Value::Null),
        piece(begin(1, "b"), Value::Null),
        piece(more(1, "{\"at\":2}"), json!("tool_calls")),
    ];
    let (reply, ()) = tokio::join!(post(&gateway, &request), async {
        let mut pieces: Vec<&str> = chunks.iter().map(String::as_str).collect();
        pieces.extend([USAGE, DONE]);
        upstream.call().await.stream(&pieces).await;
    });
    let events = events(&reply);
    let starts: Vec<&Value> = events.iter().filter(|event| event["type"] == "content_block_start").collect();
    assert_eq!(starts.len(), 2, "{events:#?}");
    for (index, (start, id)) in starts.iter().zip(["a", "b"]).enumerate() {
        assert_eq!(start["index"], index);
        let block = json!({ "type": "tool_use", "id": id, "name": "look", "input": {} });
        assert_eq!(start["content_block"], block);
        let of_block = events.iter().filter(|event| event["index"] == index);
        let arguments: String =
            of_block.filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
        assert_eq!(arguments, format!("{{\"at\":{}}}", index + 1));
    }
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["delta"]["stop_reason"], "tool_use");
}
