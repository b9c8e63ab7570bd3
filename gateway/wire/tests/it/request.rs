//! Reading chat requests: what is understood, and what each mistake is answered with.

use bytes::Bytes;
use wire::ParseErrorKind;
use wire::openai::chat::{
    Content, Delivery, FunctionCall, Part, Request, ResponseFormat, Role, Tool, ToolCall, ToolChoice,
    UsageChunk,
};

fn parse(body: &str) -> Request {
    Request::parse(Bytes::from(body.to_owned())).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// A minimal request with `extra` members appended.
fn with(extra: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{extra}}}"#)
}

#[test]
fn the_least_request_has_the_documented_defaults() {
    let request = parse(&with(""));
    assert_eq!(request.model, "m");
    assert_eq!(request.messages.len(), 1);
    assert_eq!(request.messages[0].role, Role::User);
    assert_eq!(request.messages[0].content, Some(Content::Text("hi".into())));
    assert_eq!(request.delivery, Delivery::Whole);
    assert_eq!((request.output.choices, request.output.max_tokens, request.output.logprobs), (1, None, None));
    assert_eq!(request.output.format, ResponseFormat::Text);
    assert_eq!(request.sampling.temperature, None);
    assert!(!request.offers_tools());
    assert_eq!(request.fields().collect::<Vec<_>>(), ["model", "messages"]);
}

#[test]
fn every_field_that_is_used_is_read() {
    let request = parse(&with(concat!(
        r#","temperature":0,"top_p":0.5,"top_k":40,"min_p":0.1,"seed":-7,"frequency_penalty":-2,"#,
        r#""presence_penalty":2,"max_completion_tokens":16,"n":2,"stop":["a","b"],"user":"u","#,
        r#""response_format":{"type":"json_schema","json_schema":{}},"logprobs":true,"top_logprobs":3,"#,
        r#""stream":true,"stream_options":{"include_usage":true},"x_new":{"deep":[1]}"#
    )));
    let sampling = request.sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.min_p), (Some(0.0), Some(0.5), Some(0.1)));
    assert_eq!((sampling.top_k, sampling.seed), (Some(40), Some(-7)));
    assert_eq!((sampling.frequency_penalty, sampling.presence_penalty), (Some(-2.0), Some(2.0)));
    assert_eq!((request.output.max_tokens, request.output.choices), (Some(16), 2));
    assert_eq!((request.output.stop, request.output.logprobs), (vec!["a".into(), "b".into()], Some(3)));
    assert_eq!(request.output.format, ResponseFormat::JsonSchema);
    assert_eq!(request.delivery, Delivery::Stream(UsageChunk::Wanted));
    assert_eq!(request.user.as_deref(), Some("u"));
}

#[test]
fn unknown_fields_are_listed_by_name_in_order() {
    let request = parse(r#"{"z":1,"model":"m","messages":[{"role":"user","content":""}],"a\u0062":null}"#);
    assert_eq!(request.fields().collect::<Vec<_>>(), ["z", "model", "messages", "ab"]);
}

#[test]
fn null_counts_as_absent() {
    let request = parse(&with(
        r#","temperature":null,"tools":null,"tool_choice":null,"stop":null,"n":null,"stream":null,"stream_options":null"#,
    ));
    let least = parse(&with(""));
    assert_eq!(request.sampling, least.sampling);
    assert_eq!(request.tooling, least.tooling);
    assert_eq!(request.output, least.output);
    assert_eq!(request.delivery, least.delivery);
}

#[test]
fn a_conversation_with_parts_and_tool_calls_is_read() {
    let request = parse(
        r#"{"model":"m","messages":[
            {"role":"developer","content":[{"type":"text","text":"be "},{"type":"text","text":"brief"}]},
            {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}],"name":"ann"},
            {"role":"assistant","content":null,"tool_calls":[
                {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
                {"id":"c2","type":"custom","custom":{"name":"g","input":"x"}}]},
            {"role":"tool","tool_call_id":"c1","content":"42"},
            {"role":"assistant","refusal":"no"}]}"#,
    );
    let [developer, user, assistant, tool, refusal] = &request.messages[..] else { panic!("five messages") };
    assert_eq!(developer.content.as_ref().unwrap().to_text().unwrap(), "be brief");
    assert_eq!(user.content, Some(Content::Parts(vec![Part::Other { kind: "image_url".into() }])));
    assert_eq!(
        user.content.as_ref().unwrap().to_text().unwrap_err().to_string(),
        "content of type `image_url` is not text"
    );
    assert_eq!(user.name.as_deref(), Some("ann"));
    let call = FunctionCall { id: "c1".into(), name: "f".into(), arguments: r#"{"a":1}"#.into() };
    assert_eq!(assistant.tool_calls, [ToolCall::Function(call), ToolCall::Other("custom".into())]);
    assert_eq!((tool.role, tool.tool_call_id.as_deref()), (Role::Tool, Some("c1")));
    assert_eq!((refusal.role, &refusal.content), (Role::Assistant, &None));
}

#[test]
fn a_tool_definition_keeps_the_order_of_its_keys() {
    let definition =
        r#"{"type":"function","function":{"name":"f","parameters":{"z":1,"a":{"y":2,"b":3}},"extra":true}}"#;
    let request = parse(&with(&format!(r#","tools":[{definition},{{"type":"web_search"}}]"#)));
    assert!(request.offers_tools());
    let [Tool::Function { name, definition: read }, Tool::Other { kind }] = &request.tooling.tools[..] else {
        panic!("a function and another tool were expected")
    };
    assert_eq!((name.as_str(), kind.as_str()), ("f", "web_search"));
    assert_eq!(read.to_string(), definition);
}

#[test]
fn tools_of_the_retired_form_are_tools_to_policy() {
    assert!(parse(&with(r#","functions":[{"name":"f"}]"#)).offers_tools());
}

#[test]
fn each_tool_choice_is_read() {
    let choice = |choice: &str| {
        let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
        parse(&with(&format!(r#"{tools},"tool_choice":{choice}"#))).tooling.choice
    };
    assert_eq!(choice(r#""auto""#), Some(ToolChoice::Auto));
    assert_eq!(choice(r#""none""#), Some(ToolChoice::None));
    assert_eq!(choice(r#""required""#), Some(ToolChoice::Required));
    let named = r#"{"type":"function","function":{"name":"f"}}"#;
    assert_eq!(choice(named), Some(ToolChoice::Function("f".into())));
    assert_eq!(choice(r#"{"type":"allowed_tools"}"#), Some(ToolChoice::Other("allowed_tools".into())));
}

#[test]
fn both_names_of_the_token_limit_are_read_and_must_agree() {
    let limit = |extra: &str| parse(&with(extra)).output.max_tokens;
    assert_eq!(limit(r#","max_tokens":5"#), Some(5));
    assert_eq!(limit(r#","max_completion_tokens":6"#), Some(6));
    assert_eq!(limit(r#","max_tokens":7,"max_completion_tokens":7"#), Some(7));
    let differing = with(r#","max_tokens":7,"max_completion_tokens":8"#);
    let error = Request::parse(Bytes::from(differing)).unwrap_err();
    assert_eq!((error.kind(), error.param()), (ParseErrorKind::InvalidValue, Some("max_tokens")));
}

#[test]
fn top_k_is_switched_off_by_zero_and_by_minus_one() {
    assert_eq!(parse(&with(r#","top_k":-1"#)).sampling.top_k, Some(0));
    assert_eq!(parse(&with(r#","top_k":0"#)).sampling.top_k, Some(0));
}

#[test]
fn usage_is_wanted_only_by_a_stream_that_says_so() {
    for (options, expected) in [
        ("", UsageChunk::Unwanted),
        (r#","stream_options":{}"#, UsageChunk::Unwanted),
        (r#","stream_options":{"include_usage":false}"#, UsageChunk::Unwanted),
        (r#","stream_options":{"include_usage":true}"#, UsageChunk::Wanted),
    ] {
        let request = parse(&with(&format!(r#","stream":true{options}"#)));
        assert_eq!(request.delivery, Delivery::Stream(expected), "{options}");
    }
}

#[test]
fn a_request_in_a_log_line_shows_no_prompt() {
    let shown = format!("{:?}", parse(&with("")));
    assert!(shown.contains("model") && !shown.contains("hi"), "{shown}");
}
