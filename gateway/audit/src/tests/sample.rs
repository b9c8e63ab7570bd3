//! Facts of an ordinary call, and small logs made of them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::segment;
use crate::{
    Caller, Carried, EgressClose, EgressDecision, Ending, Intent, Log, Options, Outcome, PolicyRef, Recovery,
    RequestFacts, Route, Text, Tokens, Verdict,
};

pub(super) fn intent() -> Intent {
    Intent {
        workflow: Text::from("docs"),
        owner: Text::from("team-docs"),
        caller: Caller { kind: Text::from("api_key"), id: Text::from("ci-7f3a"), key: None },
        policy: policy(),
        request: request(),
        route: route(1),
    }
}

pub(super) fn policy() -> PolicyRef {
    PolicyRef { digest: Text::from("aa11"), rule: Some(Text::from("workflows.docs.route[0]")) }
}

pub(super) fn request() -> RequestFacts {
    RequestFacts {
        endpoint: Text::from("/v1/chat/completions"),
        model_requested: Some(Text::from("auto")),
        bytes: 812,
        tokens_est: Some(203),
        tools: Some(0),
    }
}

pub(super) fn route(attempt: u32) -> Route {
    let [model, provider, locality] = ["qwen", "local", "local"].map(Text::from);
    Route { model, provider, locality, attempt, shadow: false, dial: None, dropped: Vec::new() }
}

pub(super) fn outcome(ending: Ending) -> Outcome {
    Outcome {
        ending,
        status: Some(200),
        finish: Some(Text::from("stop")),
        upstream_request_id: None,
        tokens: Tokens { input: Some(200), output: Some(31), cached: None, reasoning: None },
        carried: Carried::default(),
        ttft_ms: Some(12),
        dur_ms: 345,
        route: Some(route(2)),
    }
}

pub(super) fn completed() -> Outcome {
    outcome(Ending::Completed)
}

/// A connection of the workflow `docs` for its calls.
pub(super) fn opened(dial: &str) -> EgressDecision {
    EgressDecision {
        dial: dial.into(),
        purpose: Text::from("call"),
        workflow: Text::from("docs"),
        provider: Some(Text::from("local")),
        host: Text::from("models.corp"),
        port: 443,
        verdict: Verdict::Opened {
            address: Text::from("10.2.0.9:443"),
            vantage: Text::from("local"),
            proxy: None,
        },
        dns_us: Some(812),
        connect_us: Some(20_311),
        tunnel: None,
    }
}

pub(super) fn closed(dial: &str) -> EgressClose {
    EgressClose {
        dial: dial.into(),
        reason: Text::from("closed"),
        bytes_sent: Some(4321),
        bytes_received: Some(98_765),
        open_ms: 1500,
        sni: None,
        would_deny: None,
    }
}

pub(super) fn open(dir: &Path) -> (Log, Recovery) {
    Log::open(dir, Options::STANDARD).unwrap()
}

/// Adds one run to the log: `calls` whole calls and an orderly end.
pub(super) async fn run(dir: &Path, options: Options, calls: usize) {
    let (log, _) = Log::open(dir, options).unwrap();
    for _ in 0..calls {
        log.begin(intent()).await.unwrap().finish(completed()).await.unwrap();
    }
    log.close().await.unwrap();
}

/// Returns all stored records in order.
pub(super) fn records(dir: &Path) -> Vec<Value> {
    let read = |segment: segment::Segment| fs::read_to_string(segment.path(dir)).unwrap();
    let text: String = segment::list(dir).unwrap().into_iter().map(read).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the `type` of each record.
pub(super) fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["type"].as_str().unwrap()).collect()
}

/// Copies a log as it is on the disk now: what a crash at this moment would leave.
pub(super) fn crash_image(from: &Path, to: &Path) {
    for segment in segment::list(from).unwrap() {
        fs::copy(segment.path(from), segment.path(to)).unwrap();
    }
}
