//! Streams read to their end, with the grammar checked at each step.

use wire::reply::{Delta, EventReader, Unreadable};
use wire::sse::Event;

use crate::grammar::check;

/// Reads `events`, and the end of the connection behind them.
pub(crate) fn read_all(reader: &mut impl EventReader, events: &[Event]) -> Result<Vec<Delta>, Unreadable> {
    let mut deltas = Vec::new();
    for event in events {
        reader.read(event, &mut deltas)?;
        check(&deltas);
    }
    reader.end(&mut deltas);
    check(&deltas);
    Ok(deltas)
}

/// Writes deltas in one line each, for golden files.
pub(crate) fn lines(deltas: &[Delta]) -> String {
    deltas.iter().map(|delta| format!("{delta:?}")).collect::<Vec<_>>().join("\n")
}
