//! Calls that continue an earlier answer by its id alone.

use serde_json::{Value, json};

use crate::agents::{CREATED, OUTPUT, RESPONSE, RESPONSES, completed, response};
use crate::callers::{KEY, key_caller};
use crate::client::{Client, Reply, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, Upstream};

const KEPT: &str = "stored_responses: { keep: 1h, max: 1MiB }";

async fn serve(port: u16, more: &str) -> (Home, Gateway) {
    let callers = format!("{{ loopback: true }}, {}", key_caller());
    let routes = Routes::default().local("up", port, more);
    let home = Home::new(&routes.workflow_of("docs", &callers, "{ mode: sealed }", "up").and(KEPT));
    let gateway = home.serve().await;
    (home, gateway)
}

async fn post(client: &Client, request: &Value) -> Reply {
    client.request("POST", RESPONSES, request.to_string()).await
}

fn continuing(id: &Value) -> Value {
    with(response("and then?"), json!({ "previous_response_id": id }))
}

// Rule 30.
#[tokio::test]
async fn a_workflow_that_keeps_nothing_says_so() {
    let mut upstream = Upstream::start().await;
    for more in ["", "server: openai"] {
        let home = Home::new(&Routes::upstream(upstream.port(), more));
        let gateway = home.serve().await;
        let reply = post(gateway.client(), &continuing(&json!("resp_1"))).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert_eq!(reply.error()["param"], "previous_response_id");
        assert_eq!(reply.error()["code"], "stored_state_refused");
    }
    assert_eq!(upstream.dials().await, 0);
}

// Rule 30.
#[tokio::test]
async fn an_answer_is_continued_by_who_got_it_and_by_nobody_else() {
    let mut upstream = Upstream::start().await;
    let (_home, gateway) = serve(upstream.port(), "").await;
    let here = gateway.client();
    let request = with(response("hello"), json!({ "instructions": "Be brief." }));
    let (reply, ()) = tokio::join!(post(here, &request), async {
        upstream.call().await.answer(DOCUMENT).await;
    });
    let id = reply.json()["id"].clone();
    let next = continuing(&id);
    let (reply, ()) = tokio::join!(post(here, &next), async {
        let call = upstream.call().await;
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        let said: Vec<(&str, &str)> = asked["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|turn| (turn["role"].as_str().unwrap(), turn["content"].as_str().unwrap()))
            .collect();
        // Instructions are not carried on, by the API's own rule.
        assert_eq!(said, [("user", "hello"), ("assistant", "from afar"), ("user", "and then?")]);
        assert!(!call.body.contains("previous_response_id"), "{}", call.body);
        call.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200, "{}", reply.text());

    let dials = upstream.dials().await;
    let stranger = post(&here.with_key(KEY), &next).await;
    assert_eq!(stranger.status, 400, "{}", stranger.text());
    assert_eq!(stranger.error()["code"], "previous_response_not_found");
    let invented = post(here, &continuing(&json!("resp_invented"))).await;
    assert_eq!(invented.error()["code"], "previous_response_not_found");
    assert_eq!(upstream.dials().await, dials, "nobody was asked");
}

// Rule 30.
#[tokio::test]
async fn an_answer_that_must_not_be_kept_is_not() {
    let mut upstream = Upstream::start().await;
    let (_home, gateway) = serve(upstream.port(), "").await;
    let request = with(response("hello"), json!({ "store": false }));
    let (reply, ()) = tokio::join!(post(gateway.client(), &request), async {
        upstream.call().await.answer(DOCUMENT).await;
    });
    let next = post(gateway.client(), &continuing(&reply.json()["id"])).await;
    assert_eq!(next.error()["code"], "previous_response_not_found");
}

// Rule 30.
#[tokio::test]
async fn an_answer_that_passed_through_is_continued_without_the_providers_memory() {
    let [item, end] = completed();
    let stream = [CREATED, OUTPUT[0], OUTPUT[1], OUTPUT[2], &item, &end];
    for is_streamed in [false, true] {
        let mut upstream = Upstream::start().await;
        let (_home, gateway) = serve(upstream.port(), "server: openai").await;
        let request = with(response("hello"), json!({ "stream": is_streamed }));
        let (reply, ()) = tokio::join!(post(gateway.client(), &request), async {
            let call = upstream.call().await;
            if is_streamed { call.stream(&stream).await } else { call.answer(RESPONSE).await }
        });
        assert_eq!(reply.status, 200, "{}", reply.text());
        let next = continuing(&json!("resp_1"));
        let (reply, ()) = tokio::join!(post(gateway.client(), &next), async {
            let call = upstream.call().await;
            assert!(call.head.starts_with("POST /v1/responses HTTP/1.1\r\n"), "{}", call.head);
            assert!(!call.body.contains("previous_response_id"), "{}", call.body);
            for said in ["hello", "from afar", "and then?"] {
                assert!(call.body.contains(said), "{said}: {}", call.body);
            }
            call.answer(RESPONSE).await;
        });
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}
