//! What must hold of any bytes: no panic, deltas that keep the grammar, requests that stay requests when they pass on.
//!
//! Each target of `fuzz_targets` is one line around a function of this file. What needs knowledge of a dialect's
//! meaning is not here: that is for the golden files.

#[path = "../../tests/it/grammar/check.rs"]
mod check;

use bytes::{Bytes, BytesMut};
use wire::client::Asked;
use wire::reply::{Delta, Envelope, Fault, FaultKind};
use wire::sse::{self, Event};
use wire::{Api, AskUsage, Dialect, Request};

/// Largest event, in bytes; small, so that the limit itself is tried.
const EVENT_BYTES_MAX: usize = 1 << 16;

/// The answer that is written.
pub fn envelope() -> Envelope {
    Envelope { unique: "01".into(), created_s: 1, model: "m".into(), provider: "cloud".into() }
}

/// The events of `bytes`, which come in pieces: the first byte says how long each is.
pub fn events(bytes: &[u8]) -> Vec<Event> {
    let Some((piece_bytes, rest)) = bytes.split_first() else { return Vec::new() };
    let mut reader = sse::Reader::new(EVENT_BYTES_MAX);
    let mut events = Vec::new();
    for piece in rest.chunks(usize::from(*piece_bytes).max(1)) {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => events.extend(frame.event),
                Ok(None) => break,
                Err(_) => return events,
            }
        }
    }
    events
}

/// Any split of a stream gives the same frames, and no byte is lost.
pub fn sse(bytes: &[u8]) {
    let Some((_, rest)) = bytes.split_first() else { return };
    let mut whole = vec![u8::MAX];
    whole.extend_from_slice(rest);
    let (split, whole) = (events(bytes), events(&whole));
    if rest.len() < EVENT_BYTES_MAX {
        assert_eq!(split, whole, "a split changes what is read");
    }
    for event in whole {
        let written = sse::encode_data(event.data().as_bytes());
        let mut again = vec![1];
        again.extend_from_slice(&written);
        let again = events(&again);
        assert_eq!(again.len(), 1);
        // A carriage return ends a line, and comes back as the line feed that joins lines.
        let joined = event.data().replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(again[0].data(), joined);
    }
}

/// A request that is read stays one when it passes on, and names the model it was given.
pub fn request(dialect: Dialect, bytes: &[u8]) {
    let Ok(request) = Request::parse(dialect, Bytes::copy_from_slice(bytes)) else { return };
    let _ = format!("{request:?}");
    let _ = request.indirect();
    if let Err(error) = request.call() {
        let _ = error.to_string();
    }
    for ask in [AskUsage::Always, AskUsage::AsCaller] {
        let forwarded = request.forward_body("up/\"stream", ask);
        let again = Request::parse(dialect, forwarded).expect("what passes on is a request");
        assert_eq!(again.model, "up/\"stream");
        assert_eq!(again.tools, request.tools);
        assert_eq!(again.is_streamed(), request.is_streamed());
        assert_eq!(again.call().is_ok(), request.call().is_ok());
    }
}

/// Whatever a provider sends, the deltas keep the grammar, and every client's dialect can write them.
pub fn stream(api: Api, events: &[Event]) {
    let mut reader = api.stream_reader();
    let mut deltas = Vec::new();
    let is_read = events.iter().all(|event| {
        let outcome = reader.read(event, &mut deltas);
        keep_the_grammar(&deltas);
        outcome.is_ok()
    });
    if is_read {
        reader.end(&mut deltas);
        keep_the_grammar(&deltas);
    }
    written(&deltas);
}

/// A whole answer that can be read can be taken apart and written.
pub fn reply(api: Api, bytes: &[u8]) {
    let Ok(reply) = api.read_reply(bytes, "cloud") else { return };
    for asked in asked() {
        let _ = asked.write_reply(&reply, &envelope());
    }
    let deltas = wire::reply::deltas_of(reply);
    keep_the_grammar(&deltas);
    written(&deltas);
}

/// The events of `bytes`, each line of which is the name and the JSON of one, as AWS frames them.
pub fn frames(bytes: &[u8]) -> Vec<Event> {
    let mut reader = wire::eventstream::Reader::new(EVENT_BYTES_MAX);
    let mut events = Vec::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        let (name, json) = line.split_once(' ').unwrap_or((line, "{}"));
        if name.len() < 200 {
            reader.push(&wire::eventstream::encode_event(name, json));
        }
        while let Ok(Some(event)) = reader.next_event() {
            events.push(event);
        }
    }
    events
}

/// A reader of AWS's frames takes or refuses whatever comes.
pub fn eventstream(bytes: &[u8]) {
    let mut reader = wire::eventstream::Reader::new(EVENT_BYTES_MAX);
    let mut events = Vec::new();
    'pieces: for piece in bytes.chunks(7) {
        reader.push(piece);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    stream(Api::Converse, &events);
    let _ = wire::eventstream::decode(bytes);
}

/// What reads as an error of an API is an error in each dialect.
pub fn faults(bytes: &[u8]) {
    let apis = [
        Api::Chat(wire::openai::chat::Server::OpenAi),
        Api::Responses(wire::openai::responses::Host::OpenAi),
        Api::Messages,
        Api::Converse,
        Api::Gemini(wire::gemini::Host::GeminiApi),
    ];
    for fault in apis.iter().filter_map(|api| api.read_fault(429, bytes, None)) {
        for dialect in CLIENTS {
            let body = wire::client::write_fault(dialect, &fault, "req_1");
            assert_eq!(wire::json::check(&body, wire::json::Limits::default()), Ok(()));
        }
    }
}

const CLIENTS: [Dialect; 3] = [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages];

/// What a client of each dialect asked.
fn asked() -> Vec<Asked> {
    let bodies = [
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"a"}]}"#,
        r#"{"model":"m","stream":true,"input":"a","tools":[{"type":"custom","name":"patch"}]}"#,
        r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"a"}]}"#,
    ];
    let ask = |(dialect, body): (Dialect, &str)| {
        let request = Request::parse(dialect, Bytes::copy_from_slice(body.as_bytes())).expect("ours");
        let call = request.call().expect("ours");
        Asked::of(&request, call)
    };
    CLIENTS.into_iter().zip(bodies).map(ask).collect()
}

fn keep_the_grammar(deltas: &[Delta]) {
    if let Some(fault) = check::fault(deltas) {
        panic!("{fault}");
    }
}

fn written(deltas: &[Delta]) {
    let fault = Fault::new(FaultKind::Server, "cut", "the stream broke off");
    for asked in asked() {
        let mut writer = asked.stream_writer(&envelope());
        let mut out = BytesMut::new();
        for delta in deltas {
            writer.write(delta, &mut out);
        }
        if deltas.last() != Some(&Delta::End) {
            writer.fail(&fault, &mut out);
        }
        assert!(std::str::from_utf8(&out).is_ok(), "what is written is text");
    }
}
