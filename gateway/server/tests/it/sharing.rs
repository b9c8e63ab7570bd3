//! The engine shared by workflows: what one has computed, and who would wait too long.

use serde_json::{Value, json};

use crate::client::{Reply, ask, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;

/// Longer than a few blocks of the cache.
const LONG: &str = "count from 1 to 9, then down again, then up, and once more from the beginning to the end";

async fn serve() -> (Home, Gateway) {
    let routes = Routes::default().engine();
    let routes =
        routes.workflow("one", "{ mode: sealed }", "demo").workflow("two", "{ mode: sealed }", "demo");
    let home = Home::new(&routes);
    let gateway = home.serve().await;
    (home, gateway)
}

async fn posted(gateway: &Gateway, workflow: &str, request: &Value) -> Reply {
    let path = format!("/w/{workflow}/v1/chat/completions");
    gateway.client().request("POST", &path, request.to_string()).await
}

/// Tokens of the prompt that the cache had, and all of them.
async fn cached(gateway: &Gateway, workflow: &str, text: &str) -> (u64, u64) {
    let usage = posted(gateway, workflow, &ask(text)).await.json()["usage"].clone();
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    (cached, usage["prompt_tokens"].as_u64().unwrap())
}

#[tokio::test]
async fn a_workflow_finds_what_it_asked_before_and_no_other_does() {
    let (home, gateway) = serve().await;
    let (none, all) = cached(&gateway, "one", LONG).await;
    let (found, _) = cached(&gateway, "one", LONG).await;
    assert_eq!(none, 0);
    assert!(found >= all / 2 && found < all, "{found} of {all}");
    assert_eq!(cached(&gateway, "two", LONG).await.0, 0);
    assert_eq!(gateway.metric("portcullis_engine_prompt_tokens_cached_total", "").await, found);
    gateway.stop().await;
    let usages: Vec<Value> =
        home.records_of("llm.result").iter().map(|record| record["result"]["tokens"].clone()).collect();
    assert_eq!(usages.iter().filter(|usage| usage["cached"] == json!(found)).count(), 1, "{usages:#?}");
}

#[tokio::test]
async fn who_waits_less_than_it_takes_is_told_at_once_and_when_to_come_back() {
    let (_home, gateway) = serve().await;
    let warm = posted(&gateway, "one", &with(ask(LONG), json!({ "max_tokens": 2 }))).await;
    assert_eq!(warm.status, 200);
    let client = gateway.client().with_header("x-portcullis-first-token-within", "1ms");
    let path = "/w/two/v1/chat/completions";
    let reply = client.request("POST", path, ask(&LONG.repeat(4)).to_string()).await;
    assert_eq!((reply.status, &reply.error()["code"]), (429, &json!("engine_too_slow")), "{}", reply.text());
    assert_eq!(reply.error()["type"], "rate_limit_error");
    assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() >= 1));
    let patient = gateway.client().with_header("x-stainless-read-timeout", "600.0");
    assert_eq!(patient.request("POST", path, ask(LONG).to_string()).await.status, 200);
}
