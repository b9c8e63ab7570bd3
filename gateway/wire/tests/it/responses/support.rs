//! What all tests of the dialect need: bodies read and streams written and read, and the grammar of deltas.

use bytes::BytesMut;
use serde_json::Value;
use wire::call::Call;
use wire::json::{Limits, check};
use wire::openai::responses::{Reader, Writer, read_call};
use wire::reply::{Delta, Envelope, EventReader, Open, StreamWriter, Unreadable};
use wire::sse;

/// Reads `body` as the server does.
pub(super) fn call(body: &Value) -> Call {
    try_call(body).unwrap_or_else(|error| panic!("{error} in {body}"))
}

pub(super) fn try_call(body: &Value) -> Result<Call, wire::ParseError> {
    let bytes = body.to_string().into_bytes();
    check(&bytes, Limits::default())?;
    read_call(&bytes)
}

pub(super) fn envelope() -> Envelope {
    Envelope { unique: "01".into(), created_s: 1_700_000_000, model: "demo".into(), provider: "cloud".into() }
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

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("answers are text")
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

/// Asserts that blocks follow each other, between one beginning and one end.
#[track_caller]
pub(super) fn assert_grammar(deltas: &[Delta]) {
    let (mut has_begun, mut is_inside, mut has_finished, mut has_ended) = (false, false, false, false);
    for delta in deltas {
        let is_in_place = match delta {
            Delta::Begin(_) => !has_begun,
            Delta::Open(Open::ToolCall { id, name }) => {
                has_begun && !is_inside && !has_finished && !id.is_empty() && !name.is_empty()
            }
            Delta::Open(_) | Delta::Finish(_) => has_begun && !is_inside && !has_finished,
            Delta::Append(_) | Delta::Seal(_) | Delta::Close => is_inside,
            Delta::Usage(_) | Delta::Ping => has_begun,
            Delta::End => has_finished,
        };
        assert!(is_in_place && !has_ended, "{delta:?} is out of place in {deltas:#?}");
        has_begun = true;
        is_inside = matches!(delta, Delta::Open(_)) || (is_inside && *delta != Delta::Close);
        has_finished |= matches!(delta, Delta::Finish(_));
        has_ended |= *delta == Delta::End;
    }
}
