//! Bad bodies and the error objects they are answered with; upstream errors and their standard form.

use std::fmt::Write as _;

use bytes::Bytes;
use proptest::prelude::*;
use wire::openai::error::{self, ErrorBody};
use wire::{AskUsage, Dialect, ParseError, Request};

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("bodies are text")
}

fn parse(body: impl Into<Vec<u8>>) -> Result<Request, ParseError> {
    Request::parse(Dialect::OpenAiChat, Bytes::from(body.into()))
}

/// Each body with the error object it is answered with, if the conversation is read too.
fn answers(bodies: &[String]) -> String {
    let mut out = String::new();
    for body in bodies {
        let outcome = parse(body.clone()).and_then(|request| request.call());
        let Err(error) = outcome else { panic!("accepted: {body}") };
        let answer = ErrorBody::from(&error).to_json();
        writeln!(out, "{body}\n  {}", text(&answer)).expect("a string can be written to");
    }
    out
}

#[test]
fn each_bad_body_gets_an_error_that_says_what_to_do() {
    let bodies = [
        "",
        "[]",
        "\"text\"",
        "{\"model\":\"m\",",
        "{}",
        r#"{"model":"m"}"#,
        r#"{"model":"m","messages":[]}"#,
        r#"{"model":"m","messages":{}}"#,
        r#"{"model":null,"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":5,"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"a","messages":[],"model":"b"}"#,
        r#"{"model":"a","messages":[{"role":"user","content":"x","x":[{"k":1,"k":2}]}]}"#,
    ];
    insta::assert_snapshot!(answers(&bodies.map(String::from)));
}

#[test]
fn each_bad_message_gets_an_error_that_names_its_place() {
    let messages = [
        r#""secret""#,
        r"{}",
        r#"{"role":"user"}"#,
        r#"{"role":"robot","content":"secret"}"#,
        r#"{"role":"user","content":7}"#,
        r#"{"role":"user","content":null,"tool_calls":[{"id":"c","type":"x"}]}"#,
        r#"{"role":"user","content":["secret"]}"#,
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text"}]}"#,
        r#"{"role":"assistant","content":null}"#,
        r#"{"role":"assistant","tool_calls":[]}"#,
        r#"{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":{}}}]}"#,
        r#"{"role":"tool","content":"42"}"#,
    ];
    let bodies = messages
        .map(|message| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}},{message}]}}"#));
    let answers = answers(&bodies);
    insta::assert_snapshot!(answers);
    let objects: String = answers.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(!objects.contains("secret"), "an error may not repeat prompt text");
}

#[test]
fn each_bad_parameter_gets_an_error_that_states_the_allowed_values() {
    let parameters = [
        r#""temperature":2.5"#,
        r#""temperature":"hot""#,
        r#""top_p":-0.1"#,
        r#""top_k":1.5"#,
        r#""top_k":-2"#,
        r#""seed":9223372036854775808"#,
        r#""max_tokens":0"#,
        r#""max_tokens":1e3"#,
        r#""max_tokens":4294967296"#,
        r#""n":0"#,
        r#""stop":"""#,
        r#""stop":["a",1]"#,
        r#""stop":["","","","","","","","","","","","","","","","",""]"#,
        r#""stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]"#,
        r#""stream":"yes""#,
        r#""stream_options":[]"#,
        r#""stream":true,"stream_options":{"include_usage":1}"#,
        r#""response_format":"json""#,
        r#""response_format":{}"#,
        r#""top_logprobs":3"#,
        r#""logprobs":true,"top_logprobs":21"#,
        r#""tools":{}"#,
        r#""tools":[{"function":{"name":"f"}}]"#,
        r#""tools":[{"type":"function"}]"#,
        r#""tools":[{"type":"function","function":{"name":"","parameters":{}}}]"#,
        r#""tools":[{"type":"function","function":{"name":"f","parameters":"{}"}}]"#,
        r#""tool_choice":"required""#,
        r#""tool_choice":"maybe""#,
        r#""tool_choice":1"#,
        r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}"#,
        r#""user":{}"#,
    ];
    let bodies = parameters
        .map(|extra| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{extra}}}"#));
    insta::assert_snapshot!(answers(&bodies));
}

#[test]
fn a_model_name_has_a_limit() {
    let body = |bytes| {
        format!(r#"{{"model":"{}","messages":[{{"role":"user","content":"x"}}]}}"#, "m".repeat(bytes))
    };
    assert!(parse(body(256)).is_ok());
    assert_eq!(parse(body(257)).unwrap_err().param(), Some("model"));
}

#[test]
fn a_body_nested_too_deeply_is_refused_wherever_the_nesting_is() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"extra":{deep}}}"#);
    assert_eq!(parse(body).unwrap_err().code(), "json_too_complex");
}

#[test]
fn all_four_keys_are_written_even_when_null() {
    let mut body = ErrorBody::new(error::NOT_FOUND, "model_not_found", "no such model");
    insta::assert_snapshot!(
        text(&body.to_json()),
        @r#"{"error":{"message":"no such model","type":"not_found_error","param":null,"code":"model_not_found"}}"#
    );
    body.code = None;
    body.param = Some("model".into());
    insta::assert_snapshot!(
        text(&body.to_json()),
        @r#"{"error":{"message":"no such model","type":"not_found_error","param":"model","code":null}}"#
    );
}

#[test]
fn an_error_in_a_stream_is_one_event_and_not_the_end_mark() {
    let event = ErrorBody::new(error::SERVER, "engine_failed", "two\nlines").to_event();
    assert_eq!(
        text(&event),
        "data: {\"error\":{\"message\":\"two\\nlines\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_failed\"}}\n\n"
    );
}

#[test]
fn upstream_errors_of_every_known_shape_get_the_standard_one() {
    let read = |body: &str| ErrorBody::from_upstream(body.as_bytes()).map(|error| error.to_json());
    let standard = |body: &str| read(body).map(|json| text(&json).to_owned()).unwrap_or_default();
    let known = [
        r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#,
        r#"{"error":{"message":"m"}}"#,
        r#"{"error":{"message":"m","code":429,"param":["x"],"type":null,"extra":1}}"#,
        r#"{"error":"m"}"#,
        r#"{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}"#,
    ];
    insta::assert_snapshot!(known.map(standard).join("\n"), @r#"
    {"error":{"message":"m","type":"t","param":"p","code":"c"}}
    {"error":{"message":"m","type":"server_error","param":null,"code":null}}
    {"error":{"message":"m","type":"server_error","param":null,"code":"429"}}
    {"error":{"message":"m","type":"server_error","param":null,"code":null}}
    {"error":{"message":"m","type":"BadRequestError","param":null,"code":"400"}}
    "#);
    let unknown =
        ["<html>502</html>", "", "[]", "{}", r#"{"error":null}"#, r#"{"error":{}}"#, r#"{"message":"m"}"#];
    for body in unknown {
        assert_eq!(ErrorBody::from_upstream(body.as_bytes()), None, "{body}");
    }
}

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"é"}]}],
    "tools":[{"type":"function","function":{"name":"f"}}],"stream":true,"stream_options":{"include_usage":false},
    "stop":["a"],"n":1,"temperature":0.5,"response_format":{"type":"text"}}"#;

proptest! {
    #[test]
    fn a_damaged_body_is_refused_or_forwards_as_json(
        at in any::<prop::sample::Index>(),
        length in 0..12_usize,
        patch in r#"[\[\]{}",:a1 ]{0,6}"#,
    ) {
        let mut body = BODY.as_bytes().to_vec();
        let start = at.index(body.len());
        let end = (start + length).min(body.len());
        body.splice(start..end, patch.bytes());
        if let Ok(request) = parse(body) {
            let forwarded = request.forward_body("up", AskUsage::Always);
            let forwarded: serde_json::Value = serde_json::from_slice(&forwarded).expect("still JSON");
            prop_assert_eq!(&forwarded["model"], "up");
        }
    }
}
