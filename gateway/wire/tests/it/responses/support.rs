//! What all tests of the dialect need: bodies read, and streams written and read.

use bytes::BytesMut;
use serde_json::Value;
use wire::call::Call;
use wire::json::{Limits, check};
use wire::openai::responses::{Reader, Writer, read_call};
use wire::reply::{Delta, EventReader, StreamWriter, Unreadable};
use wire::sse;

pub(super) use crate::grammar::check as assert_grammar;
pub(super) use crate::support::{envelope, text};

/// Reads `body` as the server does.
pub(super) fn call(body: &Value) -> Call {
    try_call(body).unwrap_or_else(|error| panic!("{error} in {body}"))
}

pub(super) fn try_call(body: &Value) -> Result<Call, wire::ParseError> {
    let bytes = body.to_string().into_bytes();
    check(&bytes, Limits::default())?;
    read_call(&bytes)
}

/// Writes `deltas` as the client of `call` gets them.
pub(super) fn written(deltas: &[Delta], call: &Call) -> String {
    let mut writer = Writer::new(envelope(), call);
    let mut out = BytesMut::new();
    for delta in deltas {
        writer.write(delta, &mut out);
    }
    text(&out)
}

/// The documents of a written stream.
pub(super) fn documents(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("every event is JSON")).collect()
}

/// Writes the events of a provider.
pub(super) fn stream(events: &[Value]) -> String {
    let event =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("message"));
    events.iter().map(event).collect()
}

/// Reads a provider's stream that arrives in `pieces`.
pub(super) fn read_pieces(pieces: &[&[u8]]) -> Result<Vec<Delta>, Unreadable> {
    let (mut frames, mut reader) = (sse::Reader::new(1 << 20), Reader::new());
    let mut deltas = Vec::new();
    for piece in pieces {
        frames.push(piece);
        while let Some(frame) = frames.next_frame().expect("frames are small") {
            if let Some(event) = &frame.event {
                reader.read(event, &mut deltas)?;
            }
        }
    }
    assert_grammar(&deltas);
    Ok(deltas)
}

/// Reads the events of a provider.
pub(super) fn read(events: &[Value]) -> Result<Vec<Delta>, Unreadable> {
    read_pieces(&[stream(events).as_bytes()])
}

/// Joins what was appended in pieces.
pub(super) fn joined(deltas: Vec<Delta>) -> Vec<Delta> {
    let mut joined: Vec<Delta> = Vec::new();
    for delta in deltas {
        match (delta, joined.last_mut()) {
            (Delta::Append(more), Some(Delta::Append(text))) => text.push_str(&more),
            (delta, _) => joined.push(delta),
        }
    }
    joined
}
