//! Tokens that are counted and not answered, the models that can be named, and bare text.

use serde_json::{Value, json};

use crate::agents::{MESSAGES, message};
use crate::client::{Reply, data, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::Upstream;

const COUNT: &str = "/v1/messages/count_tokens";
const COMPLETIONS: &str = "/v1/completions";

async fn post(gateway: &Gateway, path: &str, request: &Value) -> Reply {
    gateway.client().request("POST", path, request.to_string()).await
}

/// What a client asks to have counted: a message without its limit.
fn uncounted() -> Value {
    json!({ "model": "auto", "messages": [{ "role": "user", "content": "Say hello." }] })
}

// Rule 24, complaint 5.
#[tokio::test]
async fn the_model_in_the_process_counts_what_it_would_be_asked() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let counted = post(&gateway, COUNT, &uncounted()).await;
    assert_eq!(counted.status, 200, "{}", counted.text());
    assert_eq!(counted.header("x-portcullis-estimated"), None);
    let answered = post(&gateway, MESSAGES, &message("Say hello.")).await.json();
    assert_eq!(counted.json(), json!({ "input_tokens": answered["usage"]["input_tokens"] }));
    let tools = json!({ "tools": [{ "name": "look", "input_schema": { "type": "object" } }] });
    let more = post(&gateway, COUNT, &with(uncounted(), tools)).await.json();
    assert!(more["input_tokens"].as_u64() > counted.json()["input_tokens"].as_u64(), "{more}");
}

// Rule 24.
#[tokio::test]
async fn a_provider_that_counts_is_asked() {
    let mut upstream = Upstream::start().await;
    let routes = Routes::default().of_kind("up", "anthropic", (upstream.port(), ""), "claude");
    let home = Home::new(&routes.workflow("docs", "{ mode: sealed }", "up"));
    let gateway = home.serve().await;
    let request = uncounted();
    let (reply, ()) = tokio::join!(post(&gateway, COUNT, &request), async {
        let call = upstream.call().await;
        assert!(call.head.starts_with("POST /v1/messages/count_tokens HTTP/1.1\r\n"), "{}", call.head);
        assert_eq!(call.body, request.to_string().replacen("\"auto\"", "\"claude\"", 1));
        call.answer(r#"{"input_tokens":4711}"#).await;
    });
    assert_eq!(reply.json(), json!({ "input_tokens": 4711 }));
    assert_eq!(reply.header("x-portcullis-estimated"), None);
    assert_eq!(home.result().await["result"]["tokens"]["in"], 4711);
}

// Rule 24.
#[tokio::test]
async fn where_nobody_counts_an_estimate_says_what_it_is() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let reply = post(&gateway, COUNT, &uncounted()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-portcullis-estimated"), Some("input_tokens"));
    assert!(reply.json()["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(upstream.dials().await, 0);
}

#[tokio::test]
async fn tokens_become_the_text_that_they_came_from() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let text = "Hello, wörld! 1 2 3";
    for prefix in ["", "/v1", "/w/try-it", "/w/try-it/v1"] {
        let request = json!({ "model": "demo", "prompt": text, "add_special_tokens": false, "return_token_strs": true });
        let tokenized = post(&gateway, &format!("{prefix}/tokenize"), &request).await;
        assert_eq!(tokenized.status, 200, "{}", tokenized.text());
        let tokenized = tokenized.json();
        let tokens = tokenized["tokens"].as_array().unwrap();
        assert_eq!(tokenized["count"], tokens.len());
        assert_eq!(tokenized["token_strs"].as_array().unwrap().len(), tokens.len());
        assert!(tokenized["max_model_len"].as_u64().unwrap() > 0);
        let request = json!({ "model": "demo", "tokens": tokens });
        let back = post(&gateway, &format!("{prefix}/detokenize"), &request).await;
        assert_eq!(back.json(), json!({ "prompt": text }));
    }
    let unknown = post(&gateway, "/tokenize", &json!({ "model": "other", "prompt": text })).await;
    assert_eq!((unknown.status, unknown.error()["param"].as_str()), (404, Some("model")));
}

#[tokio::test]
async fn models_are_listed_in_the_form_that_the_client_knows() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let here = gateway.client();
    let openai = here.get("/v1/models").await.json();
    assert_eq!(openai["object"], "list");
    assert_eq!(openai["data"][0]["id"], "demo");
    assert_eq!(openai["data"][0]["object"], "model");
    assert_eq!(here.get("/v1/models/demo").await.json(), openai["data"][0]);
    let unknown = here.get("/v1/models/other").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.error()["code"], "model_not_found");

    let anthropic = here.with_header("anthropic-version", "2023-06-01");
    let listed = anthropic.get("/v1/models").await.json();
    assert_eq!(listed["data"][0]["id"], "demo");
    assert_eq!(listed["data"][0]["type"], "model");
    assert_eq!(listed["first_id"], "demo");
    assert_eq!(listed["has_more"], false);
    assert_eq!(anthropic.get("/v1/models/demo").await.json(), listed["data"][0]);
    let unknown = anthropic.get("/v1/models/other").await;
    assert_eq!(crate::agents::message_error(&unknown)["type"], "not_found_error");
}

fn completion() -> Value {
    json!({ "model": "auto", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0 })
}

#[tokio::test]
async fn the_model_in_the_process_goes_on_with_a_text() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let plain = post(&gateway, COMPLETIONS, &completion()).await;
    assert_eq!(plain.status, 200, "{}", plain.text());
    let plain = plain.json();
    assert_eq!(plain["object"], "text_completion");
    let text = plain["choices"][0]["text"].as_str().unwrap();
    let usage = &plain["usage"];
    assert!(usage["completion_tokens"].as_u64().unwrap() <= 8, "{usage}");

    let echoed = post(&gateway, COMPLETIONS, &with(completion(), json!({ "echo": true }))).await.json();
    assert_eq!(echoed["choices"][0]["text"], format!("Once upon a time{text}"));

    let prompt = json!({ "model": "demo", "prompt": "Once upon a time" });
    let tokens = post(&gateway, "/tokenize", &prompt).await.json()["tokens"].clone();
    let by_tokens =
        post(&gateway, COMPLETIONS, &with(completion(), json!({ "prompt": tokens }))).await.json();
    assert_eq!(by_tokens["choices"][0]["text"], text);
    assert_eq!(by_tokens["usage"], *usage);

    let stream = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let events = post(&gateway, COMPLETIONS, &with(completion(), stream)).await.events();
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "data: [DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| data(chunk)).collect();
    let streamed: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(streamed, text);
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], usage["total_tokens"]);
}

// Rule 25.
#[tokio::test]
async fn a_completion_passes_through_byte_for_byte() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::open(upstream.port(), ""));
    let gateway = home.serve().await;
    let request = r#"{ "prompt":["a","b"],"model" : "auto","n":2, "zeta":1.50 }"#;
    let document = r#"{"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"x","logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4},"novel":1.50}"#;
    let (reply, ()) = tokio::join!(gateway.client().request("POST", COMPLETIONS, request), async {
        let call = upstream.call().await;
        assert!(call.head.starts_with("POST /v1/completions HTTP/1.1\r\n"), "{}", call.head);
        assert_eq!(call.body, request.replacen("\"auto\"", "\"upstream-up\"", 1));
        call.answer(document).await;
    });
    assert_eq!(reply.text(), document);
    assert_eq!(home.result().await["result"]["tokens"], json!({ "in": 3, "out": 1 }));
}
