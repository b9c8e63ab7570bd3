//! Fallback: the next destination is asked when one fails, and only while nothing has reached the client.

use serde_json::json;

use crate::client::{ask, checked_error, data, streamed};
use crate::gateway::{Gateway, Home, closed_port};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, FIRST, SECOND, USAGE, Upstream};

/// A gateway whose one workflow asks a provider at `first` and then one at `second`.
async fn serve(first: u16, second: u16) -> (Home, Gateway) {
    let routes = Routes::default().local("one", first, "").local("two", second, "");
    let home = Home::new(&routes.workflow("docs", "{ mode: sealed }", "one, two"));
    let gateway = home.serve().await;
    (home, gateway)
}

#[tokio::test]
async fn the_second_answers_when_the_first_is_down() {
    let mut second = Upstream::start().await;
    let (home, gateway) = serve(closed_port(), second.port()).await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let call = second.call().await;
        assert!(
            call.body.contains("\"upstream-two\""),
            "the second is asked for its own model: {}",
            call.body
        );
        call.answer(DOCUMENT).await;
    });
    assert_eq!(reply.text(), DOCUMENT);
    let result = home.result().await;
    let expected = json!({
        "model": "two", "provider": "two", "locality": "local", "attempt": 2, "dial": result["route"]["dial"],
    });
    assert_eq!(result["route"], expected);
    assert!(result["route"]["dial"].is_string());
    // Nothing was connected to before.
    assert_eq!(result["result"].get("dials_earlier"), None);
    assert_eq!(home.records_of("llm.intent").len(), 1);
}

#[tokio::test]
async fn the_second_answers_when_the_first_cannot() {
    for status in
        ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable", "401 Unauthorized"]
    {
        let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
        let (home, gateway) = serve(first.port(), second.port()).await;
        let request = streamed(ask("hello"));
        let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
            first.call().await.answer_with(status, "", "{}").await;
            second.call().await.stream(&[FIRST, SECOND, USAGE, DONE]).await;
        });
        assert_eq!(reply.text(), [FIRST, SECOND, USAGE, DONE].concat(), "{status}");
        assert_eq!(first.dials().await, 1);
        // Both connections are explained: by which the call went, and by which it did not.
        let result = home.result().await;
        let earlier = result["result"]["dials_earlier"].as_array().unwrap();
        assert!(result["route"]["dial"].is_string());
        assert!(earlier.len() == 1 && earlier[0] != result["route"]["dial"], "{result}");
    }
}

#[tokio::test]
async fn the_model_in_the_process_stands_in_for_a_provider() {
    let routes = Routes::default().engine().local("up", closed_port(), "");
    let home = Home::new(&routes.workflow("docs", "{ mode: sealed }", "up, demo"));
    let gateway = home.serve().await;
    let reply = gateway.client().chat(&ask("hello")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["model"], "demo");
    assert_eq!(home.result().await["route"]["model"], "demo");
}

#[tokio::test]
async fn nobody_stands_in_once_something_has_arrived() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let (_home, gateway) = serve(first.port(), second.port()).await;
    let request = streamed(ask("hello"));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let mut call = first.call().await;
        call.begin().await;
        call.send(FIRST).await;
    });
    let events = reply.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(checked_error(&data(&events[1]))["code"], "egress.cut");
    assert_eq!(second.dials().await, 0);
}

#[tokio::test]
async fn nobody_stands_in_for_a_request_that_is_wrong() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let (_home, gateway) = serve(first.port(), second.port()).await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let body = r#"{"error":{"message":"no such tool","type":"invalid_request_error","param":"tools","code":null}}"#;
        first.call().await.answer_with("400 Bad Request", "", body).await;
    });
    assert_eq!(reply.status, 400);
    assert_eq!(reply.error()["message"], "no such tool");
    assert_eq!(reply.error()["param"], "tools");
    assert_eq!(second.dials().await, 0);
}

#[tokio::test]
async fn when_all_fail_the_last_is_heard() {
    let mut second = Upstream::start().await;
    let (home, gateway) = serve(closed_port(), second.port()).await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let body = r#"{"error":{"message":"try tomorrow"}}"#;
        second.call().await.answer_with("503 Service Unavailable", "retry-after: 9\r\n", body).await;
    });
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), Some("9"));
    assert_eq!(reply.error()["message"], "try tomorrow");
    let result = home.result().await;
    assert_eq!(result["result"]["outcome"], "failed");
    assert_eq!(result["route"]["attempt"], 2);
}
