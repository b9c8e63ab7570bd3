//! What the wire formats cost a call: reading the request, forwarding it, following the answer's stream.

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use serde_json::{Value, json};
use wire::client::Asked;
use wire::openai::{chat, responses};
use wire::reply::{Delta, Envelope, EventReader};
use wire::sse::Reader;
use wire::{Api, AskUsage, Dialect, Request};

fn main() {
    divan::main();
}

/// Size of the request: a coding agent some turns into its work.
const REQUEST_BYTES: usize = 40_000;

/// Events of the stream: an answer of a thousand tokens.
const EVENTS: usize = 1000;

/// What one read of a socket brings: a full Ethernet frame's payload.
const PIECE_BYTES: usize = 1448;

/// A system prompt, a dozen tools, and turns of text until the size is reached.
fn request() -> Bytes {
    let tool = |number: usize| {
        json!({ "type": "function", "function": {
            "name": format!("tool_{number}"),
            "description": "Reads a range of lines of a file in the working folder.",
            "parameters": { "type": "object", "required": ["path"], "properties": {
                "path": { "type": "string", "description": "Relative to the working folder." },
                "first": { "type": "integer", "minimum": 1 },
                "last": { "type": "integer", "minimum": 1 },
            } },
        } })
    };
    let text = "fn main() {\n    println!(\"a \\\"quoted\\\" line\");\n}\n".repeat(20);
    let mut messages = vec![json!({ "role": "system", "content": "You edit files. ".repeat(200) })];
    let mut body = json!({ "model": "auto", "stream": true, "tools": (0..12).map(tool).collect::<Vec<_>>() });
    while body.to_string().len() < REQUEST_BYTES {
        let role = if messages.len() % 2 == 1 { "user" } else { "assistant" };
        messages.push(json!({ "role": role, "content": text }));
        body["messages"] = Value::from(messages.clone());
    }
    Bytes::from(body.to_string())
}

#[divan::bench]
fn parse_a_chat_request_of_40_kb(bencher: Bencher<'_, '_>) {
    let body = request();
    bencher.counter(BytesCount::new(body.len())).bench_local(|| parse(body.clone()));
}

fn parse(body: Bytes) -> Request {
    Request::parse(Dialect::OpenAiChat, body).expect("the request is right")
}

/// What a translation reads on top: the conversation.
#[divan::bench]
fn read_the_conversation_of_40_kb(bencher: Bencher<'_, '_>) {
    let request = parse(request());
    bencher
        .counter(BytesCount::new(request.body().len()))
        .bench_local(|| request.call().expect("the request is right"));
}

/// The peer: the same bytes into a tree, without a check for duplicate keys.
#[divan::bench]
fn parse_into_a_serde_json_value_of_40_kb(bencher: Bencher<'_, '_>) {
    let body = request();
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| serde_json::from_slice::<Value>(&body).expect("the request is right"));
}

#[divan::bench]
fn forward_a_chat_request_of_40_kb(bencher: Bencher<'_, '_>) {
    let request = parse(request());
    bencher
        .counter(BytesCount::new(request.body().len()))
        .bench_local(|| request.forward_body("org/model-name", AskUsage::Always));
}

fn stream() -> Vec<u8> {
    let chunk = |number: usize| {
        let chunk = json!({
            "id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": 1_700_000_000,
            "model": "org/model-name", "system_fingerprint": null,
            "choices": [{ "index": 0, "delta": { "content": format!(" word{number}") },
                "logprobs": null, "finish_reason": null }],
        });
        format!("data: {chunk}\n\n")
    };
    (0..EVENTS).map(chunk).collect::<String>().into_bytes()
}

/// Hands every event of the stream to `take`, in pieces as a socket gives them.
fn read(stream: &[u8], mut take: impl FnMut(&wire::sse::Event)) {
    let mut reader = Reader::new(1 << 20);
    for piece in stream.chunks(PIECE_BYTES) {
        reader.push(piece);
        while let Some(frame) = reader.next_frame().expect("the events are small") {
            frame.event.iter().for_each(&mut take);
        }
    }
}

#[divan::bench]
fn read_a_stream_of_1000_events(bencher: Bencher<'_, '_>) {
    let stream = stream();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut bytes = 0;
        read(&stream, |event| bytes += event.data().len());
        bytes
    });
}

/// What a pass-through does with each event before it hands the bytes on.
#[divan::bench]
fn read_and_observe_a_stream_of_1000_events(bencher: Bencher<'_, '_>) {
    let stream = stream();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let (mut reader, mut deltas) = (chat::Reader::new(), Vec::new());
        read(&stream, |event| {
            deltas.clear();
            reader.read(event, &mut deltas).expect("the events are right");
        });
        reader
    });
}

/// Each dialect of a client, over a provider that streams chat completions: what one event costs from its last byte to
/// the client's. The aim is 5 µs.
#[divan::bench(args = ["chat", "responses", "messages"])]
fn translate_a_stream_of_1000_chat_events(bencher: Bencher<'_, '_>, client: &str) {
    let stream = stream();
    translate(bencher, client, Api::Chat(chat::Server::Compatible), &stream);
}

/// The same over a provider that streams Messages.
#[divan::bench(args = ["chat", "responses", "messages"])]
fn translate_a_stream_of_1000_messages_events(bencher: Bencher<'_, '_>, client: &str) {
    let stream = written("messages");
    translate(bencher, client, Api::Messages, &stream);
}

/// The same over a provider that streams Responses.
#[divan::bench(args = ["chat", "responses", "messages"])]
fn translate_a_stream_of_1000_responses_events(bencher: Bencher<'_, '_>, client: &str) {
    let stream = written("responses");
    translate(bencher, client, Api::Responses(responses::Host::OpenAi), &stream);
}

fn asked(client: &str) -> Asked {
    let (dialect, body) = match client {
        "chat" => (
            Dialect::OpenAiChat,
            r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
        ),
        "responses" => (Dialect::OpenAiResponses, r#"{"model":"m","stream":true,"input":"hi"}"#),
        _ => (
            Dialect::AnthropicMessages,
            r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
        ),
    };
    let request = Request::parse(dialect, Bytes::from(body)).expect("the request is right");
    let call = request.call().expect("the request is right");
    Asked::of(&request, call)
}

fn envelope() -> Envelope {
    Envelope { unique: "0123456789".into(), created_s: 1, model: "m".into(), provider: "p".into() }
}

/// The deltas of the stream of chat chunks, as a provider of another dialect writes them.
fn written(client: &str) -> Vec<u8> {
    let (mut reader, mut writer) = (chat::Reader::new(), asked(client).stream_writer(&envelope()));
    let mut out = BytesMut::new();
    read(&stream(), |event| {
        let mut deltas: Vec<Delta> = Vec::new();
        reader.read(event, &mut deltas).expect("the events are right");
        for delta in &deltas {
            writer.write(delta, &mut out);
        }
    });
    out.to_vec()
}

fn translate(bencher: Bencher<'_, '_>, client: &str, api: Api, stream: &[u8]) {
    let asked = asked(client);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let (mut reader, mut writer) = (api.stream_reader(), asked.stream_writer(&envelope()));
        let (mut deltas, mut out, mut bytes) = (Vec::new(), BytesMut::new(), 0);
        read(stream, |event| {
            deltas.clear();
            reader.read(event, &mut deltas).expect("the events are right");
            for delta in &deltas {
                writer.write(delta, &mut out);
            }
            bytes += out.len();
            out.clear();
        });
        bytes
    });
}
