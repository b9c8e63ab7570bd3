//! What the tests of all dialects need: bytes to events to deltas, and back.

use bytes::BytesMut;
use wire::reply::{Assembler, Delta, Envelope, EventReader, Reply, StreamWriter, Unreadable};
use wire::sse::{Event, Reader, encode_data};

/// The answer that the tests write.
pub(crate) fn envelope() -> Envelope {
    Envelope { unique: "01".into(), created_s: 1_700_000_000, model: "demo".into(), provider: "cloud".into() }
}

/// One event without a name.
pub(crate) fn event(data: &str) -> Event {
    events(&encode_data(data.as_bytes())).pop().expect("it has data")
}

/// All events of a stream.
pub(crate) fn events(bytes: &[u8]) -> Vec<Event> {
    events_of_pieces([bytes])
}

/// All events of a stream that comes in pieces; what is cut off at its end is none.
pub(crate) fn events_of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut reader = Reader::new(1 << 20);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(frame) = reader.next_frame().expect("small") {
            events.extend(frame.event);
        }
    }
    events
}

/// What `reader` makes of `events`, up to the first that it cannot read.
pub(crate) fn read(mut reader: impl EventReader, events: &[Event]) -> (Vec<Delta>, Result<(), Unreadable>) {
    let mut deltas = Vec::new();
    for event in events {
        if let Err(error) = reader.read(event, &mut deltas) {
            return (deltas, Err(error));
        }
    }
    (deltas, Ok(()))
}

/// What a client gets of `deltas`.
pub(crate) fn write(mut writer: impl StreamWriter, deltas: &[Delta]) -> String {
    let mut out = BytesMut::new();
    for delta in deltas {
        writer.write(delta, &mut out);
    }
    text(&out)
}

/// The whole answer that `deltas` are.
pub(crate) fn assembled(deltas: &[Delta]) -> Reply {
    let mut assembler = Assembler::default();
    for delta in deltas {
        assembler.push(delta.clone(), &envelope());
    }
    assembler.finish().expect("the stream came to its end")
}

/// Bytes that have to be text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is written is text")
}

/// `bytes` cut at `at`, each a place in it or behind it.
pub(crate) fn split<'a>(bytes: &'a [u8], at: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}
