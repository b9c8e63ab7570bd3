//! What providers stream, each in the words of its API.

use serde_json::{Value, json};
use wire::Api;
use wire::eventstream::{self, encode_event, encode_exception};
use wire::sse::Event;

use crate::support::events;

/// The same cases of each API; the last two do not come to their end.
pub(super) fn cases(api: Api) -> Vec<(&'static str, Vec<Event>)> {
    let (text, tools, reasoning, error) = match api {
        Api::Chat(_) | Api::Completions => chat(),
        Api::Responses(_) => responses(),
        Api::Messages | Api::MessagesOnVertex => messages(),
        Api::Converse => converse(),
        Api::Gemini(_) => gemini(),
    };
    let cut = text[..text.len() - 2].to_vec();
    vec![("text", text), ("tools", tools), ("reasoning", reasoning), ("error inside", error), ("cut", cut)]
}

type Cases = (Vec<Event>, Vec<Event>, Vec<Event>, Vec<Event>);

fn sse(data: &[Value], end: &str) -> Vec<Event> {
    let named = |value: &Value| match value["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {value}\n\n"),
        None => format!("data: {value}\n\n"),
    };
    events((data.iter().map(named).collect::<String>() + end).as_bytes())
}

fn chat() -> Cases {
    let chunk = |delta: Value| {
        json!({
            "id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1, "model": "up-1",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": null }],
        })
    };
    let end = |reason: &str| json!({ "id": "chatcmpl-9", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
    let usage = json!({ "id": "chatcmpl-9", "choices": [], "usage": {
        "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25,
        "prompt_tokens_details": { "cached_tokens": 8 }, "completion_tokens_details": { "reasoning_tokens": 2 },
    } });
    let fragment = |index: u32, arguments: &str| {
        chunk(json!({ "tool_calls": [
        { "index": index, "function": { "arguments": arguments } },
    ] }))
    };
    let call = |index: u32, id: &str| {
        chunk(json!({ "tool_calls": [
        { "index": index, "id": id, "type": "function", "function": { "name": "read", "arguments": "" } },
    ] }))
    };
    let done = "data: [DONE]\n\n";
    let begin = chunk(json!({ "role": "assistant", "content": "" }));
    let said = |text: &str| chunk(json!({ "content": text }));
    (
        sse(&[begin.clone(), said("Hel"), said("lo [DONE]"), end("stop"), usage.clone()], done),
        sse(
            &[
                begin.clone(),
                said("I look."),
                call(0, "call_a"),
                call(1, "call_b"),
                fragment(1, "{\"path\":"),
                fragment(0, "{\"pa"),
                fragment(0, "th\":\"a\"}"),
                fragment(1, "\"b\"}"),
                call(2, "call_c"),
                end("tool_calls"),
                usage.clone(),
            ],
            done,
        ),
        sse(
            &[
                begin.clone(),
                chunk(json!({ "reasoning_content": "Hm" })),
                chunk(json!({ "reasoning_content": "." })),
                said("So."),
                end("length"),
                usage,
            ],
            done,
        ),
        sse(
            &[
                begin,
                said("Hel"),
                json!({ "error": {
            "message": "The server had an error.", "type": "server_error", "param": null, "code": "server_error",
        } }),
            ],
            "",
        ),
    )
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn responses() -> Cases {
    let response = |status: &str, output: Value, usage: Value| {
        json!({
            "id": "resp_9", "object": "response", "created_at": 1, "status": status, "model": "up-1",
            "output": output, "usage": usage,
        })
    };
    let usage = || {
        json!({
            "input_tokens": 20, "input_tokens_details": { "cached_tokens": 8 },
            "output_tokens": 5, "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 25,
        })
    };
    let created =
        || json!({ "type": "response.created", "response": response("in_progress", json!([]), Value::Null) });
    let completed =
        || json!({ "type": "response.completed", "response": response("completed", json!([]), usage()) });
    let item =
        |kind: &str, index: u32, item: Value| json!({ "type": kind, "output_index": index, "item": item });
    let message = |index: u32, pieces: &[&str]| {
        let id = format!("msg_{index}");
        let part = |kind: &str, text: &str| {
            json!({ "type": kind, "item_id": id, "output_index": index, "content_index": 0,
            "part": { "type": "output_text", "text": text, "annotations": [] } })
        };
        let whole = |text: &str| {
            json!({ "type": "message", "id": id, "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }] })
        };
        let empty = json!({ "type": "message", "id": id, "role": "assistant", "status": "in_progress", "content": [] });
        let mut all =
            vec![item("response.output_item.added", index, empty), part("response.content_part.added", "")];
        all.extend(pieces.iter().map(|piece| {
            json!({ "type": "response.output_text.delta", "item_id": id,
            "output_index": index, "content_index": 0, "delta": piece })
        }));
        let text = pieces.concat();
        all.push(json!({ "type": "response.output_text.done", "item_id": id, "output_index": index, "content_index": 0, "text": text }));
        all.extend([
            part("response.content_part.done", &text),
            item("response.output_item.done", index, whole(&text)),
        ]);
        all
    };
    let call = |index: u32, id: &str, pieces: &[&str]| {
        let item_id = format!("fc_{index}");
        let whole = |arguments: &str| json!({ "type": "function_call", "id": item_id, "call_id": id, "name": "read", "arguments": arguments });
        let mut all = vec![item("response.output_item.added", index, whole(""))];
        all.extend(pieces.iter().map(|piece| {
            json!({ "type": "response.function_call_arguments.delta",
            "item_id": item_id, "output_index": index, "delta": piece })
        }));
        let text = pieces.concat();
        all.push(json!({ "type": "response.function_call_arguments.done", "item_id": item_id, "output_index": index, "arguments": text }));
        all.push(item("response.output_item.done", index, whole(&text)));
        all
    };
    let thought = |index: u32, text: &str| {
        let id = format!("rs_{index}");
        let whole = |summary: Value| json!({ "type": "reasoning", "id": id, "summary": summary, "encrypted_content": "c2ln" });
        vec![
            item("response.output_item.added", index, whole(json!([]))),
            json!({ "type": "response.reasoning_summary_part.added", "item_id": id, "output_index": index, "summary_index": 0,
                "part": { "type": "summary_text", "text": "" } }),
            json!({ "type": "response.reasoning_summary_text.delta", "item_id": id, "output_index": index, "summary_index": 0, "delta": text }),
            json!({ "type": "response.reasoning_summary_text.done", "item_id": id, "output_index": index, "summary_index": 0, "text": text }),
            json!({ "type": "response.reasoning_summary_part.done", "item_id": id, "output_index": index, "summary_index": 0,
                "part": { "type": "summary_text", "text": text } }),
            item(
                "response.output_item.done",
                index,
                whole(json!([{ "type": "summary_text", "text": text }])),
            ),
        ]
    };
    let incomplete = json!({ "type": "response.incomplete", "response": {
        "id": "resp_9", "status": "incomplete", "incomplete_details": { "reason": "max_output_tokens" },
        "output": [], "usage": usage(),
    } });
    let failed = json!({ "type": "response.failed", "response": { "id": "resp_9", "status": "failed",
        "error": { "code": "server_error", "message": "The server had an error." }, "output": [], "usage": null } });
    (
        sse(&[vec![created()], message(0, &["Hel", "lo [DONE]"]), vec![completed()]].concat(), ""),
        sse(
            &[
                vec![created()],
                message(0, &["I look."]),
                call(1, "call_a", &["{\"pa", "th\":\"a\"}"]),
                call(2, "call_b", &["{\"path\":", "\"b\"}"]),
                call(3, "call_c", &[]),
                vec![completed()],
            ]
            .concat(),
            "",
        ),
        sse(&[vec![created()], thought(0, "Hm."), message(1, &["So."]), vec![incomplete]].concat(), ""),
        sse(&[vec![created()], message(0, &["Hel"])[..3].to_vec(), vec![failed]].concat(), ""),
    )
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn messages() -> Cases {
    let start = json!({ "type": "message_start", "message": {
        "id": "msg_9", "type": "message", "role": "assistant", "model": "up-1", "content": [], "stop_reason": null,
        "stop_sequence": null,
        "usage": { "input_tokens": 10, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 2, "output_tokens": 1 },
    } });
    let open = |index: u32, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let text = |index: u32| open(index, json!({ "type": "text", "text": "" }));
    let delta =
        |index: u32, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let said = |index: u32, text: &str| delta(index, json!({ "type": "text_delta", "text": text }));
    let input =
        |index: u32, json: &str| delta(index, json!({ "type": "input_json_delta", "partial_json": json }));
    let call = |index: u32, id: &str| {
        open(index, json!({ "type": "tool_use", "id": id, "name": "read", "input": {} }))
    };
    let stop = |index: u32| json!({ "type": "content_block_stop", "index": index });
    let finish = |reason: &str| {
        json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "output_tokens": 5 } })
    };
    let end = json!({ "type": "message_stop" });
    let ping = json!({ "type": "ping" });
    (
        sse(
            &[
                start.clone(),
                ping,
                text(0),
                said(0, "Hel"),
                said(0, "lo [DONE]"),
                stop(0),
                finish("end_turn"),
                end.clone(),
            ],
            "",
        ),
        sse(
            &[
                start.clone(),
                text(0),
                said(0, "I look."),
                stop(0),
                call(1, "toolu_a"),
                input(1, ""),
                input(1, "{\"pa"),
                input(1, "th\":\"a\"}"),
                stop(1),
                call(2, "toolu_b"),
                input(2, "{\"path\":\"b\"}"),
                stop(2),
                call(3, "toolu_c"),
                stop(3),
                finish("tool_use"),
                end.clone(),
            ],
            "",
        ),
        sse(
            &[
                start.clone(),
                open(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
                delta(0, json!({ "type": "thinking_delta", "thinking": "Hm." })),
                delta(0, json!({ "type": "signature_delta", "signature": "c2ln" })),
                stop(0),
                open(1, json!({ "type": "redacted_thinking", "data": "cmVk" })),
                stop(1),
                text(2),
                said(2, "So."),
                stop(2),
                finish("max_tokens"),
                end,
            ],
            "",
        ),
        sse(
            &[
                start,
                text(0),
                said(0, "Hel"),
                json!({ "type": "error",
            "error": { "type": "overloaded_error", "message": "Overloaded" } }),
            ],
            "",
        ),
    )
}

fn converse() -> Cases {
    let start = ("messageStart", json!({ "role": "assistant" }));
    let delta =
        |at: u32, delta: Value| ("contentBlockDelta", json!({ "contentBlockIndex": at, "delta": delta }));
    let said = |at: u32, text: &str| delta(at, json!({ "text": text }));
    let call = |at: u32, id: &str| {
        (
            "contentBlockStart",
            json!({ "contentBlockIndex": at,
        "start": { "toolUse": { "name": "read", "toolUseId": id } } }),
        )
    };
    let input = |at: u32, json: &str| delta(at, json!({ "toolUse": { "input": json } }));
    let stop = |at: u32| ("contentBlockStop", json!({ "contentBlockIndex": at }));
    let finish = |reason: &str| ("messageStop", json!({ "stopReason": reason }));
    let metadata = (
        "metadata",
        json!({ "usage": { "inputTokens": 10, "cacheReadInputTokens": 8,
        "cacheWriteInputTokens": 2, "outputTokens": 5, "totalTokens": 25 }, "metrics": { "latencyMs": 9 } }),
    );
    let frames = |events: &[(&str, Value)]| -> Vec<u8> {
        events.iter().flat_map(|(name, data)| encode_event(name, &data.to_string()).to_vec()).collect()
    };
    let read = |bytes: &[u8]| {
        let mut reader = eventstream::Reader::new(1 << 20);
        reader.push(bytes);
        std::iter::from_fn(move || reader.next_event().expect("our own bytes")).collect::<Vec<_>>()
    };
    let error = [
        frames(&[start.clone(), said(0, "Hel")]),
        encode_exception("throttlingException", r#"{"message":"Too many requests."}"#).to_vec(),
    ]
    .concat();
    (
        read(&frames(&[
            start.clone(),
            said(0, "Hel"),
            said(0, "lo [DONE]"),
            stop(0),
            finish("end_turn"),
            metadata.clone(),
        ])),
        read(&frames(&[
            start.clone(),
            said(0, "I look."),
            stop(0),
            call(1, "tooluse_a"),
            input(1, "{\"pa"),
            input(1, "th\":\"a\"}"),
            stop(1),
            call(2, "tooluse_b"),
            input(2, "{\"path\":\"b\"}"),
            stop(2),
            call(3, "tooluse_c"),
            stop(3),
            finish("tool_use"),
            metadata.clone(),
        ])),
        read(&frames(&[
            start,
            delta(0, json!({ "reasoningContent": { "text": "Hm." } })),
            delta(0, json!({ "reasoningContent": { "signature": "c2ln" } })),
            stop(0),
            said(1, "So."),
            stop(1),
            finish("max_tokens"),
            metadata,
        ])),
        read(&error),
    )
}

fn gemini() -> Cases {
    let parts = |parts: Value| {
        json!({ "responseId": "r9", "modelVersion": "up-1",
        "candidates": [{ "index": 0, "content": { "role": "model", "parts": parts } }] })
    };
    let said = |text: &str| parts(json!([{ "text": text }]));
    let end = |reason: &str| {
        json!({ "responseId": "r9", "candidates": [{ "index": 0, "finishReason": reason,
        "content": { "role": "model", "parts": [{ "text": "" }] } }],
        "usageMetadata": { "promptTokenCount": 20, "cachedContentTokenCount": 8, "candidatesTokenCount": 3,
            "thoughtsTokenCount": 2, "totalTokenCount": 25 } })
    };
    let call = |args: Value| json!({ "functionCall": { "name": "read", "args": args } });
    (
        sse(&[said("Hel"), said("lo [DONE]"), end("STOP")], ""),
        sse(
            &[
                said("I look."),
                parts(json!([call(json!({ "path": "a" })), call(json!({ "path": "b" })), call(json!({}))])),
                end("STOP"),
            ],
            "",
        ),
        sse(
            &[
                parts(json!([{ "text": "Hm.", "thought": true }])),
                parts(json!([{ "text": "So.", "thoughtSignature": "c2ln" }])),
                end("MAX_TOKENS"),
            ],
            "",
        ),
        sse(
            &[
                said("Hel"),
                json!({ "error": { "code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE" } }),
            ],
            "",
        ),
    )
}
