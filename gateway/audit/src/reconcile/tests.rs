//! Histories in order reconcile, and each way in which they may not has its own name.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::facts::{Began, Called, Closed, Ended, Opened, Purpose, Witnessed};
use super::join::{Join, RunEnd};
use super::*;

const WORKFLOWS: [&str; 3] = ["docs", "code", "sealed"];
const PROVIDERS: [&str; 3] = ["up", "second", "local"];

/// What both sides would state of some time in which all went well, or not quite.
#[derive(Debug, Clone)]
struct History {
    connections: Vec<Connection>,
    calls: Vec<Call>,
    witness_end: RunEnd,
    gateway_end: RunEnd,
}

#[derive(Debug, Clone)]
struct Connection {
    opened: Opened,
    closed: Option<Closed>,
    copies: usize,
}

#[derive(Debug, Clone)]
struct Call {
    began: Began,
    ended: Option<Ended>,
}

impl Connection {
    fn name(&self) -> &str {
        &self.opened.dial
    }

    fn sent(&self) -> Option<u64> {
        self.closed.as_ref().and_then(|closed| closed.sent)
    }
}

impl Call {
    fn names(&self, dial: &str) -> bool {
        self.ended.as_ref().is_some_and(|ended| {
            ended.dial.as_deref() == Some(dial) || ended.earlier.iter().any(|earlier| &**earlier == dial)
        })
    }
}

/// Milliseconds after the beginning.
fn at(ms: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(i64::try_from(ms).unwrap())
}

/// What an agent does: some calls over one connection, after a few tries that led nowhere.
#[derive(Debug, Clone)]
struct Visit {
    workflow: &'static str,
    provider: &'static str,
    /// Pause before, in milliseconds.
    pause: u64,
    /// Body and answer of each call over the connection, and whether it completed.
    calls: Vec<(u64, u64, bool)>,
    /// Bytes that reached upstreams which gave no answer.
    tries: Vec<u64>,
    /// Whether the connection is closed only long after.
    kept: bool,
}

fn visit() -> impl Strategy<Value = Visit> {
    let bytes = 0_u64..200_000;
    let calls = prop::collection::vec((bytes.clone(), bytes.clone(), any::<bool>()), 0..4);
    let tries = prop::collection::vec(bytes, 0..3);
    (select(&WORKFLOWS[..]), select(&PROVIDERS[..]), 0_u64..5_000, calls, tries, any::<bool>()).prop_map(
        |(workflow, provider, pause, calls, tries, kept)| Visit {
            workflow,
            provider,
            pause,
            calls,
            tries,
            kept,
        },
    )
}

/// Writes a history down as both sides would.
fn history(visits: &[Visit]) -> History {
    let (mut connections, mut calls, mut now) = (Vec::new(), Vec::new(), 1000);
    let mut dial = |opened: u64, closed: u64, (visit, provider): (&Visit, &str), (sent, received)| {
        let name: Box<str> = format!("b-{}", connections.len()).into();
        let opened = Opened {
            dial: name.clone(),
            at: at(opened),
            purpose: Purpose::Call,
            workflow: visit.workflow.into(),
            provider: Some(provider.into()),
            host: "models.corp".into(),
            port: 443,
        };
        let closed =
            Closed { dial: name.clone(), at: at(closed), sent: Some(sent), received: Some(received) };
        connections.push(Connection { opened, closed: Some(closed), copies: 1 });
        name
    };
    for visit in visits {
        now += visit.pause;
        let began = now;
        let earlier: Vec<_> = visit
            .tries
            .iter()
            .map(|sent| {
                now += 10;
                dial(now - 5, now, (visit, "gone"), (sent + 2_000, 4_000))
            })
            .collect();
        let carried = visit
            .calls
            .iter()
            .fold((900, 4_500), |(sent, received), call| (sent + call.0 + 300, received + call.1 + 150));
        let opened = now + 3;
        let over = opened + 100 * visit.calls.len() as u64 + if visit.kept { 50_000 } else { 1 };
        let name = dial(opened, over, (visit, visit.provider), carried);
        for (number, &(sent, received, completed)) in visit.calls.iter().enumerate() {
            let id = Uuid::from_u128(calls.len() as u128 + 1);
            let started = if number == 0 { began } else { now };
            now += 100;
            let (sent, received) = if completed { (sent, received) } else { (0, 0) };
            let ended = Ended {
                id,
                at: at(now + 5),
                workflow: visit.workflow.into(),
                provider: Some(visit.provider.into()),
                dial: Some(name.clone()),
                earlier: if number == 0 { earlier.clone() } else { Vec::new() },
                sent,
                received,
            };
            let began = Began { id, at: at(started), workflow: visit.workflow.into() };
            calls.push(Call { began, ended: Some(ended) });
        }
        if visit.calls.is_empty() && !earlier.is_empty() {
            // All upstreams failed, and the last connection came too late.
            let id = Uuid::from_u128(calls.len() as u128 + 1);
            let ended = Ended {
                id,
                at: at(now),
                workflow: visit.workflow.into(),
                provider: None,
                dial: None,
                earlier,
                sent: 0,
                received: 0,
            };
            let began = Began { id, at: at(began), workflow: visit.workflow.into() };
            calls.push(Call { began, ended: Some(ended) });
        }
    }
    History { connections, calls, witness_end: RunEnd::Closed, gateway_end: RunEnd::Closed }
}

fn reconciled(history: &History) -> (Findings, Tally) {
    let mut join = Join::default();
    let mut last = at(0);
    for Connection { opened, closed, copies } in &history.connections {
        (0..*copies).for_each(|_| join.witness(Witnessed::Opened(opened.clone())));
        last = last.max(opened.at);
        if let Some(closed) = closed {
            join.witness(Witnessed::Closed(closed.clone()));
            last = last.max(closed.at);
        }
    }
    join.witness_ended(last, history.witness_end);
    for Call { began, ended } in &history.calls {
        join.gateway(Called::Began(began.clone()));
        if let Some(ended) = ended {
            join.gateway(Called::Ended(ended.clone()));
        }
    }
    join.gateway_ended(Timestamp::MAX, history.gateway_end);
    join.finish()
}

fn histories() -> impl Strategy<Value = History> {
    prop::collection::vec(visit(), 1..12).prop_map(|visits| history(&visits))
}

/// One thing that goes wrong, or is done by somebody. Returns the code under which it must be found; nothing if this
/// history gives no occasion.
type Mutation = fn(&mut History, usize) -> Option<Code>;

const MUTATIONS: [Mutation; 16] = [
    |history, which| {
        let index = named(history, which)?;
        history.connections.remove(index);
        Some(Code::MissingEvidence)
    },
    |history, _| {
        history.connections.push(extra(Purpose::Call, HANDSHAKE_BYTES_MAX + 1));
        Some(Code::UnexplainedEgress)
    },
    |history, _| {
        history.connections.push(extra(Purpose::Probe, HANDSHAKE_BYTES_MAX + PROBE_BYTES_MAX + 1));
        Some(Code::UnexplainedEgress)
    },
    |history, _| {
        history.connections.push(extra(Purpose::SealTest, 0));
        Some(Code::SealBroken)
    },
    |history, which| {
        let index = named(history, which)?;
        history.connections[index].opened.workflow = "another".into();
        Some(Code::WorkflowMismatch)
    },
    |history, which| {
        let index = carried_a_whole_call(history, which)?;
        history.connections[index].opened.provider = Some("another".into());
        Some(Code::ProviderMismatch)
    },
    |history, which| {
        let index = heavy(history, which)?;
        forget(history, index);
        Some(Code::UnexplainedEgress)
    },
    |history, which| {
        let index = named(history, which)?;
        forget(history, index);
        history.connections[index].closed.as_mut()?.sent = None;
        Some(Code::Unmeasured)
    },
    |history, which| {
        let index = named(history, which)?;
        let over = history.connections[index].closed.as_ref()?.at;
        let name = history.connections[index].name().to_owned();
        history.calls.iter_mut().find(|call| call.names(&name))?.began.at =
            over + SignedDuration::from_secs(3);
        Some(Code::AfterClose)
    },
    |history, which| {
        let index = named(history, which)?;
        let opened = history.connections[index].opened.at;
        let name = history.connections[index].name().to_owned();
        let call = history.calls.iter_mut().find(|call| call.names(&name))?;
        call.ended.as_mut()?.at = opened - SignedDuration::from_secs(3);
        Some(Code::BeforeOpen)
    },
    |history, which| {
        let index = which % history.connections.len();
        history.connections[index].closed = None;
        Some(Code::NotClosed)
    },
    |history, which| {
        let index = carried_a_whole_call(history, which)?;
        let name = history.connections[index].name().to_owned();
        let stated: u64 = history
            .calls
            .iter()
            .filter_map(|call| call.ended.as_ref())
            .map(|ended| if ended.dial.as_deref() == Some(&name) { ended.sent } else { 0 })
            .sum();
        history.connections[index].closed.as_mut()?.sent = Some(stated.checked_sub(1)?);
        Some(Code::BytesShort)
    },
    |history, which| {
        let index = which % history.connections.len();
        history.connections[index].copies = 2;
        Some(Code::DialRepeated)
    },
    |history, which| lose_results(history, which, RunEnd::Crashed, Code::ResultLost),
    |history, which| lose_results(history, which, RunEnd::Writing, Code::InProgress),
    |history, which| {
        // The witness's machine fails; the last connection that it had opened is in no record.
        let index = named(history, which)?;
        let last =
            history.connections.iter().filter_map(|connection| connection.closed.as_ref()).map(|end| end.at);
        let last = last.max()?;
        let name = history.connections.remove(index).name().to_owned();
        for call in history.calls.iter_mut().filter(|call| call.names(&name)) {
            call.ended.as_mut()?.at = last + SignedDuration::from_millis(200);
        }
        history.witness_end = RunEnd::Crashed;
        // A call over two connections that names the last record's as well is not what is meant.
        history
            .connections
            .iter()
            .any(|connection| connection.closed.as_ref().is_some_and(|end| end.at == last))
            .then_some(Code::EvidenceLost)
    },
];

fn choose(candidates: &[usize], which: usize) -> Option<usize> {
    candidates.get(which.checked_rem(candidates.len())?).copied()
}

fn where_connection(history: &History, which: usize, is: impl Fn(&Connection) -> bool) -> Option<usize> {
    let fit = |index: &usize| is(&history.connections[*index]);
    choose(&(0..history.connections.len()).filter(fit).collect::<Vec<_>>(), which)
}

/// A connection that a call names.
fn named(history: &History, which: usize) -> Option<usize> {
    where_connection(history, which, |one| history.calls.iter().any(|call| call.names(one.name())))
}

/// One that a call names, and that carried more than a handshake.
fn heavy(history: &History, which: usize) -> Option<usize> {
    let is_heavy = |one: &Connection| one.sent().is_some_and(|sent| sent > HANDSHAKE_BYTES_MAX);
    let is_named = |one: &Connection| history.calls.iter().any(|call| call.names(one.name()));
    where_connection(history, which, |one| is_heavy(one) && is_named(one))
}

/// One that carried a call to the destination that answered.
fn carried_a_whole_call(history: &History, which: usize) -> Option<usize> {
    let carried = |call: &Call, one: &Connection| {
        call.ended.as_ref().is_some_and(|ended| ended.dial.as_deref() == Some(one.name()))
    };
    where_connection(history, which, |one| history.calls.iter().any(|call| carried(call, one)))
}

/// Takes the name of a connection from all calls.
fn forget(history: &mut History, index: usize) {
    let name = history.connections[index].name().to_owned();
    for ended in history.calls.iter_mut().filter_map(|call| call.ended.as_mut()) {
        ended.dial = ended.dial.take().filter(|dial| **dial != *name);
        ended.earlier.retain(|dial| **dial != *name);
    }
}

/// Loses the results of all calls over a connection that carried something.
fn lose_results(history: &mut History, which: usize, end: RunEnd, code: Code) -> Option<Code> {
    let index = heavy(history, which)?;
    let name = history.connections[index].name().to_owned();
    history.calls.iter_mut().filter(|call| call.names(&name)).for_each(|call| call.ended = None);
    history.gateway_end = end;
    Some(code)
}

/// A connection that no call names.
fn extra(purpose: Purpose, sent: u64) -> Connection {
    let dial: Box<str> = "x-1".into();
    let closed = Closed { dial: dial.clone(), at: at(9_000), sent: Some(sent), received: Some(0) };
    let opened = Opened {
        dial,
        at: at(8_000),
        purpose,
        workflow: "docs".into(),
        provider: Some("up".into()),
        host: "models.corp".into(),
        port: 443,
    };
    Connection { opened, closed: Some(closed), copies: 1 }
}

/// What is found beyond notes.
fn codes(findings: &Findings) -> Vec<Code> {
    findings.iter().map(|(code, _)| code).filter(|code| code.weight() != Weight::Note).collect()
}

proptest! {
    #[test]
    fn a_history_in_order_reconciles(history in histories()) {
        let (findings, tally) = reconciled(&history);
        prop_assert!(findings.iter().all(|(code, _)| code.weight() == Weight::Note), "{findings:?}");
        prop_assert_eq!(tally.connections, history.connections.len() as u64);
        prop_assert_eq!(tally.calls, history.calls.len() as u64);
    }

    #[test]
    fn each_thing_that_goes_wrong_is_found_under_its_name_and_no_other(
        history in histories(), mutation in 0..MUTATIONS.len(), which in any::<usize>(),
    ) {
        let mut changed = history.clone();
        let Some(code) = MUTATIONS[mutation](&mut changed, which) else { return Ok(()) };
        let (findings, _) = reconciled(&changed);
        prop_assert!(findings.count(code) > 0, "{code:?} in {findings:?}");
        let expected: &[Code] = if code.weight() == Weight::Note { &[] } else { &[code] };
        prop_assert_eq!(codes(&findings), expected, "mutation {}", mutation);
    }
}

#[test]
fn every_mutation_has_its_occasion() {
    let visit = Visit {
        workflow: "docs",
        provider: "up",
        pause: 10,
        calls: vec![(90_000, 10, true)],
        tries: vec![50_000],
        kept: false,
    };
    for (number, mutation) in MUTATIONS.iter().enumerate() {
        let mut changed = history(&[visit.clone(), visit.clone()]);
        assert!(mutation(&mut changed, 0).is_some(), "mutation {number}");
    }
}

#[test]
fn what_agents_open_by_themselves_needs_no_call() {
    let mut history = history(&[]);
    history.connections.push(extra(Purpose::Tunnel, 1 << 30));
    let (findings, tally) = reconciled(&history);
    assert_eq!(findings, Findings::default());
    assert_eq!((tally.connections, tally.tunnels, tally.bytes_sent), (1, 1, 1 << 30));
}

#[test]
fn refusals_are_counted_by_code_and_the_codes_are_bounded() {
    let mut join = Join::default();
    for number in 0..100 {
        join.witness(Witnessed::Refused(format!("code_{number}").into()));
    }
    join.witness(Witnessed::Refused("code_7".into()));
    let refused = join.finish().1.refused;
    assert_eq!((refused.len(), refused["code_7"], refused["other"]), (65, 2, 36));
}

#[test]
fn a_lost_call_explains_its_own_workflow_and_its_own_time_only() {
    let unexplained = |workflow: &str, began: u64| {
        let mut history = history(&[]);
        history.connections.push(extra(Purpose::Call, 1 << 20));
        let id = Uuid::from_u128(1);
        let began = Began { id, at: at(began), workflow: workflow.into() };
        history.calls.push(Call { began, ended: None });
        history.gateway_end = RunEnd::Crashed;
        reconciled(&history).0.count(Code::UnexplainedEgress)
    };
    assert_eq!(unexplained("docs", 7_000), 0);
    assert_eq!(unexplained("code", 7_000), 1);
    // It began when the connection was over.
    assert_eq!(unexplained("docs", 12_000), 1);
}

#[test]
fn examples_are_the_first_few_in_the_order_of_time_and_all_are_counted() {
    let mut history = history(&[]);
    for number in (0..9_u64).rev() {
        let mut connection = extra(Purpose::Call, 1 << 20);
        connection.opened.at = at(number);
        connection.opened.dial = format!("x-{number}").into();
        connection.closed.as_mut().unwrap().dial = connection.opened.dial.clone();
        history.connections.push(connection);
    }
    let (findings, _) = reconciled(&history);
    let (_, finding) = findings.iter().next().unwrap();
    assert_eq!(finding.count, 9);
    let names: Vec<_> = finding.examples.iter().map(|example| example.dial.as_str()).collect();
    assert_eq!(names, ["x-0", "x-1", "x-2", "x-3", "x-4"]);
}
