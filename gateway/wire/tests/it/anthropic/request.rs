//! What clients of the dialect send, and what it means.

use std::fmt::Write as _;

use wire::anthropic::messages::read_call;
use wire::call::{CacheMark, Content, Effort, Format, Role, Seal, Source, ToolChoice, ToolKind};

use super::{read, read_with};

const CONVERSATION: &str = r#"{
  "model": "claude-opus-5", "max_tokens": 1024,
  "system": [
    {"type": "text", "text": "Be brief."},
    {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
  ],
  "messages": [
    {"role": "user", "content": [
      {"type": "text", "text": "What is in these?"},
      {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
      {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
      {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
      {"type": "document", "title": "Notes", "context": "c", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
      {"type": "document", "source": {"type": "content", "content": "x"}},
      {"type": "search_result", "title": "t", "source": "s", "content": []}
    ]},
    {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "Look.", "signature": "pc1.cloud.c2ln"},
      {"type": "redacted_thinking", "data": "ZGF0YQ=="},
      {"type": "text", "text": "Let me look."},
      {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": [1, 2.50]}},
      {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}, "caller": {"type": "direct"}}
    ]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "toolu_1", "content": "A cat."},
      {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true, "content": [
        {"type": "text", "text": "No file."},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "tool_reference", "tool_name": "look"}
      ], "cache_control": {"type": "ephemeral"}}
    ]}
  ]
}"#;

#[test]
fn every_kind_of_block_has_its_place_in_a_call() {
    let call = read(CONVERSATION);
    insta::assert_debug_snapshot!(call.turns);
    let extras: Vec<_> = call.extras.iter().map(|extra| (extra.name.as_str(), extra.json.as_str())).collect();
    assert_eq!(
        extras,
        [
            ("messages[].content[].context", r#""c""#),
            ("messages[].content[].caller", r#"{"type": "direct"}"#)
        ]
    );
}

#[test]
fn text_instead_of_blocks_means_one_block_of_it() {
    let call = read(
        r#"{"model":"m","max_tokens":1,"system":"Be brief.","messages":[{"role":"user","content":"hi"},
            {"role":"assistant","content":""},{"role":"assistant","content":[]}]}"#,
    );
    let said: Vec<_> = call.turns.iter().map(|turn| (turn.role, turn.blocks.len())).collect();
    assert_eq!(said, [(Role::System, 1), (Role::User, 1), (Role::Assistant, 1), (Role::Assistant, 0)]);
    assert_eq!(call.turns[0].blocks[0].as_text(), Some("Be brief."));
}

#[test]
fn instructions_stay_where_they_stand() {
    // Rule 27
    let call = read(
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"},
            {"role":"system","content":[{"type":"text","text":"b"}]},
            {"role":"user","content":[{"type":"text","text":"c"},
              {"type":"mid_conv_system","content":[{"type":"text","text":"d"}],"cache_control":{"type":"ephemeral"}},
              {"type":"text","text":"e"}]},
            {"role":"system","content":""}]}"#,
    );
    let said: Vec<_> = call.turns.iter().map(|turn| (turn.role, turn.blocks[0].as_text().unwrap())).collect();
    assert_eq!(
        said,
        [(Role::User, "a"), (Role::System, "b"), (Role::User, "c"), (Role::System, "d"), (Role::User, "e")]
    );
    assert_eq!(call.turns[3].blocks[0].cache, Some(CacheMark::Default));
}

#[test]
fn every_setting_has_its_place_in_a_call() {
    let call = read_with(
        r#""temperature":0.5,"top_p":0.9,"top_k":40,"stop_sequences":["END"],"stream":true,
           "metadata":{"user_id":"u1"},"thinking":{"type":"enabled","budget_tokens":2048},
           "output_config":{"effort":"xhigh","format":{"type":"json_schema","schema":{"type":"object"}}}"#,
    );
    let sampling = (call.sampling.temperature, call.sampling.top_p, call.sampling.top_k);
    assert_eq!(sampling, (Some(0.5), Some(0.9), Some(40)));
    assert_eq!((call.max_tokens, call.stream, call.user.as_deref()), (Some(9), true, Some("u1")));
    assert_eq!(call.stop, ["END"]);
    assert_eq!((call.thinking.enabled, call.thinking.budget_tokens), (Some(true), Some(2048)));
    assert_eq!(call.thinking.effort, Some(Effort::XHigh));
    assert!(
        matches!(&call.format, Format::JsonSchema { strict: None, schema, .. } if schema["type"] == "object")
    );
    assert_eq!(call.extras, []);
}

#[test]
fn thoughts_are_asked_for_in_three_ways() {
    let thinking = |json: &str| read_with(&format!(r#""thinking":{json}"#)).thinking;
    let adaptive = thinking(r#"{"type":"adaptive"}"#);
    assert_eq!((adaptive.enabled, adaptive.summary.as_deref()), (Some(true), Some("auto")));
    let omitted = thinking(r#"{"type":"adaptive","display":"omitted"}"#);
    assert_eq!((omitted.enabled, omitted.summary), (Some(true), None));
    assert_eq!(thinking(r#"{"type":"disabled"}"#).enabled, Some(false));
}

#[test]
fn the_older_place_of_a_schema_is_read_too() {
    let call = read_with(r#""output_format":{"type":"json_schema","schema":{"type":"object"}}"#);
    assert!(matches!(call.format, Format::JsonSchema { .. }));
}

#[test]
fn tools_are_functions_unless_their_type_says_otherwise() {
    let call = read_with(
        r#""tools":[
            {"name":"look","description":"Looks.","input_schema":{"type":"object"},"strict":true,
             "input_examples":[{}],"cache_control":{"type":"ephemeral"}},
            {"type":"custom","name":"act","input_schema":{}, "defer_loading":true},
            {"type":"web_search_20250305","name":"web_search","max_uses":5},
            {"type":"mcp_toolset","mcp_server_name":"s"}],
           "tool_choice":{"type":"tool","name":"look","disable_parallel_tool_use":true}"#,
    );
    let names: Vec<_> = call.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["look", "act", "web_search", "mcp_toolset"]);
    assert!(matches!(call.tools[0].kind, ToolKind::Function { strict: Some(true), .. }));
    assert_eq!(call.tools[0].cache, Some(CacheMark::Default));
    assert!(matches!(&call.tools[2].kind, ToolKind::Hosted { kind, .. } if kind == "web_search_20250305"));
    assert_eq!(call.tool_choice, ToolChoice::Named("look".into()));
    assert_eq!(call.parallel_tools, Some(false));
    let extras: Vec<_> = call.extras.iter().map(|extra| extra.name.as_str()).collect();
    assert_eq!(extras, ["tools[].input_examples", "tools[].defer_loading"]);
}

#[test]
fn choices_of_tools_have_counterparts() {
    let choice = |json: &str| {
        let tools = r#""tools":[{"name":"f","input_schema":{}}]"#;
        let call = read_with(&format!(r#"{tools},"tool_choice":{json}"#));
        (call.tool_choice, call.parallel_tools)
    };
    assert_eq!(
        choice(r#"{"type":"auto","disable_parallel_tool_use":false}"#),
        (ToolChoice::Auto, Some(true))
    );
    assert_eq!(choice(r#"{"type":"any"}"#), (ToolChoice::Required, None));
    assert_eq!(choice(r#"{"type":"none"}"#), (ToolChoice::None, None));
}

#[test]
fn what_no_other_dialect_has_is_kept_by_name() {
    // Rule 25
    let call = read_with(
        r#""context_management":{"edits":[]},"service_tier":"auto","container":null,"mcp_servers":[],
           "betas":["x"],"metadata":{"tier":1},"output_config":{"task_budget":{"total":9}},
           "thinking":{"type":"adaptive","later":1}"#,
    );
    let mut names: Vec<_> = call.extras.iter().map(|extra| extra.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "betas",
            "container",
            "context_management",
            "mcp_servers",
            "metadata.tier",
            "output_config.task_budget",
            "service_tier",
            "thinking.later"
        ]
    );
}

#[test]
fn caching_of_the_whole_request_marks_its_last_block() {
    let call = read_with(r#""cache_control":{"type":"ephemeral","ttl":"1h"}"#);
    assert_eq!(call.turns[0].blocks[0].cache, Some(CacheMark::OneHour));
}

#[test]
fn seals_are_read_back_as_they_were_given_out() {
    let call = read(CONVERSATION);
    let seals: Vec<_> = call
        .turns
        .iter()
        .flat_map(|turn| &turn.blocks)
        .filter_map(|block| match &block.content {
            Content::Reasoning(reasoning) => reasoning.seal.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(seals, [Seal::of("cloud", "c2ln"), Seal { issuer: None, data: "ZGF0YQ==".into() }]);
}

#[test]
fn text_of_a_document_becomes_its_bytes() {
    let call = read(CONVERSATION);
    let document = call.turns[1].blocks.iter().find_map(|block| match &block.content {
        Content::Document(document) => Some(document),
        _ => None,
    });
    let source = &document.unwrap().source;
    assert_eq!(source, &Source::Inline { media_type: "text/plain".into(), data: "aGk=".into() });
}

/// Each body with what is said about it.
fn answers(bodies: &[String]) -> String {
    let mut out = String::new();
    for body in bodies {
        let Err(error) = read_call(body.as_bytes()) else { panic!("accepted: {body}") };
        writeln!(out, "{body}\n  {}: {error}", error.code()).expect("a string can be written to");
    }
    out
}

#[test]
fn each_bad_request_gets_an_error_that_names_its_place_and_not_its_words() {
    let members = [
        r#""max_tokens":0"#,
        r#""max_tokens":1.5"#,
        r#""temperature":1.5"#,
        r#""top_p":"secret""#,
        r#""top_k":-1"#,
        r#""stop_sequences":["a",""]"#,
        r#""stream":"secret""#,
        r#""system":7"#,
        r#""system":[{"type":"image"}]"#,
        r#""metadata":{"user_id":7}"#,
        r#""thinking":{"type":"enabled"}"#,
        r#""thinking":{"type":"secret"}"#,
        r#""thinking":{"type":"adaptive","display":"secret"}"#,
        r#""output_config":{"effort":"secret"}"#,
        r#""output_config":{"format":{"type":"json_schema"}}"#,
        r#""cache_control":{"type":"secret"}"#,
        r#""cache_control":{"type":"ephemeral","ttl":"2h"}"#,
        r#""tools":[{"name":"f"}]"#,
        r#""tools":[{"name":"","input_schema":{}}]"#,
        r#""tools":[{"name":"f","input_schema":"secret"}]"#,
        r#""tool_choice":{"type":"any"}"#,
        r#""tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"tool","name":"secret"}"#,
        r#""tool_choice":{"type":"secret"}"#,
    ];
    let with_messages = |messages: &str, more: &str| {
        let limit = if more.contains("max_tokens") { "" } else { r#""max_tokens":9,"# };
        format!(r#"{{"model":"m",{limit}"messages":{messages}{more}}}"#)
    };
    let mut bodies: Vec<_> = members
        .map(|member| with_messages(r#"[{"role":"user","content":"hi"}]"#, &format!(",{member}")))
        .into();
    let messages = [
        "[]",
        r#"[{"role":"secret","content":"x"}]"#,
        r#"[{"role":"user"}]"#,
        r#"[{"role":"user","content":[]}]"#,
        r#"[{"role":"user","content":["secret"]}]"#,
        r#"[{"role":"user","content":[{"type":"text"}]}]"#,
        r#"[{"role":"user","content":[{"type":"tool_use","id":"a","name":"b","input":{}}]}]"#,
        r#"[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":"secret"}]}]"#,
        r#"[{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"a"}]}]"#,
        r#"[{"role":"user","content":[{"type":"tool_result"}]}]"#,
        r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"thinking"}]}]}]"#,
        r#"[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"x"}}]}]"#,
    ];
    bodies.extend(messages.map(|messages| with_messages(messages, "")));
    bodies.push(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#.into());
    bodies.push(r#"{"max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#.into());
    bodies.push("[]".into());
    let answers = answers(&bodies);
    insta::assert_snapshot!(answers);
    let said: String = answers.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(!said.contains("secret"), "an error may not repeat prompt text");
}
