//! What durability costs a call, alone and in company, and how fast a log is read back.
//!
//! The figures are those of the disk under the temporary directory: on a memory file system they show the
//! cost of everything but the sync.

use std::path::Path;

use audit::{
    Caller, Carried, ControlEvent, DialId, EgressClose, EgressDecision, Ending, Intent, Log, Options,
    Outcome, PolicyRef, RequestFacts, Route, Text, Tokens, Verdict, verify,
};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use tempfile::tempdir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

fn main() {
    divan::main();
}

/// Whole calls, an intent and a result each, begun at the same time.
#[divan::bench(args = [1, 16, 256])]
fn calls(bencher: Bencher<'_, '_>, at_a_time: usize) {
    let dir = tempdir().expect("a temporary directory can be made");
    let runtime = Runtime::new().expect("a runtime starts");
    let log = open(dir.path());
    bencher.counter(ItemsCount::new(at_a_time)).bench_local(|| runtime.block_on(make_calls(&log, at_a_time)));
    runtime.block_on(log.close()).expect("the log is healthy");
}

/// What a new connection waits for: its decision is written, and its end queued; the disk comes later.
#[divan::bench]
fn connections(bencher: Bencher<'_, '_>) {
    let dir = tempdir().expect("a temporary directory can be made");
    let runtime = Runtime::new().expect("a runtime starts");
    let log = open(dir.path());
    let (opened, closed) = connection();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        log.write(&opened).expect("the log is healthy");
        log.post(&closed).expect("the log is healthy");
    });
    runtime.block_on(log.close()).expect("the log is healthy");
}

/// Reads and checks a log of 10,000 calls.
#[divan::bench(sample_count = 10)]
fn verify_ten_thousand_calls(bencher: Bencher<'_, '_>) {
    let dir = tempdir().expect("a temporary directory can be made");
    let runtime = Runtime::new().expect("a runtime starts");
    let log = open(dir.path());
    for _ in 0..10 {
        runtime.block_on(make_calls(&log, 1000));
    }
    runtime.block_on(log.close()).expect("the log is healthy");
    let files = std::fs::read_dir(dir.path()).expect("the log is there");
    let bytes: u64 =
        files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |file| file.len())).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| verify::verify(dir.path()));
}

fn open(dir: &Path) -> Log {
    Log::open(dir, Options::STANDARD).expect("an empty directory opens").0
}

async fn make_calls(log: &Log, at_a_time: usize) {
    let mut calls = JoinSet::new();
    for _ in 0..at_a_time {
        let log = log.clone();
        calls.spawn(async move {
            let pending = log.begin(intent()).await.expect("the log is healthy");
            pending.finish(outcome()).await.expect("the log is healthy")
        });
    }
    calls.join_all().await;
}

fn connection() -> (ControlEvent, ControlEvent) {
    let dial = DialId::from("b-019a0000-0000-7000-8000-000000000001-1");
    let [address, vantage] = ["198.51.100.7:443", "local"].map(Text::from);
    let opened = EgressDecision {
        dial: dial.clone(),
        purpose: "call".into(),
        workflow: "docs-update".into(),
        provider: Some("openai".into()),
        host: "api.openai.com".into(),
        port: 443,
        verdict: Verdict::Opened { address, vantage, proxy: None },
        dns_us: Some(812),
        connect_us: Some(20_311),
        tunnel: None,
    };
    let (sent, received) = (Some(5_200), Some(18_400));
    let closed = EgressClose {
        dial,
        reason: "closed".into(),
        bytes_sent: sent,
        bytes_received: received,
        open_ms: 2100,
        sni: None,
        would_deny: None,
    };
    (ControlEvent::EgressDecision(opened), ControlEvent::EgressClose(closed))
}

fn intent() -> Intent {
    let text = Text::from;
    Intent {
        workflow: text("docs-update"),
        owner: text("team-docs"),
        caller: Caller { kind: text("api_key"), id: text("docs-bot"), key: None },
        policy: PolicyRef {
            digest: "a1".repeat(32).into(),
            rule: Some(text("workflows.docs-update.route[1]")),
        },
        request: RequestFacts {
            endpoint: text("/v1/chat/completions"),
            model_requested: Some(text("auto")),
            bytes: 4096,
            tokens_est: Some(1024),
            tools: Some(3),
        },
        route: route(),
    }
}

fn outcome() -> Outcome {
    let tokens = Tokens { input: Some(1011), output: Some(240), cached: None, reasoning: None };
    Outcome {
        ending: Ending::Completed,
        status: Some(200),
        finish: Some(Text::from("stop")),
        upstream_request_id: None,
        tokens,
        carried: Carried::default(),
        ttft_ms: Some(35),
        dur_ms: 2100,
        route: Some(route()),
    }
}

fn route() -> Route {
    let [model, provider, locality] = ["qwen", "local", "local"].map(Text::from);
    Route { model, provider, locality, attempt: 1, shadow: false, dial: None, dropped: Vec::new() }
}
