//! A first request of an agent that speaks nothing else, shortened, and what it gets back.

use serde_json::{Value, json};
use wire::call::{Call, ToolKind};
use wire::reply::{Begin, Delta, FinishReason, Open};

use super::support::{call, documents, written};

/// The form in which Codex 0.169 begins: instructions are an item, its texts are made up.
pub(crate) fn body() -> Value {
    let schema = |name: &str| {
        json!({ "type": "object", "properties": { name: { "type": "string" } },
        "required": [name], "additionalProperties": false })
    };
    let message = |id: &str, role: &str, text: &str| {
        json!({ "type": "message", "id": id, "role": role,
        "content": [{ "type": "input_text", "text": text }] })
    };
    json!({
        "model": "m",
        "stream": true,
        "input": [
            message("msg_1", "developer", "You write code."),
            message("msg_2", "developer", "You may write files."),
            message("msg_3", "user", "The folder is /src."),
            message("msg_4", "user", "Say hi."),
        ],
        "tools": [
            { "type": "function", "name": "exec_command", "description": "runs", "strict": false,
              "parameters": schema("cmd") },
            { "type": "namespace", "name": "multi_agent_v1", "description": "agents", "tools": [
                { "type": "function", "name": "close_agent", "description": "closes", "strict": false,
                  "parameters": schema("target") },
            ] },
            { "type": "custom", "name": "apply_patch", "description": "edits",
              "format": { "type": "grammar", "syntax": "lark", "definition": "start: /.+/" } },
            { "type": "web_search", "external_web_access": true },
            { "type": "tool_search", "execution": "client", "description": "finds", "parameters": schema("query") },
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": true,
        "reasoning": { "effort": "medium" },
        "store": false,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0001",
        "text": { "verbosity": "low" },
        "client_metadata": { "turn_id": "0002" },
    })
}

fn codex() -> Call {
    call(&body())
}

#[test]
fn a_first_request_of_codex_is_understood() {
    let call = codex();
    let tools: Vec<_> = call.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        tools,
        ["exec_command", "multi_agent_v1__close_agent", "apply_patch", "web_search", "tool_search"]
    );
    assert!(matches!(&call.tools[4].kind, ToolKind::Hosted { kind, .. } if kind == "tool_search"));
    assert_eq!((call.split_instructions().0.len(), call.turns.len()), (2, 4));
    assert_eq!((call.store, call.parallel_tools, call.stream), (Some(false), Some(true), true));
    let extras: Vec<_> = call.extras.iter().map(|extra| extra.name.as_str()).collect();
    assert_eq!(extras, ["text.verbosity", "prompt_cache_key", "client_metadata"]);
}

// Rule 14
#[test]
fn codex_gets_its_tools_back_under_its_own_names() {
    let open = |id: &str, name: &str| Delta::Open(Open::ToolCall { id: id.into(), name: name.into() });
    let deltas = [
        Delta::Begin(Begin::default()),
        open("c1", "multi_agent_v1__close_agent"),
        Delta::Append(r#"{"target":"#.into()),
        Delta::Append(r#""a"}"#.into()),
        Delta::Close,
        open("c2", "apply_patch"),
        Delta::Append(r#"{"input":"*** Begin"#.into()),
        Delta::Append(r#" Patch\n"}"#.into()),
        Delta::Close,
        open("c3", "exec_command"),
        Delta::Close,
        Delta::Finish(FinishReason::ToolCalls.into()),
        Delta::End,
    ];
    let stream = written(&deltas, &codex());
    let items: Vec<_> = documents(&stream)
        .into_iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| event["item"].clone())
        .collect();
    assert_eq!(
        items,
        [
            json!({ "id": "fc_01_0", "type": "function_call", "status": "completed", "call_id": "c1",
                "namespace": "multi_agent_v1", "name": "close_agent", "arguments": r#"{"target":"a"}"# }),
            json!({ "id": "ctc_01_1", "type": "custom_tool_call", "status": "completed", "call_id": "c2",
                "name": "apply_patch", "input": "*** Begin Patch\n" }),
            json!({ "id": "fc_01_2", "type": "function_call", "status": "completed", "call_id": "c3",
                "name": "exec_command", "arguments": "{}" }),
        ]
    );
}

#[test]
fn an_answer_repeats_the_tools_as_they_were_grouped() {
    let stream = written(&[Delta::Begin(Begin::default())], &codex());
    let response = &documents(&stream)[0]["response"];
    assert_eq!(response["tools"], body()["tools"]);
    assert_eq!(response["text"], json!({ "format": { "type": "text" }, "verbosity": "low" }));
    assert_eq!(response["prompt_cache_key"], "0001");
}
