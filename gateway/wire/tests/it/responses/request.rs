//! Requests as clients send them.

use serde_json::{Value, json};
use wire::call::{Call, Content, Effort, Format, Role, Source, ToolChoice, ToolKind};
use wire::openai::responses::previous_response_id;

use super::support::{call, try_call};

fn with(field: &str, value: Value) -> Call {
    let mut body = json!({ "model": "m", "input": "hi", "tools": [function("read"), function("write")] });
    body[field] = value;
    call(&body)
}

fn function(name: &str) -> Value {
    json!({ "type": "function", "name": name, "parameters": { "type": "object", "properties": {} } })
}

fn extras(call: &Call) -> Vec<(&str, &str)> {
    call.extras.iter().map(|extra| (extra.name.as_str(), extra.json.as_str())).collect()
}

#[test]
fn a_text_is_one_turn_and_instructions_stand_before_it() {
    let call = call(&json!({ "model": "m", "input": "hi", "instructions": "be short", "stream": true }));
    let said: Vec<_> = call.turns.iter().map(|turn| (turn.role, turn.blocks[0].as_text())).collect();
    assert_eq!(said, [(Role::System, Some("be short")), (Role::User, Some("hi"))]);
    assert!(call.stream);
    assert_eq!(call.own_instructions, 1);
}

// Rule 27
#[test]
fn what_an_assistant_does_in_one_go_is_one_turn_and_so_are_the_results() {
    let call = call(&json!({ "model": "m", "input": [
        { "role": "developer", "content": "d" },
        { "type": "message", "id": "msg_1", "role": "user", "content": [
            { "type": "input_text", "text": "look" },
            { "type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "high" },
            { "type": "input_image", "image_url": "https://host.example/a.png" },
            { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE" },
            { "type": "input_file", "file_id": "file-1" },
            { "type": "input_audio", "input_audio": { "format": "wav", "data": "UklG" } },
        ] },
        { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "a" },
            { "type": "summary_text", "text": "b" }], "encrypted_content": "pc1.cloud.sealed" },
        { "type": "message", "id": "msg_2", "status": "completed", "role": "assistant", "content": [
            { "type": "output_text", "text": "I look.", "annotations": [], "logprobs": [] },
            { "type": "refusal", "refusal": "no" },
        ] },
        { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "read", "arguments": "{\"a\":1}" },
        { "type": "custom_tool_call", "call_id": "call_2", "name": "apply_patch", "input": "*** Begin Patch" },
        { "type": "function_call_output", "call_id": "call_1", "output": "text" },
        { "type": "custom_tool_call_output", "call_id": "call_2", "output": [
            { "type": "input_text", "text": "done" },
            { "type": "input_image", "image_url": "data:image/jpeg;base64,/9j/" },
        ] },
        { "role": "user", "content": "go on" },
        { "type": "function_call", "call_id": "call_3", "name": "close", "namespace": "agents", "arguments": "" },
    ] }));
    insta::assert_debug_snapshot!(call.turns);
    assert_eq!(call.extras, []);
}

#[test]
fn items_of_hosted_tools_and_of_later_kinds_keep_their_place_and_their_json() {
    let call = call(&json!({ "model": "m", "input": [
        { "type": "web_search_call", "id": "ws_1", "status": "completed" },
        { "type": "local_shell_call", "call_id": "c", "action": { "type": "exec", "command": ["ls"] } },
        { "type": "local_shell_call_output", "id": "c", "output": "a" },
        { "type": "compaction", "encrypted_content": "gAAAA" },
        { "id": "msg_9" },
    ] }));
    let kinds: Vec<_> = call.turns.iter().map(|turn| (turn.role, turn.blocks.len())).collect();
    assert_eq!(kinds, [(Role::Assistant, 2), (Role::User, 1), (Role::Assistant, 2)]);
    let Content::Other { kind, json } = &call.turns[2].blocks[1].content else { panic!("not kept") };
    assert_eq!((kind.as_str(), json.as_str()), ("item_reference", r#"{"id":"msg_9"}"#));
}

#[test]
fn reasoning_is_read_in_each_of_its_forms() {
    let reasoning = |item: Value| {
        let call = call(&json!({ "model": "m", "input": [item] }));
        let Content::Reasoning(reasoning) = call.turns[0].blocks[0].content.clone() else {
            panic!("not read")
        };
        (reasoning.text, reasoning.seal.map(|seal| (seal.issuer, seal.data)), reasoning.is_redacted)
    };
    let part = |text: &str| json!([{ "type": "reasoning_text", "text": text }]);
    let theirs = |data: &str| Some((None, data.to_owned()));
    let cloud = |data: &str| Some((Some("cloud".to_owned()), data.to_owned()));
    let item = |summary: Value, content: Value, sealed: Value| json!({ "type": "reasoning", "summary": summary, "content": content, "encrypted_content": sealed });
    assert_eq!(reasoning(item(json!([]), json!(null), json!("gAAA"))), (String::new(), theirs("gAAA"), true));
    assert_eq!(reasoning(item(json!([]), part("all"), json!(null))), ("all".into(), None, false));
    assert_eq!(reasoning(item(part("short"), part("all"), json!(null))), ("all".into(), None, false));
    // An empty part says that the words were withheld from the start, and not that the whole was sealed.
    let sealed = item(part(""), json!(null), json!("pc1.cloud.c2ln"));
    assert_eq!(reasoning(sealed), (String::new(), cloud("c2ln"), false));
}

#[test]
fn tools_of_all_kinds_are_read_and_namespaces_taken_apart() {
    let call = call(&json!({ "model": "m", "input": "hi", "tools": [
        { "type": "function", "name": "read", "description": "reads", "strict": true,
          "parameters": { "type": "object", "properties": {} } },
        { "type": "function", "name": "bare", "parameters": null, "defer_loading": true },
        { "type": "custom", "name": "apply_patch", "format": { "type": "grammar", "syntax": "lark", "definition": "a" } },
        { "type": "namespace", "name": "agents", "description": "of agents", "tools": [function("spawn"),
            { "type": "custom", "name": "note" }] },
        { "type": "web_search", "external_web_access": true },
        { "type": "mcp", "server_label": "a" },
        { "type": "mcp", "server_label": "b" },
    ] }));
    insta::assert_debug_snapshot!((&call.tools, &call.namespaces));
    assert_eq!(extras(&call), [("tools[].defer_loading", "true")]);
    assert_eq!(call.namespaced("agents__note"), Some(("agents", "note")));
}

#[test]
fn names_too_long_for_other_apis_stay_apart_when_they_are_cut() {
    let long = "x".repeat(70);
    let call = call(&json!({ "model": "m", "input": "hi", "tools": [{ "type": "namespace", "name": "n",
        "description": "", "tools": [function(&format!("{long}a")), function(&format!("{long}b"))] }] }));
    let names: Vec<_> = call.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert!(names.iter().all(|name| name.len() == 64) && names[0] != names[1], "{names:?}");
    assert_eq!(call.namespaced(names[1]), Some(("n", format!("{long}b").as_str())));
}

#[test]
fn tools_that_an_item_adds_join_the_others_once() {
    let call = call(&json!({ "model": "m", "tools": [function("read")], "input": [
        { "type": "additional_tools", "role": "developer", "tools": [function("read"), function("late")] },
        { "role": "user", "content": "hi" },
    ] }));
    let names: Vec<_> = call.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read", "late"]);
    assert!(matches!(call.tools[1].kind, ToolKind::Function { strict: None, .. }));
}

// Complaint 17
#[test]
fn each_choice_of_a_tool_names_one_that_is_there() {
    let choice = |value: Value| with("tool_choice", value).tool_choice;
    assert_eq!(choice(json!("auto")), ToolChoice::Auto);
    assert_eq!(choice(json!("none")), ToolChoice::None);
    assert_eq!(choice(json!("required")), ToolChoice::Required);
    assert_eq!(choice(json!({ "type": "function", "name": "read" })), ToolChoice::Named("read".into()));
    let allowed = |mode: &str, tools: Value| json!({ "type": "allowed_tools", "mode": mode, "tools": tools });
    let read = json!({ "type": "function", "name": "read" });
    assert_eq!(choice(allowed("required", json!([read]))), ToolChoice::Named("read".into()));
    let among = with("tool_choice", allowed("auto", json!([read])));
    assert_eq!(among.tool_choice, ToolChoice::Auto);
    assert_eq!(extras(&among)[0].0, "tool_choice.tools");
}

#[test]
fn settings_go_where_other_dialects_find_them() {
    let call = call(&json!({
        "model": "m", "input": "hi", "max_output_tokens": 500, "temperature": 0.5, "top_p": 0.9, "top_logprobs": 3,
        "store": false, "parallel_tool_calls": false, "user": "u",
        "reasoning": { "effort": "xhigh", "summary": "auto" },
        "text": { "format": { "type": "json_schema", "name": "n", "schema": { "type": "object" }, "strict": true } },
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "truncation": "disabled", "service_tier": "auto", "metadata": {}, "background": false,
        "stream_options": { "include_obfuscation": false },
    }));
    let safety = self::call(&json!({ "model": "m", "input": "hi", "user": "u", "safety_identifier": "s" }));
    assert_eq!((safety.user.as_deref(), safety.extras.len()), (Some("s"), 0));
    assert_eq!((call.max_tokens, call.store, call.parallel_tools), (Some(500), Some(false), Some(false)));
    assert_eq!((call.sampling.temperature, call.sampling.top_p), (Some(0.5), Some(0.9)));
    assert_eq!((call.sampling.logprobs, call.user.as_deref()), (Some(3), Some("u")));
    assert_eq!((call.thinking.effort, call.thinking.summary.as_deref()), (Some(Effort::XHigh), Some("auto")));
    let schema = json!({ "type": "object" });
    assert_eq!(
        call.format,
        Format::JsonSchema { name: "n".into(), description: None, schema, strict: Some(true) }
    );
    // What the API does anyway asks for nothing, and nothing of it is lost elsewhere.
    assert_eq!(call.extras, []);
}

// Rule 25
#[test]
fn what_only_this_api_has_is_kept_by_its_path() {
    let call = call(&json!({
        "model": "m", "input": [{ "role": "assistant", "content": "a", "phase": "commentary" },
            { "role": "assistant", "content": "b", "phase": "final_answer" }],
        "text": { "verbosity": "low" }, "reasoning": { "effort": "later", "context": "auto" },
        "include": ["file_search_call.results"], "metadata": { "k": "v" }, "truncation": "auto",
        "service_tier": "priority", "prompt_cache_key": "p", "safety_identifier": "s", "prompt": null,
        "client_metadata": { "a": "b" }, "later_field": [1],
    }));
    assert_eq!(
        extras(&call),
        [
            ("input[].phase", r#""commentary""#),
            ("text.verbosity", r#""low""#),
            ("reasoning.effort", r#""later""#),
            ("reasoning.context", r#""auto""#),
            ("include", r#"["file_search_call.results"]"#),
            ("metadata", r#"{"k":"v"}"#),
            ("truncation", r#""auto""#),
            ("service_tier", r#""priority""#),
            ("prompt_cache_key", r#""p""#),
            ("client_metadata", r#"{"a":"b"}"#),
            ("later_field", "[1]"),
        ]
    );
}

#[test]
fn cache_marks_and_stored_pictures_are_read() {
    let call = call(&json!({ "model": "m", "input": [{ "role": "user", "content": [
        { "type": "input_text", "text": "a", "prompt_cache_breakpoint": { "mode": "explicit", "ttl": "12h" } },
        { "type": "input_image", "file_id": "file-1", "detail": "auto" },
    ] }] }));
    let blocks = &call.turns[0].blocks;
    assert_eq!(blocks[0].cache, Some(wire::call::CacheMark::OneHour));
    let Content::Image(image) = &blocks[1].content else { panic!("not an image") };
    assert_eq!(image.source, Source::Stored("file-1".into()));
}

#[test]
fn the_stored_answer_is_named_without_reading_the_rest() {
    assert_eq!(previous_response_id(br#"{"previous_response_id":"resp_1"}"#), Ok(Some("resp_1".into())));
    assert_eq!(previous_response_id(br#"{"previous_response_id":null}"#), Ok(None));
    assert!(previous_response_id(br#"{"previous_response_id":7}"#).is_err());
    // A request may go on without saying anything new.
    assert_eq!(call(&json!({ "model": "m", "previous_response_id": "resp_1" })).turns, []);
}

#[test]
fn the_body_that_counts_tokens_is_read_alike() {
    let call =
        call(&json!({ "model": "m", "input": "hi", "instructions": "i", "tools": [function("read")] }));
    assert_eq!((call.turns.len(), call.tools.len(), call.stream), (2, 1, false));
}

#[test]
fn each_bad_body_gets_an_error_that_says_what_to_do() {
    let bad = [
        json!([]),
        json!({ "input": "hi" }),
        json!({ "model": "m" }),
        json!({ "model": "m", "input": 7 }),
        json!({ "model": "m", "input": "hi", "background": true }),
        json!({ "model": "m", "input": "hi", "instructions": ["i"] }),
        json!({ "model": "m", "input": [{ "content": "secret" }] }),
        json!({ "model": "m", "input": [{ "role": "robot", "content": "secret" }] }),
        json!({ "model": "m", "input": [{ "role": "user" }] }),
        json!({ "model": "m", "input": [{ "role": "user", "content": [{ "type": "input_text" }] }] }),
        json!({ "model": "m", "input": [{ "role": "user", "content": [{ "type": "input_image" }] }] }),
        json!({ "model": "m", "input": [{ "role": "user", "content": [
            { "type": "input_image", "image_url": "data:image/png,secret" }] }] }),
        json!({ "model": "m", "input": [{ "role": "user", "content": [{ "type": "input_file" }] }] }),
        json!({ "model": "m", "input": [{ "type": "function_call", "name": "f", "arguments": "{}" }] }),
        json!({ "model": "m", "input": [{ "type": "function_call", "call_id": "c", "name": "f", "arguments": {} }] }),
        json!({ "model": "m", "input": [{ "type": "function_call_output", "call_id": "c" }] }),
        json!({ "model": "m", "input": [{ "type": "reasoning", "summary": "secret" }] }),
        json!({ "model": "m", "input": "hi", "tools": [{ "name": "f" }] }),
        json!({ "model": "m", "input": "hi", "tools": [{ "type": "function" }] }),
        json!({ "model": "m", "input": "hi", "tools": [{ "type": "function", "name": "f", "parameters": 1 }] }),
        json!({ "model": "m", "input": "hi", "tools": [function("f"), function("f")] }),
        json!({ "model": "m", "input": "hi", "tools": [
            { "type": "namespace", "name": "n", "tools": [{ "type": "web_search" }] }] }),
        json!({ "model": "m", "input": "hi", "tool_choice": "required" }),
        json!({ "model": "m", "input": "hi", "tool_choice": "secret" }),
        json!({ "model": "m", "input": "hi", "tool_choice": { "type": "function", "name": "secret" } }),
        json!({ "model": "m", "input": "hi", "text": { "format": { "type": "json_schema", "name": "n" } } }),
        json!({ "model": "m", "input": "hi", "reasoning": "high" }),
        json!({ "model": "m", "input": "hi", "max_output_tokens": 0 }),
        json!({ "model": "m", "input": "hi", "temperature": 3 }),
        json!({ "model": "m", "input": "hi", "stream": "yes" }),
        json!({ "model": "m", "input": "hi", "include": "reasoning.encrypted_content" }),
    ];
    let errors = bad.iter().map(|body| match try_call(body) {
        Ok(_) => panic!("accepted {body}"),
        Err(error) => format!("{:?} {error}", error.kind()),
    });
    let errors = errors.collect::<Vec<_>>().join("\n");
    assert!(!errors.contains("secret"), "{errors}");
    insta::assert_snapshot!(errors);
}
