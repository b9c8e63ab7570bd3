//! What providers answer when nothing is streamed, each in the words of its API.

use serde_json::{Value, json};
use wire::Api;

pub(super) fn cases(api: Api) -> Vec<(&'static str, Value)> {
    let (text, everything) = match api {
        Api::Chat(_) | Api::Completions => chat(),
        Api::Responses(_) => responses(),
        Api::Messages | Api::MessagesOnVertex => messages(),
        Api::Converse => converse(),
        Api::Gemini(_) => gemini(),
    };
    vec![("text", text), ("reasoning, text and tools", everything)]
}

/// An answer that the caller was too fast, with its status.
pub(super) fn error(api: Api) -> (u16, Value) {
    let body = match api {
        Api::Chat(_) | Api::Completions | Api::Responses(_) => json!({ "error": {
            "message": "Slow down.", "type": "requests", "param": null, "code": "rate_limit_exceeded" } }),
        Api::Messages | Api::MessagesOnVertex => json!({ "type": "error", "request_id": "req_9",
            "error": { "type": "rate_limit_error", "message": "Slow down." } }),
        Api::Converse => json!({ "message": "Slow down." }),
        Api::Gemini(_) => {
            json!({ "error": { "code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED" } })
        }
    };
    (429, body)
}

fn chat() -> (Value, Value) {
    let reply = |message: Value, reason: &str| {
        json!({
            "id": "chatcmpl-9", "object": "chat.completion", "created": 1, "model": "up-1",
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": reason }],
            "usage": { "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25,
                "prompt_tokens_details": { "cached_tokens": 8 }, "completion_tokens_details": { "reasoning_tokens": 2 } },
        })
    };
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "read", "arguments": arguments } });
    (
        reply(json!({ "role": "assistant", "content": "Hello", "refusal": null }), "stop"),
        reply(
            json!({ "role": "assistant", "content": "I look.", "reasoning_content": "Hm.",
            "tool_calls": [call("call_a", "{\"path\":\"a\"}"), call("call_b", "")] }),
            "tool_calls",
        ),
    )
}

fn responses() -> (Value, Value) {
    let reply = |output: Value| {
        json!({
            "id": "resp_9", "object": "response", "created_at": 1, "status": "completed", "model": "up-1", "output": output,
            "usage": { "input_tokens": 20, "input_tokens_details": { "cached_tokens": 8 }, "output_tokens": 5,
                "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 25 },
        })
    };
    let message = |text: &str| {
        json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{ "type": "output_text", "text": text, "annotations": [] }] })
    };
    let call = |id: &str, arguments: &str| {
        json!({ "type": "function_call", "id": format!("fc_{id}"), "call_id": id,
        "name": "read", "arguments": arguments })
    };
    (
        reply(json!([message("Hello")])),
        reply(json!([
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "Hm." }], "encrypted_content": "c2ln" },
            message("I look."), call("call_a", "{\"path\":\"a\"}"), call("call_b", ""),
        ])),
    )
}

fn messages() -> (Value, Value) {
    let reply = |content: Value, reason: &str| {
        json!({
            "id": "msg_9", "type": "message", "role": "assistant", "model": "up-1", "content": content,
            "stop_reason": reason, "stop_sequence": null,
            "usage": { "input_tokens": 10, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 2, "output_tokens": 5 },
        })
    };
    (
        reply(json!([{ "type": "text", "text": "Hello" }]), "end_turn"),
        reply(
            json!([
                { "type": "thinking", "thinking": "Hm.", "signature": "c2ln" },
                { "type": "redacted_thinking", "data": "cmVk" },
                { "type": "text", "text": "I look." },
                { "type": "tool_use", "id": "toolu_a", "name": "read", "input": { "path": "a" } },
                { "type": "tool_use", "id": "toolu_b", "name": "read", "input": {} },
            ]),
            "tool_use",
        ),
    )
}

fn converse() -> (Value, Value) {
    let reply = |content: Value, reason: &str| {
        json!({
            "output": { "message": { "role": "assistant", "content": content } }, "stopReason": reason,
            "usage": { "inputTokens": 10, "cacheReadInputTokens": 8, "cacheWriteInputTokens": 2, "outputTokens": 5, "totalTokens": 25 },
            "metrics": { "latencyMs": 9 },
        })
    };
    (
        reply(json!([{ "text": "Hello" }]), "end_turn"),
        reply(
            json!([
                { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "c2ln" } } },
                { "text": "I look." },
                { "toolUse": { "toolUseId": "tooluse_a", "name": "read", "input": { "path": "a" } } },
                { "toolUse": { "toolUseId": "tooluse_b", "name": "read", "input": {} } },
            ]),
            "tool_use",
        ),
    )
}

fn gemini() -> (Value, Value) {
    let reply = |parts: Value| {
        json!({
            "responseId": "r9", "modelVersion": "up-1",
            "candidates": [{ "index": 0, "finishReason": "STOP", "content": { "role": "model", "parts": parts } }],
            "usageMetadata": { "promptTokenCount": 20, "cachedContentTokenCount": 8, "candidatesTokenCount": 3,
                "thoughtsTokenCount": 2, "totalTokenCount": 25 },
        })
    };
    (
        reply(json!([{ "text": "Hello" }])),
        reply(json!([
            { "text": "Hm.", "thought": true },
            { "text": "I look." },
            { "functionCall": { "name": "read", "args": { "path": "a" } }, "thoughtSignature": "c2ln" },
            { "functionCall": { "name": "read", "args": {} } },
        ])),
    )
}
