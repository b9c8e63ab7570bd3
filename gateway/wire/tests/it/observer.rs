//! What is learned from an upstream's stream, and the one event that is held back.

use wire::Usage;
use wire::openai::chat::UsageChunk;
use wire::openai::stream::{Carries, Observed, Observer, Summary, Verdict};
use wire::sse::{Event, Reader, encode_data};

fn event(data: &str) -> Event {
    let mut reader = Reader::new(1 << 16);
    reader.push(&encode_data(data.as_bytes()));
    reader.next_frame().expect("small").expect("whole").event.expect("it has data")
}

fn observe(observer: &mut Observer, data: &str) -> Observed {
    observer.observe(&event(data))
}

fn carries(data: &str) -> Carries {
    observe(&mut Observer::new(UsageChunk::Unwanted), data).carries
}

const USAGE_ALONE: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;
const USAGE: Usage = Usage {
    prompt_tokens: 7,
    completion_tokens: 3,
    cached_tokens: None,
    cache_write_tokens: None,
    reasoning_tokens: None,
};

#[test]
fn a_normal_stream_is_understood() {
    let mut observer = Observer::new(UsageChunk::Unwanted);
    let mut seen = |data| {
        let Observed { verdict, carries } = observe(&mut observer, data);
        (verdict, carries)
    };
    let role = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#;
    assert_eq!(seen(role), (Verdict::Pass, Carries::Nothing));
    let text = r#"{"choices":[{"index":0,"delta":{"content":"[DONE]"},"finish_reason":null}],"usage":null}"#;
    assert_eq!(seen(text), (Verdict::Pass, Carries::Output));
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
    assert_eq!(seen(end), (Verdict::Pass, Carries::Nothing));
    assert_eq!(seen(USAGE_ALONE), (Verdict::Hide, Carries::Nothing));

    assert!(!observer.is_done(), "the mark inside content is not the mark");
    observe(&mut observer, "[DONE]");
    assert!(observer.is_done());
    let expected = Summary { usage: Some(USAGE), finish_reason: Some("stop"), error: None };
    assert_eq!(observer.summary(), &expected);
}

#[test]
fn the_usage_chunk_passes_to_a_caller_who_asked() {
    let mut observer = Observer::new(UsageChunk::Wanted);
    assert_eq!(observe(&mut observer, USAGE_ALONE).verdict, Verdict::Pass);
    assert_eq!(observer.summary().usage, Some(USAGE));
}

#[test]
fn nothing_but_usage_alone_is_ever_held_back() {
    let passing = [
        r#"{"choices":[],"prompt_filter_results":[]}"#,
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1},"error":{"message":"m"}}"#,
        "[DONE]",
        "not json",
        "[]",
        "",
    ];
    for data in passing {
        assert_eq!(observe(&mut Observer::new(UsageChunk::Unwanted), data).verdict, Verdict::Pass, "{data}");
    }
}

#[test]
fn the_first_output_may_be_text_reasoning_a_refusal_or_a_tool_call() {
    for delta in [
        r#"{"content":" "}"#,
        r#"{"reasoning_content":"a"}"#,
        r#"{"reasoning":"a"}"#,
        r#"{"refusal":"a"}"#,
        r#"{"content":null,"tool_calls":[{"index":0}]}"#,
        r#"{"function_call":{"name":"f"}}"#,
    ] {
        assert_eq!(
            carries(&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)),
            Carries::Output,
            "{delta}"
        );
    }
    for delta in ["{}", "null", r#"{"role":"assistant"}"#, r#"{"content":"","tool_calls":[],"refusal":null}"#]
    {
        assert_eq!(
            carries(&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)),
            Carries::Nothing,
            "{delta}"
        );
    }
    assert_eq!(carries(r#"{"choices":[{"delta":{}},{"delta":{"content":"b"}}]}"#), Carries::Output);
}

#[test]
fn later_usage_replaces_earlier_and_is_not_added() {
    let mut observer = Observer::new(UsageChunk::Unwanted);
    observe(
        &mut observer,
        r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#,
    );
    observe(&mut observer, USAGE_ALONE);
    observe(&mut observer, r#"{"choices":[],"usage":null}"#);
    assert_eq!(observer.summary().usage, Some(USAGE));
}

#[test]
fn details_of_usage_are_read_and_absent_ones_stay_absent() {
    let usage = |usage: &str| Summary::of_body(format!(r#"{{"usage":{usage}}}"#).as_bytes()).usage;
    let full = r#"{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,
        "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
        "completion_tokens_details":{"reasoning_tokens":2}}"#;
    assert_eq!(usage(full), Some(Usage { cached_tokens: Some(4), reasoning_tokens: Some(2), ..USAGE }));
    let empty = r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":{}}"#;
    assert_eq!(usage(empty), Some(USAGE));
    for unreadable in [
        r#"{"prompt_tokens":7}"#,
        r#"{"prompt_tokens":7,"completion_tokens":null}"#,
        r#"{"prompt_tokens":7,"completion_tokens":-3}"#,
        r#"{"prompt_tokens":7,"completion_tokens":"3"}"#,
        "7",
        "null",
    ] {
        assert_eq!(usage(unreadable), None, "{unreadable}");
    }
}

#[test]
fn a_lying_upstream_cannot_overflow_the_total() {
    let usage = Usage::of(u64::MAX, 1);
    assert_eq!(usage.total_tokens(), u64::MAX);
}

#[test]
fn an_error_inside_a_stream_is_kept_and_the_first_one_wins() {
    let mut observer = Observer::new(UsageChunk::Unwanted);
    let seen =
        observe(&mut observer, r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#);
    assert_eq!((seen.verdict, seen.carries), (Verdict::Pass, Carries::Nothing));
    observe(&mut observer, r#"{"error":"again"}"#);
    let error = observer.summary().error.as_ref().unwrap();
    assert_eq!((error.message.as_str(), error.code.as_deref()), ("overloaded", Some("503")));
    assert!(!observer.is_done());
}

#[test]
fn a_foreign_finish_reason_becomes_other() {
    let reason = |reason: &str| {
        let body = format!(r#"{{"choices":[{{"message":{{}},"finish_reason":{reason}}}]}}"#);
        Summary::of_body(body.as_bytes()).finish_reason
    };
    assert_eq!(reason(r#""tool_calls""#), Some("tool_calls"));
    assert_eq!(reason(r#""end_turn""#), Some("other"));
    assert_eq!(reason("null"), None);
    assert_eq!(reason("7"), None);
}

#[test]
fn a_body_that_is_no_answer_teaches_nothing() {
    for body in ["", "<html>", "[]", r#"{"choices":7,"usage":[]}"#] {
        assert_eq!(Summary::of_body(body.as_bytes()), Summary::default(), "{body}");
    }
}
