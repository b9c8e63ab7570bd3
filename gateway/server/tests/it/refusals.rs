//! Requests that are wrong: each is refused at once, with the status that clients act on and a message that says
//! what to do.

use serde_json::{Value, json};

use crate::client::{Reply, ask, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;

async fn serve() -> (Home, Gateway) {
    let home = Home::new(&Routes::demo().defaults("limits: { max_body: 64KiB }"));
    let gateway = home.serve().await;
    (home, gateway)
}

#[track_caller]
fn check(reply: &Reply, status: u16, code: &str, param: Option<&str>) {
    let error = reply.error();
    assert_eq!(reply.status, status, "{error}");
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(error["param"], param.map_or(Value::Null, Value::from), "{error}");
    assert!(reply.header("x-request-id").is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn a_request_that_can_never_fit_is_refused_and_not_queued() {
    let (_home, gateway) = serve().await;
    let long = ask(&"far too long ".repeat(2000));
    let greedy = with(ask("hello"), json!({ "max_tokens": 100_000 }));
    let before = gateway.metric("portcullis_engine_steps_total", "").await;
    for request in [long, greedy] {
        for stream in [false, true] {
            let request = with(request.clone(), json!({ "stream": stream }));
            let reply = gateway.client().chat(&request).await;
            check(&reply, 400, "context_length_exceeded", Some("messages"));
            assert!(reply.text().contains("2048 tokens"), "{}", reply.text());
        }
    }
    assert_eq!(gateway.metric("portcullis_engine_steps_total", "").await, before);
    assert_eq!(gateway.metric("portcullis_requests_total", "outcome=\"failed\"").await, 4);
}

#[tokio::test]
async fn what_the_request_says_wrong_is_named() {
    let (_home, gateway) = serve().await;
    let schema =
        json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "king" } } });
    for (members, code, param) in [
        (json!({ "max_tokens": 0 }), "invalid_value", "max_tokens"),
        (json!({ "max_completion_tokens": 0 }), "invalid_value", "max_completion_tokens"),
        (json!({ "max_tokens": "many" }), "invalid_type", "max_tokens"),
        (json!({ "temperature": 3 }), "invalid_value", "temperature"),
        (json!({ "top_p": -1 }), "invalid_value", "top_p"),
        (json!({ "messages": [] }), "invalid_value", "messages"),
        (json!({ "messages": [{ "role": "king", "content": "hi" }] }), "invalid_value", "messages[0].role"),
        (json!({ "stop": [""] }), "invalid_value", "stop[0]"),
        (json!({ "response_format": { "type": "xml" } }), "unsupported_parameter", "response_format"),
        (json!({ "response_format": schema }), "invalid_value", "response_format"),
        (json!({ "n": 129 }), "invalid_value", "n"),
        (json!({ "logprobs": true, "top_logprobs": 21 }), "invalid_value", "top_logprobs"),
        (json!({ "frequency_penalty": 3 }), "invalid_value", "frequency_penalty"),
        (json!({ "presence_penalty": -3 }), "invalid_value", "presence_penalty"),
        (json!({ "logit_bias": { "x": 1 } }), "invalid_value", "logit_bias"),
        (json!({ "min_tokens": 41 }), "invalid_value", "min_tokens"),
    ] {
        let mut request = ask("hello");
        if members.get("max_completion_tokens").is_some() {
            request.as_object_mut().unwrap().remove("max_tokens");
        }
        let reply = gateway.client().chat(&with(request, members)).await;
        check(&reply, 400, code, Some(param));
        let member = param.split(['[', '.']).next().unwrap();
        assert!(reply.text().contains(member), "the message names the field: {}", reply.text());
    }
    assert_eq!(gateway.client().chat(&ask("hello")).await.status, 200, "nothing of it lasts");
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_404_and_the_others_are_listed() {
    let (_home, gateway) = serve().await;
    let reply = gateway.client().chat(&with(ask("hello"), json!({ "model": "gpt-9" }))).await;
    check(&reply, 404, "model_not_found", Some("model"));
    assert!(reply.text().contains("`demo`"), "{}", reply.text());
}

#[tokio::test]
async fn a_tool_that_the_workflow_denies_is_403_and_on_record_without_its_name() {
    let home = Home::new(&Routes::demo().and("tools: { deny: [\"shell*\"] }"));
    let gateway = home.serve().await;
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": {} } });
    let offer = |name: &str| with(ask("hello"), json!({ "tools": [tool("read_file"), tool(name)] }));
    let reply = gateway.client().chat(&offer("shell_network")).await;
    check(&reply, 403, "tool_not_allowed", Some("tools"));
    assert!(reply.text().contains("shell_network"), "{}", reply.text());
    let record = home.records_of("llm.denied").pop().expect("a refusal is on record");
    assert_eq!(record["decision"]["code"], "policy.tool_denied");
    assert_eq!(record["policy"]["rule"], "workflows.try-it.tools");
    assert!(!record.to_string().contains("shell_network"), "a name is the caller's own text");
    assert_eq!(gateway.client().chat(&offer("write_file")).await.status, 200);
}

#[tokio::test]
async fn a_task_is_one_plain_label() {
    let (_home, gateway) = serve().await;
    for task in ["", "two words", &"x".repeat(65)] {
        let client = gateway.client().with_header("x-portcullis-task", task);
        check(&client.chat(&ask("hello")).await, 400, "task_invalid", None);
    }
    let client = gateway.client().with_header("x-portcullis-task", "review-code");
    assert_eq!(client.chat(&ask("hello")).await.status, 200);
}

#[tokio::test]
async fn malformed_json_is_refused_with_its_place() {
    let (_home, gateway) = serve().await;
    let reply = gateway.client().post("{\n  \"model\": \"demo\",\n  \"messages\": [,]\n}").await;
    check(&reply, 400, "invalid_json", None);
    assert!(reply.text().contains("line 3 column 16"), "{}", reply.text());
    for body in ["", "{", "[]", "null", "{\"model\": \"demo\"} {}", "\u{feff}{}", "{\"model\": NaN}"] {
        let reply = gateway.client().post(body).await;
        assert_eq!(reply.status, 400, "{body:?} gave {}", reply.text());
        reply.error();
    }
    let mut not_text = br#"{"model":"demo","messages":[{"role":"user","content":""#.to_vec();
    not_text.extend(b"\xff\"}]}");
    assert_eq!(gateway.client().post(not_text).await.status, 400);
}

#[tokio::test]
async fn a_key_that_stands_twice_is_refused() {
    let (_home, gateway) = serve().await;
    let twice = r#"{"model":"demo","messages":[{"role":"user","content":"a","content":"b"}]}"#;
    let reply = gateway.client().post(twice).await;
    check(&reply, 400, "duplicate_key", Some("messages[0].content"));
    let escaped = r#"{"model":"demo","messages":[{"role":"user","content":"a"}],"mode\u006c":"other"}"#;
    check(&gateway.client().post(escaped).await, 400, "duplicate_key", Some("model"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_however_large() {
    let (_home, gateway) = serve().await;
    let limit = 64 << 10;
    let body = |length: usize| {
        let mut body = ask("hello").to_string();
        body.push_str(&" ".repeat(length - body.len()));
        body
    };
    assert_eq!(gateway.client().post(body(limit)).await.status, 200);
    // The last is more than the sockets hold: unless the gateway reads on, the client can never write it all.
    for length in [limit + 1, 1 << 20, 32 << 20] {
        let reply = gateway.client().post_before_reading(&body(length)).await;
        check(&reply, 413, "body_too_large", None);
        assert!(reply.text().contains("65536 bytes"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_caller_without_a_key_hears_so_however_much_it_sends() {
    let (_home, gateway) = serve().await;
    let body = ask(&"a long conversation ".repeat(1 << 20)).to_string();
    let stranger = gateway.client().with_key("pck_x_wrong");
    check(&stranger.post_before_reading(&body).await, 401, "invalid_api_key", None);
}

#[tokio::test]
async fn other_paths_and_methods_get_the_same_kind_of_error() {
    let (_home, gateway) = serve().await;
    for (method, path, status, code) in [
        ("POST", "/v1/chat/completion", 404, "unknown_path"),
        ("POST", "/chat/completions", 404, "unknown_path"),
        ("GET", "/", 404, "unknown_path"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ] {
        check(&gateway.client().request(method, path, "").await, status, code, None);
    }
}
