//! What the API is asked on behalf of callers of other dialects.

use serde_json::json;
use wire::anthropic::messages::{Host, vertex, write_call};
use wire::call::{
    Block, CacheMark, Call, Content, Document, Effort, Extra, Format, Image, Role, Sampling, Source, Target,
    Thinking, Tool, ToolCall, ToolChoice, ToolKind, Turn,
};

use super::{call_of, read, shown, user, write};

fn function(name: &str, strict: Option<bool>) -> Tool {
    let parameters = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}});
    Tool {
        name: name.into(),
        description: Some("Does it.".into()),
        kind: ToolKind::Function { parameters, strict },
        cache: None,
    }
}

#[test]
fn a_call_in_its_own_dialect_comes_out_as_it_went_in() {
    let body = r#"{"model":"claude-opus-4-6","max_tokens":1024,
        "system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
        "messages":[
          {"role":"user","content":[{"type":"text","text":"Look."},
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}},
            {"type":"document","source":{"type":"text","media_type":"text/plain","data":"hi"},"title":"Notes"},
            {"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"aGk="}},
            {"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]},
          {"role":"assistant","content":[
            {"type":"thinking","thinking":"Hm.","signature":"pc1.cloud.c2ln"},
            {"type":"redacted_thinking","data":"pc1.cloud.ZGF0YQ=="},
            {"type":"text","text":"I look."},
            {"type":"tool_use","id":"toolu_1","name":"look","input":{"n":1.50}}]},
          {"role":"user","content":[
            {"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"A cat."},
              {"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}],
              "cache_control":{"type":"ephemeral"}},
            {"type":"text","text":"Go on."}]}],
        "tools":[{"name":"look","description":"Looks.","input_schema":{"type":"object"}}],
        "tool_choice":{"type":"auto","disable_parallel_tool_use":true},
        "temperature":0.5,"top_k":40,"stop_sequences":["END"],"metadata":{"user_id":"u1"},"stream":true}"#;
    let (written, lost) = write(&read(body), "claude-opus-4-6");
    let sent = body.replace("pc1.cloud.", "");
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(&sent).unwrap());
    assert_eq!(lost, [""; 0]);
}

#[test]
fn digits_of_arguments_are_those_that_were_written() {
    let turn = Turn::new(
        Role::Assistant,
        vec![
            Content::ToolCall(ToolCall {
                id: "c".into(),
                name: "f".into(),
                arguments: r#"{"n":1.50,"big":12345678901234567890123}"#.into(),
            })
            .into(),
        ],
    );
    let call = call_of(vec![user("a"), turn]);
    let target = Target { provider: "cloud", model: "claude-opus-5" };
    let body = write_call(&call, target, Host::Direct).unwrap().body;
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains(r#""input":{"n":1.50,"big":12345678901234567890123}"#), "{body}");
}

#[test]
fn instructions_stand_apart_and_turns_of_one_role_are_one_message() {
    // Rule 27
    let call = call_of(vec![
        Turn::new(Role::System, vec![Block::text("a")]),
        Turn::new(Role::System, vec![Block::text("b")]),
        user("c"),
        user("d"),
        Turn::new(Role::System, vec![Block::text("e")]),
        Turn::new(Role::Assistant, vec![Block::text("f")]),
        Turn::new(Role::Assistant, vec![Content::Refusal("g".into()).into()]),
        user("h"),
    ]);
    insta::assert_snapshot!(shown(&call, "claude-opus-5"));
}

#[test]
fn text_that_says_nothing_is_not_sent() {
    let call = call_of(vec![
        Turn::new(Role::System, vec![Block::text(" ")]),
        Turn::new(Role::User, vec![Block::text(""), Block::text("a"), Block::text("\n ")]),
        Turn::new(Role::Assistant, vec![Block::text("")]),
        user(" "),
        Turn::new(Role::Assistant, vec![Block::text("  b \n")]),
    ]);
    let (body, lost) = write(&call, "claude-opus-4-5");
    assert_eq!(body.get("system"), None);
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "  b"}]}
        ])
    );
    assert_eq!(lost, [""; 0]);
}

#[test]
fn a_missing_limit_of_the_answer_is_filled_in_and_one_too_high_is_lowered() {
    // Rule 26
    let limit = |asked, model| {
        let (body, lost) = write(&Call { max_tokens: asked, ..call_of(vec![user("a")]) }, model);
        (body["max_tokens"].as_u64().unwrap(), lost)
    };
    assert_eq!(limit(None, "claude-opus-5"), (32_000, vec![]));
    assert_eq!(limit(None, "claude-opus-4-1-20250805"), (32_000, vec![]));
    assert_eq!(limit(None, "claude-3-haiku-20240307"), (4096, vec![]));
    assert_eq!(limit(Some(128_000), "claude-opus-5"), (128_000, vec![]));
    assert_eq!(limit(Some(128_000), "claude-haiku-4-5"), (64_000, vec!["max_tokens".to_owned()]));
}

#[test]
fn sampling_that_a_model_would_refuse_is_left_out_and_reported() {
    let sampling = Sampling {
        temperature: Some(1.4),
        top_p: Some(0.9),
        top_k: Some(40),
        min_p: Some(0.1),
        frequency_penalty: Some(0.0),
        presence_penalty: Some(1.0),
        seed: Some(1),
        logprobs: Some(0),
    };
    let call = Call { sampling, ..call_of(vec![user("a")]) };
    let without = ["logprobs", "min_p", "presence_penalty", "seed"];
    let check = |model: &str, more: &[&str], expected: serde_json::Value| {
        let (body, lost) = write(&call, model);
        let sent = json!([body.get("temperature"), body.get("top_p"), body.get("top_k")]);
        assert_eq!(sent, expected, "{model}");
        let mut names = [more, &without].concat();
        names.sort_unstable();
        assert_eq!(lost, names, "{model}");
    };
    check("claude-sonnet-4-20250514", &["temperature"], json!([1.0, 0.9, 40]));
    check("claude-opus-4-6", &["temperature", "top_p"], json!([1.0, null, 40]));
    check("claude-opus-4-7", &["temperature", "top_p", "top_k"], json!([null, null, null]));
}

#[test]
fn every_kind_of_tool_becomes_one_that_the_api_has_or_is_reported() {
    let custom = ToolKind::Custom { format: Some(r#"{"type":"grammar"}"#.into()) };
    let hosted = ToolKind::Hosted { kind: "web_search".into(), json: "{}".into() };
    let empty = ToolKind::Function { parameters: json!({}), strict: Some(false) };
    let tool = |name: &str, kind| Tool { name: name.into(), description: None, kind, cache: None };
    let call = Call {
        tools: vec![
            function("strict", Some(true)),
            Tool { cache: Some(CacheMark::Default), ..function("loose", None) },
            tool("apply_patch", custom),
            tool("web_search", hosted),
            tool("now", empty),
        ],
        tool_choice: ToolChoice::Required,
        parallel_tools: Some(false),
        ..call_of(vec![user("a")])
    };
    insta::assert_snapshot!(shown(&call, "claude-opus-4-6"));
}

#[test]
fn text_for_a_custom_tool_is_one_string_also_where_it_looks_like_an_object() {
    let patch = Tool {
        name: "patch".into(),
        description: None,
        kind: ToolKind::Custom { format: None },
        cache: None,
    };
    let turn = |arguments: &str| {
        let call = ToolCall { id: "c".into(), name: "patch".into(), arguments: arguments.into() };
        Turn::new(Role::Assistant, vec![Content::ToolCall(call).into()])
    };
    for text in ["*** Begin", "{}", r#"{"input":1}"#, ""] {
        let call = Call { tools: vec![patch.clone()], ..call_of(vec![user("a"), turn(text)]) };
        let (body, _) = write(&call, "claude-opus-5");
        assert_eq!(body["messages"][1]["content"][0]["input"], json!({ "input": text }));
    }
}

#[test]
fn a_choice_that_cannot_be_had_is_reported() {
    // Complaint 17
    let hosted = Tool {
        name: "web_search".into(),
        description: None,
        kind: ToolKind::Hosted { kind: "web_search".into(), json: "{}".into() },
        cache: None,
    };
    let chosen = |tools: Vec<Tool>, tool_choice, model: &str| {
        let (body, lost) = write(&Call { tools, tool_choice, ..call_of(vec![user("a")]) }, model);
        (body.get("tool_choice").cloned(), lost)
    };
    let named = || ToolChoice::Named("web_search".into());
    let lost = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let gone = lost(&["tool_choice", "tools.web_search"]);
    assert_eq!(chosen(vec![hosted.clone()], named(), "claude-opus-4-6"), (None, gone.clone()));
    assert_eq!(chosen(vec![hosted, function("f", None)], named(), "claude-opus-4-6"), (None, gone));
    // Models that cannot be told not to think refuse to be forced.
    let forced = chosen(vec![function("f", None)], ToolChoice::Required, "claude-opus-5-5");
    assert_eq!(forced, (None, lost(&["tool_choice"])));
    let named = chosen(vec![function("f", None)], ToolChoice::Named("f".into()), "claude-opus-5");
    assert_eq!(named, (Some(json!({"type": "tool", "name": "f"})), vec![]));
    assert_eq!(chosen(vec![], ToolChoice::None, "claude-opus-5"), (None, vec![]));
}

#[test]
fn a_schema_of_the_answer_is_sent_in_the_form_that_the_api_takes() {
    let schema = json!({
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "enum": [1, 2]},
            "list": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/$defs/item"}},
            "either": {"oneOf": [{"type": "string", "minLength": 2}, {"type": "null"}]}
        },
        "required": ["minimum"],
        "additionalProperties": true,
        "$defs": {"item": {"type": ["object", "null"], "properties": {"at": {"type": "string", "format": "date"}}}}
    });
    let format =
        Format::JsonSchema { name: "x".into(), description: Some("d".into()), schema, strict: Some(true) };
    let call = Call { format, ..call_of(vec![user("a")]) };
    insta::assert_snapshot!(shown(&call, "claude-sonnet-4-5"));
    let (body, lost) = write(&call, "claude-sonnet-4-20250514");
    assert_eq!((body.get("output_config"), lost), (None, vec!["response_format".to_owned()]));
}

#[test]
fn any_object_is_left_to_the_prompt_and_reported() {
    let call = Call { format: Format::JsonObject, ..call_of(vec![user("Answer in JSON.")]) };
    let (body, lost) = write(&call, "claude-opus-5");
    assert_eq!((body.get("output_config"), lost), (None, vec!["response_format".to_owned()]));
}

#[test]
fn what_the_api_has_no_place_for_is_reported_by_name() {
    // Rule 25
    let inline = |media_type: &str| Source::Inline { media_type: media_type.into(), data: "aGk=".into() };
    let image = |source| Content::Image(Image { source, detail: Some("high".into()) }).into();
    let document = |source| Content::Document(Document { source, name: None }).into();
    let named = Turn {
        name: Some("ann".into()),
        ..Turn::new(
            Role::User,
            vec![
                Block::text("a"),
                image(inline("image/tiff")),
                document(Source::Stored("file-1".into())),
                document(inline("application/zip")),
                Content::Audio { format: "wav".into(), data: "aGk=".into() }.into(),
                Content::Other { kind: "video".into(), json: "{}".into() }.into(),
            ],
        )
    };
    let call = Call {
        store: Some(true),
        stop: vec!["\n".into(), "END".into()],
        extras: vec![
            Extra { name: "logit_bias".into(), json: "{}".into() },
            Extra { name: "verbosity".into(), json: "null".into() },
        ],
        ..call_of(vec![named])
    };
    let (body, lost) = write(&call, "claude-opus-5");
    assert_eq!(
        lost,
        [
            "content.audio",
            "content.document",
            "content.image",
            "content.image.detail",
            "content.video",
            "logit_bias",
            "name",
            "stop",
            "store"
        ]
    );
    assert_eq!(body["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "a"}]}]));
    assert_eq!(body["stop_sequences"], json!(["END"]));
    let quiet = Call { store: Some(false), ..call_of(vec![user("a")]) };
    assert_eq!(write(&quiet, "claude-opus-5").1, [""; 0]);
}

#[test]
fn several_answers_and_answers_to_nothing_cannot_be_asked_for() {
    let target = Target { provider: "cloud", model: "claude-opus-5" };
    let refused = |call: &Call| write_call(call, target, Host::Direct).unwrap_err().param;
    assert_eq!(refused(&Call { choices: Some(2), ..call_of(vec![user("a")]) }), "n");
    assert_eq!(refused(&call_of(vec![Turn::new(Role::System, vec![Block::text("a")])])), "messages");
    assert_eq!(refused(&call_of(vec![user(" ")])), "messages");
}

#[test]
fn vertex_has_the_model_in_its_path_and_the_version_in_the_body() {
    let thinking = Thinking { effort: Some(Effort::High), ..Thinking::default() };
    let call = Call { stream: true, thinking, ..call_of(vec![user("a")]) };
    let betas = ["context-1m-2025-08-07".to_owned()];
    let target = Target { provider: "google", model: "claude-opus-4-6" };
    let body = write_call(&call, target, Host::Vertex { betas: &betas }).unwrap().body;
    insta::assert_snapshot!(
        String::from_utf8(body.to_vec()).unwrap(),
        @r#"{"anthropic_version":"vertex-2023-10-16","anthropic_beta":["context-1m-2025-08-07"],"max_tokens":32000,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"thinking":{"type":"adaptive"},"output_config":{"effort":"high"},"stream":true}"#
    );
}

#[test]
fn a_body_that_goes_to_vertex_keeps_every_other_byte() {
    // Rule 23
    let body = r#"{ "model":"m","max_tokens":1.0e1, "later" : [1 , "\u00e9"],"betas":["x"],"stream":true}"#;
    let betas = ["b".to_owned()];
    let sent = vertex::message_body(body.as_bytes(), &betas).unwrap();
    insta::assert_snapshot!(
        String::from_utf8(sent.to_vec()).unwrap(),
        @r#"{"anthropic_version":"vertex-2023-10-16","anthropic_beta":["b"],"max_tokens":1.0e1,"later":[1 , "\u00e9"],"stream":true}"#
    );
    let counted = vertex::count_body(br#"{"model":"m","messages":[]}"#, "claude-x", &[]).unwrap();
    insta::assert_snapshot!(
        String::from_utf8(counted.to_vec()).unwrap(),
        @r#"{"anthropic_version":"vertex-2023-10-16","model":"claude-x","messages":[]}"#
    );
    assert!(vertex::message_body(b"[]", &[]).is_err());
}
