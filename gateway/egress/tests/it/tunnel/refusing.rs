//! Requests that get no tunnel, and what they are told.

use std::time::Duration;

use egress::tunnel::{Inside, Limits, Verdict};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::stage::{PATIENT, Stage, basic, connect, head, key, rest, status_and_code};
use crate::upstream::Upstream;

/// Asks, and checks status, code and record.
async fn check(stage: &Stage, text: &str, status: u16, code: &'static str) -> String {
    let answer = stage.answer(text).await;
    assert_eq!(status_and_code(&answer), (status, code), "{text:?}");
    let last = stage.records.decisions().pop().expect("every answer is on record");
    assert_eq!(last.verdict, Verdict::Refused { code }, "{text:?}");
    answer
}

// E13
#[tokio::test]
async fn a_refusal_says_what_to_do_and_is_none_that_a_client_answers_with_a_password() {
    let stage = Stage::new().await;
    let answer = check(&stage, &connect("deps.test:443"), 403, "tunnel.not_named").await;
    let line = "workflow `docs` may not reach deps.test:443; if it should, add it to workflows.docs.egress.hosts in \
                routes.yaml";
    assert_eq!(
        answer,
        format!(
            "HTTP/1.1 403 Forbidden\r\n\
             proxy-status: portcullis; error=http_request_denied; details=\"tunnel.not_named\"\r\n\
             x-portcullis-error: tunnel.not_named\r\nx-squid-error: ERR_ACCESS_DENIED 0\r\n\
             x-smokescreen-error: {line}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{line}\n",
            line.len() + 1
        )
    );
    assert_eq!(stage.names.lookups(), 0, "nothing is looked up for a name that no rule names");
}

// E9, E13
#[tokio::test]
async fn only_missing_credentials_are_asked_for() {
    let stage = Stage::new().await;
    stage.book.allow("deps.test:443");
    let ask =
        |credentials: &str| format!("CONNECT deps.test:443 HTTP/1.1\r\nhost: deps.test\r\n{credentials}\r\n");
    let answer = check(&stage, &ask(""), 407, "tunnel.no_credentials").await;
    assert!(answer.contains("\r\nproxy-authenticate: Basic realm=\"portcullis\"\r\n"), "{answer}");
    check(&stage, &ask("proxy-authorization: Negotiate abc\r\n"), 407, "tunnel.no_credentials").await;
    check(&stage, &ask("proxy-authorization: Basic ?\r\n"), 403, "tunnel.credentials").await;
    check(&stage, &ask("proxy-authorization: Bearer pck_a_b_c\r\n"), 403, "tunnel.credentials").await;
    check(&stage, &ask(&basic("docs", "stranger")), 403, "tunnel.credentials").await;
    check(&stage, &ask(&basic("other", "ci")), 403, "tunnel.workflow").await;
    check(&stage, &ask(&basic("nobodys", "ci")), 403, "tunnel.workflow").await;
    let answer = check(&stage, &ask(&basic("", "both")), 403, "tunnel.workflow").await;
    assert!(answer.contains("select one of: docs, other; write its name as the user name"), "{answer}");
    // Who may come gets further, to a name that does not resolve.
    for credentials in [
        basic("docs", "ci"),
        basic("", "ci"),
        basic("docs", "both"),
        format!("proxy-authorization: Bearer {}\r\n", key("ci").expose()),
    ] {
        check(&stage, &ask(&credentials), 502, "egress.dns").await;
    }
    check(&stage, &ask(&basic("other", "both")), 502, "egress.dns").await;
}

// E9
#[tokio::test]
async fn a_sandbox_is_known_by_its_network_unless_somebody_passes_its_requests_on() {
    let stage = Stage::new().await;
    stage.book.allow("deps.test:443");
    let ask = |more: &str| format!("CONNECT deps.test:443 HTTP/1.1\r\nhost: deps.test\r\n{more}\r\n");
    stage.book.trust("10.0.0.0/8");
    check(&stage, &ask(""), 407, "tunnel.no_credentials").await;
    stage.book.trust("127.0.0.0/8");
    check(&stage, &ask(""), 502, "egress.dns").await;
    let decision = stage.records.decisions().pop().unwrap();
    assert_eq!(decision.workflow.unwrap().as_str(), "network");
    check(&stage, &ask("x-forwarded-for: 10.0.0.1\r\n"), 407, "tunnel.no_credentials").await;
    check(&stage, &ask("via: 1.1 other\r\n"), 407, "tunnel.no_credentials").await;
}

// E14, replay 8, replay 13
#[tokio::test]
async fn what_comes_behind_a_refused_connect_is_thrown_away_with_the_connection() {
    let (stage, mut upstream) = (Stage::new().await, Upstream::start().await);
    let target = format!("origin.test:{}", upstream.port());
    stage.names.answer("origin.test", &["127.0.0.1"]);
    stage.book.allow(&target);
    stage.book.allow_plain(&target);
    let behind = [
        format!("GET http://{target}/admin HTTP/1.1\r\nhost: {target}\r\n{}\r\n", basic("docs", "ci")),
        connect(&target),
    ];
    for behind in behind {
        let text = format!("{}{behind}", connect("denied.test:443"));
        let answer = stage.answer(&text).await;
        assert_eq!(status_and_code(&answer), (403, "tunnel.not_named"));
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(upstream.connection_count().await, 0);
    assert_eq!(stage.records.decisions().len(), 2);
}

// E4, E8, replay 1, replay 2, replay 7, replay 9, replay 14
#[tokio::test]
async fn a_request_with_two_readings_is_refused_before_anything_is_looked_up() {
    let stage = Stage::new().await;
    stage.book.allow("deps.test:443");
    stage.names.answer("deps.test", &["127.0.0.1"]);
    for target in [
        "evil.test\0.deps.test:443",
        "evil.test%00.deps.test:443",
        "deps.test:443@evil.test:443",
        "user@deps.test:443",
        "[deps.test]:443",
        "deps.test..:443",
        "deps.test\\.evil.test:443",
        "deps.test :443",
        "deps.test\t:443",
        "deps.test",
        "deps.test:0443",
        "deps.test:443/",
        "http://deps.test:443",
    ] {
        let text = format!("CONNECT {target} HTTP/1.1\r\nhost: deps.test\r\n{}\r\n", basic("docs", "ci"));
        check(&stage, &text, 400, "tunnel.request").await;
    }
    for headers in [
        "host: evil.test",
        "host: deps.test\r\nhost: deps.test",
        "host: deps.test\r\nx-a: b\r\n c",
        "host: deps.test\nx-a: b",
        "host: deps.test\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
        "host: deps.test\r\nproxy-authorization: Bearer a",
        "x-a: b",
    ] {
        let text = format!("CONNECT deps.test:443 HTTP/1.1\r\n{headers}\r\n{}\r\n", basic("docs", "ci"));
        check(&stage, &text, 400, "tunnel.request").await;
    }
    check(&stage, "GET /v1/models HTTP/1.1\r\nhost: deps.test\r\n\r\n", 400, "tunnel.request").await;
    assert_eq!(stage.names.lookups(), 0);
}

// E11, replay 1, replay 23
#[tokio::test]
async fn a_denied_host_is_denied_however_it_is_written_and_at_every_port() {
    let stage = Stage::new().await;
    stage.book.allow("evil.test:443");
    stage.book.deny_host("evil.test");
    stage.book.report("docs");
    for target in ["evil.test:443", "EVIL.test:443", "evil.test.:443", "Evil.Test.:8443"] {
        check(&stage, &connect(target), 403, "tunnel.denied_host").await;
    }
    stage.book.allow("good.test:443");
    check(&stage, &connect("good.test:443"), 502, "egress.dns").await;
}

// E8, replay 12, replay 23
#[tokio::test]
async fn a_rule_is_for_one_port_and_one_name() {
    let stage = Stage::new().await;
    stage.book.allow("deps.test:443");
    for target in ["deps.test:80", "deps.test:22", "deps.test:8443", "deps-test:443", "a.deps.test:443"] {
        check(&stage, &connect(target), 403, "tunnel.not_named").await;
    }
    assert_eq!(stage.names.lookups(), 0);
}

// E2, E3, replay 3, replay 4, replay 20, replay 21
#[tokio::test]
async fn a_name_that_leads_inside_is_refused_in_report_mode_too() {
    let stage = Stage::new().await;
    stage.book.report("docs");
    for (name, answer, code) in [
        ("loopback.test", &["127.0.0.1"][..], "egress.address"),
        ("metadata.test", &["169.254.169.254"], "egress.address"),
        ("private.test", &["10.0.0.1"], "egress.address"),
        ("cgnat.test", &["100.64.0.1"], "egress.address"),
        ("nat64.test", &["64:ff9b::a00:1"], "egress.address"),
        ("sixtofour.test", &["2002:7f00:1::"], "egress.address"),
        ("unspecified.test", &["::"], "egress.address"),
        ("mixed.test", &["93.184.216.34", "10.0.0.1"], "egress.mixed_answer"),
        ("mixed-too.test", &["10.0.0.1", "93.184.216.34"], "egress.mixed_answer"),
        ("nowhere.test", &[], "egress.address"),
    ] {
        stage.names.answer(name, answer);
        stage.names.answer(name, &["127.0.0.1"]);
        stage.book.allow_as(&format!("{name}:443"), Inside::Tls, &[]);
        let answer = check(&stage, &connect(&format!("{name}:443")), 403, code).await;
        assert!(answer.contains("error=destination_ip_prohibited"), "{answer}");
        // The same for a name that no rule names, and that report mode alone lets through.
        check(&stage, &connect(&format!("{name}:8443")), 403, "egress.address").await;
    }
    for target in ["127.0.0.1:443", "0x7f.1:443", "2130706433:443", "[::1]:443", "[::ffff:127.0.0.1]:443"] {
        check(&stage, &connect(target), 403, "egress.address").await;
        assert_eq!(stage.records.decisions().pop().unwrap().would_deny, Some("tunnel.not_named"));
    }
    assert_eq!(stage.records.closes(), []);
}

// E3: whoever is behind the proxy must not reach the proxy through it.
#[tokio::test]
async fn the_proxy_is_not_reached_through_itself() {
    let stage = Stage::new().await;
    let target = stage.address.to_string();
    stage.book.allow(&target);
    check(&stage, &connect(&target), 403, "egress.address").await;
}

// E18
#[tokio::test]
async fn report_mode_lets_pass_what_no_rule_names_and_nothing_that_is_revoked() {
    let (stage, mut upstream) = (Stage::new().await, Upstream::start().await);
    stage.names.answer("new.test", &["127.0.0.1"]);
    stage.book.report("docs");
    let target = format!("new.test:{}", upstream.port());
    // Only the address is in the way, which is this machine's: the name was looked up.
    check(&stage, &connect(&target), 403, "egress.address").await;
    let decision = stage.records.decisions().pop().unwrap();
    assert_eq!(decision.would_deny, Some("tunnel.not_named"));
    stage.book.revoke("docs");
    check(&stage, &connect(&target), 403, "revoked").await;
    assert_eq!(upstream.connection_count().await, 0);
}

// E16
#[tokio::test]
async fn a_workflow_has_only_as_many_connections_as_it_may_have() {
    let (stage, upstream) = (Stage::new().await, Upstream::start().await);
    stage.names.answer("origin.test", &["127.0.0.1"]);
    let target = format!("origin.test:{}", upstream.port());
    stage.book.allow(&target);
    stage.book.limit(2);
    let first = stage.tunnel(&target).await;
    let _second = stage.tunnel(&target).await;
    check(&stage, &connect(&target), 429, "tunnel.limit_workflow").await;
    // Another workflow has its own.
    let of_other = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{}\r\n", basic("other", "both"));
    let mut third = stage.send(&of_other).await;
    assert!(head(&mut third).await.starts_with("HTTP/1.1 200 "));
    drop(first);
    stage.records.close().await;
    stage.tunnel(&target).await;
}

// E16
#[tokio::test]
async fn a_full_proxy_says_so() {
    let stage = Stage::with(Limits { connections_max: 1, ..PATIENT }).await;
    let _first = stage.send("CONNECT").await;
    // Accepted in order, so the first one has its place.
    let answer = rest(&mut stage.send("").await).await;
    assert_eq!(status_and_code(&answer), (503, "tunnel.limit"));
    assert_eq!(stage.records.decisions().len(), 1);
}

// E15
#[tokio::test]
async fn a_target_that_does_not_answer_is_told_by_status() {
    let stage = Stage::new().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    stage.names.answer("closed.test", &["127.0.0.1"]);
    let target = format!("closed.test:{}", closed.port());
    stage.book.allow(&target);
    let answer = check(&stage, &connect(&target), 502, "egress.connect").await;
    assert!(answer.contains("error=connection_refused"), "{answer}");
    stage.book.allow("unknown.test:443");
    let answer = check(&stage, &connect("unknown.test:443"), 502, "egress.dns").await;
    assert!(answer.contains("error=dns_error"), "{answer}");
}

// E15, E16
#[tokio::test]
async fn a_head_has_an_end_in_size_and_in_time() {
    let stage = Stage::with(Limits { head: Duration::from_millis(50), ..PATIENT }).await;
    let long = format!("CONNECT a.test:443 HTTP/1.1\r\nx-a: {}", "a".repeat(16 << 10));
    check(&stage, &long, 431, "tunnel.head_too_large").await;
    check(&stage, "CONNECT a.test:443 HTTP/1.1\r\n", 408, "tunnel.timeout_head").await;
    // Somebody who says nothing is told nothing, and has asked for nothing.
    assert_eq!(stage.answer("").await, "");
    assert_eq!(stage.records.decisions().len(), 2);
}

// E17
#[tokio::test]
async fn what_cannot_be_recorded_is_not_opened() {
    let (stage, mut upstream) = (Stage::new().await, Upstream::start().await);
    stage.names.answer("origin.test", &["127.0.0.1"]);
    let target = format!("origin.test:{}", upstream.port());
    stage.book.allow(&target);
    stage.records.fill();
    let mut client = stage.connect(&target).await;
    client.write_all(b"early").await.unwrap();
    assert_eq!(status_and_code(&rest(&mut client).await), (503, "egress.unrecorded"));
    let mut origin = upstream.connection().await;
    assert_eq!(rest(&mut origin).await, "");
}
