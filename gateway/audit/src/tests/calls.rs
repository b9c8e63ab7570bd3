//! What calls and events leave in the log, and that none leaves too much or too little.

use std::collections::HashSet;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::sample::{self, completed, intent, kinds, open, outcome, records};
use crate::chain::{Hash, seal};
use crate::line::{Draft, Entry, LINE_BYTES_MAX};
use crate::segment::Segment;
use crate::verify::{Completeness, Integrity, verify};
use crate::{
    Activation, AuditError, ControlEvent, Denial, Ending, Log, OpenError, Options, Outcome, Route, Text,
};

/// Removes what differs from run to run, after checking its form.
fn without_identity(mut record: Value) -> Value {
    let members = record.as_object_mut().unwrap();
    assert_eq!(members.keys().next_back().unwrap(), "h");
    members.remove("h");
    let ts = members.remove("ts").unwrap();
    // RFC 3339 in UTC with nine digits, even when they end in zeros.
    assert_eq!(ts.as_str().unwrap().len(), "2026-01-02T03:04:05.123456789Z".len(), "{ts}");
    assert_eq!(members.remove("id").unwrap().as_str().unwrap().len(), 36);
    record
}

#[tokio::test]
async fn a_call_leaves_an_intent_and_one_result() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let pending = log.begin(intent()).await.unwrap();
    let began = pending.receipt();
    assert_eq!(began.seq, 2);
    assert_eq!(pending.finish(completed()).await.unwrap().seq, 3);
    log.close().await.unwrap();

    let mut records = records(dir.path());
    assert_eq!(kinds(&records), ["log.open", "llm.intent", "llm.result", "log.close"]);
    assert_eq!(records[1]["id"], began.id.to_string());
    let result = without_identity(records.remove(2));
    let expected = json!({
        "v": 1, "type": "llm.result", "seq": 3, "boot": 1,
        "intent": began.id.to_string(), "workflow": "docs", "policy": { "digest": "aa11" },
        "route": { "model": "qwen", "provider": "local", "locality": "local", "attempt": 2 },
        "result": {
            "outcome": "completed", "status": 200, "finish": "stop",
            "tokens": { "in": 200, "out": 31 }, "ttft_ms": 12, "dur_ms": 345,
        },
    });
    assert_eq!(result, expected);
    let began = without_identity(records.remove(1));
    let expected = json!({
        "v": 1, "type": "llm.intent", "seq": 2, "boot": 1,
        "workflow": "docs", "owner": "team-docs",
        "caller": { "kind": "api_key", "id": "ci-7f3a" },
        "policy": { "digest": "aa11", "rule": "workflows.docs.route[0]" },
        "decision": { "effect": "allow", "code": "allowed" },
        "request": {
            "endpoint": "/v1/chat/completions", "model_requested": "auto",
            "bytes": 812, "tokens_est": 203, "tools": 0,
        },
        "route": { "model": "qwen", "provider": "local", "locality": "local", "attempt": 1 },
    });
    assert_eq!(began, expected);
}

#[tokio::test]
async fn a_record_names_what_a_translation_lost_and_how_the_provider_calls_the_exchange() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut intent = intent();
    intent.route.dropped = ["seed", "logit_bias"].map(Text::from).to_vec();
    let pending = log.begin(intent).await.unwrap();
    let route = Route { dropped: vec![Text::from("seed")], ..sample::route(2) };
    let upstream_request_id = Some(Text::from("req_011"));
    pending.finish(Outcome { upstream_request_id, route: Some(route), ..completed() }).await.unwrap();
    // A call that lost nothing is recorded as it was before there were such fields.
    log.begin(sample::intent()).await.unwrap().finish(completed()).await.unwrap();
    log.close().await.unwrap();

    let records = records(dir.path());
    assert_eq!(records[1]["route"]["dropped"], json!(["seed", "logit_bias"]));
    assert_eq!(records[2]["route"]["dropped"], json!(["seed"]));
    assert_eq!(records[2]["result"]["upstream_request_id"], "req_011");
    for record in &records[3..] {
        assert_eq!(record["route"].get("dropped"), None);
        assert_eq!(record.pointer("/result/upstream_request_id"), None);
    }
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);
}

#[test]
fn no_more_names_of_fields_are_recorded_than_a_line_has_room_for() {
    let names = |count: usize| -> Vec<Text> { (0..count).map(|n| Text::from(format!("f{n}"))).collect() };
    let written = |count| {
        let route = Route { dropped: names(count), ..sample::route(1) };
        let dropped = serde_json::to_value(route).unwrap()["dropped"].take();
        dropped.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(written(Route::DROPPED_MAX).last().unwrap(), "f15");
    let cut = written(Route::DROPPED_MAX + 5);
    assert_eq!((cut.len(), cut.last().unwrap().as_str()), (Route::DROPPED_MAX + 1, "…(+5 more)"));
}

/// A log that was written before records could name dropped fields, as they lay on the disk.
const OLD: &str = include_str!("old.jsonl");

#[test]
fn a_log_from_before_a_field_was_added_is_still_whole() {
    let dir = tempdir().unwrap();
    let segment = Segment::first(1);
    std::fs::write(segment.path(dir.path()), OLD).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.integrity, Integrity::Valid { records: 4 });
    assert_eq!(report.completeness, Completeness::Complete);
}

#[tokio::test]
async fn events_leave_one_record_each() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let text = Text::from;
    let activation = Activation {
        digest: text("aa11"),
        old_digest: Some(text("aa10")),
        source: text("routes.yaml"),
        signature: None,
        summary: Some(text("workflows +docs")),
    };
    log.note(ControlEvent::PolicyActivate(activation)).await.unwrap();
    let [stage, message] = ["compile", "routes.yaml:1:1: the file is empty"].map(text);
    log.note(ControlEvent::PolicyReject { digest: Some(text("ff00")), stage, message }).await.unwrap();
    log.note(ControlEvent::RevocationsActivate { digest: text("bb22"), entries: 3 }).await.unwrap();
    log.note(ControlEvent::RevocationsReject { digest: None, message: text("gone") }).await.unwrap();
    let [code, endpoint, peer] = ["unknown_key", "/v1/models", "10.0.0.9"].map(text);
    log.note(ControlEvent::AuthnFail { code, endpoint, peer }).await.unwrap();
    let denial = Denial {
        code: text("unknown_model"),
        workflow: None,
        caller: intent().caller,
        policy: sample::policy(),
        request: sample::request(),
    };
    log.note(ControlEvent::Denied(denial)).await.unwrap();
    log.close().await.unwrap();

    let records = records(dir.path());
    assert_eq!(
        kinds(&records),
        [
            "log.open",
            "policy.activate",
            "policy.reject",
            "revocations.activate",
            "revocations.reject",
            "authn.fail",
            "llm.denied",
            "log.close"
        ]
    );
    assert_eq!(records[1]["policy"], json!({ "digest": "aa11" }));
    assert_eq!(records[1]["old_digest"], "aa10");
    assert_eq!(records[1]["source"], "routes.yaml");
    assert_eq!(records[1]["summary"], "workflows +docs");
    assert_eq!((&records[2]["file_digest"], &records[2]["stage"]), (&json!("ff00"), &json!("compile")));
    assert_eq!(records[3]["revocations"], json!({ "digest": "bb22", "entries": 3 }));
    assert_eq!((records[4].get("file_digest"), &records[4]["message"]), (None, &json!("gone")));
    assert_eq!(records[5]["decision"], json!({ "effect": "deny", "code": "unknown_key" }));
    assert_eq!(records[5]["peer"], "10.0.0.9");
    assert_eq!(records[6]["decision"], json!({ "effect": "deny", "code": "unknown_model" }));
    assert_eq!(records[6].get("workflow"), None);
}

#[tokio::test]
async fn a_dropped_call_is_recorded_as_aborted() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    drop(log.begin(intent()).await.unwrap());
    log.begin(intent()).await.unwrap().abandon(completed());
    log.close().await.unwrap();

    let records = records(dir.path());
    let results: Vec<_> = records.iter().filter(|record| record["type"] == "llm.result").collect();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["result"]["outcome"], "aborted");
    assert_eq!(results[0]["result"]["tokens"], json!({}));
    assert_eq!(results[0]["policy"], json!({ "digest": sample::policy().digest.as_str() }));
    // Abandoning keeps what was measured, but not the claim that the call completed.
    assert_eq!(results[1]["result"]["outcome"], "aborted");
    assert_eq!(results[1]["result"]["tokens"], json!({ "in": 200, "out": 31 }));
}

/// Starts a future and gives it up, whether it was ready or not.
fn poll_once<F: Future>(future: F) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

#[tokio::test]
async fn futures_dropped_half_way_leave_one_result_per_intent() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    // Never polled: nothing is recorded.
    drop(log.begin(intent()));
    poll_once(log.begin(intent()));
    let pending = log.begin(intent()).await.unwrap();
    poll_once(pending.finish(completed()));
    let pending = log.begin(intent()).await.unwrap();
    // Never polled: the call counts as dropped.
    drop(pending.finish(completed()));
    log.close().await.unwrap();

    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);
    let records = records(dir.path());
    let outcomes: Vec<_> = records.iter().filter_map(|record| record["result"]["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["aborted", "completed", "aborted"]);
}

#[tokio::test]
async fn a_full_queue_refuses_calls_but_never_a_result() {
    let dir = tempdir().unwrap();
    let options = Options { queue_records_max: 3, ..Options::STANDARD };
    let (log, _) = Log::open(dir.path(), options).unwrap();
    let first = log.begin(intent()).await.unwrap();
    let second = log.begin(intent()).await.unwrap();
    assert!(matches!(log.begin(intent()).await, Err(AuditError::QueueFull)));
    assert!(log.is_healthy());
    first.finish(completed()).await.unwrap();
    log.begin(intent()).await.unwrap().finish(completed()).await.unwrap();
    second.finish(completed()).await.unwrap();
    log.close().await.unwrap();
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);
}

#[tokio::test]
async fn close_waits_for_the_calls_in_progress_and_takes_no_new_ones() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let pending = log.begin(intent()).await.unwrap();
    let closing = tokio::spawn({
        let log = log.clone();
        async move { log.close().await }
    });
    let refused = async {
        while log.is_healthy() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
    assert!(matches!(log.begin(intent()).await, Err(AuditError::Closed)));
    assert!(!closing.is_finished());
    pending.finish(outcome(Ending::Failed { code: Text::from("egress.dns") })).await.unwrap();
    closing.await.unwrap().unwrap();

    let records = records(dir.path());
    assert_eq!(kinds(&records), ["log.open", "llm.intent", "llm.result", "log.close"]);
    assert_eq!(records[2]["result"]["outcome"], "failed");
    assert_eq!(records[2]["result"]["code"], "egress.dns");
    assert!(matches!(log.close().await, Err(AuditError::Closed)));
}

#[tokio::test]
async fn a_directory_has_one_writer() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    assert!(matches!(Log::open(dir.path(), Options::STANDARD), Err(OpenError::Locked(_))));
    log.close().await.unwrap();
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery.boot, 2);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_the_same_time_get_numbers_without_gaps() {
    const CALLS: u64 = 200;
    let dir = tempdir().unwrap();
    let options = Options { segment_bytes_max: 8 << 10, ..Options::STANDARD };
    let (log, _) = Log::open(dir.path(), options).unwrap();
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move {
                let pending = log.begin(intent()).await.unwrap();
                let began = pending.receipt().seq;
                [began, pending.finish(completed()).await.unwrap().seq]
            })
        })
        .collect();
    let mut acknowledged = HashSet::new();
    for call in calls {
        let [began, ended] = call.await.unwrap();
        assert!(began < ended);
        acknowledged.extend([began, ended]);
    }
    log.close().await.unwrap();

    let report = verify(dir.path()).unwrap();
    assert_eq!(report.completeness, Completeness::Complete);
    assert!(report.segments > 1, "the log was meant to fill several files");
    let records = records(dir.path());
    for (seq, record) in (1..).zip(&records) {
        let is_call = record["type"].as_str().unwrap().starts_with("llm.");
        assert_eq!(record["seq"], seq);
        assert_eq!(is_call, acknowledged.contains(&seq));
    }
    assert_eq!(acknowledged.len() as u64, 2 * CALLS);
}

#[tokio::test]
async fn each_further_file_opens_with_the_count_of_calls_in_progress() {
    let dir = tempdir().unwrap();
    let options = Options { segment_bytes_max: 1, ..Options::STANDARD };
    let (log, _) = Log::open(dir.path(), options).unwrap();
    let pending = log.begin(intent()).await.unwrap();
    pending.finish(completed()).await.unwrap();
    log.close().await.unwrap();
    let openings: Vec<_> =
        records(dir.path()).into_iter().filter_map(|record| record.get("open").cloned()).collect();
    let expected = [("start", 0), ("roll", 0), ("roll", 1), ("roll", 0)];
    assert_eq!(openings, expected.map(|(cause, pending)| json!({ "cause": cause, "pending": pending })));
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);
}

proptest! {
    #[test]
    fn no_text_can_break_out_of_its_line(text in any::<String>(), repeat in 1usize..200) {
        let hostile = Text::from(text.repeat(repeat));
        let mut intent = intent();
        for field in [
            &mut intent.workflow, &mut intent.owner, &mut intent.caller.kind, &mut intent.caller.id,
            &mut intent.policy.digest, &mut intent.request.endpoint, &mut intent.route.model,
            &mut intent.route.provider, &mut intent.route.locality,
        ] {
            *field = hostile.clone();
        }
        intent.request.model_requested = Some(hostile.clone());
        intent.policy.rule = Some(hostile.clone());
        intent.route.dropped = vec![hostile.clone(); repeat];
        let mut line = Vec::new();
        Draft::intent(&intent).write(1, 1, &mut line);
        seal(Hash::ZERO, &mut line, 0);
        prop_assert!(!line.contains(&b'\n'));
        prop_assert!(line.len() < LINE_BYTES_MAX);
        prop_assert_eq!(Entry::parse(&line).unwrap().seq, 1);
        let record: Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(&record["request"]["model_requested"], hostile.as_str());
    }
}
