//! Golden answers, whole and streamed, as a client of chat completions gets them.

use serde_json::Value;
use wire::call::{Block, Content, Reasoning, Seal, ToolCall};
use wire::openai::chat::{Writer, write_reply};
use wire::reply::{
    Begin, Delta, Fault, FaultKind, Finish, FinishReason, Open, Reply, Shown, StreamWriter, Told,
};
use wire::{Usage, UsageChunk};

use crate::support::{envelope, events, text, write};

fn writer(usage_chunk: UsageChunk) -> Writer {
    Writer::new(&envelope(), usage_chunk)
}

fn usage() -> Usage {
    Usage::of(7, 3)
}

fn begin() -> Delta {
    Delta::Begin(Begin::default())
}

fn append(text: &str) -> Delta {
    Delta::Append(text.into())
}

fn finish(reason: FinishReason) -> Delta {
    Delta::Finish(reason.into())
}

fn open_call(id: &str) -> Delta {
    Delta::Open(Open::ToolCall { id: id.into(), name: "add".into() })
}

fn called(id: &str) -> Block {
    let call = ToolCall { id: id.into(), name: "add".into(), arguments: r#"{"a":1}"#.into() };
    Content::ToolCall(call).into()
}

fn whole(blocks: Vec<Block>, reason: FinishReason, usage: Option<Usage>) -> String {
    let (told, others) = (Told::default(), Vec::new());
    let reply = Reply { id: None, blocks, finish: Finish::from(reason), usage, told, others };
    text(&write_reply(&reply, &envelope(), Shown::default()))
}

#[test]
fn a_whole_answer_has_every_required_field() {
    insta::assert_snapshot!(whole(vec![Block::text("Hi")], FinishReason::Stop, Some(usage())));
}

#[test]
fn a_whole_answer_of_tool_calls_has_null_content_and_says_so() {
    let usage = Usage { cached_tokens: Some(4), reasoning_tokens: Some(0), ..usage() };
    insta::assert_snapshot!(whole(vec![called("call_1"), called("call_2")], FinishReason::Stop, Some(usage)));
}

#[test]
fn a_whole_answer_with_thoughts_and_a_refusal() {
    let thought = |text: &str, is_redacted| {
        let seal = Some(Seal::of("cloud", "c2ln"));
        Block::from(Content::Reasoning(Reasoning { text: text.into(), seal, is_redacted }))
    };
    let refusal = Content::Refusal("I will not.".into()).into();
    insta::assert_snapshot!(whole(
        vec![thought("Hm.", false), thought("", true), refusal],
        FinishReason::ContentFilter,
        None
    ));
}

// Rule 9
#[test]
fn an_answer_cut_by_length_says_length_even_with_tool_calls() {
    let read = |blocks| serde_json::from_str::<Value>(&whole(blocks, FinishReason::Length, None)).unwrap();
    let (silent, calling) = (read(vec![]), read(vec![Block::text("x"), called("c")]));
    assert_eq!(silent["choices"][0]["message"]["content"], "");
    assert_eq!(calling["choices"][0]["message"]["content"], "x");
    for body in [silent, calling] {
        assert_eq!(body["choices"][0]["finish_reason"], "length");
        assert_eq!(body.get("usage"), None, "what nobody counted is absent");
    }
}

// Rule 6
#[test]
fn a_stream_of_text_without_usage() {
    let deltas = [
        begin(),
        Delta::Open(Open::Text),
        append("He"),
        append("y\n"),
        Delta::Close,
        finish(FinishReason::Stop),
        Delta::Usage(usage()),
        Delta::End,
    ];
    insta::assert_snapshot!(write(writer(UsageChunk::Unwanted), &deltas));
}

// Rules 7 and 8
#[test]
fn a_stream_of_parallel_tool_calls_with_usage() {
    let deltas = [
        begin(),
        open_call("call_1"),
        append(r#"{"a""#),
        append(":1}"),
        Delta::Close,
        open_call("call_2"),
        append("{}"),
        Delta::Close,
        finish(FinishReason::Stop),
        Delta::Usage(usage()),
        Delta::End,
    ];
    insta::assert_snapshot!(write(writer(UsageChunk::Wanted), &deltas));
}

#[test]
fn a_stream_of_thoughts_text_and_a_refusal() {
    let deltas = [
        begin(),
        Delta::Open(Open::RedactedReasoning),
        Delta::Seal("c2ln".into()),
        Delta::Close,
        Delta::Open(Open::Reasoning),
        append("Hm."),
        Delta::Seal("c2ln".into()),
        Delta::Close,
        Delta::Ping,
        Delta::Open(Open::Text),
        append("So:"),
        Delta::Close,
        Delta::Open(Open::Refusal),
        append("no."),
        Delta::Close,
        finish(FinishReason::ContentFilter),
        Delta::End,
    ];
    insta::assert_snapshot!(write(writer(UsageChunk::Wanted), &deltas));
}

#[test]
fn an_empty_answer_still_introduces_its_role() {
    let written = write(writer(UsageChunk::Unwanted), &[begin(), finish(FinishReason::Length), Delta::End]);
    assert!(written.contains(r#""delta":{"role":"assistant","content":""}"#), "{written}");
    assert!(written.contains(r#""finish_reason":"length""#), "{written}");
}

// Rule 7
#[test]
fn usage_that_nobody_counted_is_absent_and_never_zero() {
    let deltas = [begin(), finish(FinishReason::Stop), Delta::End];
    let written = write(writer(UsageChunk::Wanted), &deltas);
    assert!(!written.contains("prompt_tokens") && written.contains(r#""usage":null"#), "{written}");
    assert!(!written.contains(r#""choices":[]"#), "{written}");
}

// Rule 7
#[test]
fn usage_known_from_the_beginning_is_overwritten_and_not_added() {
    let first = Usage { cached_tokens: Some(2), ..Usage::of(7, 1) };
    let last = Usage { cached_tokens: Some(2), ..Usage::of(7, 3) };
    let deltas = [
        Delta::Begin(Begin { id: None, usage: Some(first) }),
        finish(FinishReason::Stop),
        Delta::Usage(last),
        Delta::End,
    ];
    let written = write(writer(UsageChunk::Wanted), &deltas);
    assert!(written.contains(r#""completion_tokens":3,"total_tokens":10"#), "{written}");
}

// Rule 3
#[test]
fn text_that_looks_like_the_stream_format_stays_text() {
    let said = "\n\ndata: [DONE]\n\n\r\"\u{2028}";
    let deltas = [begin(), Delta::Open(Open::Text), append(said)];
    let written = write(writer(UsageChunk::Unwanted), &deltas);
    let [event] = &events(written.as_bytes())[..] else { panic!("one event: {written}") };
    let chunk: Value = serde_json::from_str(event.data()).unwrap();
    assert_eq!(chunk["choices"][0]["delta"]["content"], said);
}

// Rule 5, complaint 14
#[test]
fn a_stream_that_fails_ends_in_an_error_and_never_looks_finished() {
    let fault = Fault::new(FaultKind::Overloaded, "provider_failed", "the provider's stream broke off");
    let deltas = [begin(), Delta::Open(Open::Text), append("He"), Delta::Close, finish(FinishReason::Stop)];
    for cut in 0..deltas.len() {
        let mut writer = writer(UsageChunk::Wanted);
        let mut out = bytes::BytesMut::new();
        deltas[..cut].iter().for_each(|delta| writer.write(delta, &mut out));
        writer.fail(&fault, &mut out);
        let written = text(&out);
        let end = concat!(
            r#"data: {"error":{"message":"the provider's stream broke off","type":"server_error","#,
            r#""param":null,"code":"provider_failed"}}"#,
            "\n\n"
        );
        assert!(written.ends_with(end) && !written.contains("[DONE]"), "{written}");
    }
}

// Complaint 17
#[test]
fn a_call_without_arguments_has_the_empty_object() {
    let deltas = [begin(), open_call("c"), Delta::Close, open_call("d"), append("{}"), Delta::Close];
    let written = write(writer(UsageChunk::Unwanted), &deltas);
    for index in [0, 1] {
        let fragment = format!(r#"{{"index":{index},"function":{{"arguments":"{{}}"}}}}"#);
        assert_eq!(written.matches(&fragment).count(), 1, "{written}");
    }
    let empty = ToolCall { id: "c".into(), name: "add".into(), arguments: String::new() };
    let body = whole(vec![Content::ToolCall(empty).into()], FinishReason::Stop, None);
    assert!(body.contains(r#""function":{"name":"add","arguments":"{}"}"#), "{body}");
}

// Rule 31
#[test]
fn a_sign_of_life_is_a_comment_that_no_client_takes_for_an_event() {
    let written = write(writer(UsageChunk::Wanted), &[begin(), Delta::Ping]);
    assert!(written.starts_with(':') && written.ends_with("\n\n"), "{written}");
    assert_eq!(events(written.as_bytes()), []);
}

// Rule 9
#[test]
fn every_reason_is_written_as_a_word_of_the_api() {
    let words = [
        (FinishReason::Stop, "stop", "tool_calls"),
        (FinishReason::Length, "length", "length"),
        (FinishReason::ToolCalls, "tool_calls", "tool_calls"),
        (FinishReason::ContentFilter, "content_filter", "content_filter"),
        (FinishReason::Paused, "stop", "tool_calls"),
        (FinishReason::Other, "stop", "tool_calls"),
    ];
    for (reason, word, word_with_calls) in words {
        let written = write(writer(UsageChunk::Unwanted), &[begin(), finish(reason)]);
        assert!(written.contains(&format!(r#""finish_reason":"{word}""#)), "{written}");
        let deltas = [begin(), open_call("c"), Delta::Close, finish(reason)];
        let written = write(writer(UsageChunk::Unwanted), &deltas);
        assert!(written.contains(&format!(r#""finish_reason":"{word_with_calls}""#)), "{written}");
        let body = whole(vec![called("c")], reason, None);
        assert!(body.contains(&format!(r#""finish_reason":"{word_with_calls}""#)), "{body}");
    }
}
