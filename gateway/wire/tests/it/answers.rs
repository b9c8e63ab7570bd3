//! Golden answers of the local engine, whole and streamed.

use bytes::Bytes;
use serde_json::Value;
use wire::Usage;
use wire::openai::chat::{
    Answer, Completion, Envelope, FinishReason, FunctionCall, StreamWriter, UsageChunk,
};
use wire::sse::{Reader, Tail};

const USAGE: Usage = Usage {
    prompt_tokens: 7,
    completion_tokens: 3,
    cached_tokens: None,
    cache_write_tokens: None,
    reasoning_tokens: None,
};

fn envelope() -> Envelope {
    Envelope::new("01", 1_700_000_000, "demo")
}

fn writer(choices: u32, usage_chunk: UsageChunk) -> StreamWriter {
    StreamWriter::new(envelope(), choices, usage_chunk)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("answers are text")
}

fn whole(answers: Vec<Answer>, usage: Usage) -> String {
    text(&Completion { envelope: envelope(), answers, usage }.to_json())
}

fn call(id: &str) -> FunctionCall {
    FunctionCall { id: id.into(), name: "add".into(), arguments: r#"{"a":1}"#.into() }
}

#[test]
fn a_whole_answer_has_every_required_field() {
    let answer = Answer { text: "Hi".into(), tool_calls: vec![], finish_reason: FinishReason::Stop };
    insta::assert_snapshot!(
        whole(vec![answer], USAGE),
        @r#"{"id":"chatcmpl-01","object":"chat.completion","created":1700000000,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#
    );
}

#[test]
fn a_whole_answer_of_tool_calls_has_null_content_and_says_so() {
    let answer = Answer {
        text: String::new(),
        tool_calls: vec![call("call_1"), call("call_2")],
        finish_reason: FinishReason::Stop,
    };
    let usage = Usage { cached_tokens: Some(4), reasoning_tokens: Some(0), ..USAGE };
    insta::assert_snapshot!(
        whole(vec![answer], usage),
        @r#"{"id":"chatcmpl-01","object":"chat.completion","created":1700000000,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}},{"id":"call_2","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}}}"#
    );
}

#[test]
fn an_answer_cut_by_length_says_length_even_with_tool_calls() {
    let answer = |text: &str, tool_calls| Answer {
        text: text.into(),
        tool_calls,
        finish_reason: FinishReason::Length,
    };
    let body: Value =
        serde_json::from_str(&whole(vec![answer("", vec![]), answer("x", vec![call("c")])], USAGE)).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "");
    for index in [0, 1] {
        assert_eq!(body["choices"][index]["index"], index);
        assert_eq!(body["choices"][index]["finish_reason"], "length");
    }
}

#[test]
fn a_stream_of_text_without_usage() {
    let mut writer = writer(1, UsageChunk::Unwanted);
    let events = [
        writer.text(0, "He"),
        writer.text(0, "y\n"),
        writer.finish(0, FinishReason::Stop),
        writer.end(&USAGE),
    ];
    insta::assert_snapshot!(text(&events.concat()), @r#"
    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{"role":"assistant","content":"He"},"logprobs":null,"finish_reason":null}]}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{"content":"y\n"},"logprobs":null,"finish_reason":null}]}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

    data: [DONE]
    "#);
}

#[test]
fn a_stream_of_parallel_tool_calls_with_usage() {
    let mut writer = writer(1, UsageChunk::Wanted);
    let events = [
        writer.begin_tool_call(0, "call_1", "add"),
        writer.tool_arguments(0, r#"{"a""#),
        writer.tool_arguments(0, ":1}"),
        writer.begin_tool_call(0, "call_2", "add"),
        writer.tool_arguments(0, "{}"),
        writer.finish(0, FinishReason::Stop),
        writer.end(&USAGE),
    ];
    insta::assert_snapshot!(text(&events.concat()), @r#"
    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":""}}]},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"add","arguments":""}}]},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]},"logprobs":null,"finish_reason":null}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null}

    data: {"id":"chatcmpl-01","object":"chat.completion.chunk","created":1700000000,"model":"demo","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}

    data: [DONE]
    "#);
}

#[test]
fn an_empty_answer_still_introduces_its_role() {
    let mut writer = writer(1, UsageChunk::Unwanted);
    let event = text(&writer.finish(0, FinishReason::Length));
    assert!(event.contains(r#""delta":{"role":"assistant","content":""}"#), "{event}");
    assert!(event.contains(r#""finish_reason":"length""#), "{event}");
}

#[test]
fn each_choice_introduces_its_role_once_and_counts_its_own_tool_calls() {
    let mut writer = writer(2, UsageChunk::Unwanted);
    let first =
        [writer.text(1, "a"), writer.begin_tool_call(0, "c", "f"), writer.begin_tool_call(1, "d", "f")];
    let roles: Vec<bool> = first.iter().map(|event| text(event).contains("role")).collect();
    assert_eq!(roles, [true, true, false]);
    assert!(text(&first[2]).contains(r#""tool_calls":[{"index":0,"id":"d""#));
}

#[test]
fn text_that_looks_like_the_stream_format_stays_text() {
    let mut writer = writer(1, UsageChunk::Unwanted);
    let said = "\n\ndata: [DONE]\n\n\r\"\u{2028}";
    let mut reader = Reader::new(4096);
    reader.push(&writer.text(0, said));
    let event = reader.next_frame().unwrap().unwrap().event.unwrap();
    let chunk: Value = serde_json::from_str(event.data()).unwrap();
    assert_eq!(chunk["choices"][0]["delta"]["content"], said);
    assert_eq!(reader.finish(), Tail::Clean);
}

#[test]
#[should_panic(expected = "a choice has not ended")]
fn a_reply_cannot_end_before_its_choices() {
    let mut writer = writer(2, UsageChunk::Unwanted);
    let _: Bytes = writer.finish(0, FinishReason::Stop);
    writer.end(&USAGE);
}

#[test]
#[should_panic(expected = "choice 0 has ended")]
fn a_choice_cannot_go_on_after_its_end() {
    let mut writer = writer(1, UsageChunk::Unwanted);
    writer.finish(0, FinishReason::Stop);
    writer.text(0, "more");
}
