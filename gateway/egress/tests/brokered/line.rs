//! What happens between a gateway and its broker when one of them is replaced, lies, or asks for too much.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use egress::line::Line;
use egress::{Ask, Brokered, DialFailure, Direct, Purpose, Way};
use policy::{Policy, ProviderName, WorkflowName};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::broker;
use crate::gate::{Names, Rules, options};
use crate::upstream::{PATIENCE, Upstream};

/// What a broker is made of, and an end of the line to it.
struct Site {
    policy: Arc<Policy>,
    direct: Arc<Direct>,
    upstream: Upstream,
}

impl Site {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let policy = rules(&upstream).compile();
        let names = Names::default();
        names.answer("up.test", &["127.0.0.1"]);
        let direct = Direct::new(Arc::clone(&policy), options().surroundings(Arc::new(names)));
        Self { policy, direct, upstream }
    }

    fn serve(&self, end: OwnedFd) -> tokio::task::JoinHandle<()> {
        broker::serve(end, Arc::clone(&self.direct), &self.policy)
    }

    fn ask(&self) -> Ask {
        Ask {
            workflow: WorkflowName::new("docs").unwrap(),
            provider: ProviderName::new("up").unwrap(),
            host: url::Host::parse("up.test").unwrap(),
            port: self.upstream.port(),
            purpose: Purpose::Call,
        }
    }
}

fn rules(upstream: &Upstream) -> Rules {
    Rules::default()
        .local(upstream.port(), "")
        .provider("api", "https://api.test", "locality: hosted")
        .workflow("docs", "{ mode: sealed }", "up")
        .workflow("open", "{ mode: hosted, providers: [api] }", "api")
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[tokio::test]
async fn a_question_to_a_broker_that_is_gone_fails_when_the_next_one_says_hello() {
    let mut site = Site::new().await;
    let (near, far) = egress::line::pair().unwrap();
    let held = far.try_clone().unwrap();
    let way = Brokered::start(near).unwrap();
    let dead = Line::new(far).unwrap();
    let ask = site.ask();
    let (answer, ()) = tokio::join!(way.open(&ask, soon()), async {
        // The first broker takes hello and the question, and is killed.
        for _ in 0..2 {
            dead.receive().await.unwrap().unwrap();
        }
        drop(dead);
        site.serve(held.try_clone().unwrap());
    });
    assert_eq!(answer.unwrap_err().failure(), DialFailure::Unavailable);
    let (answer, _connection) = tokio::join!(way.open(&ask, soon()), site.upstream.connection());
    answer.unwrap();
}

#[tokio::test]
async fn what_a_gateway_that_is_gone_had_open_is_closed_when_the_next_one_says_hello() {
    let mut site = Site::new().await;
    let (near, far) = egress::line::pair().unwrap();
    let held = near.try_clone().unwrap();
    site.serve(far);
    let way = Brokered::start(near).unwrap();
    let ask = site.ask();
    let (opened, mut connection) = tokio::join!(way.open(&ask, soon()), site.upstream.connection());
    // A process that is killed tells nobody; its descriptors close, and the broker's own one holds the connection.
    std::mem::forget(opened.unwrap());
    let _next = Brokered::start(held).unwrap();
    let mut byte = [0];
    assert_eq!(timeout(PATIENCE, connection.read(&mut byte)).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_connection_ends_for_good_with_its_lease() {
    let mut site = Site::new().await;
    let (near, far) = egress::line::pair().unwrap();
    site.serve(far);
    let way = Brokered::start(near).unwrap();
    let ask = site.ask();
    let (opened, mut connection) = tokio::join!(way.open(&ask, soon()), site.upstream.connection());
    drop(opened.unwrap());
    let mut byte = [0];
    assert_eq!(timeout(PATIENCE, connection.read(&mut byte)).await.unwrap().unwrap(), 0);
}

/// Sends `request` as a gateway that somebody else has taken over, and returns the answer.
async fn say(line: &Line, request: Value) -> (Value, Vec<OwnedFd>) {
    line.send(&serde_json::to_vec(&request).unwrap(), &[]).await.unwrap();
    let letter = timeout(PATIENCE, line.receive()).await.expect("the broker answers").unwrap().unwrap();
    (serde_json::from_slice(&letter.bytes).unwrap(), letter.sockets)
}

#[tokio::test]
async fn a_gateway_in_other_hands_gets_nothing_that_the_policy_does_not_give() {
    let mut site = Site::new().await;
    let (near, far) = egress::line::pair().unwrap();
    site.serve(far);
    let line = Line::new(near).unwrap();
    let hello = line.receive().await.unwrap().unwrap();
    assert!(String::from_utf8(hello.bytes).unwrap().contains("hello"));
    let port = site.upstream.port();
    for (workflow, provider, host, port) in [
        ("docs", "api", "api.test", 443),
        ("docs", "up", "api.test", port),
        ("docs", "up", "127.0.0.1", port),
        ("docs", "up", "up.test", port + 1),
        ("nobody", "up", "up.test", port),
        ("open", "nobody", "up.test", port),
        ("open", "api", "evil.test", 443),
        ("", "up", "up.test", port),
        ("docs", "up", "up.test\0.evil", port),
        ("docs", "up", "up.test/../x", port),
    ] {
        for purpose in ["call", "probe", "tunnel", "seal_test"] {
            let request = json!({ "say": "open", "id": 1, "workflow": workflow, "provider": provider, "host": host,
                "port": port, "purpose": purpose, "within_ms": 1000 });
            let (answer, sockets) = say(&line, request).await;
            assert_eq!((&answer["say"], &answer["kind"]), (&json!("failed"), &json!("denied")), "{answer}");
            assert!(sockets.is_empty());
        }
    }
    assert_eq!(site.upstream.connection_count().await, 0);
}

#[tokio::test]
async fn what_is_no_message_changes_nothing() {
    let mut site = Site::new().await;
    let (near, far) = egress::line::pair().unwrap();
    site.serve(far);
    let way_end = near.try_clone().unwrap();
    for garbage in [&b"{}"[..], b"\xff\xff", b"[1]", b"{\"say\":\"open\"}", b"{\"say\":\"hello\",\"x\":1}"] {
        egress::line::send(near.as_fd(), garbage, &[]).unwrap();
    }
    let way = Brokered::start(way_end).unwrap();
    let ask = site.ask();
    let (opened, _connection) = tokio::join!(way.open(&ask, soon()), site.upstream.connection());
    opened.unwrap();
}

#[tokio::test]
async fn a_policy_is_taken_only_if_the_broker_finds_it_too() {
    let mut site = Site::new().await;
    let (near, far) = egress::line::pair().unwrap();
    site.serve(far);
    let way = Brokered::start(near).unwrap();
    way.adopt(&site.policy).await.unwrap();
    let other = Rules::default().local(1, "").workflow("docs", "{ mode: sealed }", "up").compile();
    let error = way.adopt(&other).await.unwrap_err();
    assert!(error.to_string().contains("the files hold another policy"), "{error}");
    let ask = site.ask();
    let (opened, _connection) = tokio::join!(way.open(&ask, soon()), site.upstream.connection());
    opened.unwrap();
}

#[tokio::test]
async fn a_connection_that_nobody_waits_for_any_more_is_closed() {
    let mut site = Site::new().await;
    let (near, far) = egress::line::pair().unwrap();
    let way = Brokered::start(near).unwrap();
    let ask = site.ask();
    // Nobody answers yet, and the one who asks leaves.
    assert!(timeout(Duration::from_millis(1), way.open(&ask, soon())).await.is_err());
    site.serve(far);
    let mut connection = site.upstream.connection().await;
    let mut byte = [0];
    assert_eq!(timeout(PATIENCE, connection.read(&mut byte)).await.unwrap().unwrap(), 0);
}
