//! What the requests of real agents ask of others, and the golden requests of all other tests.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wire::Dialect;

use super::{HostedTool, check, found};
use crate::anthropic::agent;
use crate::pairs::asked;
use crate::responses::codex;

#[test]
fn claude_code_asks_nothing_of_others() {
    check(Dialect::AnthropicMessages, agent::FIRST, &[]);
    // Its later requests have what it said, thought and did before.
    let mut later: Value = serde_json::from_str(agent::FIRST).expect("JSON");
    let messages = later["messages"].as_array_mut().expect("a list");
    messages.extend([
        json!({ "role": "assistant", "content": [
            { "type": "thinking", "thinking": "", "signature": "c2ln" },
            { "type": "tool_use", "id": "toolu_1", "name": "Bash", "input": { "command": "curl https://host" } },
        ] }),
        json!({ "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "toolu_1", "content": "done", "is_error": false,
              "cache_control": { "type": "ephemeral" } },
            { "type": "tool_result", "tool_use_id": "toolu_2",
              "content": [{ "type": "tool_reference", "tool_name": "WebFetch" }] },
        ] }),
        json!({ "role": "system", "content": "Go on.", "output_config": { "effort": "medium" } }),
    ]);
    check(Dialect::AnthropicMessages, &later.to_string(), &[]);
}

#[test]
fn codex_asks_nothing_of_others_but_its_web_search() {
    let body = codex::body();
    check(Dialect::OpenAiResponses, &body.to_string(), &[(HostedTool, "tools[3]")]);
    // As it is with `web_search = "disabled"` in its settings.
    let mut body = body;
    body["tools"].as_array_mut().expect("a list").remove(3);
    check(Dialect::OpenAiResponses, &body.to_string(), &[]);
    let items = body["input"].as_array_mut().expect("a list");
    items.extend([
        json!({ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "a" }],
            "content": null, "encrypted_content": "pc1.up.c2ln" }),
        json!({ "type": "function_call", "id": "fc_1", "status": "completed", "call_id": "c1",
            "name": "exec_command", "arguments": "{\"cmd\":\"curl https://host\"}" }),
        json!({ "type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "done" }),
        json!({ "type": "custom_tool_call", "id": "ctc_1", "status": "completed", "call_id": "c2",
            "name": "apply_patch", "input": "*** Begin Patch" }),
        json!({ "type": "custom_tool_call_output", "id": "ctco_1", "call_id": "c2", "output": [
            { "type": "input_text", "text": "done" },
            { "type": "input_image", "image_url": "data:image/png;base64,AA==" },
        ] }),
        json!({ "type": "message", "id": "msg_5", "status": "completed", "role": "assistant", "content": [
            { "type": "output_text", "annotations": [], "logprobs": [], "text": "Hi." },
        ] }),
    ]);
    check(Dialect::OpenAiResponses, &body.to_string(), &[]);
}

/// The requests with which every pair of a dialect and an API is tested: what is found in each.
#[test]
fn the_golden_requests_ask_what_their_names_say() {
    let mut shown = String::new();
    for client in [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages] {
        for (name, body) in asked::cases(client) {
            let found = found(client, &body.to_string());
            writeln!(shown, "{} {name}: {found:?}", asked::name(client)).expect("a string takes all");
        }
    }
    insta::assert_snapshot!(shown, @r#"
    chat text: []
    chat tools: []
    chat images: []
    chat image by URL: [(RemoteUrl, "messages[0].content[0].image_url.url")]
    chat reasoning: []
    responses text: []
    responses tools: [(HostedTool, "tools[2]")]
    responses images: []
    responses image by URL: [(RemoteUrl, "input[0].content[0].image_url")]
    responses reasoning: []
    messages text: []
    messages tools: [(HostedTool, "tools[1]")]
    messages images: []
    messages image by URL: [(RemoteUrl, "messages[0].content[0].source.url")]
    messages reasoning: []
    "#);
}
