//! Embeddings: of a model in the process, of a provider, and of models that are not made for it.

use serde_json::{Value, json};

use crate::client::{Reply, ask, checked_error, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::Upstream;

const EMBEDDINGS: &str = "/v1/embeddings";

/// A gateway whose one workflow routes to `to`, of `demo`, which chats, and `embed`, which embeds.
async fn serve(to: &str) -> (Home, Gateway) {
    let home = Home::new(&Routes::default().engine().encoder().workflow("search", "{ mode: sealed }", to));
    let gateway = home.serve().await;
    (home, gateway)
}

async fn embed(gateway: &Gateway, members: Value) -> Reply {
    let request = with(json!({ "model": "auto", "input": "the gate is shut" }), members);
    gateway.client().request("POST", EMBEDDINGS, request.to_string()).await
}

/// The error of an answer that has to have this status and code.
fn refused(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    let error = checked_error(&reply.json());
    assert_eq!(error["code"], code);
    error
}

fn numbers(embedding: &Value) -> Vec<f64> {
    embedding.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn an_answer_has_a_vector_for_each_text_and_is_on_record() {
    let (home, gateway) = serve("embed").await;
    let reply = embed(&gateway, json!({ "input": ["the gate", "a portcullis of iron bars"] })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("embed")));
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    for (place, entry) in answer["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(place)));
        let vector = numbers(&entry["embedding"]);
        let length = vector.iter().map(|number| number * number).sum::<f64>().sqrt();
        assert_eq!(vector.len(), 32);
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens >= 2 * 3);
    assert_eq!(answer["usage"], json!({ "prompt_tokens": tokens, "total_tokens": tokens }));

    let intent = home.records_of("llm.intent").remove(0);
    assert_eq!(intent["request"]["endpoint"], EMBEDDINGS);
    assert_eq!(intent["route"]["model"], "embed");
    let result = home.result().await;
    assert_eq!(result["result"]["outcome"], "completed");
    assert_eq!(result["result"]["tokens"], json!({ "in": tokens, "out": 0 }));
    assert_eq!(gateway.metric("portcullis_tokens_total", "kind=\"prompt\"").await, tokens);
    gateway.idle().await;
}

#[tokio::test]
async fn each_form_of_a_request_gives_the_same_vector() {
    let (_home, gateway) = serve("embed").await;
    let plain = embed(&gateway, json!({})).await.json();
    let want = &plain["data"][0]["embedding"];
    let path = "/w/search/v1/embeddings";
    let request =
        json!({ "model": "embed", "input": ["the gate is shut"], "user": "u", "encoding_format": "float" });
    let by_path = gateway.client().request("POST", path, request.to_string()).await.json();
    assert_eq!(&by_path["data"][0]["embedding"], want);

    let base64 = embed(&gateway, json!({ "encoding_format": "base64" })).await.json();
    let bytes = from_base64(base64["data"][0]["embedding"].as_str().unwrap());
    let decoded: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let written: Vec<f32> = numbers(want).into_iter().map(|number| number as f32).collect();
    assert_eq!(decoded, written);

    let short = embed(&gateway, json!({ "dimensions": 8 })).await.json();
    assert_eq!(numbers(&short["data"][0]["embedding"]).len(), 8);
}

/// Decodes base64, so that the test does not trust the code that wrote it.
fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .trim_end_matches('=')
        .bytes()
        .map(|byte| ALPHABET.iter().position(|known| *known == byte).unwrap());
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0, 0);
    for digit in digits {
        (held, bits) = ((held << 6 | digit) & 0xffff, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

#[tokio::test]
async fn wrong_requests_are_refused_and_say_why() {
    let (_home, gateway) = serve("embed").await;
    let long = "gate ".repeat(60);
    for (members, code, param, says) in [
        (json!({ "input": long }), "context_length_exceeded", "input", "62 tokens, and the model takes 48"),
        (json!({ "input": "" }), "invalid_value", "input", "must not be empty"),
        (json!({ "input": [[1, 9999]] }), "invalid_value", "input", "token 9999"),
        (json!({ "dimensions": 20 }), "invalid_value", "dimensions", "8, 16, 32"),
        (
            json!({ "truncate_prompt_tokens": 2 }),
            "invalid_value",
            "truncate_prompt_tokens",
            "3 tokens at least",
        ),
        (json!({ "encoding_format": "int8" }), "invalid_value", "encoding_format", "`base64`"),
    ] {
        let reply = embed(&gateway, members).await;
        let error = refused(&reply, 400, code);
        assert_eq!(error["param"], param);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }
    let cut = embed(&gateway, json!({ "input": long, "truncate_prompt_tokens": -1 })).await;
    assert_eq!(cut.json()["usage"]["prompt_tokens"], 48);
    refused(&embed(&gateway, json!({ "model": "other" })).await, 404, "model_not_found");
}

#[tokio::test]
async fn a_model_of_the_wrong_kind_is_refused_by_name() {
    let (_home, gateway) = serve("embed").await;
    let error = refused(&gateway.client().chat(&ask("hello")).await, 400, "model_does_not_chat");
    assert!(error["message"].as_str().unwrap().contains("`embed`"), "{error}");

    let (home, gateway) = serve("demo").await;
    let error = refused(&embed(&gateway, json!({})).await, 400, "model_does_not_embed");
    assert!(error["message"].as_str().unwrap().contains("`demo`"), "{error}");
    assert_eq!(home.result().await["result"]["outcome"], "failed");
}

#[tokio::test]
async fn of_several_models_the_one_that_can_answers() {
    let (home, gateway) = serve("demo, embed").await;
    assert_eq!(gateway.client().chat(&ask("hello")).await.json()["model"], "demo");
    assert_eq!(embed(&gateway, json!({})).await.json()["model"], "embed");
    let routes: Vec<Value> =
        home.records_of("llm.result").iter().map(|result| result["route"]["model"].clone()).collect();
    assert_eq!(routes, ["demo", "embed"]);
}

#[tokio::test]
async fn bytes_pass_to_a_provider_and_back_with_nothing_but_the_model_changed() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::open(upstream.port(), ""));
    let gateway = home.serve().await;
    let request =
        r#"{ "model" : "up","input":[ "h\u0069", "b" ], "novel":{"z":1.50}, "encoding_format":"base64" }"#;
    let document = r#"{"object":"list", "data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7,"x":1.0}}"#;
    let (reply, ()) = tokio::join!(gateway.client().request("POST", EMBEDDINGS, request), async {
        let call = upstream.call().await;
        assert!(call.head.starts_with("POST /v1/embeddings HTTP/1.1\r\n"), "{}", call.head);
        assert_eq!(call.body, request.replacen("\"up\"", "\"upstream-up\"", 1));
        call.answer(document).await;
    });
    assert_eq!((reply.status, reply.text().as_str()), (200, document));
    let result = home.result().await;
    assert_eq!(result["result"]["tokens"], json!({ "in": 7, "out": 0 }));
    assert_eq!(result["route"]["provider"], "up");
}
