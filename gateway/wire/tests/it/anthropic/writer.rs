//! What clients of the dialect read while an answer comes.

use bytes::BytesMut;
use wire::Usage;
use wire::anthropic::messages::Writer;
use wire::reply::{Begin, Delta, Fault, FaultKind, Finish, FinishReason, Open, StreamWriter};

use super::{envelope, events, write_stream};

fn begin(usage: Option<Usage>) -> Delta {
    Delta::Begin(Begin { id: Some("chatcmpl-9".into()), usage })
}

fn text(text: &str) -> [Delta; 3] {
    [Delta::Open(Open::Text), Delta::Append(text.into()), Delta::Close]
}

/// A stream of a provider of another dialect, with everything in it.
fn whole() -> Vec<Delta> {
    let tool = |id: &str| Delta::Open(Open::ToolCall { id: id.into(), name: "look".into() });
    let mut deltas = vec![
        begin(None),
        Delta::Open(Open::Reasoning),
        Delta::Append("Let me ".into()),
        Delta::Seal("gAAA".into()),
        Delta::Append("see.".into()),
        Delta::Close,
        Delta::Open(Open::RedactedReasoning),
        Delta::Seal("ZGF0YQ==".into()),
        Delta::Close,
    ];
    deltas.extend(text("I look.\nevent: error\n\n"));
    deltas.extend([
        tool("call_1"),
        Delta::Append("{\"at\":".into()),
        Delta::Ping,
        Delta::Append("1}".into()),
        Delta::Close,
        tool("call_2"),
        Delta::Close,
        Delta::Finish(FinishReason::Stop.into()),
        Delta::Usage(Usage {
            prompt_tokens: 3210,
            completion_tokens: 89,
            cached_tokens: Some(3000),
            cache_write_tokens: None,
            reasoning_tokens: Some(30),
        }),
        Delta::End,
    ]);
    deltas
}

#[test]
fn a_stream_has_every_event_in_the_order_that_clients_demand() {
    // Rules 3, 10 and 11
    insta::assert_snapshot!(write_stream(&whole()));
}

/// The names of the events of a stream, and the reason that it gives for its end.
fn outline(deltas: &[Delta]) -> (Vec<String>, String) {
    let written = write_stream(deltas);
    let events = events(written.as_bytes());
    let names: Vec<_> =
        events.iter().map(|event| event.name().expect("every event has a name").to_owned()).collect();
    let reason = events.iter().find(|event| event.name() == Some("message_delta")).map(|event| {
        let data: serde_json::Value = serde_json::from_str(event.data()).expect("data are JSON");
        format!("{} {}", data["delta"]["stop_reason"], data["delta"]["stop_sequence"])
    });
    (names, reason.unwrap_or_default())
}

#[test]
fn numbers_of_blocks_have_no_gap_where_a_block_says_nothing() {
    // Rule 10
    let mut deltas = vec![begin(None)];
    for open in [Open::Text, Open::Reasoning, Open::RedactedReasoning, Open::Refusal] {
        deltas.extend([Delta::Open(open), Delta::Append(String::new()), Delta::Close]);
    }
    deltas.extend(text("x"));
    deltas.extend([Delta::Finish(FinishReason::Stop.into()), Delta::End]);
    let written = write_stream(&deltas);
    assert!(
        written.contains(
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#
        )
    );
    assert!(!written.contains(r#""index":1"#), "{written}");
}

#[test]
fn an_empty_answer_is_a_whole_message() {
    let (names, reason) = outline(&[begin(None), Delta::Finish(FinishReason::Stop.into()), Delta::End]);
    assert_eq!(names, ["message_start", "message_delta", "message_stop"]);
    assert_eq!(reason, r#""end_turn" null"#);
}

#[test]
fn only_the_apis_own_reasons_to_stop_reach_a_client() {
    // Rule 9
    let reason = |finish: Finish, blocks: &[Delta]| {
        let deltas = [&[begin(None)], blocks, &[Delta::Finish(finish), Delta::End]].concat();
        outline(&deltas).1
    };
    let expected = [
        (FinishReason::Stop, "end_turn"),
        (FinishReason::Length, "max_tokens"),
        (FinishReason::ToolCalls, "tool_use"),
        (FinishReason::ContentFilter, "refusal"),
        (FinishReason::Paused, "pause_turn"),
        (FinishReason::Other, "end_turn"),
    ];
    for (finish, word) in expected {
        assert_eq!(reason(finish.into(), &text("x")), format!("\"{word}\" null"));
    }
    let met = Finish { reason: FinishReason::Stop, stop_sequence: Some("END".into()) };
    assert_eq!(reason(met.clone(), &[]), r#""stop_sequence" "END""#);
    // Never a plain end where a tool waits, or after words of refusal.
    let call = [Delta::Open(Open::ToolCall { id: "a".into(), name: "f".into() }), Delta::Close];
    assert_eq!(reason(met, &call), r#""tool_use" null"#);
    let refusal = [Delta::Open(Open::Refusal), Delta::Append("No.".into()), Delta::Close];
    assert_eq!(reason(FinishReason::Stop.into(), &refusal), r#""refusal" null"#);
}

/// The two reports of usage in a stream.
fn usages(at_the_beginning: Option<Usage>, at_the_end: Option<Usage>) -> [String; 2] {
    let mut deltas = vec![begin(at_the_beginning), Delta::Finish(FinishReason::Stop.into())];
    deltas.extend(at_the_end.map(Delta::Usage));
    deltas.push(Delta::End);
    let written = write_stream(&deltas);
    let events = events(written.as_bytes());
    let data = |name| -> serde_json::Value {
        let event = events.iter().find(|event| event.name() == Some(name)).expect("the event was written");
        serde_json::from_str(event.data()).expect("data are JSON")
    };
    [data("message_start")["message"]["usage"].to_string(), data("message_delta")["usage"].to_string()]
}

#[test]
fn usage_at_the_beginning_is_real_where_somebody_has_counted() {
    // Rule 12, complaint 6
    let counted = Usage { cached_tokens: Some(3000), cache_write_tokens: Some(200), ..Usage::of(3210, 0) };
    let [first, last] = usages(Some(counted), Some(Usage { completion_tokens: 7, ..counted }));
    assert_eq!(
        first,
        r#"{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":0}"#
    );
    assert_eq!(
        last,
        r#"{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":7}"#
    );
}

#[test]
fn usage_that_nobody_counted_has_its_two_required_numbers() {
    // Complaint 6
    let none = r#"{"input_tokens":0,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"output_tokens":0}"#;
    assert_eq!(usages(None, None), [none, none]);
    let [_, last] = usages(None, Some(Usage::of(5, 7)));
    assert_eq!(
        last,
        r#"{"input_tokens":5,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"output_tokens":7}"#
    );
}

#[test]
fn thoughts_always_end_with_a_signature() {
    // Rule 11
    let thought = |deltas: &[Delta]| {
        let all = [&[begin(None), Delta::Open(Open::Reasoning)], deltas, &[Delta::Close]].concat();
        write_stream(&all)
    };
    let unsealed = thought(&[Delta::Append("hm".into())]);
    assert!(unsealed.contains(r#"{"type":"signature_delta","signature":"pc1.cloud."}"#), "{unsealed}");
    let wordless = thought(&[Delta::Seal("gAAA".into())]);
    assert!(wordless.contains(r#"{"type":"signature_delta","signature":"pc1.cloud.gAAA"}"#), "{wordless}");
}

#[test]
fn a_stream_that_breaks_ends_in_an_error_and_in_nothing_else() {
    // Rule 5, complaint 14
    let deltas = whole();
    for cut in 0..deltas.len() {
        let (mut writer, mut out) = (Writer::new(&envelope()), BytesMut::new());
        for delta in &deltas[..cut] {
            writer.write(delta, &mut out);
        }
        let fault = Fault::new(FaultKind::Overloaded, "upstream_overloaded", "two\nlines");
        writer.fail(&fault, &mut out);
        let written = String::from_utf8(out.to_vec()).unwrap();
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"two\\nlines\"}}\n\n";
        assert!(written.ends_with(error), "{written}");
        assert!(!written.contains("message_stop") && !written.contains("event: message_delta"), "{written}");
    }
}

#[test]
fn a_sign_of_life_is_a_ping() {
    // Rule 31
    let (mut writer, mut out) = (Writer::new(&envelope()), BytesMut::new());
    writer.keep_alive(&mut out);
    writer.write(&Delta::Ping, &mut out);
    assert_eq!(&out[..], b"event: ping\ndata: {\"type\":\"ping\"}\n\n".repeat(2));
}
