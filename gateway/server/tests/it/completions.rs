//! Answers of the model in the process.

use serde_json::{Value, json};

use crate::client::{Client, ask, data, streamed, with};
use crate::gateway::Home;
use crate::routes::Routes;

/// A prompt whose answer has more than a few tokens.
const PROMPT: &str = "What is Portcullis?";

fn weather_tool() -> Value {
    json!({
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather in a city",
            "parameters": {
                "type": "object",
                "properties": { "city": { "type": "string" } },
                "required": ["city"],
            },
        },
    })
}

#[tokio::test]
async fn a_stream_and_a_document_say_the_same() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let system = json!({ "messages": [
        { "role": "system", "content": "You are terse." },
        { "role": "user", "content": [{ "type": "text", "text": "Reverse: abc" }] },
    ] });
    let tools = json!({ "tools": [weather_tool()], "max_tokens": 80 });
    for request in [
        ask(PROMPT),
        with(ask(PROMPT), json!({ "max_tokens": 3 })),
        with(ask(""), system),
        with(ask("What is the weather in Oslo? Use the tool."), tools),
    ] {
        let document = gateway.client().said(&request).await;
        assert!(!document.text.is_empty() || !document.tool_calls.is_empty(), "{request}");
        let usage = document.usage.as_ref().unwrap();
        let counted = |name: &str| usage[name].as_u64().unwrap();
        assert!(counted("prompt_tokens") > 0);
        assert!(counted("completion_tokens") > 0);
        assert_eq!(counted("prompt_tokens") + counted("completion_tokens"), counted("total_tokens"));
        assert_eq!(gateway.client().said(&streamed(request)).await, document);
    }
}

#[tokio::test]
async fn a_stream_has_the_shape_that_clients_parse() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let plain = gateway.client().chat(&with(ask(PROMPT), json!({ "stream": true }))).await;
    let with_usage = gateway.client().chat(&streamed(ask(PROMPT))).await;

    let (events, more_events) = (plain.events(), with_usage.events());
    assert_eq!(more_events.len(), events.len() + 1, "one event more, for the usage");
    for (events, usage_events) in [(events, 0), (more_events, 1)] {
        let (last, chunks) = events.split_last().unwrap();
        assert_eq!(last, "data: [DONE]");
        let chunks: Vec<Value> = chunks.iter().map(|event| data(event)).collect();
        let (content, usage) = chunks.split_at(chunks.len() - usage_events);
        for chunk in &chunks {
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!(chunk["model"], "demo");
            assert_eq!(chunk["id"], chunks[0]["id"]);
            assert_eq!(chunk["created"], chunks[0]["created"]);
        }
        for (i, chunk) in content.iter().enumerate() {
            let choice = &chunk["choices"][0];
            assert_eq!(choice["delta"].get("role").is_some(), i == 0, "{chunk}");
            assert_eq!(choice["finish_reason"].is_null(), i + 1 < content.len(), "{chunk}");
            // Absent where nobody asked; null where it is still to come.
            assert_eq!(chunk.get("usage"), (usage_events > 0).then_some(&Value::Null), "{chunk}");
        }
        for chunk in usage {
            assert_eq!(chunk["choices"], json!([]));
            assert!(chunk["usage"]["total_tokens"].is_u64());
        }
    }
}

#[tokio::test]
async fn a_stop_string_ends_the_answer_before_it() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let whole = gateway.client().said(&ask(PROMPT)).await.text;
    let characters: Vec<char> = whole.chars().collect();
    assert!(characters.len() > 8, "too short to be stopped: {whole}");
    // From one character to a stop string that spans several tokens.
    for length in [1, 3, 6] {
        let stop: String = characters[2..2 + length].iter().collect();
        let expected = &whole[..whole.find(&stop).unwrap()];
        let request = with(ask(PROMPT), json!({ "stop": ["never said, I hope", stop] }));
        for request in [request.clone(), streamed(request)] {
            let said = gateway.client().said(&request).await;
            assert_eq!(said.text, expected, "{request}");
            assert_eq!(said.finish, "stop");
        }
    }
    gateway.idle().await;
}

#[tokio::test]
async fn max_tokens_ends_the_answer_with_length() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let whole = gateway.client().said(&ask(PROMPT)).await.text;
    for (member, tokens) in [("max_tokens", 1), ("max_tokens", 4), ("max_completion_tokens", 4)] {
        let mut request = ask(PROMPT);
        request.as_object_mut().unwrap().remove("max_tokens");
        let said = gateway.client().said(&with(request, json!({ member: tokens }))).await;
        assert_eq!(said.finish, "length");
        assert_eq!(said.usage.unwrap()["completion_tokens"], tokens);
        assert!(whole.starts_with(&said.text), "{} is not a beginning of {whole}", said.text);
    }
}

#[tokio::test]
async fn a_seed_repeats_an_answer() {
    async fn drawn(client: &Client, seed: i64) -> String {
        let members = json!({ "temperature": 2, "seed": seed });
        client.said(&with(ask("Tell me something about the sea."), members)).await.text
    }
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let mut texts = Vec::new();
    for seed in [-1, 0, 1, 2, 3, 4, 5, 6] {
        let text = drawn(gateway.client(), seed).await;
        assert_eq!(drawn(gateway.client(), seed).await, text, "seed {seed}");
        texts.push(text);
    }
    texts.dedup();
    assert!(texts.len() > 1, "no seed made a difference: {texts:?}");
}

#[tokio::test]
async fn the_models_are_listed_under_the_names_that_requests_may_use() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let list = gateway.client().get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["object"], "model");
    let name = &list["data"][0]["id"];
    let reply = gateway.client().chat(&with(ask("hello"), json!({ "model": name }))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(&reply.json()["model"], name);
}
