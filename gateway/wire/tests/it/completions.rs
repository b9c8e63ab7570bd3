//! Completions: the prompt, the answers, and the stream of a provider.

use bytes::Bytes;
use serde_json::{Value, json};
use wire::call::Block;
use wire::openai::completions::{
    Completion, Prompt, Reader, Writer, read_completion, read_reply, write_reply,
};
use wire::openai::local::Local;
use wire::reply::{Begin, Delta, FinishReason, Open, Reply, Shown, Told, Unreadable};
use wire::{AskUsage, Delivery, Dialect, ParseErrorKind, Request, Usage, UsageChunk};

use crate::grammar;
use crate::support::{envelope, event, read, text, write};

fn completion(body: &Value) -> Completion {
    let body = body.to_string();
    Request::parse(Dialect::OpenAiCompletions, Bytes::from(body.clone())).expect("a request");
    read_completion(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn each_form_of_prompt_is_read() {
    let prompts = |prompt: Value| completion(&json!({ "model": "m", "prompt": prompt })).prompts;
    let text = |text: &str| Prompt::Text(text.to_owned());
    assert_eq!(prompts(json!("once")), [text("once")]);
    assert_eq!(prompts(json!(["once"])), [text("once")]);
    assert_eq!(prompts(json!(["once", "twice"])), [text("once"), text("twice")]);
    assert_eq!(prompts(json!([1, 2])), [Prompt::Tokens(vec![1, 2])]);
    assert_eq!(prompts(json!([[1, 2]])), [Prompt::Tokens(vec![1, 2])]);
    assert_eq!(prompts(json!([[1, 2], [3]])), [Prompt::Tokens(vec![1, 2]), Prompt::Tokens(vec![3])]);
    assert_eq!(prompts(json!("")), [text("")]);
}

#[test]
fn every_field_that_is_used_is_read_and_has_its_default() {
    let least = completion(&json!({ "model": "m", "prompt": "p" }));
    assert_eq!((least.max_tokens, least.choices, least.echo, least.stop.len()), (16, 1, false, 0));
    let full = completion(&json!({
        "model": "m", "prompt": "p", "max_tokens": 5, "n": 2, "best_of": 2, "echo": true, "logprobs": 4,
        "temperature": 0, "seed": 7, "stop": "x", "suffix": "s", "user": "u",
    }));
    assert_eq!((full.max_tokens, full.choices, full.echo, full.stop), (5, 2, true, vec!["x".to_owned()]));
    assert_eq!((full.sampling.logprobs, full.sampling.seed), (Some(4), Some(7)));
    assert_eq!(full.extras.iter().map(|extra| extra.name.as_str()).collect::<Vec<_>>(), ["suffix"]);
}

#[test]
fn what_is_no_prompt_or_too_many_of_them_is_refused_by_name() {
    let many = json!(vec!["a"; 129]);
    for prompt in [many, json!([]), json!({}), json!(7), json!([1, "a"]), json!(["a", 1]), json!([[1.5]])] {
        let body = json!({ "model": "m", "prompt": prompt }).to_string();
        let error = read_completion(body.as_bytes()).unwrap_err();
        assert!(error.param().is_some_and(|param| param.starts_with("prompt")), "{error}");
        assert_ne!(error.kind(), ParseErrorKind::Missing);
    }
}

#[test]
fn a_prompt_in_a_log_line_shows_its_size_only() {
    let shown = format!("{:?}", completion(&json!({ "model": "m", "prompt": "secret" })));
    assert!(shown.contains("Text(6 bytes)") && !shown.contains("secret"), "{shown}");
}

// Rule 7
#[test]
fn usage_of_a_stream_is_asked_for_and_hidden_as_in_chat() {
    let body = r#"{"model":"m","prompt":"p","stream":true}"#;
    let request = Request::parse(Dialect::OpenAiCompletions, Bytes::from(body)).unwrap();
    assert_eq!(request.delivery, Delivery::Stream(UsageChunk::Unwanted));
    let forwarded = text(&request.forward_body("up", AskUsage::Always));
    assert_eq!(
        forwarded,
        r#"{"model":"up","stream_options":{"include_usage":true},"prompt":"p","stream":true}"#
    );
}

#[test]
fn what_is_asked_and_cannot_be_is_refused_by_name() {
    for (members, param) in [
        (json!({ "best_of": 2 }), "best_of"),
        (json!({ "n": 2, "best_of": 3 }), "best_of"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "n": 65, "prompt": ["a", "b"] }), "prompt"),
        (json!({ "logprobs": 21 }), "logprobs"),
        (json!({ "logit_bias": { "x": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "1": 101 } }), "logit_bias"),
        (json!({ "logit_bias": [1] }), "logit_bias"),
        (json!({ "repetition_penalty": 0 }), "repetition_penalty"),
        (json!({ "min_tokens": -1 }), "min_tokens"),
        (json!({ "stop_token_ids": [1.5] }), "stop_token_ids[0]"),
        (json!({ "stop_token_ids": vec![1; 129] }), "stop_token_ids"),
        (json!({ "ignore_eos": 1 }), "ignore_eos"),
    ] {
        let mut body = json!({ "model": "m", "prompt": "p" });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let error = read_completion(body.to_string().as_bytes()).expect_err(param);
        assert_eq!(error.param(), Some(param), "{error}");
    }
}

#[test]
fn what_only_a_model_of_our_own_is_told_is_read() {
    let read = completion(&json!({
        "model": "m", "prompt": "p", "repetition_penalty": 1.5, "logit_bias": { "7": -100, "8": 2.5 },
        "min_tokens": 3, "ignore_eos": true, "stop_token_ids": [5], "return_token_ids": true, "suffix": "s",
    }));
    assert_eq!(read.extras.iter().map(|extra| extra.name.as_str()).collect::<Vec<_>>(), ["suffix"]);
    let expected = Local {
        repetition_penalty: Some(1.5),
        logit_bias: vec![(7, -100.0), (8, 2.5)],
        min_tokens: Some(3),
        ignore_eos: true,
        stop_token_ids: vec![5],
        return_token_ids: true,
    };
    assert_eq!(read.local, expected);
    let nothing = json!({ "model": "m", "prompt": "p", "logit_bias": null, "min_tokens": null });
    assert_eq!(completion(&nothing).local, Local::default());
    assert_eq!(
        completion(&json!({ "model": "m", "prompt": "p", "echo": true, "max_tokens": 0 })).max_tokens,
        0
    );
}

#[test]
fn a_whole_answer_is_written_and_read_back() {
    let reply = Reply {
        id: None,
        blocks: vec![Block::text("hi there")],
        finish: FinishReason::Length.into(),
        usage: Some(Usage::of(1, 2)),
        told: Told::default(),
        others: Vec::new(),
    };
    let body = write_reply(&reply, &envelope(), Shown::default());
    insta::assert_snapshot!(text(&body));
    let read = read_reply(&body).unwrap();
    assert_eq!(
        (read.blocks, read.finish, read.usage),
        (vec![Block::text("hi there")], reply.finish, reply.usage)
    );
}

#[test]
fn a_stream_ends_with_what_was_asked_for() {
    let deltas = [
        Delta::Begin(Begin::default()),
        Delta::Open(Open::Text),
        Delta::Append("hi".into()),
        Delta::Append(" there".into()),
        Delta::Close,
        Delta::Finish(FinishReason::Stop.into()),
        Delta::Usage(Usage::of(1, 2)),
        Delta::End,
    ];
    insta::assert_snapshot!(write(Writer::new(&envelope(), UsageChunk::Wanted, Shown::default()), &deltas));
}

#[test]
fn a_providers_stream_keeps_the_grammar_whatever_comes() {
    let text = r#"{"id":"c1","choices":[{"index":0,"text":"a","finish_reason":null}]}"#;
    let end = r#"{"id":"c1","choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#;
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    for stream in [
        &[text, end, usage, "[DONE]"][..],
        &[text, "[DONE]"],
        &[text, end, text, end, "[DONE]", text],
        &[usage, text, end, "[DONE]", "[DONE]"],
    ] {
        let events: Vec<_> = stream.iter().map(|data| event(data)).collect();
        let (deltas, outcome) = read(Reader::new(), &events);
        assert_eq!(outcome, Ok(()), "{stream:?}");
        grammar::check(&deltas);
        assert!(grammar::is_whole(&deltas), "{stream:?}");
    }
    for broken in
        ["[DONE]", "[]", "<html>", r#"{"error":{"message":"m"}}"#, r#"{"object":"error","message":"m"}"#]
    {
        let (deltas, outcome) = read(Reader::new(), &[event(broken)]);
        assert!(outcome.is_err() && deltas.is_empty(), "{broken}");
    }
}

#[test]
fn what_is_no_completion_is_malformed() {
    for body in ["", "[]", "{}", r#"{"choices":[]}"#, r#"{"choices":[{"index":0}]}"#] {
        assert!(matches!(read_reply(body.as_bytes()), Err(Unreadable::Malformed(_))), "{body}");
    }
}
