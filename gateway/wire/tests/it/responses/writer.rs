//! The answer as a stream, byte for byte.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::Usage;
use wire::call::Call;
use wire::openai::responses::Writer;
use wire::reply::{Begin, Delta, Fault, FaultKind, FinishReason, Open, StreamWriter};

use super::support::{call, documents, envelope, joined, read_pieces, text, written};

fn plain() -> Call {
    call(&json!({ "model": "m", "input": "hi", "stream": true }))
}

fn with_tools() -> Call {
    call(&json!({ "model": "m", "input": "hi", "instructions": "be short", "temperature": 0.5,
        "metadata": { "k": "v" }, "tools": [
            { "type": "function", "name": "read", "parameters": { "type": "object", "properties": {} } },
            { "type": "custom", "name": "patch" },
        ] }))
}

fn append(text: &str) -> Delta {
    Delta::Append(text.into())
}

fn tool(id: &str, name: &str) -> Delta {
    Delta::Open(Open::ToolCall { id: id.into(), name: name.into() })
}

fn answer(blocks: &[&[Delta]], reason: FinishReason, usage: Option<Usage>) -> Vec<Delta> {
    let mut deltas = vec![Delta::Begin(Begin::default())];
    deltas.extend(blocks.concat());
    deltas.push(Delta::Finish(reason.into()));
    deltas.extend(usage.map(Delta::Usage));
    deltas.push(Delta::End);
    deltas
}

fn said() -> Vec<Delta> {
    vec![Delta::Open(Open::Text), append("Hel"), append("lo"), Delta::Close]
}

fn thought() -> Vec<Delta> {
    vec![Delta::Open(Open::Reasoning), append("Hm"), append("m"), Delta::Seal("c2ln".into()), Delta::Close]
}

// Rule 13
#[test]
fn a_text_is_streamed_in_the_order_that_clients_demand() {
    let usage = Usage { cached_tokens: Some(4), reasoning_tokens: Some(0), ..Usage::of(7, 3) };
    insta::assert_snapshot!(written(&answer(&[&said()], FinishReason::Stop, Some(usage)), &plain()));
}

#[test]
fn calls_of_functions_and_custom_tools_are_streamed() {
    let read = [tool("c1", "read"), append(r#"{"a":"#), append("1}"), Delta::Close];
    let bare = [tool("c2", "read"), Delta::Close];
    let patch = [tool("c3", "patch"), append(r#"{"input":"*** "#), append(r#"x\n"}"#), Delta::Close];
    let deltas = answer(&[&read, &bare, &patch], FinishReason::ToolCalls, None);
    insta::assert_snapshot!(written(&deltas, &with_tools()));
}

#[test]
fn reasoning_is_streamed_as_a_summary_with_a_marked_seal() {
    let redacted = [Delta::Open(Open::RedactedReasoning), Delta::Seal("cmVk".into()), Delta::Close];
    let deltas = answer(&[&thought(), &redacted, &said()], FinishReason::Stop, None);
    insta::assert_snapshot!(written(&deltas, &plain()));
}

#[test]
fn a_refusal_is_a_part_of_its_own_kind() {
    let refused = [Delta::Open(Open::Refusal), append("No."), Delta::Close];
    insta::assert_snapshot!(written(&answer(&[&refused], FinishReason::Stop, None), &plain()));
}

// Rule 14
#[test]
fn a_truncated_answer_is_incomplete_and_so_is_its_last_item() {
    let deltas = answer(&[&thought(), &said()], FinishReason::Length, Some(Usage::of(7, 3)));
    let events = documents(&written(&deltas, &plain()));
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["status"], "incomplete");
    assert_eq!(last["response"]["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    assert_eq!(last["response"]["output"][1]["status"], "incomplete");
    let filtered = documents(&written(&answer(&[], FinishReason::ContentFilter, None), &plain()));
    assert_eq!(
        filtered.last().unwrap()["response"]["incomplete_details"],
        json!({ "reason": "content_filter" })
    );
}

#[test]
fn usage_has_every_count_or_is_null() {
    let usage = |usage| {
        let events = documents(&written(&answer(&[&said()], FinishReason::Stop, usage), &plain()));
        events.last().unwrap()["response"]["usage"].clone()
    };
    assert_eq!(usage(None), Value::Null);
    assert_eq!(
        usage(Some(Usage::of(7, 3))),
        json!({ "input_tokens": 7, "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
            "output_tokens": 3, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 10 })
    );
}

#[test]
fn only_the_last_event_speaks_of_usage() {
    let begin = Delta::Begin(Begin { id: None, usage: Some(Usage::of(7, 0)) });
    let events = documents(&written(&[begin], &plain()));
    assert!(events.iter().all(|event| event["response"]["usage"].is_null()));
}

#[test]
fn an_answer_repeats_what_was_asked() {
    let events = documents(&written(&[Delta::Begin(Begin::default())], &with_tools()));
    let response = &events[0]["response"];
    assert_eq!(response["instructions"], "be short");
    assert_eq!((&response["temperature"], &response["metadata"]), (&json!(0.5), &json!({ "k": "v" })));
    assert_eq!(response["tools"][0]["name"], "read");
    assert_eq!((&response["id"], &response["created_at"]), (&json!("resp_01"), &json!(1_700_000_000)));
    assert_eq!((&response["status"], &response["model"]), (&json!("in_progress"), &json!("demo")));
}

// Rule 15
#[test]
fn a_failure_has_the_code_that_agents_act_upon() {
    let code = |fault: &Fault| {
        let (mut writer, mut out) = (Writer::new(envelope(), &plain()), BytesMut::new());
        writer.write(&Delta::Begin(Begin::default()), &mut out);
        writer.fail(fault, &mut out);
        let events = documents(&text(&out));
        let last = events.last().unwrap().clone();
        assert_eq!(
            (&last["type"], &last["response"]["status"]),
            (&json!("response.failed"), &json!("failed"))
        );
        assert_eq!(last["response"]["error"]["message"], fault.message);
        last["response"]["error"]["code"].as_str().unwrap().to_owned()
    };
    let fault = |kind, word: &'static str| Fault::new(kind, word, "try again in 1.5s");
    assert_eq!(code(&fault(FaultKind::RateLimit, "tokens_per_minute")), "rate_limit_exceeded");
    assert_eq!(code(&fault(FaultKind::InvalidRequest, "context_length_exceeded")), "context_length_exceeded");
    assert_eq!(code(&fault(FaultKind::Billing, "budget")), "insufficient_quota");
    assert_eq!(code(&fault(FaultKind::Overloaded, "busy")), "server_is_overloaded");
    assert_eq!(code(&fault(FaultKind::Timeout, "timeout")), "server_error");
    assert_eq!(code(&fault(FaultKind::Permission, "dlp")), "invalid_prompt");
}

// Rule 5
#[test]
fn a_stream_that_breaks_anywhere_ends_as_a_failure_and_never_as_complete() {
    let read = [tool("c1", "read"), append("{}"), Delta::Close];
    let deltas = answer(&[&thought(), &said(), &read], FinishReason::ToolCalls, Some(Usage::of(7, 3)));
    for cut in 0..deltas.len() {
        let (mut writer, mut out) = (Writer::new(envelope(), &with_tools()), BytesMut::new());
        for delta in &deltas[..cut] {
            writer.write(delta, &mut out);
        }
        writer.fail(&Fault::new(FaultKind::Server, "upstream_cut", "the answer broke off"), &mut out);
        let events = documents(&text(&out));
        // The official client raises if anything precedes `response.created`.
        assert_eq!(events[0]["type"], "response.created", "cut at {cut}");
        assert_eq!(events.last().unwrap()["type"], "response.failed", "cut at {cut}");
        assert!(!events.iter().any(|event| event["type"] == "response.completed"), "cut at {cut}");
        assert_sequence(&events);
        if cut == 7 {
            insta::assert_snapshot!("a_stream_that_breaks_inside_a_text", text(&out));
        }
    }
}

// Rule 3
#[test]
fn a_stream_has_no_done_marker_and_keeps_alive_with_comments() {
    let mut deltas = answer(&[&said()], FinishReason::Stop, None);
    deltas.insert(1, Delta::Ping);
    let stream = written(&deltas, &plain());
    assert!(!stream.contains("[DONE]"));
    assert!(stream.contains("\n\n: keep-alive\n\n"));
    assert!(stream.ends_with("\n\n"));
}

fn assert_sequence(events: &[Value]) {
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(number), "{event}");
    }
}

fn block(number: usize) -> impl Strategy<Value = Vec<Delta>> {
    let words = || prop::collection::vec("[a-zé\"\\\\\n\u{2028}]{1,6}", 1..4);
    let appended = |texts: Vec<String>| texts.into_iter().map(Delta::Append).collect::<Vec<_>>();
    let around = |open: Delta, inner: Vec<Delta>| [vec![open], inner, vec![Delta::Close]].concat();
    prop_oneof![
        words().prop_map(move |texts| around(Delta::Open(Open::Text), appended(texts))),
        words().prop_map(move |texts| around(Delta::Open(Open::Refusal), appended(texts))),
        words().prop_map(move |texts| {
            let sealed = [appended(texts), vec![Delta::Seal("c2ln".into())]].concat();
            around(Delta::Open(Open::Reasoning), sealed)
        }),
        Just(around(Delta::Open(Open::RedactedReasoning), vec![Delta::Seal("cmVk".into())])),
        words().prop_map(move |texts| {
            let arguments = json!({ "a": texts }).to_string();
            around(tool(&format!("call_{number}"), "read"), vec![Delta::Append(arguments)])
        }),
        words().prop_map(move |texts| around(tool(&format!("call_{number}"), "patch"), appended(texts))),
    ]
}

fn blocks() -> impl Strategy<Value = Vec<Vec<Delta>>> {
    (0..5_usize).prop_flat_map(|count| (0..count).map(block).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(blocks in blocks(), usage in any::<Option<u32>>()) {
        let usage = usage.map(|count| Usage {
            cached_tokens: Some(0),
            cache_write_tokens: Some(0),
            reasoning_tokens: Some(0),
            ..Usage::of(u64::from(count), 3)
        });
        let calls = blocks.iter().any(|block| matches!(block[0], Delta::Open(Open::ToolCall { .. })));
        let reason = if calls { FinishReason::ToolCalls } else { FinishReason::Stop };
        let blocks: Vec<&[Delta]> = blocks.iter().map(Vec::as_slice).collect();
        let deltas = answer(&blocks, reason, usage);
        let stream = written(&deltas, &with_tools());
        let events = documents(&stream);
        assert_sequence(&events);
        for event in stream.split("\n\n").filter(|event| !event.is_empty()) {
            let name = event.lines().next().unwrap().strip_prefix("event: ").unwrap();
            let named = format!("{{\"type\":\"{name}\"");
            prop_assert!(event.lines().nth(1).unwrap().strip_prefix("data: ").is_some_and(|data| data.starts_with(&named)));
        }
        let marked = |delta: &Delta| match delta {
            Delta::Seal(data) => Delta::Seal(format!("pc1.cloud.{data}")),
            Delta::Begin(_) => Delta::Begin(Begin { id: Some("resp_01".into()), usage: None }),
            other => other.clone(),
        };
        let expected: Vec<Delta> = joined(deltas.iter().map(marked).collect());
        prop_assert_eq!(joined(read_pieces(&[stream.as_bytes()]).unwrap()), expected);
    }
}
