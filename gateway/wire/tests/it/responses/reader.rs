//! The stream of a provider, read.

use proptest::prelude::*;
use serde_json::{Value, json};
use wire::reply::{Begin, Delta, Fault, FaultKind, FinishReason, Open, Unreadable};
use wire::{Usage, sse};

use super::support::{assert_grammar, joined, read, read_pieces, stream};

fn created() -> Value {
    json!({ "type": "response.created", "response": { "id": "resp_9", "status": "in_progress", "output": [] } })
}

fn completed() -> Value {
    json!({ "type": "response.completed", "response": { "id": "resp_9", "status": "completed", "output": [],
        "usage": { "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 2 },
            "output_tokens": 5, "output_tokens_details": { "reasoning_tokens": 3 }, "total_tokens": 15 } } })
}

fn begin() -> Delta {
    Delta::Begin(Begin { id: Some("resp_9".into()), usage: None })
}

fn ending(reason: FinishReason) -> [Delta; 3] {
    let usage = Usage {
        cached_tokens: Some(4),
        cache_write_tokens: Some(2),
        reasoning_tokens: Some(3),
        ..Usage::of(10, 5)
    };
    [Delta::Finish(reason.into()), Delta::Usage(usage), Delta::End]
}

fn added(index: usize, item: &Value) -> Value {
    json!({ "type": "response.output_item.added", "output_index": index, "item": item })
}

fn done(index: usize, item: &Value) -> Value {
    json!({ "type": "response.output_item.done", "output_index": index, "item": item })
}

fn text_delta(index: usize, delta: &str) -> Value {
    json!({ "type": "response.output_text.delta", "output_index": index, "content_index": 0, "delta": delta })
}

fn arguments_delta(index: usize, delta: &str) -> Value {
    json!({ "type": "response.function_call_arguments.delta", "output_index": index, "delta": delta })
}

fn message(text: &str) -> Value {
    json!({ "type": "message", "id": "msg_1", "role": "assistant",
        "content": [{ "type": "output_text", "text": text, "annotations": [] }] })
}

fn called(id: &str, arguments: &str) -> Value {
    json!({ "type": "function_call", "id": "fc_1", "call_id": id, "name": "read", "arguments": arguments })
}

fn text(text: &str) -> Vec<Delta> {
    vec![Delta::Open(Open::Text), Delta::Append(text.into()), Delta::Close]
}

fn tool_call(id: &str, arguments: &str) -> Vec<Delta> {
    let open = Delta::Open(Open::ToolCall { id: id.into(), name: "read".into() });
    if arguments.is_empty() {
        return vec![open, Delta::Close];
    }
    vec![open, Delta::Append(arguments.into()), Delta::Close]
}

#[track_caller]
fn check(events: &[Value], blocks: &[Vec<Delta>], reason: FinishReason) {
    let mut all = vec![created()];
    all.extend_from_slice(events);
    all.push(completed());
    let expected: Vec<Delta> = [begin()].into_iter().chain(blocks.concat()).chain(ending(reason)).collect();
    assert_eq!(joined(read(&all).expect("the stream is readable")), expected);
}

#[test]
fn text_passes_while_it_comes() {
    let events = [
        created(),
        json!({ "type": "response.in_progress", "response": { "id": "resp_9", "status": "in_progress" } }),
        added(0, &json!({ "type": "message", "id": "msg_1", "content": [] })),
        json!({ "type": "response.content_part.added", "output_index": 0, "content_index": 0,
            "part": { "type": "output_text", "text": "" } }),
        text_delta(0, "Hel"),
        text_delta(0, "lo"),
    ];
    let expected =
        [begin(), Delta::Open(Open::Text), Delta::Append("Hel".into()), Delta::Append("lo".into())];
    assert_eq!(read(&events), Ok(expected.to_vec()));
}

// Complaint 16
#[test]
fn parallel_calls_that_interleave_come_one_after_the_other() {
    let events = [
        added(0, &called("call_a", "")),
        added(1, &called("call_b", "")),
        arguments_delta(1, r#"{"b":"#),
        arguments_delta(0, r#"{"a":"#),
        arguments_delta(1, "2}"),
        arguments_delta(0, "1}"),
        done(1, &called("call_b", r#"{"b":2}"#)),
        done(0, &called("call_a", r#"{"a":1}"#)),
    ];
    let blocks = [tool_call("call_a", r#"{"a":1}"#), tool_call("call_b", r#"{"b":2}"#)];
    check(&events, &blocks, FinishReason::ToolCalls);
}

#[test]
fn a_call_without_arguments_has_none() {
    let events = [added(0, &called("call_a", "")), done(0, &called("call_a", ""))];
    check(&events, &[tool_call("call_a", "")], FinishReason::ToolCalls);
}

#[test]
fn text_is_taken_from_the_end_of_a_part_or_item_where_no_delta_came() {
    let part =
        json!({ "type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hi" });
    check(std::slice::from_ref(&part), &[text("Hi")], FinishReason::Stop);
    check(&[done(0, &message("Hi"))], &[text("Hi")], FinishReason::Stop);
    let arguments =
        json!({ "type": "response.function_call_arguments.done", "output_index": 0, "arguments": "{}" });
    let call = [added(0, &called("c", "")), arguments];
    check(&call, &[tool_call("c", "{}")], FinishReason::ToolCalls);
    check(&[done(0, &called("c", "{}"))], &[tool_call("c", "{}")], FinishReason::ToolCalls);
    // What came in deltas is not said again.
    check(&[text_delta(0, "Hi"), part, done(0, &message("Hi"))], &[text("Hi")], FinishReason::Stop);
}

#[test]
fn an_answer_that_comes_in_its_last_event_alone_is_read_from_it() {
    let last = json!({ "type": "response.completed", "response": { "id": "resp_9", "status": "completed",
        "output": [message("Hi"), called("c", "{}")], "usage": null } });
    let deltas = read(&[created(), last]).unwrap();
    let expected = [vec![begin()], text("Hi"), tool_call("c", "{}")].concat();
    assert_eq!(deltas[..expected.len()], expected);
    assert_eq!(deltas[expected.len()..], [Delta::Finish(FinishReason::ToolCalls.into()), Delta::End]);
}

#[test]
fn reasoning_keeps_its_seal_and_comes_before_the_text() {
    let summary = |index: u32, delta: &str| {
        json!({ "type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": index,
            "delta": delta })
    };
    let item = json!({ "type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
        "summary": [{ "type": "summary_text", "text": "First" }, { "type": "summary_text", "text": "Then" }] });
    let events = [
        added(0, &json!({ "type": "reasoning", "id": "rs_1", "summary": [] })),
        summary(0, "Fir"),
        summary(0, "st"),
        summary(1, "Then"),
        done(0, &item),
        text_delta(1, "Hi"),
    ];
    let reasoning = vec![
        Delta::Open(Open::Reasoning),
        Delta::Append("First\n\nThen".into()),
        Delta::Seal("gAAA".into()),
        Delta::Close,
    ];
    check(&events, &[reasoning.clone(), text("Hi")], FinishReason::Stop);
    check(&[done(0, &item), text_delta(1, "Hi")], &[reasoning, text("Hi")], FinishReason::Stop);
}

#[test]
fn reasoning_without_words_is_its_seal_and_without_a_seal_nothing() {
    let item = |sealed: Value| json!({ "type": "reasoning", "summary": [], "encrypted_content": sealed });
    let sealed = vec![Delta::Open(Open::RedactedReasoning), Delta::Seal("gAAA".into()), Delta::Close];
    check(&[done(0, &item(json!("gAAA")))], &[sealed], FinishReason::Stop);
    check(&[done(0, &item(Value::Null))], &[], FinishReason::Stop);
}

#[test]
fn the_words_of_open_models_are_read_once() {
    let word = |kind: &str, delta: &str| json!({ "type": kind, "output_index": 0, "content_index": 0, "summary_index": 0, "delta": delta });
    let events = [
        word("response.reasoning_text.delta", "all "),
        word("response.reasoning_text.delta", "of it"),
        word("response.reasoning_summary_text.delta", "it"),
    ];
    let words = vec![Delta::Open(Open::Reasoning), Delta::Append("all of it".into()), Delta::Close];
    check(&events, &[words], FinishReason::Stop);
}

#[test]
fn servers_that_count_parts_from_minus_one_are_understood() {
    let word = |delta: &str| {
        json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": -1,
        "delta": delta })
    };
    check(&[word("Hi")], &[text("Hi")], FinishReason::Stop);
}

#[test]
fn a_refusal_is_a_block_of_its_own_behind_the_text() {
    let refusal =
        json!({ "type": "response.refusal.delta", "output_index": 0, "content_index": 1, "delta": "No." });
    let blocks = [text("Hm"), vec![Delta::Open(Open::Refusal), Delta::Append("No.".into()), Delta::Close]];
    check(&[text_delta(0, "Hm"), refusal], &blocks, FinishReason::Stop);
}

#[test]
fn custom_tools_and_namespaces_are_read() {
    let custom =
        json!({ "type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "patch", "input": "" });
    let input = |delta: &str| json!({ "type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": delta });
    let grouped =
        json!({ "type": "function_call", "call_id": "d", "namespace": "n", "name": "f", "arguments": "{}" });
    let open = |id: &str, name: &str| Delta::Open(Open::ToolCall { id: id.into(), name: name.into() });
    let blocks = [
        vec![open("c", "patch"), Delta::Append("*** x".into()), Delta::Close],
        vec![open("d", "n__f"), Delta::Append("{}".into()), Delta::Close],
    ];
    let events = [added(0, &custom), input("*** "), input("x"), done(0, &custom), done(1, &grouped)];
    check(&events, &blocks, FinishReason::ToolCalls);
}

#[test]
fn an_empty_text_is_no_block() {
    let events = [added(0, &message("")), done(0, &message("")), done(1, &called("c", "{}"))];
    check(&events, &[tool_call("c", "{}")], FinishReason::ToolCalls);
}

#[test]
fn hosted_tools_and_later_events_say_nothing() {
    let search =
        json!({ "type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}, "input": {} });
    let events = [
        added(0, &search),
        json!({ "type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1" }),
        done(0, &search),
        json!({ "type": "response.something.later", "delta": { "a": 1 }, "text": [] }),
        text_delta(1, "Hi"),
        json!({ "type": "response.output_text.annotation.added", "annotation": {} }),
    ];
    check(&events, &[text("Hi")], FinishReason::Stop);
}

// Rule 31
#[test]
fn a_sign_of_life_is_passed_on() {
    let deltas = read(&[created(), json!({ "type": "keepalive", "sequence_number": 3 })]);
    assert_eq!(deltas, Ok(vec![begin(), Delta::Ping]));
}

#[test]
fn each_reason_of_an_incomplete_answer_is_understood() {
    let reason = |reason: &str| {
        let last = json!({ "type": "response.incomplete", "response": { "status": "incomplete",
            "incomplete_details": { "reason": reason }, "usage": { "input_tokens": 1, "output_tokens": 2 } } });
        let deltas = read(&[created(), text_delta(0, "Hi"), last]).unwrap();
        assert_eq!(deltas[deltas.len() - 2..], [Delta::Usage(Usage::of(1, 2)), Delta::End]);
        let Delta::Finish(finish) = &deltas[deltas.len() - 3] else { panic!("no finish in {deltas:?}") };
        finish.reason
    };
    assert_eq!(reason("max_output_tokens"), FinishReason::Length);
    assert_eq!(reason("content_filter"), FinishReason::ContentFilter);
    assert_eq!(reason("steered"), FinishReason::Other);
}

// Complaint 12
#[test]
fn a_failure_behind_the_first_events_is_the_providers_own_error() {
    let failed = json!({ "type": "response.failed", "response": { "id": "resp_9", "status": "failed",
        "error": { "code": "insufficient_quota", "message": "no money" } } });
    let fault = |events: &[Value]| match read(events) {
        Err(Unreadable::Fault(Fault { kind, code, message, .. })) => (kind, code.map(String::from), message),
        other => panic!("no fault: {other:?}"),
    };
    let quota = (FaultKind::Billing, Some("insufficient_quota".to_owned()), "no money".to_owned());
    assert_eq!(fault(&[created(), failed]), quota);
    let flat = json!({ "type": "error", "code": "rate_limit_exceeded", "message": "slowly", "param": null });
    let limit = (FaultKind::RateLimit, Some("rate_limit_exceeded".to_owned()), "slowly".to_owned());
    assert_eq!(fault(&[flat]), limit);
    let nested =
        json!({ "type": "error", "error": { "type": "server_error", "message": "down", "code": null } });
    assert_eq!(fault(&[created(), nested]), (FaultKind::Server, None, "down".to_owned()));
    let silent = json!({ "type": "response.failed", "response": { "status": "failed", "error": null } });
    assert_eq!(fault(&[silent]).0, FaultKind::Server);
}

#[test]
fn what_is_no_event_of_the_api_is_malformed() {
    let malformed = |event: Value| match read(&[created(), event]) {
        Err(Unreadable::Malformed(reason)) => reason,
        other => panic!("accepted: {other:?}"),
    };
    malformed(json!({ "type": "response.output_text.delta", "output_index": 0, "delta": 7 }));
    malformed(
        json!({ "type": "response.output_item.done", "output_index": 0, "item": { "type": "function_call" } }),
    );
    malformed(json!({ "type": "response.completed" }));
    assert!(matches!(read_pieces(&[b"data: nonsense\n\n"]), Err(Unreadable::Malformed(_))));
}

// Rule 3
#[test]
fn what_follows_the_end_says_nothing() {
    let mut bytes = stream(&[created(), text_delta(0, "[DONE]"), completed()]);
    bytes.push_str("data: [DONE]\n\n");
    let expected: Vec<Delta> =
        [begin()].into_iter().chain(text("[DONE]")).chain(ending(FinishReason::Stop)).collect();
    assert_eq!(read_pieces(&[bytes.as_bytes()]), Ok(expected));
}

#[test]
fn too_much_out_of_order_is_refused() {
    let long = "x".repeat(900_000);
    let mut events = vec![created(), text_delta(0, "a")];
    events.extend((0..20).map(|_| text_delta(1, &long)));
    assert!(matches!(read(&events), Err(Unreadable::Malformed(_))));
    let mut many = vec![created()];
    many.extend((0..300).map(|index| text_delta(index, "a")));
    assert!(matches!(read(&many), Err(Unreadable::Malformed(_))));
}

/// A stream with everything, items in order.
fn full() -> Vec<Value> {
    let reasoning = json!({ "type": "reasoning", "summary": [], "encrypted_content": "gAAA" });
    vec![
        created(),
        json!({ "type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "é" }),
        done(0, &reasoning),
        text_delta(1, "Hi \u{1f980}"),
        text_delta(1, " there"),
        done(1, &message("")),
        added(2, &called("a", "")),
        arguments_delta(2, r#"{"a":"#),
        arguments_delta(2, "1}"),
        done(2, &called("a", "")),
        completed(),
    ]
}

// Rule 5
#[test]
fn a_stream_cut_behind_any_event_has_no_end() {
    let events = full();
    for cut in 0..events.len() {
        let deltas = read(&events[..cut]).expect("a cut is no error of an event");
        assert!(!deltas.contains(&Delta::End), "cut at {cut}");
        assert!(!deltas.iter().any(|delta| matches!(delta, Delta::Finish(_))), "cut at {cut}");
    }
}

/// The events of three items, in an order in which each item's own events keep theirs.
fn interleaved() -> impl Strategy<Value = Vec<Value>> {
    let lanes = [
        vec![added(0, &message("")), text_delta(0, "a"), text_delta(0, "b"), done(0, &message("ab"))],
        vec![
            added(1, &called("one", "")),
            arguments_delta(1, "{"),
            arguments_delta(1, "}"),
            done(1, &called("one", "{}")),
        ],
        vec![added(2, &called("two", "")), arguments_delta(2, "[]"), done(2, &called("two", "[]"))],
    ];
    let order: Vec<usize> =
        lanes.iter().enumerate().flat_map(|(lane, events)| vec![lane; events.len()]).collect();
    Just(order).prop_shuffle().prop_map(move |order| {
        let mut rests: Vec<_> = lanes.iter().map(|events| events.iter()).collect();
        order.into_iter().filter_map(|lane| rests[lane].next().cloned()).collect()
    })
}

proptest! {
    // Rule 1
    #[test]
    fn a_stream_split_at_any_byte_says_the_same(at in any::<prop::sample::Index>()) {
        let bytes = stream(&full());
        let at = at.index(bytes.len() + 1);
        let split = read_pieces(&[&bytes.as_bytes()[..at], &bytes.as_bytes()[at..]]);
        prop_assert_eq!(split, read_pieces(&[bytes.as_bytes()]));
    }

    #[test]
    fn interleaved_items_become_the_same_blocks_in_any_order(events in interleaved()) {
        let mut all = vec![created()];
        all.extend(events);
        all.push(completed());
        let deltas = joined(read(&all).unwrap());
        assert_grammar(&deltas);
        for block in [text("ab"), tool_call("one", "{}"), tool_call("two", "[]")] {
            let found = deltas.windows(block.len()).filter(|window| *window == block).count();
            prop_assert_eq!(found, 1);
        }
        prop_assert_eq!(&deltas[deltas.len() - 3..], &ending(FinishReason::ToolCalls));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut frames = sse::Reader::new(1 << 20);
        frames.push(b"data: {\"type\":\"response.output_item.done\",\"item\":");
        frames.push(&bytes);
        frames.push(b"\n\n");
        if let Ok(Some(frame)) = frames.next_frame() {
            let mut deltas = Vec::new();
            let mut reader = wire::openai::responses::Reader::new();
            if let Some(event) = &frame.event {
                let _ = wire::reply::EventReader::read(&mut reader, event, &mut deltas);
            }
            assert_grammar(&deltas);
        }
    }
}
