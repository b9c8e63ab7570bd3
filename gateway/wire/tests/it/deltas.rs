//! What the tests of all readers share: the grammar of deltas, checked, and streams read to their end.

use std::collections::HashSet;

use wire::reply::{Delta, EventReader, Open, Unreadable};
use wire::sse::Event;

/// # Panics
/// If `deltas` break the grammar that `wire::reply` states; a cut stream, without `End`, may keep it.
#[track_caller]
pub(crate) fn check(deltas: &[Delta]) {
    let mut open: Option<&Open> = None;
    let mut ids = HashSet::new();
    let mut has_finished = false;
    for (at, delta) in deltas.iter().enumerate() {
        let fits = match delta {
            Delta::Begin(_) => at == 0,
            Delta::Open(next) => {
                let is_named = match next {
                    Open::ToolCall { id, name } => !id.is_empty() && !name.is_empty() && ids.insert(id),
                    _ => true,
                };
                open.replace(next).is_none() && is_named && !has_finished
            }
            Delta::Append(text) => {
                open.is_some_and(|open| *open != Open::RedactedReasoning) && !text.is_empty()
            }
            Delta::Seal(_) => matches!(open, Some(Open::Reasoning | Open::RedactedReasoning)),
            Delta::Close => open.take().is_some(),
            Delta::Finish(_) => open.is_none() && !std::mem::replace(&mut has_finished, true),
            Delta::Usage(_) | Delta::Ping => true,
            Delta::End => open.is_none() && has_finished && at + 1 == deltas.len(),
        };
        assert!(
            fits && (at == 0) == matches!(delta, Delta::Begin(_)),
            "delta {at} is out of place in {deltas:#?}"
        );
    }
}

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
