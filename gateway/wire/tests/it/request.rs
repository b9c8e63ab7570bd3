//! Reading chat requests: what decides their way at once, and the conversation when somebody asks for it.

use bytes::Bytes;
use wire::call::{
    Block, Call, Content, Document, Effort, Format, Image, Reasoning, Role, Source, Tool, ToolCall,
    ToolChoice, ToolKind, ToolResult, Turn,
};
use wire::{Delivery, Dialect, ParseErrorKind, Request, UsageChunk};

fn parse(body: &str) -> Request {
    let request = Request::parse(Dialect::OpenAiChat, Bytes::from(body.to_owned()));
    request.unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn call(body: &str) -> Call {
    parse(body).call().unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// A minimal request with `extra` members appended.
fn with(extra: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{extra}}}"#)
}

fn turns(messages: &str) -> Vec<Turn> {
    call(&format!(r#"{{"model":"m","messages":[{messages}]}}"#)).turns
}

#[test]
fn the_least_request_has_the_documented_defaults() {
    let request = parse(&with(""));
    assert_eq!((request.model.as_str(), request.delivery, request.tools), ("m", Delivery::Whole, 0));
    assert_eq!(request.fields().collect::<Vec<_>>(), ["model", "messages"]);
    let call = request.call().unwrap();
    let hi = Turn::new(Role::User, vec![Block::text("hi")]);
    assert_eq!(call, Call { model: "m".into(), turns: vec![hi], ..Call::default() });
    assert_eq!((call.choices, call.max_tokens, &call.format), (None, None, &Format::Text));
}

#[test]
fn every_field_that_is_used_is_read() {
    let request = parse(&with(concat!(
        r#","temperature":0,"top_p":0.5,"top_k":40,"min_p":0.1,"seed":-7,"frequency_penalty":-2,"#,
        r#""presence_penalty":2,"max_completion_tokens":16,"n":2,"stop":["a","b"],"user":"u","#,
        r#""response_format":{"type":"json_schema","json_schema":{}},"logprobs":true,"top_logprobs":3,"#,
        r#""parallel_tool_calls":false,"reasoning_effort":"low","store":false,"#,
        r#""stream":true,"stream_options":{"include_usage":true},"x_new":{"deep":[1]}"#
    )));
    assert_eq!(request.delivery, Delivery::Stream(UsageChunk::Wanted));
    assert!(request.is_streamed());
    let call = request.call().unwrap();
    let sampling = call.sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.min_p), (Some(0.0), Some(0.5), Some(0.1)));
    assert_eq!((sampling.top_k, sampling.seed, sampling.logprobs), (Some(40), Some(-7), Some(3)));
    assert_eq!((sampling.frequency_penalty, sampling.presence_penalty), (Some(-2.0), Some(2.0)));
    assert_eq!((call.max_tokens, call.choices, call.stop), (Some(16), Some(2), vec!["a".into(), "b".into()]));
    assert!(matches!(call.format, Format::JsonSchema { strict: None, .. }));
    assert_eq!((call.parallel_tools, call.thinking.effort), (Some(false), Some(Effort::Low)));
    assert_eq!((call.user.as_deref(), call.store, call.stream), (Some("u"), Some(false), true));
    let extras: Vec<_> = call.extras.iter().map(|extra| (extra.name.as_str(), extra.json.as_str())).collect();
    assert_eq!(extras, [("x_new", r#"{"deep":[1]}"#)]);
}

// Rule 25
#[test]
fn unknown_fields_are_listed_by_name_in_order_and_kept() {
    let body = r#"{"z":1,"model":"m","messages":[{"role":"user","content":""}],"a\u0062":null}"#;
    assert_eq!(parse(body).fields().collect::<Vec<_>>(), ["z", "model", "messages", "ab"]);
    let extras = call(body).extras;
    let names: Vec<_> = extras.iter().map(|extra| extra.name.as_str()).collect();
    assert_eq!(names, ["z", "ab"]);
    assert_eq!(extras.iter().map(wire::call::Extra::says_something).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_value_that_only_this_api_knows_is_kept_as_an_extra() {
    let extras = |extra: &str| {
        let extras = call(&with(extra)).extras;
        extras.into_iter().map(|extra| extra.name).collect::<Vec<_>>()
    };
    assert_eq!(extras(r#","modalities":["text"],"service_tier":"auto""#), Vec::<String>::new());
    assert_eq!(extras(r#","modalities":["text","audio"]"#), ["modalities"]);
    assert_eq!(extras(r#","service_tier":"flex""#), ["service_tier"]);
    assert_eq!(extras(r#","reasoning_effort":"quantum""#), ["reasoning_effort"]);
    let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
    assert_eq!(extras(&format!(r#"{tools},"tool_choice":{{"type":"allowed_tools"}}"#)), ["tool_choice"]);
}

#[test]
fn null_counts_as_absent() {
    let fields = concat!(
        r#","temperature":null,"tools":null,"tool_choice":null,"stop":null,"n":null,"stream":null,"#,
        r#""stream_options":null,"response_format":null,"reasoning_effort":null,"user":null,"store":null"#
    );
    let least = parse(&with(""));
    let request = parse(&with(fields));
    assert_eq!((request.delivery, request.tools), (least.delivery, least.tools));
    assert_eq!(request.call().unwrap(), least.call().unwrap());
}

/// What passes through may say what this version has never heard of; only a translation has to understand it.
#[test]
fn messages_are_judged_only_when_the_conversation_is_asked_for() {
    let request =
        parse(r#"{"model":"m","messages":[{"role":"oracle"}],"tools":[7],"response_format":"new"}"#);
    assert_eq!(request.tools, 1);
    assert_eq!(request.call().unwrap_err().param(), Some("tools[0]"));
    let request = parse(r#"{"model":"m"}"#);
    assert_eq!(request.call().unwrap_err().kind(), ParseErrorKind::Missing);
}

#[test]
fn only_a_conversation_can_be_read_as_one() {
    for dialect in [Dialect::OpenAiCompletions, Dialect::OpenAiEmbeddings] {
        let body = Bytes::from_static(br#"{"model":"m","prompt":"hi","input":"hi"}"#);
        assert!(Request::parse(dialect, body).unwrap().call().is_err(), "{dialect}");
    }
}

// Rule 27
#[test]
fn a_conversation_with_parts_and_tool_calls_is_read() {
    let turns = turns(
        r#"{"role":"developer","content":[{"type":"text","text":"be "},{"type":"text","text":"brief"}]},
           {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}},
                {"type":"image_url","image_url":{"url":"https://host/a.png"}}],"name":"ann"},
           {"role":"assistant","content":null,"tool_calls":[
                {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
                {"id":"c2","type":"custom","custom":{"name":"g","input":"x"}}]},
           {"role":"tool","tool_call_id":"c1","content":"42"},
           {"role":"assistant","refusal":"no"}"#,
    );
    let [developer, user, assistant, tool, refusal] = &turns[..] else { panic!("five turns") };
    assert_eq!(*developer, Turn::new(Role::System, vec![Block::text("be "), Block::text("brief")]));
    let inline = Source::Inline { media_type: "image/png".into(), data: "AA==".into() };
    let image = Image { source: inline, detail: Some("low".into()) };
    let linked = Image { source: Source::Url("https://host/a.png".into()), detail: None };
    assert_eq!(user.blocks, [Content::Image(image).into(), Content::Image(linked).into()]);
    assert_eq!((user.role, user.name.as_deref()), (Role::User, Some("ann")));
    let called = |id: &str, name: &str, arguments: &str| {
        let (id, name, arguments) = (id.into(), name.into(), arguments.into());
        Block::from(Content::ToolCall(ToolCall { id, name, arguments }))
    };
    assert_eq!(assistant.blocks, [called("c1", "f", r#"{"a":1}"#), called("c2", "g", "x")]);
    let content = vec![Block::text("42")];
    let result = ToolResult { call_id: "c1".into(), name: None, content, is_error: false };
    assert_eq!(*tool, Turn::new(Role::User, vec![Content::ToolResult(result).into()]));
    assert_eq!(refusal.blocks, [Content::Refusal("no".into()).into()]);
}

#[test]
fn sound_files_and_unknown_parts_are_kept() {
    let turns = turns(
        r#"{"role":"user","content":[
            {"type":"input_audio","input_audio":{"data":"UklG","format":"wav"}},
            {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}},
            {"type":"file","file":{"file_id":"file-1"}},
            {"type":"video_url","video_url":{"url":"https://host/a.mp4"}}]}"#,
    );
    let kinds: Vec<_> = turns[0].blocks.iter().map(|block| block.content.kind()).collect();
    assert_eq!(kinds, ["audio", "document", "document", "video_url"]);
    let inline = Source::Inline { media_type: "application/pdf".into(), data: "JVBE".into() };
    let document = Document { source: inline, name: Some("a.pdf".into()) };
    assert_eq!(turns[0].blocks[1].content, Content::Document(document));
    let stored = Document { source: Source::Stored("file-1".into()), name: None };
    assert_eq!(turns[0].blocks[2].content, Content::Document(stored));
}

#[test]
fn thoughts_that_open_servers_want_back_are_read_under_both_names() {
    for name in ["reasoning_content", "reasoning"] {
        let turns = turns(&format!(r#"{{"role":"assistant","content":"a","{name}":"hm"}}"#));
        let thought = Reasoning { text: "hm".into(), ..Reasoning::default() };
        assert_eq!(turns[0].blocks, [Content::Reasoning(thought).into(), Block::text("a")], "{name}");
    }
}

#[test]
fn the_retired_form_of_calls_and_results_is_read() {
    let turns = turns(
        r#"{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},
           {"role":"function","name":"f","content":"42"}"#,
    );
    let [Content::ToolCall(called), Content::ToolResult(result)] =
        [&turns[0].blocks[0].content, &turns[1].blocks[0].content]
    else {
        panic!("a call and its result")
    };
    assert_eq!((called.id.as_str(), called.name.as_str()), ("f", "f"));
    assert_eq!(result.call_id, called.id);
}

#[test]
fn a_tool_definition_keeps_the_order_of_its_keys() {
    let schema = r#"{"z":1,"a":{"y":2,"b":3}}"#;
    let function = format!(
        r#"{{"type":"function","function":{{"name":"f","parameters":{schema},"strict":true,"extra":true}}}}"#
    );
    let body = with(&format!(r#","tools":[{function},{{"type":"web_search","depth":3}}]"#));
    assert_eq!(parse(&body).tools, 2);
    let tools = call(&body).tools;
    let [
        Tool { name, kind: ToolKind::Function { parameters, strict }, .. },
        Tool { kind: ToolKind::Hosted { kind, json }, .. },
    ] = &tools[..]
    else {
        panic!("a function and another tool were expected")
    };
    assert_eq!((name.as_str(), kind.as_str(), *strict), ("f", "web_search", Some(true)));
    assert_eq!(parameters.to_string(), schema);
    assert_eq!(json, r#"{"type":"web_search","depth":3}"#);
}

#[test]
fn tools_of_the_retired_form_are_tools_to_policy() {
    assert_eq!(parse(&with(r#","functions":[{"name":"f"}]"#)).tools, 1);
}

#[test]
fn each_tool_choice_is_read() {
    let choice = |choice: &str| {
        let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
        call(&with(&format!(r#"{tools},"tool_choice":{choice}"#))).tool_choice
    };
    assert_eq!(choice(r#""auto""#), ToolChoice::Auto);
    assert_eq!(choice(r#""none""#), ToolChoice::None);
    assert_eq!(choice(r#""required""#), ToolChoice::Required);
    assert_eq!(choice(r#"{"type":"function","function":{"name":"f"}}"#), ToolChoice::Named("f".into()));
    assert_eq!(choice(r#"{"type":"allowed_tools"}"#), ToolChoice::Auto);
}

// Rule 26
#[test]
fn both_names_of_the_token_limit_are_read_and_must_agree() {
    let limit = |extra: &str| call(&with(extra)).max_tokens;
    assert_eq!(limit(r#","max_tokens":5"#), Some(5));
    assert_eq!(limit(r#","max_completion_tokens":6"#), Some(6));
    assert_eq!(limit(r#","max_tokens":7,"max_completion_tokens":7"#), Some(7));
    let error = parse(&with(r#","max_tokens":7,"max_completion_tokens":8"#)).call().unwrap_err();
    assert_eq!((error.kind(), error.param()), (ParseErrorKind::InvalidValue, Some("max_tokens")));
}

#[test]
fn top_k_is_switched_off_by_zero_and_by_minus_one() {
    assert_eq!(call(&with(r#","top_k":-1"#)).sampling.top_k, Some(0));
    assert_eq!(call(&with(r#","top_k":0"#)).sampling.top_k, Some(0));
}

// Rule 7
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
    let body = with(r#","user":"hi""#);
    for shown in [format!("{:?}", parse(&body)), format!("{:?}", call(&body))] {
        assert!(shown.contains("model") && !shown.contains("hi"), "{shown}");
    }
}
