//! The grammar of deltas, checked; apart from its tests, because the fuzz targets check it too.

use std::collections::HashSet;

use wire::reply::{Delta, Open};

/// Where a stream stands.
#[derive(Clone, PartialEq)]
enum Place {
    Start,
    Between,
    Inside(Open),
    Finished,
    Ended,
}

/// Returns what breaks the grammar, if anything does; a stream that was cut has no `End` and may keep it.
pub(crate) fn fault(deltas: &[Delta]) -> Option<String> {
    let mut place = Place::Start;
    let mut ids = HashSet::new();
    for (index, delta) in deltas.iter().enumerate() {
        let next = match (&place, delta) {
            (Place::Start, Delta::Begin(_)) | (Place::Inside(_), Delta::Close) => Place::Between,
            (Place::Between, Delta::Open(open)) => {
                if let Open::ToolCall { id, name } = open
                    && (name.is_empty() || id.is_empty() || !ids.insert(id.clone()))
                {
                    return Some(format!("{index}: a call needs a name and an id of its own: {open:?}"));
                }
                Place::Inside(open.clone())
            }
            (Place::Inside(Open::RedactedReasoning), Delta::Append(_)) => {
                return Some(format!("{index}: withheld words"));
            }
            (Place::Inside(_), Delta::Append(_))
            | (Place::Inside(Open::Reasoning | Open::RedactedReasoning), Delta::Seal(_))
            | (Place::Between | Place::Inside(_) | Place::Finished, Delta::Usage(_) | Delta::Ping) => {
                place.clone()
            }
            (Place::Between, Delta::Finish(_)) => Place::Finished,
            (Place::Finished, Delta::End) => Place::Ended,
            _ => return Some(format!("{index}: {delta:?} is out of place in {deltas:#?}")),
        };
        place = next;
    }
    None
}
