//! Two logs on the disk, held against each other.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::{TempDir, tempdir};

use super::sample::{self, closed, completed, crash_image, intent, open, opened};
use crate::reconcile::{Code, Reconciliation, Verdict, reconcile};
use crate::verify::VerifyError;
use crate::{Carried, ControlEvent, EgressClose, EgressDecision, Log, Outcome, Route, Text, segment};

/// The folders of a gateway and of its witness.
struct Sides {
    gateway: TempDir,
    witness: TempDir,
}

impl Sides {
    fn new() -> Self {
        Self { gateway: tempdir().unwrap(), witness: tempdir().unwrap() }
    }

    fn open(&self) -> (Log, Log) {
        (open(self.gateway.path()).0, open(self.witness.path()).0)
    }

    fn reconcile(&self) -> Reconciliation {
        between(self.gateway.path(), self.witness.path()).unwrap()
    }
}

fn between(gateway: &Path, witness: &Path) -> Result<Reconciliation, VerifyError> {
    reconcile(&[gateway.to_owned()], &[witness.to_owned()])
}

fn over(dial: &str) -> Outcome {
    let carried = Carried { bytes_sent: Some(812), bytes_received: Some(4096), ..Carried::default() };
    Outcome { route: Some(Route { dial: Some(dial.into()), ..sample::route(1) }), carried, ..completed() }
}

fn heavy(dial: &str) -> EgressClose {
    EgressClose { bytes_sent: Some(48_211), ..closed(dial) }
}

/// One call over one connection, whole on both sides; the logs stay open.
async fn one_call(gateway: &Log, witness: &Log, dial: &str) {
    let pending = gateway.begin(intent()).await.unwrap();
    witness.write(&ControlEvent::EgressDecision(opened(dial))).unwrap();
    pending.finish(over(dial)).await.unwrap();
    witness.post(&ControlEvent::EgressClose(closed(dial))).unwrap();
}

async fn close(gateway: Log, witness: Log) {
    gateway.close().await.unwrap();
    witness.close().await.unwrap();
}

#[tokio::test]
async fn two_sides_that_say_the_same_are_reconciled() {
    let sides = Sides::new();
    let (gateway, witness) = sides.open();
    one_call(&gateway, &witness, "b-1").await;
    let probe = EgressDecision { purpose: Text::from("probe"), ..opened("b-2") };
    witness.write(&ControlEvent::EgressDecision(probe)).unwrap();
    witness.post(&ControlEvent::EgressClose(closed("b-2"))).unwrap();
    close(gateway, witness).await;

    let report = sides.reconcile();
    assert_eq!((report.verdict(), report.exit_code()), (Verdict::Reconciled, 0), "{report}");
    assert_eq!((report.tally.connections, report.tally.calls_connected), (2, 1));
    let text = report.to_string();
    assert!(text.starts_with("verdict: RECONCILED"), "{text}");
    assert!(text.contains("note probe, 1: connections asked whether an upstream works"), "{text}");
}

#[tokio::test]
async fn a_connection_that_no_call_explains_is_named_to_people_and_to_programs() {
    let sides = Sides::new();
    let (gateway, witness) = sides.open();
    one_call(&gateway, &witness, "b-1").await;
    witness.write(&ControlEvent::EgressDecision(opened("b-2"))).unwrap();
    witness.post(&ControlEvent::EgressClose(heavy("b-2"))).unwrap();
    close(gateway, witness).await;

    let report = sides.reconcile();
    assert_eq!((report.verdict(), report.exit_code()), (Verdict::Contradiction, 40));
    let text = report.to_string();
    let line = "CONTRADICTION unexplained_egress, 1: connections carried more than a handshake";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("b-2 for `docs` to models.corp:443, opened 20"), "{text}");
    assert!(text.contains("48211 bytes sent, 98765 received"), "{text}");
    let value = serde_json::to_value(&report).unwrap();
    assert_eq!(value["verdict"], "contradiction");
    let finding = &value["findings"][0];
    assert_eq!(finding["code"], "unexplained_egress");
    assert_eq!((&finding["weight"], &finding["count"]), (&json!("contradiction"), &json!(1)));
    assert_eq!(finding["examples"][0]["connection"]["to"], "models.corp:443");
    assert_eq!(value["logs"][0]["side"], "witness");
}

#[tokio::test]
async fn a_log_that_was_altered_answers_nothing() {
    for altered in ["gateway", "witness"] {
        let sides = Sides::new();
        let (gateway, witness) = sides.open();
        one_call(&gateway, &witness, "b-1").await;
        close(gateway, witness).await;
        let dir = if altered == "gateway" { sides.gateway.path() } else { sides.witness.path() };
        let path = segment::list(dir).unwrap()[0].path(dir);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("docs", "dogs")).unwrap();

        let report = sides.reconcile();
        assert_eq!((report.verdict(), report.exit_code()), (Verdict::CannotTell, 50), "{report}");
        assert_eq!(report.findings.iter().count(), 0);
        assert!(!report.to_string().contains("connections:"), "{report}");
    }
}

#[tokio::test]
async fn a_log_that_is_not_there_is_no_clean_log() {
    let sides = Sides::new();
    let (gateway, witness) = sides.open();
    close(gateway, witness).await;
    assert_eq!(sides.reconcile().exit_code(), 0);
    let empty = tempdir().unwrap();
    assert!(matches!(between(sides.gateway.path(), empty.path()), Err(VerifyError::NoRecords(_))));
    assert!(matches!(between(empty.path(), sides.witness.path()), Err(VerifyError::NoRecords(_))));
}

#[tokio::test]
async fn what_is_going_on_is_not_missing_until_its_processes_are_gone() {
    let sides = Sides::new();
    let (gateway, witness) = sides.open();
    one_call(&gateway, &witness, "b-1").await;
    let pending = gateway.begin(intent()).await.unwrap();
    // A connection is over before its call is; another one is still open.
    witness.write(&ControlEvent::EgressDecision(opened("b-2"))).unwrap();
    witness.write(&ControlEvent::EgressClose(heavy("b-2"))).unwrap();
    witness.write(&ControlEvent::EgressDecision(opened("b-3"))).unwrap();

    let report = sides.reconcile();
    assert_eq!(
        (report.verdict(), report.findings.count(Code::InProgress)),
        (Verdict::Reconciled, 2),
        "{report}"
    );

    // Both processes are killed at this moment.
    let (dead_gateway, dead_witness) = (tempdir().unwrap(), tempdir().unwrap());
    crash_image(sides.gateway.path(), dead_gateway.path());
    crash_image(sides.witness.path(), dead_witness.path());
    let report = between(dead_gateway.path(), dead_witness.path()).unwrap();
    assert_eq!((report.verdict(), report.exit_code()), (Verdict::Gaps, 10), "{report}");
    assert_eq!(report.findings.count(Code::ResultLost), 1, "{report}");
    assert_eq!(report.findings.count(Code::NotClosed), 1, "{report}");

    drop(pending);
    witness.write(&ControlEvent::EgressClose(closed("b-3"))).unwrap();
    close(gateway, witness).await;
    // Now the call is over and names nothing, so nothing explains what the second connection carried.
    assert_eq!(sides.reconcile().findings.count(Code::UnexplainedEgress), 1);
}

#[tokio::test]
async fn a_gateway_outlives_its_broker_and_all_is_explained() {
    let sides = Sides::new();
    let (gateway, witness) = sides.open();
    one_call(&gateway, &witness, "b-1").await;
    let pending = gateway.begin(intent()).await.unwrap();
    witness.write(&ControlEvent::EgressDecision(opened("b-2"))).unwrap();
    // The broker is killed; the connection stays with the gateway, and the next broker knows nothing of it.
    let image = tempdir().unwrap();
    crash_image(sides.witness.path(), image.path());
    pending.finish(over("b-2")).await.unwrap();
    let (next, _) = open(image.path());
    one_call(&gateway, &next, "c-1").await;
    next.close().await.unwrap();
    gateway.close().await.unwrap();
    witness.close().await.unwrap();

    let report = between(sides.gateway.path(), image.path()).unwrap();
    assert_eq!(report.verdict(), Verdict::Gaps, "{report}");
    let codes: Vec<_> = report.findings.iter().map(|(code, finding)| (code, finding.count)).collect();
    assert_eq!(codes, [(Code::NotClosed, 1)], "{report}");
}

#[tokio::test]
async fn several_witnesses_are_one() {
    let sides = Sides::new();
    let other = tempdir().unwrap();
    let (gateway, witness) = sides.open();
    let (second, _) = open(other.path());
    one_call(&gateway, &witness, "b-1").await;
    one_call(&gateway, &second, "p-1").await;
    close(gateway, witness).await;
    second.close().await.unwrap();
    assert_eq!(sides.reconcile().findings.count(Code::MissingEvidence), 1);
    let witnesses = [sides.witness.path().to_owned(), other.path().to_owned()];
    let report = reconcile(&[sides.gateway.path().to_owned()], &witnesses).unwrap();
    assert_eq!((report.verdict(), report.tally.calls_connected), (Verdict::Reconciled, 2), "{report}");
}
