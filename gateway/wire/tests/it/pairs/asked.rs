//! What clients ask, each in its own dialect.

use serde_json::{Value, json};
use wire::Dialect;

pub(crate) fn name(client: Dialect) -> &'static str {
    match client {
        Dialect::OpenAiChat => "chat",
        Dialect::OpenAiResponses => "responses",
        _ => "messages",
    }
}

/// The same cases in each dialect, as far as it can say them.
pub(crate) fn cases(client: Dialect) -> Vec<(&'static str, Value)> {
    match client {
        Dialect::OpenAiChat => chat(),
        Dialect::OpenAiResponses => responses(),
        _ => messages(),
    }
}

fn schema() -> Value {
    json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] })
}

fn chat() -> Vec<(&'static str, Value)> {
    let function = json!({ "type": "function", "function": {
        "name": "read", "description": "Reads a file.", "parameters": schema(), "strict": true,
    } });
    let call = |id: &str, path: &str| {
        json!({ "id": id, "type": "function", "function": {
        "name": "read", "arguments": json!({ "path": path }).to_string(),
    } })
    };
    vec![
        (
            "text",
            json!({
                "model": "m", "stream": true, "stream_options": { "include_usage": true },
                "messages": [
                    { "role": "system", "content": "Be brief." },
                    { "role": "user", "content": "Hi", "name": "ann" },
                    { "role": "assistant", "content": "Hello." },
                    { "role": "developer", "content": "Be briefer." },
                    { "role": "user", "content": [{ "type": "text", "text": "How" }, { "type": "text", "text": "are you?" }] },
                ],
                "temperature": 0.5, "top_p": 0.9, "seed": 7, "max_completion_tokens": 64, "stop": ["END"], "user": "u1",
                "frequency_penalty": 0.5, "logit_bias": { "1": 1 }, "reasoning_effort": "low", "store": false,
                "response_format": { "type": "json_schema", "json_schema": { "name": "s", "schema": schema(), "strict": true } },
            }),
        ),
        (
            "tools",
            json!({
                "model": "m", "stream": true, "stream_options": { "include_usage": true },
                "messages": [
                    { "role": "user", "content": "Read a and b" },
                    { "role": "assistant", "content": null, "tool_calls": [call("call_1", "a"), call("call_2", "b")] },
                    { "role": "tool", "tool_call_id": "call_1", "content": "A" },
                    { "role": "tool", "tool_call_id": "call_2", "content": "B" },
                    { "role": "user", "content": "And c" },
                ],
                "tools": [function, { "type": "custom", "custom": { "name": "patch" } }],
                "tool_choice": { "type": "function", "function": { "name": "read" } }, "parallel_tool_calls": false,
            }),
        ),
        (
            "images",
            json!({ "model": "m", "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "What is it?" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw==", "detail": "low" } },
            { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0=" } },
        ] }] }),
        ),
        (
            "image by URL",
            json!({ "model": "m", "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "https://host/a.png" } },
        ] }] }),
        ),
        (
            "reasoning",
            json!({ "model": "m", "reasoning_effort": "high", "messages": [
            { "role": "user", "content": "Hi" },
            { "role": "assistant", "reasoning_content": "They greet.", "content": "Hello." },
            { "role": "user", "content": "Why?" },
        ] }),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn responses() -> Vec<(&'static str, Value)> {
    let call = |id: &str, path: &str| {
        json!({
            "type": "function_call", "call_id": id, "name": "read", "arguments": json!({ "path": path }).to_string(),
        })
    };
    vec![
        (
            "text",
            json!({
                "model": "m", "stream": true, "instructions": "Be brief.",
                "input": [
                    { "role": "user", "content": "Hi" },
                    { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Hello." }] },
                    { "role": "developer", "content": "Be briefer." },
                    { "role": "user", "content": [{ "type": "input_text", "text": "How are you?" }] },
                ],
                "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 64, "user": "u1", "store": false,
                "reasoning": { "effort": "low", "summary": "auto" }, "include": ["reasoning.encrypted_content"],
                "prompt_cache_key": "k",
                "text": { "verbosity": "low", "format": { "type": "json_schema", "name": "s", "schema": schema(), "strict": true } },
            }),
        ),
        (
            "tools",
            json!({
                "model": "m", "stream": true,
                "input": [
                    { "role": "user", "content": "Read a and b" },
                    call("call_1", "a"),
                    call("call_2", "b"),
                    { "type": "function_call_output", "call_id": "call_1", "output": "A" },
                    { "type": "function_call_output", "call_id": "call_2", "output": [
                        { "type": "input_text", "text": "B" },
                        { "type": "input_image", "image_url": "data:image/png;base64,iVBORw==" },
                    ] },
                    { "type": "custom_tool_call", "call_id": "call_3", "name": "patch", "input": "*** Begin" },
                    { "type": "custom_tool_call_output", "call_id": "call_3", "output": "done" },
                    { "role": "user", "content": "And c" },
                ],
                "tools": [
                    { "type": "function", "name": "read", "description": "Reads a file.", "parameters": schema(), "strict": true },
                    { "type": "custom", "name": "patch", "description": "Patches." },
                    { "type": "web_search" },
                ],
                "tool_choice": "required", "parallel_tool_calls": true,
            }),
        ),
        (
            "images",
            json!({ "model": "m", "input": [{ "role": "user", "content": [
            { "type": "input_text", "text": "What is it?" },
            { "type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "low" },
            { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0=" },
        ] }] }),
        ),
        (
            "image by URL",
            json!({ "model": "m", "input": [{ "role": "user", "content": [
            { "type": "input_image", "image_url": "https://host/a.png" },
        ] }] }),
        ),
        (
            "reasoning",
            json!({ "model": "m", "reasoning": { "effort": "high" }, "input": [
            { "role": "user", "content": "Hi" },
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "They greet." }],
              "encrypted_content": "pc1.cloud.c2ln" },
            { "type": "reasoning", "id": "rs_2", "summary": [{ "type": "summary_text", "text": "From elsewhere." }],
              "encrypted_content": "pc1.other.c2ln" },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Hello." }] },
            { "role": "user", "content": "Why?" },
        ] }),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn messages() -> Vec<(&'static str, Value)> {
    let call = |id: &str, path: &str| json!({ "type": "tool_use", "id": id, "name": "read", "input": { "path": path } });
    vec![
        (
            "text",
            json!({
                "model": "m", "stream": true, "max_tokens": 64,
                "system": [
                    { "type": "text", "text": "Be brief." },
                    { "type": "text", "text": "Be kind.", "cache_control": { "type": "ephemeral" } },
                ],
                "messages": [
                    { "role": "user", "content": "Hi" },
                    { "role": "assistant", "content": "Hello." },
                    { "role": "user", "content": [{ "type": "text", "text": "How" }, { "type": "text", "text": "are you?" }] },
                ],
                "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["END"], "metadata": { "user_id": "u1" },
                "output_config": { "effort": "low" },
            }),
        ),
        (
            "tools",
            json!({
                "model": "m", "stream": true, "max_tokens": 64,
                "messages": [
                    { "role": "user", "content": "Read a and b" },
                    { "role": "assistant", "content": [call("toolu_1", "a"), call("toolu_2", "b")] },
                    { "role": "user", "content": [
                        { "type": "tool_result", "tool_use_id": "toolu_1", "content": "no such file", "is_error": true },
                        { "type": "tool_result", "tool_use_id": "toolu_2", "content": [
                            { "type": "text", "text": "B" },
                            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBORw==" } },
                        ] },
                        { "type": "text", "text": "And c" },
                    ] },
                ],
                "tools": [
                    { "name": "read", "description": "Reads a file.", "input_schema": schema() },
                    { "type": "web_search_20250305", "name": "web_search" },
                ],
                "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
            }),
        ),
        (
            "images",
            json!({ "model": "m", "max_tokens": 64, "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "What is it?" },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBORw==" } },
            { "type": "document", "title": "a.pdf",
              "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBERi0=" } },
        ] }] }),
        ),
        (
            "image by URL",
            json!({ "model": "m", "max_tokens": 64, "messages": [{ "role": "user", "content": [
            { "type": "image", "source": { "type": "url", "url": "https://host/a.png" } },
        ] }] }),
        ),
        (
            "reasoning",
            json!({
                "model": "m", "max_tokens": 16000, "thinking": { "type": "enabled", "budget_tokens": 8000 },
                "messages": [
                    { "role": "user", "content": "Hi" },
                    { "role": "assistant", "content": [
                        { "type": "thinking", "thinking": "They greet.", "signature": "pc1.cloud.c2ln" },
                        { "type": "thinking", "thinking": "From elsewhere.", "signature": "pc1.other.c2ln" },
                        { "type": "text", "text": "Hello." },
                    ] },
                    { "role": "user", "content": "Why?" },
                ],
            }),
        ),
    ]
}
