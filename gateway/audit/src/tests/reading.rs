//! Recorded calls that are read back.

use std::fs;

use tempfile::tempdir;

use super::sample::{self, completed, intent, open};
use crate::segment::{self, Segment};
use crate::{CallsError, ControlEvent, Denial, Fault, RecordedCall, Route, Text, calls};

fn read(dir: &std::path::Path) -> (Vec<RecordedCall>, Result<(), CallsError>) {
    let mut read = Vec::new();
    let result = calls(dir, |call| read.push(call));
    (read, result)
}

#[tokio::test]
async fn calls_are_read_as_they_were_recorded_over_several_runs() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.begin(intent()).await.unwrap().finish(completed()).await.unwrap();
    log.close().await.unwrap();
    let (log, _) = open(dir.path());
    let denial = Denial {
        code: Text::from("policy.unknown_model"),
        workflow: None,
        caller: intent().caller,
        policy: sample::policy(),
        request: sample::request(),
    };
    log.note(ControlEvent::Denied(denial)).await.unwrap();
    log.close().await.unwrap();

    let (mut read, result) = read(dir.path());
    result.unwrap();
    for call in &mut read {
        assert_eq!(call.ts.len(), "2026-01-02T03:04:05.123456789Z".len());
        call.ts.clear();
    }
    let allowed = RecordedCall {
        ts: String::new(),
        workflow: Some("docs".to_owned()),
        caller_kind: "api_key".to_owned(),
        caller_id: "ci-7f3a".to_owned(),
        policy: "aa11".to_owned(),
        allowed: true,
        code: "allowed".to_owned(),
        model: Some("auto".to_owned()),
        input_tokens: Some(203),
        tools: Some(0),
    };
    let denied = RecordedCall {
        workflow: None,
        allowed: false,
        code: "policy.unknown_model".to_owned(),
        ..allowed.clone()
    };
    assert_eq!(read, [allowed, denied]);
}

#[tokio::test]
async fn a_copy_for_comparison_is_no_call() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut copy = intent();
    copy.route = Route { shadow: true, ..sample::route(1) };
    for intent in [intent(), copy] {
        log.begin(intent).await.unwrap().finish(completed()).await.unwrap();
    }
    log.close().await.unwrap();
    let (read, result) = read(dir.path());
    result.unwrap();
    assert_eq!(read.len(), 1, "{read:#?}");
}

#[tokio::test]
async fn a_log_that_was_altered_answers_nothing_behind_the_place() {
    let dir = tempdir().unwrap();
    assert!(matches!(read(dir.path()).1, Err(CallsError::NoRecords(_))));
    let (log, _) = open(dir.path());
    for _ in 0..2 {
        log.begin(intent()).await.unwrap().finish(completed()).await.unwrap();
    }
    log.close().await.unwrap();
    assert_eq!(segment::list(dir.path()).unwrap(), [Segment::first(1)]);
    let path = Segment::first(1).path(dir.path());
    let text = fs::read_to_string(&path).unwrap();
    let second = text.rfind("\"tokens_est\":203").unwrap();
    fs::write(&path, format!("{}{}", &text[..second], text[second..].replacen("203", "204", 1))).unwrap();
    let (read, result) = read(dir.path());
    assert_eq!(read.len(), 1);
    assert!(matches!(result, Err(CallsError::Damaged { fault: Fault::Altered, .. })), "{result:?}");
}
