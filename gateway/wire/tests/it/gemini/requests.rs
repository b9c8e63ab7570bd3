//! What is sent to `generateContent`.

use serde_json::{Value, json};
use wire::call::{
    Block, CacheMark, Call, Content, Effort, Extra, Format, Outgoing, Role, Sampling, Source, Target,
    Thinking, ToolChoice, ToolKind,
};
use wire::gemini::{Host, read_count, read_embeddings, write_call, write_count, write_embeddings};
use wire::reply::Unreadable;

use crate::calls::{
    agent, assistant, body, call, document, function, lost, path_schema, picture_at, system, thought,
    tool_call, tool_result, turn, user, written,
};

const PRO_3: &str = "gemini-3.1-pro-preview";
const FLASH_3: &str = "gemini-3.8-flash";
const FLASH_2: &str = "gemini-2.5-flash";

fn to(model: &str) -> Target<'_> {
    Target { provider: "google", model }
}

fn send(call: &Call, model: &str) -> Outgoing {
    write_call(call, to(model), Host::GeminiApi).expect("a call that Gemini can be told")
}

fn config(call: &Call, model: &str) -> (Value, String) {
    let outgoing = send(call, model);
    (body(&outgoing)["generationConfig"].clone(), lost(&outgoing.lost))
}

fn parts(turns: Vec<wire::call::Turn>, model: &str, at: usize) -> Value {
    body(&send(&call(turns), model))["contents"][at]["parts"].clone()
}

#[test]
fn text_alone_is_one_content() {
    insta::assert_snapshot!(written(&send(&call(vec![user("Hello")]), PRO_3)));
}

// Rule 27
#[test]
fn an_agents_turn_keeps_its_parallel_calls_errors_and_pictures() {
    insta::assert_snapshot!(written(&send(&agent(), PRO_3)));
}

#[test]
fn before_gemini_3_pictures_stand_behind_the_results_and_calls_have_no_ids() {
    insta::assert_snapshot!(written(&send(&agent(), FLASH_2)));
}

#[test]
fn vertex_matches_calls_and_results_by_name() {
    let outgoing = write_call(&agent(), to(PRO_3), Host::Vertex).expect("a call");
    let body = body(&outgoing);
    assert_eq!(body["contents"][1]["parts"][1]["functionCall"].get("id"), None);
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"].get("id"), None);
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["name"], "read");
}

#[test]
fn a_signature_goes_back_to_the_part_that_it_stood_on() {
    let turns = vec![
        user("a"),
        turn(
            Role::Assistant,
            vec![
                thought("I have to read.", "google", "U0lHMQ=="),
                tool_call("call_1", "read", "{}"),
                tool_call("call_2", "read", "{}"),
            ],
        ),
        turn(Role::User, vec![tool_result("call_1", "x"), tool_result("call_2", "y")]),
        turn(Role::Assistant, vec![Content::Text("Done.".to_owned()), thought("", "google", "U0lHMg==")]),
        user("b"),
    ];
    let first = parts(turns.clone(), PRO_3, 1);
    assert_eq!(first[0]["thoughtSignature"], "U0lHMQ==");
    assert_eq!(first[0]["functionCall"]["name"], "read");
    assert_eq!(first[1].get("thoughtSignature"), None, "of parallel calls the first alone is signed");
    let last = parts(turns, PRO_3, 3);
    assert_eq!(last, json!([{ "text": "Done." }, { "text": "", "thoughtSignature": "U0lHMg==" }]));
}

// Rule 27
#[test]
fn results_stand_before_what_the_user_says() {
    let turns = vec![
        user("a"),
        turn(Role::Assistant, vec![tool_call("1", "read", "{}"), tool_call("2", "list", "{}")]),
        turn(
            Role::User,
            vec![tool_result("2", "y"), Content::Text("Be quick.".to_owned()), tool_result("1", "x")],
        ),
    ];
    let parts = parts(turns, PRO_3, 2);
    assert_eq!(
        (&parts[0]["functionResponse"]["name"], &parts[1]["functionResponse"]["name"]),
        (&json!("list"), &json!("read"))
    );
    assert_eq!(parts[2], json!({ "text": "Be quick." }));
}

#[test]
fn a_seal_in_a_turn_of_its_own_still_finds_its_call() {
    let turns = vec![
        user("a"),
        turn(Role::Assistant, vec![thought("", "google", "U0lHMQ==")]),
        turn(Role::Assistant, vec![tool_call("call_1", "read", "{}")]),
    ];
    assert_eq!(parts(turns, PRO_3, 1)[0]["thoughtSignature"], "U0lHMQ==");
}

#[test]
fn two_seals_in_a_row_are_two_parts() {
    let thoughts = vec![
        thought("", "google", "U0lHMQ=="),
        thought("", "google", "U0lHMg=="),
        Content::Text("b".to_owned()),
    ];
    let expected = json!([
        { "text": "", "thoughtSignature": "U0lHMQ==" },
        { "text": "b", "thoughtSignature": "U0lHMg==" },
    ]);
    assert_eq!(parts(vec![user("a"), turn(Role::Assistant, thoughts)], PRO_3, 1), expected);
}

#[test]
fn calls_that_gemini_did_not_sign_get_the_documented_word_and_foreign_seals_stay_away() {
    let turns = || {
        vec![
            user("a"),
            turn(
                Role::Assistant,
                vec![
                    thought("Theirs.", "other", "eA=="),
                    tool_call("1", "read", "{}"),
                    tool_call("2", "read", "{}"),
                ],
            ),
            turn(Role::User, vec![tool_result("1", "x"), tool_result("2", "y")]),
            turn(Role::Assistant, vec![tool_call("3", "read", "{}")]),
        ]
    };
    let signature =
        |at: usize, part: usize, model| parts(turns(), model, at)[part].get("thoughtSignature").cloned();
    let word = Some(json!("skip_thought_signature_validator"));
    assert_eq!(signature(1, 0, PRO_3), word);
    assert_eq!(signature(1, 1, PRO_3), None);
    assert_eq!(signature(3, 0, PRO_3), word, "each step has its own");
    assert_eq!(signature(1, 0, FLASH_2), None, "nobody asks for it there");
    assert_eq!(lost(&send(&call(turns()), PRO_3).lost), "content.reasoning");
}

#[test]
fn instructions_alone_are_what_the_user_says_and_later_ones_join_the_first() {
    let alone = body(&send(&call(vec![system("Say hi.")]), PRO_3));
    assert_eq!(alone, json!({ "contents": [{ "role": "user", "parts": [{ "text": "Say hi." }] }] }));
    let outgoing = send(&call(vec![system("S."), user("a"), assistant("b"), system("T."), user("c")]), PRO_3);
    let body = body(&outgoing);
    assert_eq!(body["systemInstruction"], json!({ "parts": [{ "text": "S." }, { "text": "T." }] }));
    assert_eq!(body["contents"][2]["parts"], json!([{ "text": "c" }]));
    assert_eq!(lost(&outgoing.lost), "system.position");
}

#[test]
fn a_result_without_its_call_is_refused() {
    let turns = vec![user("a"), turn(Role::User, vec![tool_result("9", "x")])];
    let refused = write_call(&call(turns), to(PRO_3), Host::GeminiApi).unwrap_err();
    assert_eq!(refused.param, "content.tool_result");
}

#[test]
fn pictures_and_files_go_inline_or_by_their_place() {
    let media = vec![
        document("application/pdf", Some("a.pdf")),
        picture_at(Source::Url("https://example.com/a.PNG?x=.gif".to_owned())),
        picture_at(Source::Url("https://example.com/a".to_owned())),
        picture_at(Source::Stored("https://generativelanguage.googleapis.com/v1beta/files/a".to_owned())),
        Content::Audio { format: "wav".to_owned(), data: "UklGRg==".to_owned() },
    ];
    let parts = parts(vec![turn(Role::User, media)], PRO_3, 0);
    assert_eq!(parts[0], json!({ "inlineData": { "mimeType": "application/pdf", "data": "JVBERi0=" } }));
    assert_eq!(parts[1]["fileData"]["mimeType"], "image/png");
    assert_eq!(
        parts[2],
        json!({ "fileData": { "mimeType": "image/jpeg", "fileUri": "https://example.com/a" } })
    );
    assert_eq!(parts[3]["fileData"]["mimeType"], "image/jpeg");
    assert_eq!(parts[4], json!({ "inlineData": { "mimeType": "audio/wav", "data": "UklGRg==" } }));

    let stored = call(vec![turn(Role::User, vec![picture_at(Source::Stored("file-1".to_owned()))])]);
    assert_eq!(write_call(&stored, to(PRO_3), Host::Vertex).unwrap_err().param, "content.image");
}

// Complaint 17
#[test]
fn the_choice_of_a_tool_is_a_mode() {
    let choose = |tool_choice| {
        let call =
            Call { tools: vec![function("read", path_schema())], tool_choice, ..call(vec![user("a")]) };
        body(&send(&call, PRO_3))["toolConfig"]["functionCallingConfig"].clone()
    };
    assert_eq!(choose(ToolChoice::Auto), Value::Null);
    assert_eq!(choose(ToolChoice::None), json!({ "mode": "NONE" }));
    assert_eq!(choose(ToolChoice::Required), json!({ "mode": "ANY" }));
    let named = json!({ "mode": "ANY", "allowedFunctionNames": ["read"] });
    assert_eq!(choose(ToolChoice::Named("read".to_owned())), named);
    assert_eq!(choose(ToolChoice::Named("write".to_owned())), Value::Null, "nobody offers it");
}

// Complaint 17
#[test]
fn tools_keep_their_whole_schema_and_those_that_gemini_does_not_have_are_reported() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": { "count": { "type": ["integer", "null"], "exclusiveMinimum": 0 } },
        "propertyNames": { "pattern": "^c" },
        "additionalProperties": false,
    });
    let mut custom = function("patch", json!({}));
    custom.kind = ToolKind::Custom { format: Some("{}".to_owned()) };
    custom.cache = Some(CacheMark::Default);
    let mut hosted = function("x", json!({}));
    hosted.kind = ToolKind::Hosted { kind: "code_interpreter".to_owned(), json: "{}".to_owned() };
    let tools = vec![function("find", schema.clone()), function("list", json!({})), custom, hosted];
    let outgoing = send(&Call { tools, ..call(vec![user("a")]) }, PRO_3);
    let declarations = body(&outgoing)["tools"][0]["functionDeclarations"].clone();
    let mut expected = schema;
    expected.as_object_mut().unwrap().shift_remove("$schema");
    assert_eq!(declarations[0]["parametersJsonSchema"], expected);
    assert_eq!(declarations[1], json!({ "name": "list", "description": "The tool list." }));
    assert_eq!(declarations[2]["parametersJsonSchema"]["required"], json!(["input"]));
    assert_eq!(declarations.as_array().unwrap().len(), 3);
    assert_eq!(lost(&outgoing.lost), "cache_control, tools.code_interpreter, tools[].format");
}

#[test]
fn each_generation_is_told_to_think_as_it_understands() {
    let asked = |effort, budget_tokens| {
        let thinking = Thinking { effort, budget_tokens, ..Thinking::default() };
        Call { thinking, ..call(vec![user("a")]) }
    };
    let check = |call: &Call, model, expected: Value, names: &str| {
        let (config, lost) = config(call, model);
        let thinking = config.get("thinkingConfig").cloned().unwrap_or_default();
        assert_eq!((thinking, lost), (expected, names.to_owned()), "{model}");
    };
    let budget = |tokens| json!({ "thinkingBudget": tokens });
    let level = |level| json!({ "thinkingLevel": level });
    check(&asked(Some(Effort::None), None), FLASH_2, budget(0), "");
    check(&asked(Some(Effort::None), None), "gemini-2.5-pro", budget(128), "thinking");
    check(&asked(Some(Effort::Max), None), FLASH_2, budget(24_576), "");
    check(&asked(None, Some(5000)), "gemini-2.5-pro", budget(5000), "");
    check(&asked(Some(Effort::Minimal), None), FLASH_3, level("MINIMAL"), "");
    check(&asked(Some(Effort::Minimal), None), PRO_3, level("LOW"), "");
    check(&asked(None, Some(16_000)), PRO_3, level("HIGH"), "");
    check(&asked(Some(Effort::XHigh), None), PRO_3, level("HIGH"), "thinking.effort");
    check(&asked(Some(Effort::None), None), FLASH_3, level("MINIMAL"), "thinking");
    check(&asked(Some(Effort::High), None), "gemini-2.0-flash", Value::Null, "thinking");
    check(&asked(None, None), PRO_3, Value::Null, "");

    let summary = |word: &str| {
        let thinking = Thinking { summary: Some(word.to_owned()), ..Thinking::default() };
        Call { thinking, ..call(vec![user("a")]) }
    };
    check(&summary("auto"), PRO_3, json!({ "includeThoughts": true }), "");
    check(&summary("omitted"), PRO_3, Value::Null, "");
    let thinking = Thinking { enabled: Some(true), ..Thinking::default() };
    check(&Call { thinking, ..call(vec![user("a")]) }, PRO_3, json!({ "includeThoughts": true }), "");
}

#[test]
fn settings_have_their_places() {
    let sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(40),
        frequency_penalty: Some(0.1),
        presence_penalty: Some(0.2),
        seed: Some(7),
        ..Sampling::default()
    };
    let settings = r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}]"#;
    let call = Call {
        sampling,
        max_tokens: Some(100),
        stop: vec!["STOP".to_owned()],
        store: Some(false),
        extras: vec![Extra { name: "safety_settings".to_owned(), json: settings.to_owned() }],
        format: Format::JsonSchema {
            name: "answer".to_owned(),
            description: None,
            schema: json!({ "type": "object" }),
            strict: None,
        },
        ..call(vec![user("a")])
    };
    insta::assert_snapshot!(written(&send(&call, PRO_3)));
    let vertex = write_call(&call, to(PRO_3), Host::Vertex).expect("a call");
    assert_eq!((body(&vertex).get("store"), vertex.lost.is_empty()), (None, true), "it stores nothing");
    let kept = write_call(&Call { store: Some(true), ..call }, to(PRO_3), Host::Vertex).expect("a call");
    assert_eq!(lost(&kept.lost), "store");
    let several = Call { choices: Some(2), ..self::call(vec![user("a")]) };
    assert_eq!(write_call(&several, to(PRO_3), Host::Vertex).unwrap_err().param, "n");
    let empty = self::call(vec![user("")]);
    assert_eq!(write_call(&empty, to(PRO_3), Host::Vertex).unwrap_err().param, "messages");
}

// Rule 25
#[test]
fn every_setting_that_gemini_has_no_place_for_is_reported() {
    let sampling =
        Sampling { min_p: Some(0.1), logprobs: Some(2), seed: Some(1 << 40), ..Sampling::default() };
    let mut marked = Block::text("a");
    marked.cache = Some(CacheMark::Default);
    let call = Call {
        sampling,
        parallel_tools: Some(false),
        user: Some("u".to_owned()),
        extras: vec![
            Extra { name: "logit_bias".to_owned(), json: "{}".to_owned() },
            Extra { name: "safety_settings".to_owned(), json: "7".to_owned() },
            Extra { name: "metadata".to_owned(), json: "null".to_owned() },
        ],
        ..call(vec![wire::call::Turn::new(Role::User, vec![marked])])
    };
    insta::assert_snapshot!(lost(&send(&call, PRO_3).lost), @"cache_control, logit_bias, logprobs, min_p, parallel_tools, safety_settings, seed, user");
}

#[test]
fn before_gemini_3_json_and_functions_exclude_each_other() {
    let asked = |tools| Call { format: Format::JsonObject, tools, ..call(vec![user("a")]) };
    let json = json!({ "responseMimeType": "application/json" });
    assert_eq!(config(&asked(vec![]), FLASH_2), (json.clone(), String::new()));
    let tools = vec![function("read", path_schema())];
    assert_eq!(config(&asked(tools.clone()), FLASH_2), (Value::Null, "response_format".to_owned()));
    assert_eq!(config(&asked(tools), PRO_3), (json, String::new()));
}

// Rule 24
#[test]
fn tokens_are_counted_by_the_conversation() {
    let gemini = body(&write_count(&agent(), to(PRO_3), Host::GeminiApi).expect("a call"));
    let request = gemini["generateContentRequest"].as_object().unwrap();
    assert_eq!(request["model"], "models/gemini-3.1-pro-preview");
    let vertex = body(&write_count(&agent(), to(PRO_3), Host::Vertex).expect("a call"));
    let keys: Vec<&String> = vertex.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["systemInstruction", "contents", "tools"]);
    assert_eq!(read_count(br#"{"totalTokens":31,"cachedContentTokenCount":3}"#), Some(31));
    assert_eq!(read_count(b"{}"), None);
}

// Rule 28
#[test]
fn texts_become_vectors_in_their_order() {
    let texts = ["a".to_owned(), "b".to_owned()];
    let written: Value =
        serde_json::from_slice(&write_embeddings(&texts, Some(8), "gemini-embedding-001")).unwrap();
    let request = |text: &str| {
        json!({
            "model": "models/gemini-embedding-001",
            "content": { "parts": [{ "text": text }] },
            "outputDimensionality": 8,
        })
    };
    assert_eq!(written, json!({ "requests": [request("a"), request("b")] }));
    let answer = br#"{"embeddings":[{"values":[0.5,-1]},{"values":[]}]}"#;
    assert_eq!(read_embeddings(answer), Ok(vec![vec![0.5, -1.0], vec![]]));
    assert!(matches!(read_embeddings(b"<html>"), Err(Unreadable::Malformed(_))));
}
