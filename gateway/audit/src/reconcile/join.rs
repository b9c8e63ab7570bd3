//! Joins connections with the calls that name them.
//!
//! Pure: it is handed what both sides state, the witnesses first, and says in the end what does not fit. It keeps one
//! entry for each connection, some 250 bytes, and one for each call that is in progress at a time; calls that ended
//! are not kept.
//!
//! Times are compared only where the order is certain but for the clocks, which may be two machines'.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::facts::{Began, Called, Closed, Ended, Opened, Purpose, Witnessed};
use super::findings::{Code, Example, ExampleCall, ExampleConnection, Findings};

/// Most bytes that a connection sends before the first call: a TLS hello, also one that keeps quantum computers away
/// (2 KiB), a client's certificate with its chain (4 KiB), a proxy's credentials, the greeting of HTTP/2. What is below
/// could carry little, and is counted all the same, as idle.
pub const HANDSHAKE_BYTES_MAX: u64 = 8 * 1024;

/// Most bytes that a probe sends beyond that: one request without a body, whose path is the policy's.
pub const PROBE_BYTES_MAX: u64 = 8 * 1024;

/// How far the clocks of the two sides may be apart.
const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_secs(2);

/// For how long after its last record a witness that crashed may have gone on. It is twenty times as long as its
/// records wait for the disk, because the last one may be older than the crash.
const LOSS_MAX: SignedDuration = SignedDuration::from_secs(1);

/// Codes of refusals that are told apart. They are a closed set, but the log may say anything.
const REFUSAL_CODES_MAX: usize = 64;

/// How a run of a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// In order.
    Closed,
    /// In the middle of something.
    Crashed,
    /// It has not ended.
    Writing,
}

/// What both sides did, in numbers.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Connections that were opened.
    pub connections: u64,
    /// Those that agents opened by themselves, through the controlled proxy.
    pub tunnels: u64,
    /// Dials that were refused or failed, by code.
    pub refused: BTreeMap<String, u64>,
    /// Bytes that all connections sent, as far as that is known.
    pub bytes_sent: u64,
    /// Bytes that all connections received, likewise.
    pub bytes_received: u64,
    /// Calls with a result.
    pub calls: u64,
    /// Those that name a dial. The others went to a model in the same process, or nowhere.
    pub calls_connected: u64,
}

/// The state of the join.
#[derive(Debug, Default)]
pub(super) struct Join {
    names: HashSet<Arc<str>>,
    dials: HashMap<Box<str>, Dial>,
    /// How each run of the witnesses ended; the last one is still being read.
    witness_runs: Vec<RunEnd>,
    /// Times of which a witness may have records that are not here.
    unseen: Vec<Unseen>,
    /// Calls without a result, of the gateway's run that is being read.
    open: HashMap<Uuid, Call>,
    lost: Vec<Lost>,
    findings: Findings,
    tally: Tally,
}

/// What is known of a connection.
#[derive(Debug)]
struct Dial {
    purpose: Purpose,
    workflow: Arc<str>,
    provider: Option<Arc<str>>,
    host: Arc<str>,
    port: u16,
    opened: Timestamp,
    /// Index of the run that opened it.
    run: usize,
    end: Option<End>,
    calls: u64,
    /// What its calls state of the bytes that went over it.
    stated: (u64, u64),
}

#[derive(Debug)]
struct End {
    at: Timestamp,
    sent: Option<u64>,
    received: Option<u64>,
}

#[derive(Debug)]
struct Call {
    workflow: Arc<str>,
    began: Timestamp,
}

/// A time of which a witness's records may be missing.
#[derive(Debug)]
struct Unseen {
    from: Timestamp,
    until: Timestamp,
    end: RunEnd,
}

/// A call whose result is missing: it may explain connections of its workflow between two times.
#[derive(Debug)]
struct Lost {
    workflow: Arc<str>,
    from: Timestamp,
    until: Timestamp,
    end: RunEnd,
}

impl Join {
    /// Takes a record of a witness.
    pub(super) fn witness(&mut self, fact: Witnessed) {
        match fact {
            Witnessed::Opened(opened) => self.opened(opened),
            Witnessed::Refused(code) => self.refused(&code),
            Witnessed::Closed(closed) => self.closed(closed),
        }
    }

    /// Ends the run of a witness whose last record was made at `last`.
    pub(super) fn witness_ended(&mut self, last: Timestamp, end: RunEnd) {
        self.witness_runs.push(end);
        let until = match end {
            RunEnd::Closed => return,
            RunEnd::Crashed => later(last, LOSS_MAX),
            RunEnd::Writing => Timestamp::MAX,
        };
        self.unseen.push(Unseen { from: last, until, end });
    }

    /// Takes a record of a gateway. All records of the witnesses have been taken before.
    pub(super) fn gateway(&mut self, fact: Called) {
        match fact {
            Called::Began(Began { id, at, workflow }) => {
                let workflow = self.name(workflow);
                self.open.insert(id, Call { workflow, began: at });
            }
            Called::Ended(ended) => self.ended(&ended),
        }
    }

    /// Ends the run of a gateway; it was over at `until` at the latest.
    pub(super) fn gateway_ended(&mut self, until: Timestamp, end: RunEnd) {
        let until = if end == RunEnd::Writing { Timestamp::MAX } else { until };
        let lost =
            self.open.drain().map(|(_, Call { workflow, began })| Lost { workflow, from: began, until, end });
        self.lost.extend(lost);
    }

    fn name(&mut self, name: Box<str>) -> Arc<str> {
        if let Some(known) = self.names.get(&*name) {
            return Arc::clone(known);
        }
        let name = Arc::<str>::from(name);
        self.names.insert(Arc::clone(&name));
        name
    }

    fn opened(&mut self, opened: Opened) {
        let Opened { dial, at, purpose, workflow, provider, host, port } = opened;
        self.tally.connections += 1;
        self.tally.tunnels += u64::from(purpose == Purpose::Tunnel);
        let entry = Dial {
            purpose,
            workflow: self.name(workflow),
            provider: provider.map(|provider| self.name(provider)),
            host: self.name(host),
            port,
            opened: at,
            run: self.witness_runs.len(),
            end: None,
            calls: 0,
            stated: (0, 0),
        };
        if purpose == Purpose::SealTest {
            self.findings.add(Code::SealBroken, || example(&dial, Some(&entry), None));
        }
        if self.dials.contains_key(&dial) {
            self.findings.add(Code::DialRepeated, || example(&dial, Some(&entry), None));
            return;
        }
        self.dials.insert(dial, entry);
    }

    fn refused(&mut self, code: &str) {
        let refused = &mut self.tally.refused;
        let is_room = refused.contains_key(code) || refused.len() < REFUSAL_CODES_MAX;
        *refused.entry((if is_room { code } else { "other" }).to_owned()).or_default() += 1;
    }

    fn closed(&mut self, closed: Closed) {
        let Closed { dial, at, sent, received } = closed;
        self.tally.bytes_sent += sent.unwrap_or(0);
        self.tally.bytes_received += received.unwrap_or(0);
        // An end that nothing began is the verifier's to report.
        if let Some(dial) = self.dials.get_mut(&dial) {
            dial.end.get_or_insert(End { at, sent, received });
        }
    }

    fn ended(&mut self, ended: &Ended) {
        let began = self.open.remove(&ended.id).map(|call| call.began);
        self.tally.calls += 1;
        self.tally.calls_connected += u64::from(ended.dial.is_some() || !ended.earlier.is_empty());
        for dial in &ended.earlier {
            self.named(dial, ended, began, None);
        }
        if let Some(dial) = &ended.dial {
            self.named(dial, ended, began, ended.provider.as_deref());
        }
    }

    /// Holds one dial against the call that names it. Of earlier attempts nobody says which provider they went to.
    fn named(&mut self, name: &str, call: &Ended, began: Option<Timestamp>, provider: Option<&str>) {
        let Self { dials, unseen, findings, .. } = self;
        let Some(dial) = dials.get_mut(name) else {
            let may_be_lost = |unseen: &&Unseen| overlap((unseen.from, unseen.until), (call.at, call.at));
            let code = match unseen.iter().find(may_be_lost).map(|unseen| unseen.end) {
                Some(RunEnd::Writing) => Code::InProgress,
                Some(_) => Code::EvidenceLost,
                None => Code::MissingEvidence,
            };
            findings.add(code, || example(name, None, Some(call)));
            return;
        };
        dial.calls += 1;
        if call.dial.as_deref() == Some(name) {
            dial.stated.0 += call.sent;
            dial.stated.1 += call.received;
        }
        let dial = &*dial;
        let after_close = began.zip(dial.end.as_ref());
        let wrong = [
            (Code::WorkflowMismatch, *dial.workflow != *call.workflow),
            (
                Code::ProviderMismatch,
                provider.is_some_and(|provider| dial.provider.as_deref() != Some(provider)),
            ),
            (
                Code::AfterClose,
                after_close.is_some_and(|(began, end)| began > later(end.at, CLOCKS_APART_MAX)),
            ),
            (Code::BeforeOpen, dial.opened > later(call.at, CLOCKS_APART_MAX)),
        ];
        for (code, _) in wrong.into_iter().filter(|(_, is_wrong)| *is_wrong) {
            findings.add(code, || example(name, Some(dial), Some(call)));
        }
    }

    /// Says what was found, now that both sides have said all.
    pub(super) fn finish(mut self) -> (Findings, Tally) {
        let mut dials: Vec<_> = std::mem::take(&mut self.dials).into_iter().collect();
        // In the order of time, so that the same logs give the same examples.
        dials.sort_unstable_by(|(a, one), (b, other)| (one.opened, a).cmp(&(other.opened, b)));
        for (name, dial) in &dials {
            for code in self.judge(dial).into_iter().flatten() {
                self.findings.add(code, || example(name, Some(dial), None));
            }
        }
        (self.findings, self.tally)
    }

    /// What is to be said of a connection: of its end, and of what it was used for.
    fn judge(&self, dial: &Dial) -> [Option<Code>; 2] {
        let still_open = match self.witness_runs.get(dial.run) {
            Some(RunEnd::Writing) => Code::InProgress,
            _ => Code::NotClosed,
        };
        let end = dial.end.is_none().then_some(still_open);
        let needs_no_call = matches!(dial.purpose, Purpose::Tunnel | Purpose::SealTest);
        let usage = match &dial.end {
            _ if needs_no_call => None,
            Some(end) if dial.calls > 0 => falls_short(dial, end).then_some(Code::BytesShort),
            Some(end) => Some(self.unnamed(dial, end)),
            // What it carried is not known, and that is said already.
            None => None,
        };
        [end, usage]
    }

    /// What a connection is that no call names.
    fn unnamed(&self, dial: &Dial, end: &End) -> Code {
        let (at_most, code) = match dial.purpose {
            Purpose::Probe => (HANDSHAKE_BYTES_MAX + PROBE_BYTES_MAX, Code::Probe),
            _ => (HANDSHAKE_BYTES_MAX, Code::Idle),
        };
        if end.sent.is_some_and(|sent| sent <= at_most) {
            return code;
        }
        let explains = |lost: &&Lost| {
            lost.workflow == dial.workflow && overlap((lost.from, lost.until), (dial.opened, end.at))
        };
        match self.lost.iter().find(explains).map(|lost| lost.end) {
            Some(RunEnd::Writing) => Code::InProgress,
            Some(_) => Code::ResultLost,
            None if end.sent.is_none() => Code::Unmeasured,
            None => Code::UnexplainedEgress,
        }
    }
}

/// Whether calls state more than the connection carried. TLS and HTTP only add to what is stated.
fn falls_short(dial: &Dial, end: &End) -> bool {
    let less = |carried: Option<u64>, stated| carried.is_some_and(|carried| carried < stated);
    less(end.sent, dial.stated.0) || less(end.received, dial.stated.1)
}

/// Whether two spans of time have a moment in common, as far as two clocks can tell.
fn overlap((from, until): (Timestamp, Timestamp), (since, to): (Timestamp, Timestamp)) -> bool {
    from <= later(to, CLOCKS_APART_MAX) && since <= later(until, CLOCKS_APART_MAX)
}

/// Adds to a time; the end of time stays what it is.
fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn example(name: &str, dial: Option<&Dial>, call: Option<&Ended>) -> Example {
    let connection = dial.map(|dial| ExampleConnection {
        opened: dial.opened.to_string(),
        workflow: (*dial.workflow).to_owned(),
        provider: dial.provider.as_deref().map(str::to_owned),
        to: format!("{}:{}", dial.host, dial.port),
        closed: dial.end.as_ref().map(|end| end.at.to_string()),
        bytes_sent: dial.end.as_ref().and_then(|end| end.sent),
        bytes_received: dial.end.as_ref().and_then(|end| end.received),
    });
    let call = call.map(|call| ExampleCall {
        intent: call.id.to_string(),
        workflow: (*call.workflow).to_owned(),
        provider: call.provider.as_deref().map(str::to_owned),
        ended: call.at.to_string(),
    });
    Example { dial: name.to_owned(), connection, call }
}
