//! What a provider's stream says, also where it is not what the API promises.

use proptest::prelude::*;
use wire::Usage;
use wire::reply::{Begin, Delta, FaultKind, Finish, FinishReason, Open, Unreadable};
use wire::sse;

use super::{events, read_stream, try_read_stream, write_stream};
use crate::grammar;

const START: &str =
    r#"{"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":10,"output_tokens":1}}}"#;
const END: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}
    {"type":"message_stop"}"#;

/// A stream of the API's own: thoughts, words of the provider's own tool, text, two calls.
const WHOLE: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":1,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"see."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"query\":1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location"}}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"I look \"é\u2028\"."}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: content_block_start
data: {"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"{\"at\": "}}

event: content_block_delta
data: {"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"[1]}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":5}

event: content_block_start
data: {"type":"content_block_start","index":6,"content_block":{"type":"tool_use","id":"toolu_2","name":"now","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":6}

event: later_event
data: {"type":"later_event","index":"x","delta":7}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":12,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":89,"output_tokens_details":{"thinking_tokens":30}}}

event: message_stop
data: {"type":"message_stop"}

"#;

#[test]
fn a_stream_of_the_api_becomes_deltas() {
    let deltas = try_read_stream(&events(WHOLE.as_bytes())).unwrap();
    grammar::check(&deltas);
    insta::assert_debug_snapshot!(deltas);
}

#[test]
fn a_stream_that_is_read_and_written_says_the_same() {
    // Rules 10 and 11
    let deltas = try_read_stream(&events(WHOLE.as_bytes())).unwrap();
    let written = write_stream(&deltas);
    insta::assert_snapshot!(written);
    let again = try_read_stream(&events(written.as_bytes())).unwrap();
    let unsealed = |deltas: &[Delta]| -> Vec<Delta> {
        let kept = grammar::joined(deltas).into_iter();
        kept.filter(|delta| !matches!(delta, Delta::Begin(_) | Delta::Seal(_))).collect()
    };
    let mut expected = unsealed(&deltas);
    // A call without arguments is written as one with an empty object.
    let last_call = expected.iter().rposition(|delta| matches!(delta, Delta::Open(_))).unwrap();
    expected.insert(last_call + 1, Delta::Append("{}".into()));
    assert_eq!(unsealed(&again), expected);
}

#[test]
fn counts_are_cumulative_and_parts_of_the_prompt_are_added_up() {
    // Rule 12, complaint 15
    let deltas = try_read_stream(&events(WHOLE.as_bytes())).unwrap();
    let Some(Delta::Begin(begin)) = deltas.first() else { panic!("no beginning") };
    assert_eq!(begin.usage.map(|usage| usage.prompt_tokens), Some(3210));
    let usages: Vec<_> = deltas
        .iter()
        .filter_map(|delta| match delta {
            Delta::Usage(usage) => Some(*usage),
            _ => None,
        })
        .collect();
    let usage = Usage {
        prompt_tokens: 3212,
        completion_tokens: 89,
        cached_tokens: Some(3000),
        cache_write_tokens: Some(200),
        reasoning_tokens: Some(30),
    };
    assert_eq!(usages, [usage]);
}

/// The last usage of a stream whose reports are these.
fn usage_of(at_the_beginning: &str, at_the_end: &str) -> (Option<u64>, Option<(u64, u64)>) {
    let deltas = read_stream(&format!(
        r#"{{"type":"message_start","message":{{"id":"a"{at_the_beginning}}}}}
           {{"type":"message_delta","delta":{{"stop_reason":"end_turn"}}{at_the_end}}}
           {{"type":"message_stop"}}"#
    ));
    let (mut first, mut last) = (None, None);
    for delta in deltas {
        match delta {
            Delta::Begin(begin) => first = begin.usage.map(|usage| usage.prompt_tokens),
            Delta::Usage(usage) => last = Some((usage.prompt_tokens, usage.completion_tokens)),
            _ => {}
        }
    }
    (first, last)
}

#[test]
fn what_nobody_counted_stays_absent() {
    // Rule 7
    assert_eq!(usage_of("", ""), (None, None));
    assert_eq!(usage_of("", r#","usage":{"output_tokens":5}"#), (None, None));
    assert_eq!(usage_of("", r#","usage":"many""#), (None, None));
    // No prompt has no tokens: this server counts at the end.
    let zero = r#","usage":{"input_tokens":0,"output_tokens":0}"#;
    assert_eq!(usage_of(zero, r#","usage":{"input_tokens":9,"output_tokens":5}"#), (None, Some((9, 5))));
    // And this one at the beginning only.
    let nine = r#","usage":{"input_tokens":9,"output_tokens":1}"#;
    assert_eq!(usage_of(nine, r#","usage":{"output_tokens":5}"#), (Some(9), Some((9, 5))));
    assert_eq!(usage_of(nine, r#","usage":{"input_tokens":0,"output_tokens":5}"#), (Some(9), Some((9, 5))));
    assert_eq!(usage_of(nine, r#","usage":{"input_tokens":4,"output_tokens":5}"#), (Some(9), Some((4, 5))));
}

#[test]
fn every_reason_to_stop_is_understood() {
    // Rule 9
    let reason = |word: &str, sequence: &str| {
        let deltas = read_stream(&format!(
            r#"{START}
               {{"type":"message_delta","delta":{{"stop_reason":"{word}","stop_sequence":{sequence}}},"usage":{{"output_tokens":5}}}}
               {{"type":"message_stop"}}"#
        ));
        deltas.into_iter().find_map(|delta| match delta {
            Delta::Finish(finish) => Some(finish),
            _ => None,
        })
    };
    let expected = [
        ("end_turn", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("tool_use", FinishReason::ToolCalls),
        ("refusal", FinishReason::ContentFilter),
        ("pause_turn", FinishReason::Paused),
        ("a_later_word", FinishReason::Other),
    ];
    for (word, expected) in expected {
        assert_eq!(reason(word, "null"), Some(expected.into()), "{word}");
    }
    let met = Finish { reason: FinishReason::Stop, stop_sequence: Some("END".into()) };
    assert_eq!(reason("stop_sequence", r#""END""#), Some(met));
}

#[test]
fn an_error_inside_the_stream_is_the_providers() {
    // Rule 5
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let bytes = format!("data: {START}\n\ndata: {error}\n\n");
    let Err(Unreadable::Fault(fault)) = try_read_stream(&events(bytes.as_bytes())) else {
        panic!("no fault")
    };
    assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Overloaded, "Overloaded"));
    let bytes = "event: error\ndata: {\"type\":\"error\"}\n\n";
    let Err(Unreadable::Fault(fault)) = try_read_stream(&events(bytes.as_bytes())) else {
        panic!("no fault")
    };
    assert_eq!(fault.kind, FaultKind::Server);
}

#[test]
fn a_cut_at_any_event_leaves_no_end() {
    // Complaint 14
    let events = events(WHOLE.as_bytes());
    for cut in 0..events.len() {
        let deltas = try_read_stream(&events[..cut]).unwrap();
        grammar::check(&deltas);
        assert!(!grammar::is_whole(&deltas), "cut after {cut} events");
    }
}

/// What a stream with these events between its beginning and end says, without its frame.
fn between(data: &str) -> Vec<Delta> {
    let deltas = grammar::joined(&read_stream(&format!("{START}\n{data}\n{END}")));
    deltas[1..deltas.len() - 3].to_vec()
}

fn said(open: Open, text: &str) -> Vec<Delta> {
    vec![Delta::Open(open), Delta::Append(text.into()), Delta::Close]
}

fn tool(id: &str) -> Open {
    Open::ToolCall { id: id.into(), name: "f".into() }
}

#[test]
fn blocks_that_overlap_come_out_one_after_the_other() {
    // Complaint 16
    let deltas = between(
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}
           {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}
           {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"b","name":"f","input":{}}}
           {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"b\":1}"}}
           {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}
           {"type":"content_block_stop","index":2}
           {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}
           {"type":"content_block_stop","index":0}
           {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":1}"}}
           {"type":"content_block_stop","index":1}"#,
    );
    let expected =
        [said(Open::Text, "x"), said(tool("a"), r#"{"a":1}"#), said(tool("b"), r#"{"b":1}"#)].concat();
    assert_eq!(deltas, expected);
}

#[test]
fn a_block_without_a_beginning_begins_with_its_first_delta() {
    // Complaint 3
    let deltas = between(
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}
           {"type":"content_block_stop","index":0}
           {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"x"}}
           {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
    );
    assert_eq!(deltas, [said(Open::Reasoning, "hm"), said(Open::Text, "x")].concat());
}

#[test]
fn a_block_that_changes_its_kind_becomes_two() {
    // Complaint 4
    let deltas = between(
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}
           {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}
           {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}
           {"type":"content_block_stop","index":0}"#,
    );
    let expected = [said(Open::Text, "a"), said(Open::Reasoning, "hm"), said(Open::Text, "b")].concat();
    assert_eq!(deltas, expected);
}

#[test]
fn arguments_that_come_with_the_beginning_are_kept_once() {
    let beginning = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{"n":1}}}"#;
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    let more = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"n\":2}"}}"#;
    assert_eq!(between(&format!("{beginning}\n{stop}")), said(tool("a"), r#"{"n":1}"#));
    assert_eq!(between(&format!("{beginning}\n{more}\n{stop}")), said(tool("a"), r#"{"n":2}"#));
}

#[test]
fn a_stream_without_beginning_stops_and_reason_is_still_an_answer() {
    let deltas = read_stream(
        r#"{"type":"ping"}
           {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"x"}}
           [DONE]
           {"type":"message_stop"}
           {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"y"}}"#,
    );
    let finish = Delta::Finish(FinishReason::Other.into());
    let expected = [vec![Delta::Begin(Begin::default())], said(Open::Text, "x"), vec![finish, Delta::End]];
    assert_eq!(deltas, expected.concat());
}

#[test]
fn an_answer_inside_an_answer_is_no_answer() {
    // Complaint 13
    let malformed = |data: &[&str]| {
        let bytes = data.iter().map(|data| ["data: ", data, "\n\n"].concat()).collect::<String>();
        matches!(try_read_stream(&events(bytes.as_bytes())), Err(Unreadable::Malformed(_)))
    };
    assert!(malformed(&[START, START]));
    assert!(malformed(&["<html>"]));
    assert!(malformed(&["{}"]));
    assert!(malformed(&[START, r#"{"type":"content_block_start","index":"0"}"#]));
    assert!(malformed(&[START, r#"{"type":"content_block_start","index":0}"#]));
    let nameless = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a"}}"#;
    assert!(malformed(&[START, nameless]));
    assert!(!malformed(&[START, r#"{"type":"a_later_type","index":"0"}"#]));
}

#[test]
fn blocks_that_come_too_early_are_held_up_to_a_limit() {
    let text = "x".repeat(1 << 20);
    let late = format!(
        r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
    );
    let first = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let mut bytes = format!("data: {START}\n\ndata: {first}\n\n");
    for _ in 0..4 {
        bytes.extend(["data: ", &late, "\n\n"]);
    }
    let mut reader = sse::Reader::new(2 << 20);
    reader.push(bytes.as_bytes());
    let events: Vec<_> =
        std::iter::from_fn(|| reader.next_frame().unwrap()).filter_map(|frame| frame.event).collect();
    assert!(matches!(try_read_stream(&events), Err(Unreadable::Malformed(_))));
}

proptest! {
    #[test]
    fn a_stream_split_at_any_byte_gives_the_same_deltas(at in any::<prop::sample::Index>(), width in 1..64_usize) {
        let whole = try_read_stream(&events(WHOLE.as_bytes())).unwrap();
        let mut reader = sse::Reader::new(1 << 20);
        let mut split = Vec::new();
        let (head, tail) = WHOLE.as_bytes().split_at(at.index(WHOLE.len()));
        for piece in std::iter::once(head).chain(tail.chunks(width)) {
            reader.push(piece);
            while let Some(frame) = reader.next_frame().unwrap() {
                split.extend(frame.event);
            }
        }
        prop_assert_eq!(try_read_stream(&split).unwrap(), whole);
    }

    #[test]
    fn events_in_any_order_keep_the_grammar(order in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let events = events(WHOLE.as_bytes());
        let shuffled: Vec<_> = order.iter().filter_map(|index| events.get(*index).cloned()).collect();
        let mut reader = wire::anthropic::messages::Reader::new();
        let mut deltas = Vec::new();
        for event in &shuffled {
            if wire::reply::EventReader::read(&mut reader, event, &mut deltas).is_err() {
                break;
            }
        }
        prop_assert_eq!(grammar::fault(&deltas), None);
    }

    #[test]
    fn what_is_written_is_read_back(deltas in grammar::streams()) {
        let read = try_read_stream(&events(write_stream(&deltas).as_bytes())).unwrap();
        prop_assert_eq!(grammar::fault(&read), None);
        let texts = |deltas: &[Delta]| -> Vec<(Open, String)> {
            let mut texts: Vec<(Open, String)> = Vec::new();
            for delta in grammar::joined(deltas) {
                match delta {
                    // The dialect has one kind of block for both.
                    Delta::Open(Open::Refusal) => texts.push((Open::Text, String::new())),
                    Delta::Open(open) => texts.push((open, String::new())),
                    Delta::Append(text) => texts.last_mut().unwrap().1.push_str(&text),
                    _ => {}
                }
            }
            for (open, text) in &mut texts {
                if matches!(open, Open::ToolCall { .. }) && text.is_empty() {
                    text.push_str("{}");
                }
            }
            texts
        };
        prop_assert_eq!(texts(&read), texts(&deltas));
    }
}
