//! Where connections go, and above all where they do not.

use std::process::Command;

use egress::{Fault, Retry};
use tokio::net::TcpListener;

use crate::gate::{Gate, Rules, admit, chain, collect, listening_on, options};
use crate::upstream::Upstream;

/// A provider that reaches 127.0.0.1 and nothing else.
fn narrow(upstream: &Upstream) -> Rules {
    let base_url = format!("http://up.test:{}/v1", upstream.port());
    Rules::default().provider("up", &base_url, "locality: local, cidrs: [127.0.0.1/32]").workflow(
        "docs",
        "{ mode: sealed }",
        "up",
    )
}

#[tokio::test]
async fn a_mixed_answer_opens_no_connection() {
    for answer in [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]] {
        let mut upstream = Upstream::start().await;
        let gate = Gate::with(&narrow(&upstream), &options());
        gate.names.answer("up.test", &answer);
        let error = gate.send("docs").await.unwrap_err();
        assert_eq!(
            (error.code(), error.fault(), error.retry()),
            ("egress.address", Fault::Policy, Retry::Safe)
        );
        assert!(chain(&error).contains("mixed answer"), "{}", chain(&error));
        assert_eq!(upstream.connection_count().await, 0);
        assert_eq!(gate.client.stats().dials_allowed, 0);
        assert_eq!(gate.client.stats().dials_refused, 1);
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_judged_by_the_one_answer_that_is_dialled() {
    let mut upstream = Upstream::start().await;
    let other = TcpListener::bind(("127.0.0.2", upstream.port())).await.unwrap();
    let mut other = Upstream::listen(other);
    let gate = Gate::with(&narrow(&upstream), &options());
    gate.names.answer("up.test", &["127.0.0.1"]);
    gate.names.answer("up.test", &["127.0.0.2"]);

    let (reply, ()) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "");
    assert_eq!(gate.names.lookups(), 1);

    assert_eq!(gate.send("docs").await.unwrap_err().code(), "egress.address");
    assert_eq!(gate.names.lookups(), 2);
    assert_eq!(upstream.connection_count().await, 1);
    assert_eq!(other.connection_count().await, 0);
}

#[tokio::test]
async fn a_literal_address_is_never_looked_up() {
    let mut upstream = Upstream::start().await;
    let base_url = format!("http://127.0.0.1:{}/v1", upstream.port());
    let rules = Rules::default().provider("up", &base_url, "locality: local, cidrs: [127.0.0.0/8]").workflow(
        "docs",
        "{ mode: sealed }",
        "up",
    );
    let gate = Gate::with(&rules, &options());
    let (reply, ()) = tokio::join!(gate.send("docs"), async { upstream.request().await.answer("ok").await });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");
    assert_eq!(gate.names.lookups(), 0);
}

#[tokio::test]
async fn a_hosted_name_that_points_inwards_opens_no_connection() {
    let mut upstream = Upstream::start().await;
    let base_url = format!("https://api.test:{}", upstream.port());
    let rules = Rules::default().provider("api", &base_url, "locality: hosted").workflow(
        "open",
        "{ mode: hosted, providers: [api] }",
        "api",
    );
    let gate = Gate::with(&rules, &options());
    gate.names.answer("api.test", &["127.0.0.1"]);
    assert_eq!(gate.send("open").await.unwrap_err().code(), "egress.address");
    assert_eq!(upstream.connection_count().await, 0);
}

#[tokio::test]
async fn a_sealed_workflow_reaches_nothing_hosted_even_with_anothers_hop() {
    let mut upstream = Upstream::start().await;
    let base_url = format!("https://api.test:{}", upstream.port());
    let rules = Rules::default()
        .local(upstream.port(), "")
        .provider("api", &base_url, "locality: hosted")
        .workflow("docs", "{ mode: sealed }", "up")
        .workflow("open", "{ mode: hosted, providers: [api] }", "api");
    let gate = Gate::new(&rules);
    gate.names.answer("api.test", &["127.0.0.1"]);
    let (sealed, open) = (gate.admit("docs"), gate.admit("open"));
    let error = gate.send_on(&sealed, &open.hops()[0]).await.unwrap_err();
    assert_eq!((error.code(), error.fault(), error.retry()), ("egress.denied", Fault::Policy, Retry::Safe));
    assert_eq!(gate.names.lookups(), 0, "even the name must not leave");
    assert_eq!(upstream.connection_count().await, 0);
    assert_eq!(gate.client.stats().dials_refused, 1);
}

#[tokio::test]
async fn a_hop_of_an_older_policy_is_judged_by_the_policy_in_force() {
    let mut upstream = Upstream::start().await;
    let older =
        Rules::default().local(upstream.port(), "").workflow("docs", "{ mode: sealed }", "up").compile();
    let admitted = admit(&older, "docs");
    let newer = Rules::default().local(1, "").workflow("docs", "{ mode: sealed }", "up");
    let error = Gate::new(&newer).send_on(&admitted, &admitted.hops()[0]).await.unwrap_err();
    assert_eq!(error.code(), "egress.denied");
    assert_eq!(upstream.connection_count().await, 0);
}

#[tokio::test]
async fn the_gateway_does_not_call_itself() {
    let mut upstream = Upstream::start().await;
    let wildcard = format!("0.0.0.0:{}", upstream.port()).parse().unwrap();
    for own in [upstream.address(), wildcard] {
        let rules = Rules::default().local(upstream.port(), "").workflow("docs", "{ mode: sealed }", "up");
        let gate = Gate::with(&rules, &listening_on(own));
        gate.names.answer("up.test", &["127.0.0.1"]);
        assert_eq!(gate.send("docs").await.unwrap_err().code(), "egress.address");
    }
    assert_eq!(upstream.connection_count().await, 0);
}

#[tokio::test]
async fn a_dead_address_is_passed_over_for_the_next_checked_one() {
    let mut upstream = Upstream::start().await;
    let rules = Rules::default().local(upstream.port(), "").workflow("docs", "{ mode: sealed }", "up");
    let gate = Gate::with(&rules, &options());
    gate.names.answer("up.test", &["127.0.0.2", "127.0.0.3", "127.0.0.1"]);
    let (reply, ()) = tokio::join!(gate.send("docs"), async { upstream.request().await.answer("ok").await });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");
    assert_eq!(gate.names.lookups(), 1);
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_are_safe_to_retry_elsewhere() {
    // Bound and not listening: the port stays ours, and the system refuses connections to it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let rules = Rules::default().local(socket.local_addr().unwrap().port(), "").workflow(
        "docs",
        "{ mode: sealed }",
        "up",
    );
    let error = Gate::new(&rules).send("docs").await.unwrap_err();
    assert_eq!(
        (error.code(), error.fault(), error.retry()),
        ("egress.connect", Fault::Upstream, Retry::Safe)
    );
    let error = Gate::with(&rules, &options()).send("docs").await.unwrap_err();
    assert_eq!((error.code(), error.fault(), error.retry()), ("egress.dns", Fault::Operator, Retry::Safe));
}

/// Runs the test of a plain call again, in a process whose environment names a proxy for everything.
#[test]
fn proxies_named_by_the_environment_are_not_used() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "forwarding::a_call_arrives_as_sent_and_its_answer_as_written"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, &url);
    }
    let output = again.env_remove("no_proxy").env_remove("NO_PROXY").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
