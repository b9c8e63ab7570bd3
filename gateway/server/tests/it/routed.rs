//! Which upstream is asked: again, not again, not any more, always the same, or for nobody.

use serde_json::Value;

use crate::client::{ask, checked_error, data, streamed};
use crate::gateway::{Gateway, Home, closed_port};
use crate::patience::eventually;
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, FIRST, SECOND, USAGE, Upstream};

async fn serve(routes: Routes, entry: &str) -> (Home, Gateway) {
    let home = Home::new(&routes.entry("docs", entry));
    let gateway = home.serve().await;
    (home, gateway)
}

#[tokio::test]
async fn an_upstream_that_was_busy_for_a_moment_is_asked_again() {
    let mut up = Upstream::start().await;
    let routes = Routes::default().local("up", up.port(), "");
    let (home, gateway) = serve(routes, "to: [up], retry: { attempts: 2 }").await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        up.call().await.answer_with("503 Service Unavailable", "retry-after: 0\r\n", "{}").await;
        up.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.text(), DOCUMENT);
    let result = home.result().await;
    assert_eq!((&result["route"]["model"], &result["route"]["attempt"]), (&"up".into(), &2.into()));
    assert_eq!(home.records_of("llm.intent").len(), 1, "one call, however many tries");
    assert_eq!(gateway.metric("portcullis_upstream_retries_total", "model=\"up\"").await, 1);
}

#[tokio::test]
async fn a_closed_door_is_knocked_at_as_often_as_the_policy_says() {
    let routes = Routes::default().local("up", closed_port(), "");
    let (_home, gateway) = serve(routes, "to: [up], retry: { attempts: 3 }").await;
    let reply = gateway.client().chat(&ask("hello")).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error()["code"], "egress.connect");
    assert_eq!(gateway.metric("portcullis_upstream_retries_total", "model=\"up\"").await, 2);
}

#[tokio::test]
async fn what_may_have_been_accepted_is_not_sent_again() {
    for status in ["500 Internal Server Error", "429 Too Many Requests", "400 Bad Request"] {
        let mut up = Upstream::start().await;
        let routes = Routes::default().local("up", up.port(), "");
        let (_home, gateway) = serve(routes, "to: [up], retry: { attempts: 3 }").await;
        let request = ask("hello");
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            up.call().await.answer_with(status, "", "{}").await;
        });
        assert!(status.starts_with(&reply.status.to_string()), "{status}: {}", reply.status);
        assert_eq!(up.dials().await, 1, "{status}");
    }
}

#[tokio::test]
async fn nothing_is_sent_again_once_something_has_arrived() {
    let mut up = Upstream::start().await;
    let routes = Routes::default().local("up", up.port(), "");
    let (_home, gateway) = serve(routes, "to: [up], retry: { attempts: 3 }").await;
    let request = streamed(ask("hello"));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let mut call = up.call().await;
        call.begin().await;
        call.send(FIRST).await;
    });
    let events = reply.events();
    assert_eq!(checked_error(&data(events.last().unwrap()))["code"], "egress.cut");
    assert_eq!(up.dials().await, 1);
}

#[tokio::test]
async fn an_open_breaker_passes_over_its_upstream() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let breaker = "breaker: { failures: 2, window: 60s, open_for: 60s }";
    let routes = Routes::default().local("one", first.port(), breaker).local("two", second.port(), "");
    let (_home, gateway) = serve(routes, "to: [one, two]").await;
    let request = ask("hello");
    for call in 1..=4 {
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            if call <= 2 {
                first.call().await.answer_with("500 Internal Server Error", "", "{}").await;
            }
            second.call().await.answer(DOCUMENT).await;
        });
        assert_eq!(reply.status, 200);
    }
    assert_eq!(first.dials().await, 2);
    assert_eq!(gateway.metric("portcullis_upstream_breaker_state", "model=\"one\"").await, 2);
    assert_eq!(gateway.metric("portcullis_upstream_breaker_state", "model=\"two\"").await, 0);
}

#[tokio::test]
async fn when_no_upstream_can_be_asked_the_caller_hears_until_when() {
    let breaker = "breaker: { failures: 1, window: 60s, open_for: 60s }";
    let routes = Routes::default().local("up", closed_port(), breaker);
    let (home, gateway) = serve(routes, "to: [up]").await;
    assert_eq!(gateway.client().chat(&ask("hello")).await.status, 502);
    let reply = gateway.client().chat(&ask("hello")).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.error()["code"], "upstreams_unavailable");
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=61).contains(&wait), "{wait}");
    let last = home.records_of("llm.result").pop().unwrap();
    assert_eq!(last["result"]["code"], "upstreams_unavailable");
}

#[tokio::test]
async fn a_wrong_request_and_a_client_that_leaves_open_no_breaker() {
    let mut up = Upstream::start().await;
    let routes =
        Routes::default().local("up", up.port(), "breaker: { failures: 1, window: 60s, open_for: 60s }");
    let (_home, gateway) = serve(routes, "to: [up]").await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        up.call().await.answer_with("400 Bad Request", "", "{}").await;
    });
    assert_eq!(reply.status, 400);
    let held = gateway.client().post_and_hold(&request).await;
    let call = up.call().await;
    drop(held);
    call.closed().await;
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        up.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn an_upstream_that_asks_for_time_is_left_alone() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let routes = Routes::default().local("one", first.port(), "").local("two", second.port(), "");
    let (_home, gateway) = serve(routes, "to: [one, two], retry: { attempts: 3 }").await;
    let request = ask("hello");
    for call in 1..=3 {
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            if call == 1 {
                first.call().await.answer_with("429 Too Many Requests", "retry-after: 60\r\n", "{}").await;
            }
            second.call().await.answer(DOCUMENT).await;
        });
        assert_eq!(reply.status, 200);
    }
    assert_eq!(first.dials().await, 1);
    assert_eq!(gateway.metric("portcullis_upstream_breaker_state", "model=\"one\"").await, 0);
}

/// Which of two upstreams a conversation goes to.
async fn home_of(gateway: &Gateway, upstreams: &mut [Upstream; 2], session: &str) -> usize {
    let client = gateway.client().with_header("x-session-id", session);
    let request = ask("hello");
    let [one, two] = upstreams;
    let (reply, home) = tokio::join!(client.chat(&request), async {
        let (call, home) = tokio::select! {
            call = one.call() => (call, 0),
            call = two.call() => (call, 1),
        };
        call.answer(DOCUMENT).await;
        home
    });
    assert_eq!(reply.status, 200);
    home
}

#[tokio::test]
async fn a_split_keeps_a_conversation_where_it_is() {
    let mut upstreams = [Upstream::start().await, Upstream::start().await];
    let routes =
        Routes::default().local("one", upstreams[0].port(), "").local("two", upstreams[1].port(), "");
    let (home, gateway) = serve(routes, "split: { one: 50, two: 50 }").await;
    let mut homes = Vec::new();
    for session in 0..12 {
        let session = format!("session-{session}");
        let first = home_of(&gateway, &mut upstreams, &session).await;
        assert_eq!(home_of(&gateway, &mut upstreams, &session).await, first, "{session}");
        homes.push(first);
    }
    assert!(homes.contains(&0) && homes.contains(&1), "{homes:?}");
    for (intent, result) in home.records_of("llm.intent").iter().zip(home.records_of("llm.result")) {
        assert_eq!(intent["route"]["model"], result["route"]["model"], "the intent names where it goes");
    }
}

#[tokio::test]
async fn a_conversation_without_a_name_is_known_by_its_beginning() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let routes = Routes::default().local("one", first.port(), "").local("two", second.port(), "");
    let (home, gateway) = serve(routes, "split: { one: 50, two: 50 }").await;
    for turns in 0..6 {
        let mut request = ask("one and the same beginning");
        for turn in 0..turns {
            let role = if turn % 2 == 0 { "assistant" } else { "user" };
            let message = serde_json::json!({ "role": role, "content": format!("turn {turn}") });
            request["messages"].as_array_mut().unwrap().push(message);
        }
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            let call = tokio::select! { call = first.call() => call, call = second.call() => call };
            call.answer(DOCUMENT).await;
        });
        assert_eq!(reply.status, 200);
    }
    let results = home.records_of("llm.result");
    let first = &results[0]["route"]["model"];
    assert!(results.iter().all(|result| result["route"]["model"] == *first), "{results:#?}");
}

#[tokio::test]
async fn a_copy_is_recorded_and_nobody_hears_of_it() {
    let (mut up, mut copy) = (Upstream::start().await, Upstream::start().await);
    let routes = Routes::default().local("up", up.port(), "").local("other", copy.port(), "");
    let (home, gateway) = serve(routes, "to: [up], shadow: other").await;
    let request = streamed(ask("hello"));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        up.call().await.stream(&[FIRST, SECOND, USAGE, DONE]).await;
    });
    assert_eq!(reply.text(), [FIRST, SECOND, USAGE, DONE].concat(), "nobody waits for the copy");
    let call = copy.call().await;
    assert!(call.body.contains("\"upstream-other\""), "{}", call.body);
    call.stream(&[FIRST, SECOND, USAGE, DONE]).await;
    let results = eventually("both results", async || {
        Some(home.records_of("llm.result")).filter(|results| results.len() == 2)
    })
    .await;
    let marked: Vec<&Value> = results.iter().filter(|result| result["route"]["shadow"] == true).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0]["route"]["model"], "other");
    assert_eq!(marked[0]["result"]["outcome"], "completed");
    assert_eq!(home.records_of("llm.intent").len(), 2);
    assert_eq!(gateway.metric("portcullis_requests_total", "workflow=\"docs\"").await, 1);
    assert_eq!(gateway.metric("portcullis_tokens_total", "model=\"up\"").await, 9);
    assert_eq!(gateway.metric("portcullis_tokens_total", "model=\"other\"").await, 0);
    assert_eq!(gateway.metric("portcullis_upstream_shadow_total", "outcome=\"ok\"").await, 1);
}

#[tokio::test]
async fn a_copy_that_fails_or_hangs_changes_nothing() {
    let mut up = Upstream::start().await;
    let breaker = "breaker: { failures: 1, window: 60s, open_for: 60s }";
    let routes = Routes::default().local("up", up.port(), "").local("other", closed_port(), breaker);
    let (home, gateway) = serve(routes, "to: [up], shadow: other").await;
    let request = ask("hello");
    for _ in 0..2 {
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            up.call().await.answer(DOCUMENT).await;
        });
        assert_eq!(reply.text(), DOCUMENT);
    }
    eventually("four results", async || Some(()).filter(|()| home.records_of("llm.result").len() == 4)).await;
    assert_eq!(gateway.metric("portcullis_upstream_breaker_state", "model=\"other\"").await, 0);
}

#[tokio::test]
async fn a_provider_that_says_it_is_not_well_is_passed_over_until_it_is() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let health = "health: { path: /healthz, every: 1s }";
    let routes = Routes::default().local("one", first.port(), health).local("two", second.port(), "");
    let (home, gateway) = serve(routes, "to: [one, two]").await;
    for (status, verdict) in [("503 Service Unavailable", 0), ("204 No Content", 1)] {
        for _ in 0..2 {
            let probe = first.call().await;
            assert!(probe.head.starts_with("GET /healthz HTTP/1.1\r\n"), "{}", probe.head);
            assert_eq!(probe.header("authorization"), None);
            probe.answer_with(status, "", "").await;
        }
        eventually("the verdict", async || {
            let seen = gateway.metric("portcullis_upstream_health", "provider=\"one\"").await;
            Some(()).filter(|()| seen == verdict)
        })
        .await;
        if verdict == 0 {
            let request = ask("hello");
            let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
                second.call().await.answer(DOCUMENT).await;
            });
            assert_eq!(reply.text(), DOCUMENT);
        }
    }
    assert_eq!(home.records_of("llm.result").len(), 1, "probes are no calls");
}
