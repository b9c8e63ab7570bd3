//! Whole answers, written and read.

use serde_json::{Value, json};
use wire::Usage;
use wire::call::{Block, Content, Reasoning, Seal, ToolCall};
use wire::openai::responses::{read_reply, write_reply};
use wire::reply::{FaultKind, FinishReason, Reply, Told, Unreadable};

use super::support::{call, envelope, text};

fn reply(reason: FinishReason) -> Reply {
    let tool = |id: &str, name: &str, arguments: &str| {
        Content::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
    };
    let blocks = [
        Content::Reasoning(Reasoning {
            text: "Hmm".into(),
            seal: Some(Seal::of("cloud", "c2ln")),
            is_redacted: false,
        }),
        Content::Text("Hello".into()),
        tool("c1", "read", ""),
        tool("c2", "patch", r#"{"input":"*** x"}"#),
    ];
    Reply {
        id: None,
        blocks: blocks.into_iter().map(Block::from).collect(),
        finish: reason.into(),
        usage: Some(Usage::of(7, 3)),
        told: Told::default(),
        others: Vec::new(),
    }
}

fn whole(reply: &Reply) -> Value {
    let call = call(&json!({ "model": "m", "input": "hi", "tools": [
        { "type": "function", "name": "read", "parameters": {} }, { "type": "custom", "name": "patch" }] }));
    serde_json::from_slice(&write_reply(reply, &envelope(), &call)).expect("answers are JSON")
}

#[test]
fn a_whole_answer_has_every_member_that_clients_demand() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&whole(&reply(FinishReason::ToolCalls))).unwrap());
}

#[test]
fn a_truncated_answer_is_incomplete_at_its_end() {
    let body = whole(&reply(FinishReason::Length));
    assert_eq!((&body["status"], &body["output"][3]["status"]), (&json!("incomplete"), &json!("incomplete")));
    assert_eq!(body["output"][1]["status"], "completed");
    assert_eq!(body["incomplete_details"], json!({ "reason": "max_output_tokens" }));
}

#[test]
fn a_whole_answer_is_read_back_as_it_was() {
    let body = whole(&reply(FinishReason::ToolCalls)).to_string();
    let read = read_reply(body.as_bytes(), "cloud").unwrap();
    let contents: Vec<_> = read.blocks.iter().map(|block| block.content.clone()).collect();
    let Content::Reasoning(reasoning) = &contents[0] else { panic!("no reasoning") };
    assert_eq!(reasoning.seal, Some(Seal::of("cloud", "pc1.cloud.c2ln")));
    assert_eq!(contents[1], Content::Text("Hello".into()));
    let Content::ToolCall(patch) = &contents[3] else { panic!("no call") };
    assert_eq!((patch.id.as_str(), patch.arguments.as_str()), ("c2", "*** x"));
    assert_eq!((read.id.as_deref(), read.finish.reason), (Some("resp_01"), FinishReason::ToolCalls));
    assert_eq!(read.usage.map(|usage| usage.total_tokens()), Some(10));
}

#[test]
fn absent_usage_stays_absent() {
    let read = read_reply(br#"{"status":"completed","output":[]}"#, "cloud").unwrap();
    assert_eq!((read.usage, read.blocks.len()), (None, 0));
    let written = whole(&Reply { usage: None, ..reply(FinishReason::Stop) });
    assert_eq!(written["usage"], Value::Null);
}

#[test]
fn a_failed_answer_is_its_error_and_an_unfinished_one_is_refused() {
    let failed = br#"{"status":"failed","output":[],"error":{"code":"server_error","message":"down"}}"#;
    let Err(Unreadable::Fault(fault)) = read_reply(failed, "cloud") else { panic!("accepted") };
    assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Server, "down"));
    let bodies: [&[u8]; 4] = [br#"{"status":"queued","output":[]}"#, b"{}", b"[]", b"<html>"];
    for body in bodies {
        assert!(matches!(read_reply(body, "cloud"), Err(Unreadable::Malformed(_))), "{}", text(body));
    }
    // An error with a good status is an error all the same.
    let error = read_reply(br#"{"error":{"message":"no","type":"invalid_request_error"}}"#, "cloud");
    assert!(matches!(error, Err(Unreadable::Fault(_))));
}
