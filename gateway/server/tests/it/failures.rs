//! Providers that fail: the client learns it in the API's own form, and nothing broken ever looks whole.

use serde_json::json;

use crate::client::{EventStream, ask, checked_error, data, streamed};
use crate::gateway::{Gateway, Home, closed_port};
use crate::routes::Routes;
use crate::upstream::{Call, DONE, FIRST, Upstream};

/// A provider, and a gateway that forwards to it. `more` are further keys of the provider.
async fn serve(more: &str) -> (Upstream, Home, Gateway) {
    let upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), more));
    let gateway = home.serve().await;
    (upstream, home, gateway)
}

/// A stream that has begun, and its other side.
async fn begun(upstream: &mut Upstream, gateway: &Gateway) -> (EventStream, Call) {
    let (mut stream, call) = upstream.stream_to(gateway).await;
    assert_eq!(format!("{}\n\n", stream.event().await.unwrap()), FIRST);
    (stream, call)
}

/// The rest is one error event, without `[DONE]`, and the record says the same.
async fn check_cut(home: &Home, stream: EventStream, code: &str) {
    let rest = stream.rest().await;
    assert_eq!(rest.len(), 1, "{rest:#?}");
    assert_eq!(checked_error(&data(&rest[0]))["code"], code);
    let result = home.result().await;
    assert_eq!(result["result"]["outcome"], "failed");
    assert_eq!(result["result"]["code"], code);
}

#[tokio::test]
async fn a_rate_limit_arrives_with_its_status_and_when_to_come_back() {
    for request in [ask("hello"), streamed(ask("hello"))] {
        // A gateway of its own for each: it would leave the provider alone for seven seconds.
        let (mut upstream, home, gateway) = serve("").await;
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            let body =
                r#"{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded","novel":1}}"#;
            let headers = "retry-after: 7\r\ncontent-type: text/plain\r\nx-should-retry: true\r\n";
            upstream.call().await.answer_with("429 Too Many Requests", headers, body).await;
        });
        assert_eq!(reply.status, 429);
        assert_eq!(reply.header("retry-after"), Some("7"));
        assert_eq!(reply.header("x-should-retry"), Some("true"));
        let expected =
            json!({ "message": "slow down", "type": "tokens", "param": null, "code": "rate_limit_exceeded" });
        assert_eq!(reply.error(), expected);
        let result = home.result().await;
        assert_eq!(result["result"]["status"], 429);
        assert_eq!(result["result"]["code"], "upstream_status");
    }
}

#[tokio::test]
async fn a_page_of_some_proxy_becomes_an_error_of_the_api() {
    let (mut upstream, _home, gateway) = serve("").await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let page = "<html><h1>Internal Server Error</h1> at 10.1.2.3</html>";
        let call = upstream.call().await;
        call.answer_with("500 Internal Server Error", "content-type: text/html\r\n", page).await;
    });
    assert_eq!(reply.status, 500);
    let error = reply.error();
    assert_eq!(error["type"], "server_error");
    assert_eq!(error["code"], "upstream_error");
    assert!(!reply.text().contains("10.1.2.3"), "{}", reply.text());
}

#[tokio::test]
async fn a_refused_credential_of_ours_is_not_the_clients_to_mend() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let (mut upstream, _home, gateway) = serve("").await;
        let request = ask("hello");
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            let body = r#"{"error":{"message":"Incorrect API key provided: sk-abc***xyz"}}"#;
            upstream.call().await.answer_with(status, "", body).await;
        });
        assert_eq!(reply.status, 502);
        assert_eq!(reply.error()["code"], "upstream_credential");
        assert!(!reply.text().contains("sk-abc"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_redirect_is_an_error_and_is_not_followed() {
    let mut elsewhere = Upstream::start().await;
    for status in ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (mut upstream, _home, gateway) = serve("").await;
        let location = format!("location: http://127.0.0.1:{}/v1/chat/completions\r\n", elsewhere.port());
        let request = ask("hello");
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            upstream.call().await.answer_with(status, &location, "").await;
        });
        assert_eq!(reply.status, 502);
        assert_eq!(reply.error()["code"], "egress.redirect");
        assert_eq!(reply.header("location"), None);
        assert_eq!(upstream.dials().await, 1);
    }
    assert_eq!(elsewhere.dials().await, 0);
}

#[tokio::test]
async fn a_provider_that_is_down_is_a_bad_gateway() {
    let home = Home::new(&Routes::upstream(closed_port(), ""));
    let gateway = home.serve().await;
    let reply = gateway.client().chat(&ask("hello")).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error()["code"], "egress.connect");
    assert_eq!(home.result().await["result"]["code"], "egress.connect");
}

#[tokio::test]
async fn a_missing_credential_is_a_bad_gateway_and_dials_nobody() {
    let (mut upstream, _home, gateway) = serve("auth: { bearer_file: not-there }").await;
    let reply = gateway.client().chat(&ask("hello")).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error()["code"], "egress.secret");
    assert!(!reply.text().contains("not-there"), "the file is for the log: {}", reply.text());
    gateway.logs("not-there").await;
    assert_eq!(upstream.dials().await, 0);
}

#[tokio::test]
async fn a_provider_that_never_begins_times_out() {
    let (mut upstream, _home, gateway) = serve("timeouts: { first_byte: 100ms }").await;
    for request in [ask("hello"), streamed(ask("hello"))] {
        let (reply, call) = tokio::join!(gateway.client().chat(&request), upstream.call());
        assert_eq!(reply.status, 504);
        assert_eq!(reply.error()["code"], "egress.timeout_first_byte");
        call.closed().await;
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_with_an_error() {
    let (mut upstream, home, gateway) = serve("timeouts: { idle: 1s }").await;
    let (stream, call) = begun(&mut upstream, &gateway).await;
    check_cut(&home, stream, "egress.timeout_idle").await;
    call.closed().await;
}

#[tokio::test]
async fn a_document_that_falls_silent_times_out() {
    let (mut upstream, _home, gateway) = serve("timeouts: { idle: 1s }").await;
    let request = ask("hello");
    let (reply, call) = tokio::join!(gateway.client().chat(&request), async {
        let mut call = upstream.call().await;
        call.begin_with("application/json").await;
        call.send("{\"id\":").await;
        call
    });
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert_eq!(reply.error()["code"], "egress.timeout_idle");
    call.closed().await;
}

#[tokio::test]
async fn a_stream_without_end_is_ended() {
    let (mut upstream, home, gateway) = serve("timeouts: { total: 2s }").await;
    let (mut stream, mut call) = begun(&mut upstream, &gateway).await;
    // It is never silent: each event is answered by another.
    let last = loop {
        // The gateway may just have hung up.
        let _ = call.try_send(FIRST).await;
        let event = stream.event().await.unwrap();
        if format!("{event}\n\n") != FIRST {
            break event;
        }
    };
    assert_eq!(checked_error(&data(&last))["code"], "egress.timeout_total");
    assert_eq!(stream.event().await, None);
    assert_eq!(home.result().await["result"]["code"], "egress.timeout_total");
}

#[tokio::test]
async fn a_stream_that_is_cut_ends_with_an_error() {
    let (mut upstream, home, gateway) = serve("").await;
    let (stream, mut call) = begun(&mut upstream, &gateway).await;
    // In the middle of an event.
    call.send("data: {\"choices\":[{\"ind").await;
    drop(call);
    check_cut(&home, stream, "egress.cut").await;
}

#[tokio::test]
async fn a_stream_that_stops_without_done_ends_with_an_error() {
    let (mut upstream, home, gateway) = serve("").await;
    let (stream, call) = begun(&mut upstream, &gateway).await;
    call.end().await;
    check_cut(&home, stream, "egress.cut").await;
}

#[tokio::test]
async fn a_document_that_is_cut_is_a_bad_gateway() {
    let (mut upstream, home, gateway) = serve("").await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let mut call = upstream.call().await;
        call.begin_with("application/json").await;
        call.send("{\"id\":").await;
    });
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error()["code"], "egress.cut");
    assert_eq!(home.result().await["result"]["code"], "egress.cut");
}

#[tokio::test]
async fn an_error_inside_a_stream_is_passed_on_once_and_recorded() {
    let error = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"novel\":1}}\n\n";
    for then in [None, Some(DONE)] {
        let (mut upstream, home, gateway) = serve("").await;
        let (stream, mut call) = begun(&mut upstream, &gateway).await;
        call.send(error).await;
        if let Some(then) = then {
            call.send(then).await;
        }
        call.end().await;
        let rest = stream.rest().await;
        let expected = [error].into_iter().chain(then).map(|event| event.trim_end().to_owned());
        assert_eq!(rest, expected.collect::<Vec<_>>());
        assert_eq!(home.result().await["result"]["outcome"], "failed");
    }
}
