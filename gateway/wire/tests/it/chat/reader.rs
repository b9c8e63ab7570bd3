//! A provider's stream: what each kind of chunk says.

use std::fmt::Write as _;

use wire::Usage;
use wire::openai::chat::Reader;
use wire::openai::completions;
use wire::reply::{Delta, EventReader, FaultKind, Finish, FinishReason, Open, Unreadable};
use wire::sse::encode_data;

use crate::grammar;
use crate::support::{event, events, read};

const USAGE_ALONE: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;

fn usage() -> Usage {
    Usage::of(7, 3)
}

/// What the reader makes of the chunks `data`; the grammar holds whatever comes.
fn deltas(data: &[&str]) -> (Vec<Delta>, Result<(), Unreadable>) {
    let events: Vec<_> = data.iter().map(|data| event(data)).collect();
    let (deltas, outcome) = read(Reader::new(), &events);
    grammar::check(&deltas);
    (deltas, outcome)
}

/// A chunk with this delta.
fn delta(delta: &str) -> String {
    format!(r#"{{"id":"c1","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#)
}

/// What one chunk with this delta says, behind the beginning.
fn said(text: &str) -> Vec<Delta> {
    let (deltas, outcome) = deltas(&[&delta(text)]);
    assert_eq!(outcome, Ok(()), "{text}");
    deltas[1..].to_vec()
}

fn reasons(deltas: &[Delta]) -> Vec<FinishReason> {
    let reason = |delta: &Delta| match delta {
        Delta::Finish(Finish { reason, .. }) => Some(*reason),
        _ => None,
    };
    deltas.iter().filter_map(reason).collect()
}

// Rules 3 and 7
#[test]
fn a_normal_stream_is_understood() {
    let mut reader = Reader::new();
    let mut seen = |data| {
        let mut deltas = Vec::new();
        reader.read(&event(data), &mut deltas).unwrap();
        (deltas, reader.is_usage_alone())
    };
    let begin = wire::reply::Begin { id: Some("c1".into()), usage: None };
    let role = r#"{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#;
    assert_eq!(seen(role), (vec![Delta::Begin(begin)], false));
    let text = r#"{"choices":[{"index":0,"delta":{"content":"[DONE]"},"finish_reason":null}],"usage":null}"#;
    assert_eq!(seen(text), (vec![Delta::Open(Open::Text), Delta::Append("[DONE]".into())], false));
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
    assert_eq!(seen(end), (vec![Delta::Close, Delta::Finish(FinishReason::Stop.into())], false));
    assert_eq!(seen(USAGE_ALONE), (vec![Delta::Usage(usage())], true));
    assert_eq!(seen("[DONE]"), (vec![Delta::End], false));
}

// Rule 7: a pass-through hides what the caller did not ask for, and nothing else.
#[test]
fn nothing_but_usage_alone_is_taken_for_it() {
    let others = [
        r#"{"choices":[],"prompt_filter_results":[]}"#,
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1},"error":{"message":"m"}}"#,
        "[DONE]",
        "not json",
        "[]",
        "",
    ];
    for data in others {
        let (mut chat, mut text) = (Reader::new(), completions::Reader::new());
        let _ = chat.read(&event(data), &mut Vec::new());
        let _ = text.read(&event(data), &mut Vec::new());
        assert!(!chat.is_usage_alone() && !text.is_usage_alone(), "{data}");
    }
}

#[test]
fn output_may_be_text_reasoning_a_refusal_or_a_tool_call() {
    let append = |text: &str| Delta::Append(text.into());
    assert_eq!(said(r#"{"content":" "}"#), [Delta::Open(Open::Text), append(" ")]);
    assert_eq!(said(r#"{"reasoning_content":"a"}"#), [Delta::Open(Open::Reasoning), append("a")]);
    assert_eq!(said(r#"{"reasoning":"a"}"#), [Delta::Open(Open::Reasoning), append("a")]);
    assert_eq!(said(r#"{"refusal":"a"}"#), [Delta::Open(Open::Refusal), append("a")]);
    let call = Open::ToolCall { id: "t".into(), name: "f".into() };
    let named = r#"{"content":null,"tool_calls":[{"index":0,"id":"t","function":{"name":"f"}}]}"#;
    assert_eq!(said(named), [Delta::Open(call)]);
    for silent in
        ["{}", "null", r#"{"role":"assistant"}"#, r#"{"content":"","tool_calls":[],"refusal":null}"#]
    {
        assert_eq!(said(silent), [], "{silent}");
    }
}

#[test]
fn content_may_come_as_a_list_with_thoughts_in_it() {
    let parts = r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"so"},{"type":"reference","reference_ids":[1]}]}"#;
    let expected = [
        Delta::Open(Open::Reasoning),
        Delta::Append("hm".into()),
        Delta::Close,
        Delta::Open(Open::Text),
        Delta::Append("so".into()),
    ];
    assert_eq!(said(parts), expected);
}

#[test]
fn thoughts_are_read_once_where_a_server_sends_them_under_both_names() {
    let twice = r#"{"reasoning":"hm","reasoning_content":"hm"}"#;
    assert_eq!(said(twice), [Delta::Open(Open::Reasoning), Delta::Append("hm".into())]);
    let first_null = r#"{"reasoning":"hm","reasoning_content":null}"#;
    assert_eq!(said(first_null), [Delta::Open(Open::Reasoning), Delta::Append("hm".into())]);
    let first_empty = r#"{"reasoning":"hm","reasoning_content":""}"#;
    assert_eq!(said(first_empty), [Delta::Open(Open::Reasoning), Delta::Append("hm".into())]);
}

#[test]
fn of_several_choices_the_first_is_read() {
    let other = r#"{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"length"}]}"#;
    let (deltas, _) = deltas(&[&delta(r#"{"content":"a"}"#), other]);
    assert_eq!(deltas.last(), Some(&Delta::Append("a".into())));
}

// Rule 12: reports are cumulative.
#[test]
fn later_usage_follows_earlier_and_is_not_added() {
    let first = r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let (deltas, _) = deltas(&[first, end, USAGE_ALONE, r#"{"choices":[],"usage":null}"#, "[DONE]"]);
    let reports: Vec<_> = deltas.iter().filter(|delta| matches!(delta, Delta::Usage(_))).collect();
    assert_eq!(reports, [&Delta::Usage(Usage::of(7, 1)), &Delta::Usage(usage())]);
}

// Rule 7
#[test]
fn details_of_usage_are_read_and_absent_ones_stay_absent() {
    let read = |usage: &str| {
        let (deltas, outcome) = deltas(&[&format!(r#"{{"choices":[],"usage":{usage}}}"#)]);
        assert_eq!(outcome, Ok(()), "{usage}");
        deltas.into_iter().find_map(|delta| if let Delta::Usage(usage) = delta { Some(usage) } else { None })
    };
    let full = r#"{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,
        "prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":1,"audio_tokens":0},
        "completion_tokens_details":{"reasoning_tokens":2}}"#;
    let details =
        Usage { cached_tokens: Some(4), cache_write_tokens: Some(1), reasoning_tokens: Some(2), ..usage() };
    assert_eq!(read(full), Some(details));
    let deepseek = r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":3}"#;
    assert_eq!(read(deepseek), Some(Usage { cached_tokens: Some(4), ..usage() }));
    let empty = r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":{}}"#;
    assert_eq!(read(empty), Some(usage()));
    for unreadable in [
        r#"{"prompt_tokens":7}"#,
        r#"{"prompt_tokens":7,"completion_tokens":null}"#,
        r#"{"prompt_tokens":7,"completion_tokens":-3}"#,
        r#"{"prompt_tokens":7,"completion_tokens":"3"}"#,
        "7",
        "null",
    ] {
        assert_eq!(read(unreadable), None, "{unreadable}");
    }
}

#[test]
fn a_lying_upstream_cannot_overflow_the_total() {
    let usage = Usage::of(u64::MAX, 1);
    assert_eq!(usage.total_tokens(), u64::MAX);
}

// Rule 5, complaint 14
#[test]
fn an_error_inside_a_stream_is_kept_in_full() {
    let shapes = [
        r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#,
        r#"{"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#,
        r#"{"error":"out of memory"}"#,
        r#"{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}"#,
        r#"{"error":{"code":"x"}}"#,
        r#"{"id":"c1","choices":[],"error":{"message":"moderated","type":"invalid_request_error"}}"#,
    ];
    let mut out = String::new();
    for shape in shapes {
        let (deltas, outcome) = deltas(&[&delta(r#"{"content":"He"}"#), shape]);
        assert!(!grammar::is_whole(&deltas));
        writeln!(out, "{shape}\n  {outcome:?}").expect("a string can be written to");
    }
    insta::assert_snapshot!(out);
}

#[test]
fn an_error_that_is_null_is_none() {
    let (_, outcome) = deltas(&[r#"{"choices":[],"error":null}"#]);
    assert_eq!(outcome, Ok(()));
}

// Rule 9
#[test]
fn a_foreign_finish_reason_becomes_other() {
    let reason = |reason: &str| {
        let end = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":{reason}}}]}}"#);
        reasons(&deltas(&[&end]).0)
    };
    assert_eq!(reason(r#""stop""#), [FinishReason::Stop]);
    assert_eq!(reason(r#""length""#), [FinishReason::Length]);
    assert_eq!(reason(r#""model_length""#), [FinishReason::Length]);
    assert_eq!(reason(r#""tool_calls""#), [FinishReason::ToolCalls]);
    assert_eq!(reason(r#""function_call""#), [FinishReason::ToolCalls]);
    assert_eq!(reason(r#""content_filter""#), [FinishReason::ContentFilter]);
    assert_eq!(reason(r#""end_turn""#), [FinishReason::Other]);
    assert_eq!(reason("null"), []);
    assert_eq!(reason(r#""""#), []);
}

#[test]
fn a_server_that_forgets_the_reason_has_ended_all_the_same() {
    let (deltas, _) = deltas(&[&delta(r#"{"content":"a"}"#), "[DONE]"]);
    assert_eq!(reasons(&deltas), [FinishReason::Other]);
    assert!(grammar::is_whole(&deltas));
}

#[test]
fn what_comes_after_the_end_of_the_answer_is_not_output() {
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let late = delta(r#"{"content":"b"}"#);
    let (deltas, _) = deltas(&[&delta(r#"{"content":"a"}"#), end, &late, end, "[DONE]", "[DONE]", &late]);
    assert_eq!(reasons(&deltas), [FinishReason::Stop]);
    assert!(!deltas.contains(&Delta::Append("b".into())) && grammar::is_whole(&deltas));
}

#[test]
fn a_stream_that_is_no_answer_is_malformed() {
    for data in ["<html>", "[]", "7", r#"{"choices":7}"#, r#"{"choices":[{"delta":{"content":7}}]}"#, ""] {
        let (_, outcome) = deltas(&[data]);
        assert!(matches!(outcome, Err(Unreadable::Malformed(_))), "{data}: {outcome:?}");
    }
    assert!(matches!(deltas(&["[DONE]"]).1, Err(Unreadable::Malformed(_))), "it says nothing");
}

#[test]
fn unknown_fields_and_named_events_teach_nothing() {
    let bytes = [
        b": comment\n\nevent: chunk\n".as_slice(),
        &encode_data(br#"{"new":[{}],"obfuscation":"x","choices":[{"index":0,"delta":{"content":"a","new":{}},"new":1,"logprobs":{"content":[]}}]}"#),
    ]
    .concat();
    let (deltas, outcome) = read(Reader::new(), &events(&bytes));
    assert_eq!((deltas.len(), outcome), (3, Ok(())));
}

// Complaint 14
#[test]
fn a_cut_at_any_event_never_looks_like_an_end() {
    let stream = [
        delta(r#"{"role":"assistant","content":""}"#),
        delta(r#"{"reasoning_content":"hm"}"#),
        delta(r#"{"content":"a"}"#),
        delta(r#"{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":""}}]}"#),
        delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#),
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned(),
        USAGE_ALONE.to_owned(),
        "[DONE]".to_owned(),
    ];
    let stream: Vec<_> = stream.iter().map(String::as_str).collect();
    for cut in 0..stream.len() {
        assert!(!grammar::is_whole(&deltas(&stream[..cut]).0), "{cut}");
    }
    assert!(grammar::is_whole(&deltas(&stream).0));
}

#[test]
fn the_classes_of_errors_are_told_apart() {
    let kind = |kind: &str, code: &str| {
        let error = format!(r#"{{"error":{{"message":"m","type":"{kind}","code":{code}}}}}"#);
        let Err(Unreadable::Fault(fault)) = deltas(&[&error]).1 else { panic!("{error}") };
        fault.kind
    };
    assert_eq!(kind("invalid_request_error", "null"), FaultKind::InvalidRequest);
    assert_eq!(kind("rate_limit_error", "null"), FaultKind::RateLimit);
    assert_eq!(kind("insufficient_quota", r#""insufficient_quota""#), FaultKind::Billing);
    assert_eq!(kind("overloaded_error", "null"), FaultKind::Overloaded);
    assert_eq!(kind("server_error", "null"), FaultKind::Server);
    assert_eq!(kind("requests", r#""rate_limit_exceeded""#), FaultKind::RateLimit);
    assert_eq!(kind("InternalServerError", "500"), FaultKind::Server);
}
