//! What is sent to Converse.

use serde_json::{Value, json};
use wire::bedrock::{read_count, write_call, write_count};
use wire::call::{
    CacheMark, Call, Content, Effort, Format, Outgoing, Role, Sampling, Source, Target, Thinking, ToolChoice,
    ToolKind,
};

use crate::calls::{
    agent, assistant, body, call, document, function, lost, path_schema, picture, picture_at, system,
    thought, tool_call, tool_result, turn, user, written,
};

const OPUS: &str = "anthropic.claude-opus-4-6-v1";
const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const LLAMA: &str = "meta.llama4-scout-17b-instruct-v1:0";

fn send(call: &Call, model: &str) -> Outgoing {
    write_call(call, Target { provider: "aws", model }, &[]).expect("a call that Bedrock can be told")
}

fn fields(call: &Call, model: &str) -> (Value, String) {
    let outgoing = send(call, model);
    (body(&outgoing)["additionalModelRequestFields"].clone(), lost(&outgoing.lost))
}

#[test]
fn text_alone_is_one_message() {
    insta::assert_snapshot!(written(&send(&call(vec![user("Hello")]), OPUS)));
}

// Rule 27
#[test]
fn an_agents_turn_keeps_its_parallel_calls_errors_and_pictures() {
    insta::assert_snapshot!(written(&send(&agent(), OPUS)));
}

#[test]
fn a_model_without_caches_and_states_of_results_gets_none() {
    let outgoing = send(&agent(), LLAMA);
    let text = String::from_utf8(outgoing.body.to_vec()).expect("JSON");
    assert!(!text.contains("cachePoint") && !text.contains("status"), "{text}");
    assert_eq!(lost(&outgoing.lost), "cache_control, tool_result.is_error");
}

#[test]
fn prefixes_are_marked_where_and_as_long_as_the_model_allows() {
    let mut tool = function("read", path_schema());
    tool.cache = Some(CacheMark::OneHour);
    let mut instructions = system("S.");
    instructions.blocks[0].cache = Some(CacheMark::OneHour);
    let call = Call { tools: vec![tool], ..call(vec![instructions, user("a")]) };
    let marks = |model| {
        let outgoing = send(&call, model);
        let body = body(&outgoing);
        let mark = |list: &Value| list.get(1).map(|mark| mark["cachePoint"].clone()).unwrap_or_default();
        (mark(&body["system"]), mark(&body["toolConfig"]["tools"]), lost(&outgoing.lost))
    };
    let hour = json!({ "type": "default", "ttl": "1h" });
    let plain = json!({ "type": "default" });
    assert_eq!(marks(SONNET), (hour.clone(), hour, String::new()));
    let old = "anthropic.claude-opus-4-1-20250805-v1:0";
    assert_eq!(marks(old), (plain.clone(), plain.clone(), "cache_control.ttl".to_owned()));
    assert_eq!(
        marks("amazon.nova-pro-v1:0"),
        (plain, Value::Null, "cache_control, cache_control.ttl".to_owned())
    );
    assert_eq!(marks(LLAMA), (Value::Null, Value::Null, "cache_control".to_owned()));
}

// Rule 27
#[test]
fn results_stand_before_what_the_user_says_and_neighbours_are_joined() {
    let turns = vec![
        user("a"),
        user("b"),
        turn(Role::Assistant, vec![tool_call("1", "read", "{}")]),
        turn(Role::Assistant, vec![tool_call("2", "read", "{}")]),
        system("A later instruction."),
        turn(Role::User, vec![Content::Text("Be quick.".to_owned()), tool_result("1", "x")]),
        turn(Role::User, vec![tool_result("2", "y")]),
    ];
    let outgoing = send(&call(turns), OPUS);
    let body = body(&outgoing);
    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    let last = &body["messages"][2]["content"];
    assert_eq!(last[0]["toolResult"]["toolUseId"], "1");
    assert_eq!(last[1]["toolResult"]["toolUseId"], "2");
    assert_eq!(last[2]["text"], "Be quick.");
    assert_eq!(body["system"], json!([{ "text": "A later instruction." }]));
    assert_eq!(lost(&outgoing.lost), "system.position");
}

#[test]
fn blank_text_which_the_api_refuses_is_left_out() {
    let outgoing = send(&call(vec![system(" "), user("a"), assistant("\n"), user("b")]), OPUS);
    let expected = json!({ "messages": [{ "role": "user", "content": [{ "text": "a" }, { "text": "b" }] }] });
    assert_eq!(body(&outgoing), expected);
}

#[test]
fn seals_go_back_to_their_issuer_alone() {
    let turns = vec![
        user("a"),
        turn(
            Role::Assistant,
            vec![
                thought("Hm.", "aws", "c2ln"),
                thought("", "aws", "cmVk"),
                thought("Theirs.", "other", "eA=="),
                Content::Text("b".to_owned()),
            ],
        ),
        user("c"),
    ];
    let outgoing = send(&call(turns), OPUS);
    assert_eq!(
        body(&outgoing)["messages"][1]["content"],
        json!([
            { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "c2ln" } } },
            { "reasoningContent": { "redactedContent": "cmVk" } },
            { "text": "b" },
        ])
    );
    assert_eq!(lost(&outgoing.lost), "content.reasoning");
}

#[test]
fn documents_have_names_that_the_api_accepts_and_words_beside_them() {
    let documents = vec![
        document("application/pdf", Some("a/../b  c.pdf")),
        document("text/plain; charset=utf-8", Some("a.b c pdf")),
        document("text/csv", None),
    ];
    let outgoing = send(&call(vec![turn(Role::User, documents)]), OPUS);
    let content = &body(&outgoing)["messages"][0]["content"];
    let told =
        |at: usize| (content[at]["document"]["format"].clone(), content[at]["document"]["name"].clone());
    assert_eq!(told(0), (json!("pdf"), json!("a b c pdf")));
    assert_eq!(told(1), (json!("txt"), json!("a b c pdf (2)")));
    assert_eq!(told(2), (json!("csv"), json!("document")));
    assert_eq!(content[3], json!({ "text": "a b c pdf, a b c pdf (2), document" }));
}

#[test]
fn what_bedrock_cannot_fetch_is_refused_and_not_left_out() {
    let send = |source| {
        let call = call(vec![turn(Role::User, vec![picture_at(source)])]);
        write_call(&call, Target { provider: "aws", model: OPUS }, &[])
    };
    for source in [Source::Url("https://example.com/a.png".to_owned()), Source::Stored("file-1".to_owned())] {
        assert_eq!(send(source).unwrap_err().param, "content.image");
    }
    let bitmap = Source::Inline { media_type: "image/bmp".to_owned(), data: String::new() };
    assert!(send(bitmap).unwrap_err().reason.contains("PNG"));
    let stored = send(Source::Url("s3://bucket/a.jpg".to_owned())).expect("S3 is AWS's own");
    assert_eq!(
        body(&stored)["messages"][0]["content"][0]["image"],
        json!({ "format": "jpeg", "source": { "s3Location": { "uri": "s3://bucket/a.jpg" } } })
    );
}

#[test]
fn ids_that_the_api_refuses_are_changed_on_both_sides_alike() {
    let long = format!("call/{}", "x".repeat(80));
    let turns = vec![
        user("a"),
        turn(Role::Assistant, vec![tool_call(&long, "read", "{}"), tool_call("toolu_1.a:b-c", "read", "{}")]),
        turn(Role::User, vec![tool_result(&long, "x"), tool_result("toolu_1.a:b-c", "y")]),
    ];
    let body = body(&send(&call(turns), OPUS));
    let id = body["messages"][1]["content"][0]["toolUse"]["toolUseId"].as_str().unwrap();
    assert!(id.len() <= 64 && id.starts_with("call_xxx"), "{id}");
    assert_eq!(body["messages"][2]["content"][0]["toolResult"]["toolUseId"], id);
    assert_eq!(body["messages"][2]["content"][1]["toolResult"]["toolUseId"], "toolu_1.a:b-c");
}

// Complaint 17
#[test]
fn empty_arguments_and_free_text_are_objects() {
    let calls = vec![
        tool_call("1", "read", ""),
        tool_call("2", "patch", "*** Begin"),
        tool_call("3", "read", r#"{"a":1}"#),
    ];
    let body = body(&send(&call(vec![user("a"), turn(Role::Assistant, calls)]), OPUS));
    let input = |at: usize| body["messages"][1]["content"][at]["toolUse"]["input"].clone();
    assert_eq!(
        [input(0), input(1), input(2)],
        [json!({}), json!({ "input": "*** Begin" }), json!({ "a": 1 })]
    );
}

#[test]
fn the_choice_of_a_tool_is_any_or_one() {
    let choose = |choice, turns| {
        let call = Call { tools: vec![function("read", path_schema())], tool_choice: choice, ..call(turns) };
        let outgoing = send(&call, OPUS);
        (body(&outgoing)["toolConfig"].clone(), lost(&outgoing.lost))
    };
    let plain = || vec![user("a")];
    assert_eq!(choose(ToolChoice::Auto, plain()).0.get("toolChoice"), None);
    assert_eq!(choose(ToolChoice::Required, plain()).0["toolChoice"], json!({ "any": {} }));
    let named = ToolChoice::Named("read".to_owned());
    assert_eq!(choose(named, plain()).0["toolChoice"], json!({ "tool": { "name": "read" } }));
    assert_eq!(choose(ToolChoice::None, plain()), (Value::Null, String::new()));

    let history = vec![user("a"), turn(Role::Assistant, vec![tool_call("1", "read", "{}")])];
    let (config, lost) = choose(ToolChoice::None, history);
    assert_eq!(config["tools"].as_array().unwrap().len(), 1);
    assert_eq!(lost, "tool_choice");
}

#[test]
fn a_conversation_with_calls_names_their_tools_even_if_none_is_on_offer() {
    let history = vec![
        user("a"),
        turn(Role::Assistant, vec![tool_call("1", "read", "{}"), tool_call("2", "read", "{}")]),
        turn(Role::User, vec![tool_result("1", "x"), tool_result("2", "x")]),
    ];
    let expected = json!({ "tools": [{ "toolSpec": { "name": "read", "inputSchema": { "json": { "type": "object" } } } }] });
    assert_eq!(body(&send(&call(history), OPUS))["toolConfig"], expected);
}

// Complaint 17
#[test]
fn tools_that_bedrock_does_not_have_are_reported() {
    let mut strict = function("read", path_schema());
    strict.kind = ToolKind::Function { parameters: path_schema(), strict: Some(true) };
    let mut custom = function("patch", json!({}));
    custom.kind = ToolKind::Custom { format: None };
    let mut hosted = function("web_search", json!({}));
    hosted.kind = ToolKind::Hosted { kind: "web_search".to_owned(), json: "{}".to_owned() };
    let outgoing = send(&Call { tools: vec![strict, custom, hosted], ..call(vec![user("a")]) }, OPUS);
    let tools = &body(&outgoing)["toolConfig"]["tools"];
    assert_eq!(tools.as_array().unwrap().len(), 2);
    assert_eq!(tools[1]["toolSpec"]["inputSchema"]["json"]["required"], json!(["input"]));
    assert_eq!(lost(&outgoing.lost), "tools.web_search, tools[].strict");
}

#[test]
fn each_claude_is_told_to_think_as_it_understands() {
    let asked = |effort, budget_tokens| {
        let thinking = Thinking { effort, budget_tokens, ..Thinking::default() };
        Call { thinking, max_tokens: Some(20_000), ..call(vec![user("a")]) }
    };
    let check = |call: &Call, model, expected: Value, names: &str| {
        assert_eq!(fields(call, model), (expected, names.to_owned()), "{model}");
    };
    let budget = |tokens| json!({ "thinking": { "type": "enabled", "budget_tokens": tokens } });
    let adaptive =
        |effort| json!({ "output_config": { "effort": effort }, "thinking": { "type": "adaptive" } });
    check(&asked(Some(Effort::Medium), None), SONNET, budget(8192), "");
    check(&asked(Some(Effort::Minimal), None), SONNET, budget(1024), "");
    check(&asked(None, Some(10)), SONNET, budget(1024), "thinking.budget_tokens");
    check(&asked(Some(Effort::Max), None), SONNET, budget(10_000), "");
    check(&asked(Some(Effort::Medium), None), OPUS, adaptive("medium"), "");
    check(&asked(None, Some(16_000)), OPUS, adaptive("high"), "thinking.budget_tokens");
    check(&asked(Some(Effort::XHigh), None), OPUS, adaptive("high"), "");
    check(&asked(Some(Effort::Max), None), "anthropic.claude-opus-5", adaptive("max"), "");
    check(&asked(Some(Effort::None), None), OPUS, Value::Null, "");
    let disabled = json!({ "thinking": { "type": "disabled" } });
    check(&asked(Some(Effort::None), None), "anthropic.claude-sonnet-5", disabled, "");
    check(&asked(Some(Effort::None), None), "anthropic.claude-fable-5", Value::Null, "thinking");
    check(
        &asked(Some(Effort::High), None),
        "anthropic.claude-3-haiku-20240307-v1:0",
        Value::Null,
        "max_tokens, thinking",
    );
    check(&asked(Some(Effort::High), None), LLAMA, Value::Null, "thinking");
}

#[test]
fn thinking_that_would_make_the_call_fail_is_reported_instead() {
    let thinking = Thinking { effort: Some(Effort::Low), ..Thinking::default() };
    let asked = |call: Call| fields(&Call { thinking: thinking.clone(), ..call }, SONNET);
    let lost = (Value::Null, "thinking".to_owned());
    let tools = vec![function("read", path_schema())];
    assert_eq!(asked(Call { max_tokens: Some(1024), ..call(vec![user("a")]) }), lost);
    assert_eq!(
        asked(Call { tool_choice: ToolChoice::Required, tools: tools.clone(), ..call(vec![user("a")]) }),
        lost
    );

    let round = |thoughts: Vec<Content>| {
        let calls = [thoughts, vec![tool_call("1", "read", "{}")]].concat();
        Call {
            tools: tools.clone(),
            ..call(vec![
                user("a"),
                turn(Role::Assistant, calls),
                turn(Role::User, vec![tool_result("1", "x")]),
            ])
        }
    };
    assert_eq!(asked(round(vec![])), lost, "thoughts of the last calls are not there");
    assert_eq!(asked(round(vec![thought("Hm.", "aws", "c2ln")])).1, "");
}

#[test]
fn a_claude_that_thinks_draws_as_it_likes() {
    let sampling =
        Sampling { temperature: Some(0.2), top_p: Some(0.5), top_k: Some(40), ..Sampling::default() };
    let plain = Call { sampling, ..call(vec![user("a")]) };
    let outgoing = send(&plain, "us.anthropic.claude-sonnet-4-20250514-v1:0");
    assert_eq!(body(&outgoing)["inferenceConfig"], json!({ "temperature": 0.2, "topP": 0.5 }));
    assert_eq!(body(&outgoing)["additionalModelRequestFields"], json!({ "top_k": 40 }));
    let outgoing = send(&plain, SONNET);
    assert_eq!(body(&outgoing)["inferenceConfig"], json!({ "temperature": 0.2 }));
    assert_eq!(lost(&outgoing.lost), "top_p");
    let outgoing = send(&plain, "anthropic.claude-opus-4-8");
    assert_eq!(body(&outgoing).get("inferenceConfig"), None);
    assert_eq!(lost(&outgoing.lost), "temperature, top_k, top_p");
    let nova = json!({ "inferenceConfig": { "topK": 40 } });
    assert_eq!(fields(&plain, "amazon.nova-pro-v1:0"), (nova, String::new()));
    assert_eq!(fields(&plain, LLAMA), (Value::Null, "top_k".to_owned()));
    assert_eq!(body(&send(&plain, LLAMA))["inferenceConfig"], json!({ "temperature": 0.2, "topP": 0.5 }));

    let thinking = Thinking { enabled: Some(true), ..Thinking::default() };
    let outgoing = send(&Call { thinking, ..plain }, SONNET);
    assert_eq!(body(&outgoing).get("inferenceConfig"), None);
    assert_eq!(lost(&outgoing.lost), "temperature, top_k, top_p");
}

// Complaint 22
#[test]
fn betas_go_to_claude_alone() {
    let betas = ["context-1m-2025-08-07".to_owned()];
    let send = |model| {
        let written = write_call(&call(vec![user("a")]), Target { provider: "aws", model }, &betas);
        written.expect("a plain call")
    };
    let expected = json!({ "anthropic_beta": ["context-1m-2025-08-07"] });
    assert_eq!(body(&send(OPUS))["additionalModelRequestFields"], expected);
    assert_eq!(lost(&send(LLAMA).lost), "anthropic-beta");
}

#[test]
fn a_schema_is_text_and_a_bare_object_is_reported() {
    const SCHEMA: &str = r#"{"type":"object","additionalProperties":false}"#;
    let format = Format::JsonSchema {
        name: "answer".to_owned(),
        description: None,
        schema: json!({ "type": "object", "additionalProperties": false }),
        strict: Some(true),
    };
    let outgoing = send(&Call { format: format.clone(), ..call(vec![user("a")]) }, OPUS);
    let old = send(&Call { format, ..call(vec![user("a")]) }, "anthropic.claude-opus-4-1-20250805-v1:0");
    assert_eq!(lost(&old.lost), "response_format", "the model follows none");
    let schema = json!({ "schema": SCHEMA, "name": "answer" });
    let expected = json!({ "textFormat": { "type": "json_schema", "structure": { "jsonSchema": schema } } });
    assert_eq!(body(&outgoing)["outputConfig"], expected);
    let outgoing = send(&Call { format: Format::JsonObject, ..call(vec![user("a")]) }, OPUS);
    assert_eq!(lost(&outgoing.lost), "response_format");
}

// Rule 25
#[test]
fn every_setting_that_bedrock_has_no_place_for_is_reported() {
    let sampling = Sampling {
        min_p: Some(0.1),
        frequency_penalty: Some(1.0),
        presence_penalty: Some(1.0),
        seed: Some(7),
        logprobs: Some(2),
        ..Sampling::default()
    };
    let call = Call {
        sampling,
        parallel_tools: Some(false),
        user: Some("u".to_owned()),
        store: Some(true),
        extras: vec![wire::call::Extra { name: "logit_bias".to_owned(), json: "{}".to_owned() }],
        ..call(vec![user("a"), turn(Role::User, vec![picture()])])
    };
    insta::assert_snapshot!(lost(&send(&call, OPUS).lost), @"frequency_penalty, logit_bias, logprobs, min_p, parallel_tools, presence_penalty, seed, store, user");
}

#[test]
fn what_would_be_another_question_is_refused() {
    let refused = |call: &Call| {
        let target = Target { provider: "aws", model: OPUS };
        write_call(call, target, &[]).unwrap_err().param
    };
    assert_eq!(refused(&Call { choices: Some(2), ..call(vec![user("a")]) }), "n");
    assert_eq!(refused(&call(vec![system("Instructions alone."), user(" ")])), "messages");
}

#[test]
fn a_store_that_is_not_wanted_needs_no_word_and_a_forced_tool_no_thoughts() {
    let quiet = send(&Call { store: Some(false), ..call(vec![user("a")]) }, OPUS);
    assert!(quiet.lost.is_empty());
    let thinking = Thinking { effort: Some(Effort::High), ..Thinking::default() };
    let tools = vec![function("read", path_schema())];
    let forced = Call { thinking, tools, tool_choice: ToolChoice::Required, ..call(vec![user("a")]) };
    let outgoing = send(&forced, OPUS);
    assert_eq!(lost(&outgoing.lost), "thinking");
    let outgoing = send(&forced, "anthropic.claude-fable-5");
    assert_eq!(body(&outgoing)["toolConfig"].get("toolChoice"), None, "it cannot be forced");
    assert_eq!(lost(&outgoing.lost), "thinking, tool_choice");
}

// Rule 24
#[test]
fn tokens_are_counted_by_the_conversation() {
    let written = write_count(&agent(), Target { provider: "aws", model: OPUS }).expect("a call");
    let body = body(&written);
    let counted: Vec<&String> = body["input"]["converse"].as_object().unwrap().keys().collect();
    assert_eq!(counted, ["messages", "system", "toolConfig"]);
    assert_eq!(read_count(br#"{"inputTokens":17}"#), Some(17));
    assert_eq!(read_count(b"<html>"), None);
}
