//! What the two sides' records state, as far as it can be held against each other.

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::egress::Verdict;
use crate::fault::Fault;
use crate::line::{Body, Entry};

/// What a connection was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Calls; also whatever this program does not know, because that has to be explained by a call as well.
    Call,
    Probe,
    Tunnel,
    SealTest,
}

/// A connection that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) dial: Box<str>,
    pub(super) at: Timestamp,
    pub(super) purpose: Purpose,
    pub(super) workflow: Box<str>,
    pub(super) provider: Option<Box<str>>,
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) dial: Box<str>,
    pub(super) at: Timestamp,
    pub(super) sent: Option<u64>,
    pub(super) received: Option<u64>,
}

/// What a witness states.
#[derive(Debug)]
pub(super) enum Witnessed {
    Opened(Opened),
    Refused(Box<str>),
    Closed(Closed),
}

/// A call that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Began {
    pub(super) id: Uuid,
    pub(super) at: Timestamp,
    pub(super) workflow: Box<str>,
}

/// A call that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: Uuid,
    pub(super) at: Timestamp,
    pub(super) workflow: Box<str>,
    pub(super) provider: Option<Box<str>>,
    /// The dial that carried it to the destination that answered.
    pub(super) dial: Option<Box<str>>,
    /// Those of the attempts before.
    pub(super) earlier: Vec<Box<str>>,
    /// Bytes of its body that were sent over the first of these for certain; 0 unless it completed.
    pub(super) sent: u64,
    /// Bytes of the answer, likewise.
    pub(super) received: u64,
}

/// What a gateway states.
#[derive(Debug)]
pub(super) enum Called {
    Began(Began),
    Ended(Ended),
}

/// Returns when a record was made.
pub(super) fn time(text: &[u8]) -> Result<Timestamp, Fault> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        ts: &'a str,
    }
    read::<Stored<'_>>(text)?.ts.parse().map_err(|_| Fault::Unreadable)
}

/// Reads a record of whoever opens connections.
pub(super) fn witnessed(entry: &Entry, text: &[u8], at: Timestamp) -> Result<Option<Witnessed>, Fault> {
    #[derive(Deserialize)]
    struct Stored {
        purpose: Box<str>,
        workflow: Box<str>,
        provider: Option<Box<str>>,
        host: Box<str>,
        port: u16,
        mode: Option<Box<str>>,
    }
    #[derive(Deserialize)]
    struct StoredRefusal {
        verdict: Box<str>,
        code: Box<str>,
    }
    #[derive(Deserialize)]
    struct StoredEnd {
        bytes_sent: Option<u64>,
        bytes_received: Option<u64>,
    }
    Ok(Some(match &entry.body {
        Body::Dialled { dial } => {
            let Stored { purpose, workflow, provider, host, port, mode } = read(text)?;
            let purpose = purpose_of(&purpose, mode.is_some());
            Witnessed::Opened(Opened { dial: dial.clone(), at, purpose, workflow, provider, host, port })
        }
        Body::Ended { dial } => {
            let StoredEnd { bytes_sent: sent, bytes_received: received } = read(text)?;
            Witnessed::Closed(Closed { dial: dial.clone(), at, sent, received })
        }
        Body::Plain(crate::Kind::EgressDecision) => {
            let StoredRefusal { verdict, code } = read(text)?;
            debug_assert_ne!(&*verdict, Verdict::OPENED, "an opened connection has a body of its own");
            Witnessed::Refused(code)
        }
        _ => return Ok(None),
    }))
}

/// Reads a record of whoever calls.
pub(super) fn called(entry: &Entry, text: &[u8], at: Timestamp) -> Result<Option<Called>, Fault> {
    #[derive(Deserialize)]
    struct StoredIntent {
        workflow: Box<str>,
    }
    #[derive(Deserialize)]
    struct Stored {
        workflow: Box<str>,
        route: Option<StoredRoute>,
        result: StoredResult,
    }
    #[derive(Deserialize)]
    struct StoredRoute {
        provider: Box<str>,
        dial: Option<Box<str>>,
    }
    #[derive(Deserialize)]
    struct StoredResult {
        outcome: Box<str>,
        #[serde(default)]
        dials_earlier: Vec<Box<str>>,
        bytes_sent: Option<u64>,
        bytes_received: Option<u64>,
    }
    Ok(Some(match &entry.body {
        Body::Intent { id } => {
            let StoredIntent { workflow } = read(text)?;
            Called::Began(Began { id: *id, at, workflow })
        }
        Body::Result { intent } => {
            let Stored { workflow, route, result } = read(text)?;
            let (provider, dial) = route.map_or((None, None), |route| (Some(route.provider), route.dial));
            let whole = |bytes: Option<u64>| bytes.filter(|_| &*result.outcome == "completed").unwrap_or(0);
            let (sent, received) = (whole(result.bytes_sent), whole(result.bytes_received));
            let earlier = result.dials_earlier;
            Called::Ended(Ended { id: *intent, at, workflow, provider, dial, earlier, sent, received })
        }
        _ => return Ok(None),
    }))
}

/// An agent's own connection is on record with the mode in which it was judged. One that claims to be one and is not
/// has no right to go without a call.
fn purpose_of(word: &str, judged: bool) -> Purpose {
    match word {
        "probe" => Purpose::Probe,
        "tunnel" if judged => Purpose::Tunnel,
        "seal_test" => Purpose::SealTest,
        _ => Purpose::Call,
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(text).map_err(|_| Fault::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_to_be_a_tunnel_without_a_judgement_has_to_be_explained() {
        assert_eq!(purpose_of("tunnel", true), Purpose::Tunnel);
        assert_eq!(purpose_of("tunnel", false), Purpose::Call);
        assert_eq!(purpose_of("something new", true), Purpose::Call);
    }
}
