//! Completions: the prompt, the answers, and the stream of a provider.

use bytes::Bytes;
use serde_json::{Value, json};
use wire::call::Block;
use wire::openai::completions::{
    Completion, Prompt, Reader, Writer, read_completion, read_reply, write_reply,
};
use wire::reply::{Begin, Delta, FinishReason, Open, Reply, Unreadable};
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
    let prompt = |prompt: Value| completion(&json!({ "model": "m", "prompt": prompt })).prompt;
    assert_eq!(prompt(json!("once")), Prompt::Text("once".into()));
    assert_eq!(prompt(json!(["once"])), Prompt::Text("once".into()));
    assert_eq!(prompt(json!([1, 2])), Prompt::Tokens(vec![1, 2]));
    assert_eq!(prompt(json!([[1, 2]])), Prompt::Tokens(vec![1, 2]));
    assert_eq!(prompt(json!("")), Prompt::Text(String::new()));
}

#[test]
fn every_field_that_is_used_is_read_and_has_its_default() {
    let least = completion(&json!({ "model": "m", "prompt": "p" }));
    assert_eq!((least.max_tokens, least.choices, least.echo, least.stop.len()), (16, 1, false, 0));
    let full = completion(&json!({
        "model": "m", "prompt": "p", "max_tokens": 5, "n": 2, "best_of": 3, "echo": true, "logprobs": 4,
        "temperature": 0, "seed": 7, "stop": "x", "suffix": "s", "user": "u",
    }));
    assert_eq!((full.max_tokens, full.choices, full.echo, full.stop), (5, 3, true, vec!["x".to_owned()]));
    assert_eq!((full.sampling.logprobs, full.sampling.seed), (Some(4), Some(7)));
    assert_eq!(full.extras.iter().map(|extra| extra.name.as_str()).collect::<Vec<_>>(), ["suffix"]);
}

#[test]
fn several_prompts_are_several_requests() {
    for prompt in [json!(["a", "b"]), json!([]), json!([[1], [2]]), json!({}), json!([1, "a"])] {
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
fn a_whole_answer_repeats_the_prompt_and_is_read_back() {
    let reply = Reply {
        id: None,
        blocks: vec![Block::text(" there")],
        finish: FinishReason::Length.into(),
        usage: Some(Usage::of(1, 2)),
    };
    let body = write_reply(&reply, &envelope(), "hi");
    insta::assert_snapshot!(text(&body));
    let read = read_reply(&body).unwrap();
    assert_eq!(
        (read.blocks, read.finish, read.usage),
        (vec![Block::text("hi there")], reply.finish, reply.usage)
    );
}

#[test]
fn a_stream_repeats_the_prompt_and_ends_with_what_was_asked_for() {
    let deltas = [
        Delta::Begin(Begin::default()),
        Delta::Open(Open::Text),
        Delta::Append(" there".into()),
        Delta::Close,
        Delta::Finish(FinishReason::Stop.into()),
        Delta::Usage(Usage::of(1, 2)),
        Delta::End,
    ];
    insta::assert_snapshot!(write(Writer::new(&envelope(), UsageChunk::Wanted, "hi"), &deltas));
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
