//! What is on record of connections and of the program's own processes, and when something of it is missing.

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::sample::{self, closed, completed, crash_image, intent, kinds, open, opened, records};
use crate::chain::{Hash, seal};
use crate::line::{Draft, Entry, LINE_BYTES_MAX};
use crate::verify::{Completeness, Integrity, Missing, verify};
use crate::{
    Caller, Carried, ControlEvent, DialId, EgressDecision, ModelState, Outcome, Process, ProcessEnd, Route,
    SealState, Selftest, Text, Tunnel, Verdict,
};

/// Leaves what an event says, without its place in the log.
fn facts(mut record: Value) -> Value {
    let members = record.as_object_mut().unwrap();
    for member in ["v", "id", "seq", "boot", "ts", "h"] {
        members.remove(member).unwrap();
    }
    record
}

fn tunnel() -> EgressDecision {
    let caller = Some(Caller { kind: Text::from("api_key"), id: Text::from("ci-7f3a"), key: None });
    let [mode, would_deny] = ["report", "host_not_granted"].map(Text::from);
    EgressDecision {
        purpose: Text::from("tunnel"),
        provider: None,
        verdict: Verdict::Opened {
            address: Text::from("10.0.0.8:3128"),
            vantage: Text::from("proxy"),
            proxy: Some(Text::from("corp")),
        },
        dns_us: None,
        tunnel: Some(Tunnel { caller, mode, would_deny: Some(would_deny) }),
        ..opened("p-1")
    }
}

fn refused(dial: &str) -> EgressDecision {
    EgressDecision {
        verdict: Verdict::Refused { code: Text::from("dns_mixed_answer") },
        connect_us: None,
        ..opened(dial)
    }
}

#[tokio::test]
async fn a_dial_leaves_a_decision_and_its_connection_a_close() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.note(ControlEvent::EgressDecision(opened("b-1"))).await.unwrap();
    log.note(ControlEvent::EgressClose(closed("b-1"))).await.unwrap();
    log.note(ControlEvent::EgressDecision(refused("b-2"))).await.unwrap();
    log.note(ControlEvent::EgressDecision(tunnel())).await.unwrap();
    let [sni, would_deny] = ["packages.example", "tunnel.other_sni"].map(|text| Some(Text::from(text)));
    let unmeasured =
        crate::EgressClose { bytes_sent: None, bytes_received: None, sni, would_deny, ..closed("p-1") };
    log.note(ControlEvent::EgressClose(unmeasured)).await.unwrap();
    log.close().await.unwrap();

    let records: Vec<_> = records(dir.path()).into_iter().map(facts).collect();
    let expected = [
        json!({
            "type": "egress.decision", "dial": "b-1", "purpose": "call", "workflow": "docs", "provider": "local",
            "host": "models.corp", "port": 443, "verdict": "opened",
            "address": "10.2.0.9:443", "vantage": "local", "dns_us": 812, "connect_us": 20311,
        }),
        json!({
            "type": "egress.close", "dial": "b-1", "reason": "closed", "bytes_sent": 4321,
            "bytes_received": 98765, "open_ms": 1500,
        }),
        json!({
            "type": "egress.decision", "dial": "b-2", "purpose": "call", "workflow": "docs", "provider": "local",
            "host": "models.corp", "port": 443, "verdict": "refused",
            "code": "dns_mixed_answer", "dns_us": 812,
        }),
        json!({
            "type": "egress.decision", "dial": "p-1", "purpose": "tunnel", "workflow": "docs",
            "host": "models.corp", "port": 443, "verdict": "opened", "address": "10.0.0.8:3128",
            "vantage": "proxy", "proxy": "corp", "connect_us": 20311,
            "caller": { "kind": "api_key", "id": "ci-7f3a" }, "mode": "report",
            "would_deny": "host_not_granted",
        }),
        json!({
            "type": "egress.close", "dial": "p-1", "reason": "closed", "open_ms": 1500, "sni": "packages.example",
            "would_deny": "tunnel.other_sni",
        }),
    ];
    assert_eq!(records[1..6], expected);
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);
}

#[tokio::test]
async fn processes_and_the_tests_of_their_walls_leave_a_record_each() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let gateway = Process { role: Text::from("gateway"), pid: 4711 };
    log.note(ControlEvent::ProcessStart(gateway.clone())).await.unwrap();
    let held = Selftest {
        layer: Text::from("seccomp"),
        state: SealState::Held,
        tried: 31,
        escaped: 0,
        escapes: Vec::new(),
    };
    log.note(ControlEvent::SealSelftest(held.clone())).await.unwrap();
    let escapes = vec![Text::from("sendto_fastopen")];
    let broken = Selftest { state: SealState::Broken, escaped: 1, escapes, ..held };
    log.note(ControlEvent::SealSelftest(broken)).await.unwrap();
    for end in [ProcessEnd::Code(0), ProcessEnd::Signal(9)] {
        log.note(ControlEvent::ProcessExit { process: gateway.clone(), end }).await.unwrap();
    }
    log.close().await.unwrap();

    let records: Vec<_> = records(dir.path()).into_iter().map(facts).collect();
    let expected = [
        json!({ "type": "process.start", "role": "gateway", "pid": 4711 }),
        json!({ "type": "seal.selftest", "layer": "seccomp", "outcome": "held", "tried": 31, "escaped": 0 }),
        json!({
            "type": "seal.selftest", "layer": "seccomp", "outcome": "broken", "tried": 31, "escaped": 1,
            "escapes": ["sendto_fastopen"],
        }),
        json!({ "type": "process.exit", "role": "gateway", "pid": 4711, "code": 0 }),
        json!({ "type": "process.exit", "role": "gateway", "pid": 4711, "signal": 9 }),
    ];
    assert_eq!(records[1..6], expected);
}

#[tokio::test]
async fn a_model_that_goes_or_breaks_leaves_a_record() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let state = |to: &str, reason: Option<&str>| {
        let (model, from, to) = (Text::from("qwen"), Text::from("ready"), Text::from(to));
        ControlEvent::ModelState(ModelState { model, from, to, reason: reason.map(Text::from) })
    };
    log.note(state("draining", None)).await.unwrap();
    log.note(state("failed", Some("its engine stopped"))).await.unwrap();
    log.close().await.unwrap();

    let records: Vec<_> = records(dir.path()).into_iter().map(facts).collect();
    let expected = [
        json!({ "type": "model.state", "model": "qwen", "from": "ready", "to": "draining" }),
        json!({
            "type": "model.state", "model": "qwen", "from": "ready", "to": "failed", "reason": "its engine stopped",
        }),
    ];
    assert_eq!(records[1..3], expected);
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);
}

#[tokio::test]
async fn a_result_names_the_dials_of_its_call() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let route = Route { dial: Some("b-7".into()), ..sample::route(3) };
    let earlier = ["b-3", "b-5"].map(DialId::from).to_vec();
    let carried = Carried { earlier, bytes_sent: Some(812), bytes_received: Some(4096) };
    let outcome = Outcome { route: Some(route), carried, ..completed() };
    log.begin(intent()).await.unwrap().finish(outcome).await.unwrap();
    log.close().await.unwrap();

    let result = &records(dir.path())[2];
    assert_eq!(result["route"]["dial"], "b-7");
    assert_eq!(result["result"]["dials_earlier"], json!(["b-3", "b-5"]));
    assert_eq!(
        (&result["result"]["bytes_sent"], &result["result"]["bytes_received"]),
        (&json!(812), &json!(4096))
    );
}

#[tokio::test]
async fn a_connection_without_an_end_is_missing_only_once_its_run_is_over() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.note(ControlEvent::EgressDecision(opened("b-1"))).await.unwrap();
    log.note(ControlEvent::EgressDecision(refused("b-2"))).await.unwrap();
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);

    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let closes = Missing::Closes { boot: 1, count: 1, first_seq: 2 };
    let killed = vec![closes.clone(), Missing::Close { boot: 1 }];
    assert_eq!(verify(image.path()).unwrap().completeness, Completeness::Gaps(killed.clone()));
    // The next run makes nothing of it undone.
    let (next, recovery) = open(image.path());
    assert_eq!(recovery.orphan_intents, 0);
    next.close().await.unwrap();
    assert_eq!(verify(image.path()).unwrap().completeness, Completeness::Gaps(killed));

    log.close().await.unwrap();
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Gaps(vec![closes]));
}

#[tokio::test]
async fn an_end_that_nothing_began_is_noticed() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.note(ControlEvent::EgressDecision(refused("b-1"))).await.unwrap();
    log.note(ControlEvent::EgressClose(closed("b-1"))).await.unwrap();
    log.close().await.unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.integrity, Integrity::Valid { records: 4 });
    assert_eq!(report.completeness, Completeness::Gaps(vec![Missing::Dials { boot: 1, count: 1 }]));
    assert_eq!(kinds(&records(dir.path())), ["log.open", "egress.decision", "egress.close", "log.close"]);
}

fn line_of(draft: &Draft) -> Vec<u8> {
    let mut line = Vec::new();
    draft.write(1, 1, &mut line);
    seal(Hash::ZERO, &mut line, 0);
    line
}

proptest! {
    #[test]
    fn no_text_can_break_out_of_a_decision(text in any::<String>(), repeat in 1usize..200) {
        let hostile = Text::from(text.repeat(repeat));
        let mut decision = tunnel();
        decision.dial = DialId::from(text.repeat(repeat));
        for field in [&mut decision.purpose, &mut decision.workflow, &mut decision.host] {
            *field = hostile.clone();
        }
        decision.tunnel.as_mut().unwrap().mode = hostile.clone();
        let close = crate::EgressClose { reason: hostile.clone(), sni: Some(hostile.clone()), ..closed("p-1") };
        for (event, member) in
            [(ControlEvent::EgressDecision(decision), "mode"), (ControlEvent::EgressClose(close), "sni")]
        {
            let line = line_of(&Draft::event(&event));
            prop_assert!(!line.contains(&b'\n'));
            prop_assert!(Entry::parse(&line).is_ok());
            let record: Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(&record[member], hostile.as_str());
        }
    }
}

#[test]
fn the_largest_result_fits_on_a_line() {
    // Escaped, each of these characters takes six bytes.
    let hostile = Text::from("\u{1}".repeat(300));
    let dial = DialId::from("x".repeat(100));
    let route = Route {
        model: hostile.clone(),
        provider: hostile.clone(),
        locality: hostile.clone(),
        dial: Some(dial.clone()),
        dropped: vec![hostile.clone(); 40],
        ..sample::route(1)
    };
    let earlier = (0..1000).map(|n| DialId::from(format!("{n}-{}", dial.as_str()))).collect();
    let outcome = Outcome {
        ending: crate::Ending::Failed { code: hostile.clone() },
        finish: Some(hostile.clone()),
        upstream_request_id: Some(hostile.clone()),
        carried: Carried { earlier, bytes_sent: Some(u64::MAX), bytes_received: Some(u64::MAX) },
        route: Some(route),
        ..completed()
    };
    let line = line_of(&Draft::result(uuid::Uuid::now_v7(), (&hostile, &hostile), &outcome));
    assert!(line.len() < LINE_BYTES_MAX, "{} bytes", line.len());
    let record: Value = serde_json::from_slice(&line).unwrap();
    let earlier = record["result"]["dials_earlier"].as_array().unwrap();
    assert_eq!(earlier.len(), Carried::EARLIER_MAX);
    // The newest are kept: they are the likeliest to have carried something.
    assert!(earlier.last().unwrap().as_str().unwrap().starts_with("999-"));
}
