//! What a call may make others do: in a sealed workflow nothing, in an open one what it says, byte for byte.

use serde_json::{Value, json};

use crate::agents::{MESSAGE, MESSAGES, RESPONSE, RESPONSES, message, message_error, response};
use crate::client::{CHAT, ask, checked_error, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, Upstream};

const COMPLETIONS: &str = "/v1/completions";
const COUNT: &str = "/v1/messages/count_tokens";
const EMBEDDINGS: &str = "/v1/embeddings";

/// Stands in the values of everything that is refused, and must be in nothing that anybody reads.
const WORD: &str = "canary";

/// A URL that nobody is to fetch.
const URL: &str = "HTTPS://canary.example/a.png";

/// A call that is refused: where it is sent, what is in it, and what it hears.
struct Case {
    endpoint: &'static str,
    request: Value,
    code: &'static str,
    param: &'static str,
}

fn case(endpoint: &'static str, request: Value, code: &'static str, param: &'static str) -> Case {
    Case { endpoint, request, code, param }
}

fn chat(members: Value) -> Value {
    with(ask("hello"), members)
}

fn chat_part(part: &Value) -> Value {
    chat(json!({ "messages": [{ "role": "user", "content": [part] }] }))
}

fn response_part(part: &Value) -> Value {
    with(response("hello"), json!({ "input": [{ "role": "user", "content": [part] }] }))
}

fn message_part(part: &Value) -> Value {
    with(message("hello"), json!({ "messages": [{ "role": "user", "content": [part] }] }))
}

/// At least one call of each kind in each dialect that can say it.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<Case> {
    let image = json!({ "type": "image", "source": { "type": "url", "url": URL } });
    vec![
        case(
            CHAT,
            chat_part(&json!({ "type": "image_url", "image_url": { "url": URL } })),
            "content.remote_url",
            "messages[0].content[0].image_url.url",
        ),
        case(
            CHAT,
            chat_part(&json!({ "type": "file", "file": { "file_id": WORD } })),
            "content.file_id",
            "messages[0].content[0].file.file_id",
        ),
        case(
            CHAT,
            chat(json!({ "web_search_options": { "x": WORD } })),
            "content.hosted_tool",
            "web_search_options",
        ),
        case(CHAT, chat(json!({ "api_base": URL })), "content.caller_destination", "api_base"),
        case(CHAT, chat(json!({ "store": true })), "content.stored_state", "store"),
        case(CHAT, chat(json!({ "Model": WORD })), "content.unknown_field", "Model"),
        case(
            CHAT,
            chat_part(&json!({ "type": "hologram", "text": WORD })),
            "content.unknown_part",
            "messages[0].content[0].type",
        ),
        case(
            CHAT,
            chat(json!({ "tools": [{ "type": "teleport", "to": WORD }] })),
            "content.unknown_tool",
            "tools[0].type",
        ),
        case(
            RESPONSES,
            response_part(&json!({ "type": "input_image", "image_url": URL })),
            "content.remote_url",
            "input[0].content[0].image_url",
        ),
        case(
            RESPONSES,
            response_part(&json!({ "type": "input_file", "file_id": WORD })),
            "content.file_id",
            "input[0].content[0].file_id",
        ),
        case(
            RESPONSES,
            with(response("hello"), json!({ "tools": [{ "type": "web_search" }] })),
            "content.hosted_tool",
            "tools[0]",
        ),
        case(
            RESPONSES,
            with(response("hello"), json!({ "webhook_url": URL })),
            "content.caller_destination",
            "webhook_url",
        ),
        case(
            RESPONSES,
            with(response("hello"), json!({ "conversation": WORD })),
            "content.stored_state",
            "conversation",
        ),
        case(
            RESPONSES,
            with(response("hello"), json!({ "background": true })),
            "content.stored_state",
            "background",
        ),
        case(RESPONSES, with(response("hello"), json!({ "zeta": WORD })), "content.unknown_field", "zeta"),
        case(
            RESPONSES,
            with(response("hello"), json!({ "input": [{ "type": "wormhole", "to": WORD }] })),
            "content.unknown_part",
            "input[0].type",
        ),
        case(
            RESPONSES,
            with(response("hello"), json!({ "tools": [{ "type": "teleport" }] })),
            "content.unknown_tool",
            "tools[0].type",
        ),
        case(MESSAGES, message_part(&image), "content.remote_url", "messages[0].content[0].source.url"),
        case(
            MESSAGES,
            message_part(&json!({ "type": "container_upload", "file_id": WORD })),
            "content.file_id",
            "messages[0].content[0].file_id",
        ),
        case(
            MESSAGES,
            with(message("hello"), json!({ "mcp_servers": [{ "type": "url", "name": "s", "url": URL }] })),
            "content.hosted_tool",
            "mcp_servers",
        ),
        case(
            MESSAGES,
            with(message("hello"), json!({ "base_url": URL })),
            "content.caller_destination",
            "base_url",
        ),
        case(
            MESSAGES,
            with(message("hello"), json!({ "diagnostics": { "previous_message_id": WORD } })),
            "content.stored_state",
            "diagnostics.previous_message_id",
        ),
        case(MESSAGES, with(message("hello"), json!({ "zeta": WORD })), "content.unknown_field", "zeta"),
        case(
            MESSAGES,
            message_part(&json!({ "type": "hologram", "text": WORD })),
            "content.unknown_part",
            "messages[0].content[0].type",
        ),
        case(
            MESSAGES,
            with(message("hello"), json!({ "tools": [{ "type": "teleport", "name": WORD }] })),
            "content.unknown_tool",
            "tools[0].type",
        ),
        // A provider that counts would fetch it as well.
        case(COUNT, message_part(&image), "content.remote_url", "messages[0].content[0].source.url"),
        case(
            COMPLETIONS,
            json!({ "model": "auto", "prompt": "hello", "api_key": WORD }),
            "content.caller_destination",
            "api_key",
        ),
        case(
            COMPLETIONS,
            json!({ "model": "auto", "prompt": "hello", "zeta": WORD }),
            "content.unknown_field",
            "zeta",
        ),
        case(
            EMBEDDINGS,
            json!({ "model": "auto", "input": "hello", "extra_headers": { "x": WORD } }),
            "content.caller_destination",
            "extra_headers",
        ),
        case(
            EMBEDDINGS,
            json!({ "model": "auto", "input": "hello", "zeta": WORD }),
            "content.unknown_field",
            "zeta",
        ),
    ]
}

/// Each case is refused in the client's words, with the path of the field and no value, and is on record.
async fn check_all_refused(home: &Home, gateway: &Gateway) {
    let cases = cases();
    for Case { endpoint, request, code, param } in &cases {
        let reply = gateway.client().request("POST", endpoint, request.to_string()).await;
        let said = reply.text();
        assert_eq!(reply.status, 403, "{request}: {said}");
        let error = match *endpoint {
            MESSAGES | COUNT => {
                let error = message_error(&reply);
                assert_eq!(error["type"], "permission_error", "{said}");
                error
            }
            _ => {
                let error = checked_error(&reply.json());
                assert_eq!(
                    (error["code"].as_str(), error["param"].as_str()),
                    (Some(*code), Some(*param)),
                    "{said}"
                );
                error
            }
        };
        assert!(error["message"].as_str().unwrap().contains(&format!("`{param}`")), "{said}");
        assert!(!said.contains(WORD), "{said}");
        let denials = gateway.metric("portcullis_denials_total", &format!("code=\"{code}\"")).await;
        assert!(denials > 0, "{code}");
    }
    let records = home.records_of("llm.denied");
    let codes: Vec<&str> =
        records.iter().map(|record| record["decision"]["code"].as_str().unwrap()).collect();
    let expected: Vec<&str> = cases.iter().map(|case| case.code).collect();
    assert_eq!(codes, expected);
    for record in records {
        assert!(record["policy"]["rule"].as_str().unwrap().ends_with(".egress"), "{record}");
        assert!(!record.to_string().contains(WORD), "{record}");
    }
    assert!(home.records_of("llm.intent").is_empty());
}

#[tokio::test]
async fn a_sealed_workflow_refuses_each_kind_in_each_dialect_and_nobody_is_dialled() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), "server: vllm"));
    let gateway = home.serve().await;
    check_all_refused(&home, &gateway).await;
    assert_eq!(upstream.dials().await, 0);
    let log = gateway.stop().await;
    assert!(!log.contains(WORD), "{log}");
}

#[tokio::test]
async fn the_model_in_the_process_is_no_exception() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    // Each model has said one token before it serves.
    let before = gateway.metric("portcullis_engine_steps_total", "").await;
    check_all_refused(&home, &gateway).await;
    assert_eq!(gateway.metric("portcullis_engine_steps_total", "").await, before);
}

/// Everything that is refused above, in one request of a dialect, if its readers take it at all.
fn everything(endpoint: &str) -> &'static str {
    match endpoint {
        CHAT => {
            r#"{ "model" : "auto","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://host/a"}},{"type":"file","file":{"file_id":"f"}},{"type":"hologram"}]}], "web_search_options":{}, "store":true, "Model":"x","tools":[{"type":"teleport"}],"metadata":{"api_base":"https://host"} }"#
        }
        RESPONSES => {
            r#"{ "model" : "auto","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://host/a"},{"type":"input_file","file_id":"f"}]},{"type":"wormhole"}], "tools":[{"type":"mcp","server_label":"s","server_url":"https://host"}], "store":true, "zeta":1.50 }"#
        }
        _ => {
            r#"{ "model" : "auto","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://host/a"}},{"type":"container_upload","file_id":"f"}]}], "mcp_servers":[{"type":"url","name":"s","url":"https://host"}], "tools":[{"type":"web_search_20250305","name":"web_search"}], "zeta":1.50 }"#
        }
    }
}

#[tokio::test]
async fn an_open_workflow_passes_all_of_it_byte_for_byte() {
    for (endpoint, kind, document) in
        [(CHAT, "openai", DOCUMENT), (RESPONSES, "openai", RESPONSE), (MESSAGES, "anthropic", MESSAGE)]
    {
        let mut upstream = Upstream::start().await;
        let routes = if kind == "openai" {
            Routes::open(upstream.port(), "server: openai")
        } else {
            let routes = Routes::default().of_kind("up", kind, (upstream.port(), ""), "upstream-up");
            routes.workflow("docs", "{ mode: hosted, providers: [up] }", "up")
        };
        let home = Home::new(&routes);
        let gateway = home.serve().await;
        let request = everything(endpoint);
        let (reply, ()) = tokio::join!(gateway.client().request("POST", endpoint, request), async {
            let call = upstream.call().await;
            assert_eq!(call.body, request.replacen("\"auto\"", "\"upstream-up\"", 1));
            call.answer(document).await;
        });
        assert_eq!(reply.text(), document, "{endpoint}");
    }
}

#[tokio::test]
async fn an_open_workflow_refuses_what_its_policy_names_and_nothing_else() {
    let mut upstream = Upstream::start().await;
    let egress = "{ mode: hosted, providers: [up], content_urls: refuse }";
    let home = Home::new(&Routes::default().local("up", upstream.port(), "").workflow("docs", egress, "up"));
    let gateway = home.serve().await;
    let picture = chat_part(&json!({ "type": "image_url", "image_url": { "url": URL } }));
    let destination = chat(json!({ "api_base": WORD, "zeta": 1 }));
    for (request, code) in [(picture, "content.remote_url"), (destination, "content.caller_destination")] {
        let reply = gateway.client().chat(&request).await;
        assert_eq!((reply.status, reply.error()["code"].as_str()), (403, Some(code)), "{request}");
    }
    let request = chat(json!({ "web_search_options": {}, "store": true, "zeta": 1.5 }));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let call = upstream.call().await;
        assert_eq!(call.body, request.to_string().replacen("\"auto\"", "\"upstream-up\"", 1));
        call.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The shape of the first requests of two agents, with all of their members.
#[tokio::test]
async fn agents_work_in_a_sealed_workflow() {
    let codex = json!({
        "model": "auto", "stream": false, "store": false, "tool_choice": "auto", "parallel_tool_calls": true,
        "input": [
            { "type": "message", "id": "msg_1", "role": "developer", "content": [{ "type": "input_text", "text": "a" }] },
            { "type": "message", "id": "msg_2", "role": "user", "content": [{ "type": "input_text", "text": "Say hi." }] },
        ],
        "tools": [
            { "type": "function", "name": "exec_command", "description": "runs", "strict": false, "parameters": {} },
            { "type": "namespace", "name": "agents", "description": "n", "tools": [
                { "type": "function", "name": "close", "description": "c", "strict": false, "parameters": {} },
            ] },
            { "type": "custom", "name": "apply_patch", "description": "edits",
              "format": { "type": "grammar", "syntax": "lark", "definition": "start: /.+/" } },
            { "type": "tool_search", "execution": "client", "description": "finds", "parameters": {} },
        ],
        "reasoning": { "effort": "medium", "summary": "auto" }, "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0001", "text": { "verbosity": "low" }, "client_metadata": { "turn_id": "0002" },
    });
    let claude = json!({
        "model": "auto", "max_tokens": 64_000, "stream": false,
        "system": [{ "type": "text", "text": "a", "cache_control": { "type": "ephemeral" } }],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Say hi." }] },
            { "role": "system", "content": [{ "type": "text", "text": "b" }], "output_config": { "effort": "medium" } },
        ],
        "tools": [{ "name": "Bash", "description": "runs", "input_schema": { "type": "object" } },
            { "name": "More", "description": "m", "defer_loading": true, "input_schema": { "type": "object" } }],
        "metadata": { "user_id": "{}" }, "thinking": { "type": "adaptive", "display": "omitted" },
        "context_management": { "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] },
        "output_config": { "effort": "medium" },
    });
    for (endpoint, request) in [(RESPONSES, codex), (MESSAGES, claude)] {
        let mut upstream = Upstream::start().await;
        let home = Home::new(&Routes::upstream(upstream.port(), ""));
        let gateway = home.serve().await;
        let request = request.to_string();
        let (reply, ()) = tokio::join!(gateway.client().request("POST", endpoint, request), async {
            upstream.call().await.answer(DOCUMENT).await;
        });
        assert_eq!(reply.status, 200, "{endpoint}: {}", reply.text());
    }
}

#[tokio::test]
async fn no_header_of_the_callers_says_where_a_call_goes() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::open(upstream.port(), ""));
    let gateway = home.serve().await;
    let client = [
        "api-base",
        "helicone-openai-api-base",
        "helicone-target-url",
        "x-api-base",
        "x-base-url",
        "x-litellm-api-base",
        "x-litellm-timeout",
        "x-portkey-config",
        "x-portkey-custom-host",
        "x-upstream-https-proxy",
    ]
    .into_iter()
    .fold(gateway.client().clone(), |client, name| client.with_header(name, URL));
    let (reply, ()) = tokio::join!(client.post(ask("hello").to_string()), async {
        let call = upstream.call().await;
        assert!(!call.head.contains(WORD), "{}", call.head);
        call.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
}
