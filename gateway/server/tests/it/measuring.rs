//! What clients that measure a model ask of the one in the process: log-probabilities, echoes, choices, penalties.

use serde_json::{Value, json};

use crate::client::{Reply, ask, counted, data, streamed, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;

const COMPLETIONS: &str = "/v1/completions";
const TEXT: &str = "Once upon a time";

async fn serve() -> (Home, Gateway) {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    (home, gateway)
}

async fn post(gateway: &Gateway, path: &str, request: &Value) -> Reply {
    gateway.client().request("POST", path, request.to_string()).await
}

async fn completed(gateway: &Gateway, members: Value) -> Value {
    let request = json!({ "model": "auto", "prompt": TEXT, "max_tokens": 8, "temperature": 0 });
    let reply = post(gateway, COMPLETIONS, &with(request, members)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn tokens_of(gateway: &Gateway, text: &str) -> Vec<Value> {
    let reply = post(gateway, "/tokenize", &json!({ "model": "demo", "prompt": text })).await;
    reply.json()["tokens"].as_array().unwrap().clone()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

fn length(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

/// The request of a harness that scores continuations, and how it reads the answer: the numbers of all tokens but the
/// one that was generated, and whether each is the likeliest in its place.
#[tokio::test]
async fn a_harness_that_scores_a_continuation_finds_what_it_reads() {
    let (_home, gateway) = serve().await;
    let tokens = tokens_of(&gateway, TEXT).await;
    let asked = json!({ "max_tokens": 1, "logprobs": 1, "echo": true, "seed": 1234 });
    let by_text = completed(&gateway, asked.clone()).await;
    let by_tokens = completed(&gateway, with(asked.clone(), json!({ "prompt": [tokens.clone()] }))).await;
    assert_eq!(by_tokens["choices"], by_text["choices"]);
    let choice = &by_text["choices"][0];
    let logprobs = &choice["logprobs"];
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(length(&logprobs[list]), tokens.len() + 1, "{list}");
    }
    assert!(choice["text"].as_str().unwrap().starts_with(TEXT));
    assert!(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null());
    let scored = numbers(&logprobs["token_logprobs"]);
    assert_eq!(scored.len(), tokens.len(), "each but the first has a number");
    assert!(scored.iter().all(|logprob| *logprob <= 0.0), "{scored:?}");
    for (own, top) in scored.iter().zip(logprobs["top_logprobs"].as_array().unwrap().iter().skip(1)) {
        let best = top.as_object().unwrap().values().filter_map(Value::as_f64).fold(f64::MIN, f64::max);
        assert!(*own <= best, "the likeliest stands among them: {top}");
    }
    // What was drawn greedily is the likeliest.
    let drawn = logprobs["top_logprobs"][tokens.len()].as_object().unwrap();
    assert_eq!(drawn.len(), 1, "{drawn:?}");

    // The prompt alone has the same numbers.
    let alone = completed(&gateway, with(asked, json!({ "max_tokens": 0 }))).await;
    assert_eq!(alone["choices"][0]["text"], TEXT);
    let first = |list: &Value| list.as_array().unwrap()[..tokens.len()].to_vec();
    assert_eq!(alone["choices"][0]["logprobs"]["token_logprobs"], json!(first(&logprobs["token_logprobs"])));
    assert_eq!(alone["usage"]["completion_tokens"], 0);
}

#[tokio::test]
async fn a_list_of_prompts_is_answered_in_order_and_each_as_alone() {
    let (_home, gateway) = serve().await;
    let asked = json!({ "logprobs": 2, "echo": true, "return_token_ids": true });
    let texts = [TEXT, "The gate is", "count from 1 to 9"];
    let all = completed(&gateway, with(asked.clone(), json!({ "prompt": texts }))).await;
    assert_eq!(length(&all["choices"]), 3);
    let mut prompt_tokens = 0;
    for (index, text) in texts.into_iter().enumerate() {
        let one = completed(&gateway, with(asked.clone(), json!({ "prompt": text }))).await;
        let mut choice = one["choices"][0].clone();
        choice["index"] = json!(index);
        assert_eq!(all["choices"][index], choice);
        assert_eq!(choice["prompt_token_ids"], json!(tokens_of(&gateway, text).await));
        prompt_tokens += one["usage"]["prompt_tokens"].as_u64().unwrap();
    }
    assert_eq!(all["usage"]["prompt_tokens"], prompt_tokens);
    let lists: Vec<Vec<Value>> =
        vec![tokens_of(&gateway, texts[0]).await, tokens_of(&gateway, texts[1]).await];
    let by_tokens = completed(&gateway, with(asked, json!({ "prompt": lists }))).await;
    assert_eq!(by_tokens["choices"].as_array().unwrap()[..], all["choices"].as_array().unwrap()[..2]);
}

#[tokio::test]
async fn the_choices_of_a_stream_are_those_of_a_document_with_their_log_probabilities() {
    let (_home, gateway) = serve().await;
    let members = json!({
        "n": 8, "seed": 3, "temperature": 2, "logprobs": true, "top_logprobs": 2, "max_tokens": 24,
        "return_token_ids": true,
    });
    let request = with(ask("Tell me something about the sea."), members);
    let document = gateway.client().chat(&request).await;
    assert_eq!(document.status, 200, "{}", document.text());
    let document = document.json();
    let choices = document["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 8);
    let texts: Vec<&Value> = choices.iter().map(|choice| &choice["message"]["content"]).collect();
    assert!(texts.iter().any(|text| *text != texts[0]), "each choice has its own seed: {texts:?}");
    let mut generated = 0;
    for choice in choices {
        let content = choice["logprobs"]["content"].as_array().unwrap();
        generated += content.len();
        assert_eq!(content.len(), length(&choice["token_ids"]));
        for token in content {
            assert!(
                token["logprob"].as_f64().unwrap() <= 0.0 && length(&token["top_logprobs"]) == 2,
                "{token}"
            );
            assert!(token["bytes"].is_array() && token["token"].is_string(), "{token}");
        }
    }
    assert_eq!(document["usage"]["completion_tokens"], generated);

    let events = gateway.client().chat(&streamed(request.clone())).await.events();
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "data: [DONE]");
    let mut told = vec![(String::new(), Vec::new(), Vec::new(), Value::Null); 8];
    let mut usage = Value::Null;
    for chunk in chunks.iter().map(|event| data(event)) {
        usage = chunk["usage"].clone();
        for choice in chunk["choices"].as_array().unwrap() {
            let (text, content, ids, finish) = &mut told[choice["index"].as_u64().unwrap() as usize];
            text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            content.extend(choice["logprobs"]["content"].as_array().into_iter().flatten().cloned());
            ids.extend(choice["token_ids"].as_array().into_iter().flatten().cloned());
            *finish = choice["finish_reason"].clone();
        }
    }
    for ((text, content, ids, finish), choice) in told.into_iter().zip(choices) {
        assert_eq!(choice["message"]["content"], text);
        assert_eq!(choice["logprobs"]["content"], json!(content));
        assert_eq!(choice["token_ids"], json!(ids));
        assert_eq!(choice["finish_reason"], finish);
    }
    assert_eq!(counted(&usage), counted(&document["usage"]));
    gateway.idle().await;
}

#[tokio::test]
async fn a_streamed_completion_says_what_the_document_says() {
    let (_home, gateway) = serve().await;
    let members = json!({ "logprobs": 1, "echo": true, "n": 2, "temperature": 1.2, "seed": 4 });
    let document = completed(&gateway, members.clone()).await;
    let request = json!({ "model": "auto", "prompt": TEXT, "max_tokens": 8 });
    let reply = post(&gateway, COMPLETIONS, &streamed(with(request, members))).await;
    let mut choices = [json!({ "text": "", "logprobs": {} }), json!({ "text": "", "logprobs": {} })];
    let events = reply.events();
    for chunk in events[..events.len() - 1].iter().map(|event| data(event)) {
        for choice in chunk["choices"].as_array().unwrap() {
            let told = &mut choices[choice["index"].as_u64().unwrap() as usize];
            let text = told["text"].as_str().unwrap().to_owned() + choice["text"].as_str().unwrap();
            told["text"] = json!(text);
            for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                let mut all = told["logprobs"][list].as_array().cloned().unwrap_or_default();
                all.extend(choice["logprobs"][list].as_array().into_iter().flatten().cloned());
                told["logprobs"][list] = json!(all);
            }
        }
    }
    for (told, choice) in choices.iter().zip(document["choices"].as_array().unwrap()) {
        assert_eq!(told["text"], choice["text"]);
        for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            assert_eq!(told["logprobs"][list], choice["logprobs"][list], "{list}");
        }
    }
}

#[tokio::test]
async fn penalties_bias_and_ends_reach_the_model() {
    let (_home, gateway) = serve().await;
    let plain = completed(&gateway, json!({ "return_token_ids": true, "max_tokens": 24 })).await;
    let ids = plain["choices"][0]["token_ids"].as_array().unwrap().clone();
    let with_all = json!({ "return_token_ids": true, "max_tokens": 24, "min_tokens": 24 });
    let changed = async |members: Value| {
        completed(&gateway, with(with_all.clone(), members)).await["choices"][0].clone()
    };
    let bias = |bias: f64| json!({ "logit_bias": { ids[1].to_string(): bias } });
    let forced = changed(bias(100.0)).await;
    assert!(forced["token_ids"].as_array().unwrap().iter().all(|id| *id == ids[1]), "{forced}");
    let banned = changed(bias(-100.0)).await;
    assert!(!banned["token_ids"].as_array().unwrap().contains(&ids[1]), "{banned}");
    // What is forced and then punished for each time it occurs gives way to others.
    let punished = changed(with(bias(20.0), json!({ "frequency_penalty": 2 }))).await;
    assert!(punished["token_ids"].as_array().unwrap().iter().any(|id| *id != ids[1]), "{punished}");
    let punished =
        changed(with(bias(1.0), json!({ "repetition_penalty": 100, "presence_penalty": 2 }))).await;
    let mut distinct: Vec<String> =
        punished["token_ids"].as_array().unwrap().iter().map(ToString::to_string).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 20, "{punished}");

    let stopped = completed(&gateway, json!({ "return_token_ids": true, "stop_token_ids": [ids[1]] })).await;
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(stopped["choices"][0]["token_ids"], json!(ids[..2]));
    let ignored = completed(&gateway, json!({ "max_tokens": 200, "ignore_eos": true })).await;
    assert_eq!(ignored["choices"][0]["finish_reason"], "length");
    assert_eq!(ignored["usage"]["completion_tokens"], 200);
}

#[tokio::test]
async fn what_is_asked_and_cannot_be_is_named() {
    let (_home, gateway) = serve().await;
    for (members, param) in [
        (json!({ "best_of": 4 }), "best_of"),
        (json!({ "n": 129 }), "n"),
        (json!({ "prompt": vec!["a"; 65], "n": 2 }), "prompt"),
        (json!({ "logprobs": 21 }), "logprobs"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "min_tokens": 9 }), "min_tokens"),
        (json!({ "logit_bias": { "70000": 1 } }), "logit_bias"),
        (json!({ "repetition_penalty": -1 }), "repetition_penalty"),
    ] {
        let request = json!({ "model": "auto", "prompt": TEXT, "max_tokens": 8 });
        let reply = post(&gateway, COMPLETIONS, &with(request, members)).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert_eq!(reply.error()["param"], param, "{}", reply.text());
        assert!(reply.error()["message"].as_str().unwrap().contains(param), "{}", reply.text());
    }
    gateway.idle().await;
}
