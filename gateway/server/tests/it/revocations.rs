//! What is denied at once: at the door, in streams that run, and whatever state the policy file is in.

use std::time::Instant;

use serde_json::{Value, json};

use crate::callers::{KEY, key_caller};
use crate::client::{Client, ask, with};
use crate::gateway::{Gateway, Home};
use crate::leaving::calls;
use crate::patience::eventually;
use crate::reload::{reload, serve};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, Upstream};

const LIST: &str = "revocations.yaml";

/// Writes the list as a whole: the gateway may look at any moment.
fn put(home: &Home, text: &str) {
    home.write("next.yaml", text);
    std::fs::rename(home.path().join("next.yaml"), home.path().join(LIST)).unwrap();
}

/// Puts a list in force.
async fn revoke(home: &Home, admin: &Client, lists: &str) {
    put(home, &format!("version: 1\n{lists}\n"));
    let outcome = reload(admin).await;
    assert_eq!(outcome.json()["revocations"]["failure"], Value::Null, "{}", outcome.text());
}

async fn check_revoked(client: &Client, request: &Value) {
    let reply = client.chat(request).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert_eq!(reply.error()["code"], "revoked");
}

async fn answered(gateway: &Gateway, upstream: &mut Upstream) {
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        upstream.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_revocation_cuts_running_streams_of_every_dialect_while_the_policy_file_is_broken() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let (gateway, admin) = serve(&home).await;
    let mut running = Vec::new();
    for (path, request) in calls() {
        let streamed = with(request, json!({ "stream": true }));
        let (mut stream, call) = upstream.stream_at(&gateway, path, &streamed).await;
        assert!(stream.event().await.is_some());
        running.push((stream, call));
    }
    home.write("routes.yaml", "version: 1\nproviders: [\n");
    assert_eq!(reload(&admin).await.status, 422);

    // Nobody says that the list is there.
    let since = Instant::now();
    put(&home, "version: 1\nworkflows: [{ name: docs, reason: \"a leak\", since: 2026-01-31 }]\n");
    for (stream, call) in running {
        let last = stream.rest().await.pop().unwrap();
        assert!(last.contains("\"revoked\"") || last.contains("is revoked"), "{last}");
        assert!(!last.contains("[DONE]") && !last.contains("message_stop"), "{last}");
        call.closed().await;
    }
    // Half a second in the code; the rest is for a busy machine.
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
    for result in home.records_of("llm.result") {
        assert_eq!(result["result"]["outcome"], "failed");
        assert_eq!(result["result"]["code"], "revoked");
    }
    assert_eq!(home.records_of("llm.result").len(), 3);

    check_revoked(gateway.client(), &ask("hello")).await;
    let denied = home.records_of("llm.denied");
    assert_eq!((&denied[0]["decision"]["code"], &denied[0]["workflow"]), (&json!("revoked"), &json!("docs")));
    assert_eq!(denied[0]["policy"]["rule"], "revocations.workflows");
    assert_eq!(upstream.dials().await, 3);
    let active = home.records_of("revocations.activate");
    assert_eq!((active.len(), &active[0]["revocations"]["entries"]), (1, &json!(1)));
}

#[tokio::test]
async fn each_list_denies_and_gives_back() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), "").workflow_of(
        "keyed",
        &key_caller(),
        "{ mode: sealed }",
        "up",
    ));
    let (gateway, admin) = serve(&home).await;
    let keyed = gateway.client().with_key(KEY);
    for (lists, client) in [
        ("callers: [loopback]", gateway.client()),
        ("callers: [{ id: ci }]", &keyed),
        ("keys: [ci]", &keyed),
        ("workflows: [docs]", gateway.client()),
        ("providers: [up]", gateway.client()),
        ("hosts: [127.0.0.1]", gateway.client()),
    ] {
        revoke(&home, &admin, lists).await;
        check_revoked(client, &ask("hello")).await;
        if !lists.contains("up") && !lists.contains("127") {
            assert_eq!(client.get("/v1/models").await.status, 403, "{lists}");
        }
        revoke(&home, &admin, "").await;
        answered(&gateway, &mut upstream).await;
    }
    // A key's id is not a caller of another kind.
    revoke(&home, &admin, "keys: [loopback]\nproviders: [elsewhere]\nhosts: [\"*.example.com\"]").await;
    answered(&gateway, &mut upstream).await;
}

#[tokio::test]
async fn another_destination_stands_in_for_a_revoked_one() {
    let (mut one, mut two) = (Upstream::start().await, Upstream::start().await);
    let routes = Routes::default().local("one", one.port(), "").local("two", two.port(), "");
    let home = Home::new(&routes.workflow("docs", "{ mode: sealed }", "one, two"));
    let (gateway, admin) = serve(&home).await;
    answered(&gateway, &mut one).await;
    revoke(&home, &admin, "providers: [one]").await;
    answered(&gateway, &mut two).await;
    let result = home.records_of("llm.result").pop().unwrap();
    assert_eq!((&result["route"]["model"], &result["route"]["attempt"]), (&json!("two"), &json!(2)));
    assert_eq!(one.dials().await, 1);
}

#[tokio::test]
async fn a_call_that_waits_for_its_answer_is_refused_too() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let (gateway, admin) = serve(&home).await;
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        let call = upstream.call().await;
        revoke(&home, &admin, "providers: [up]").await;
        call.closed().await;
    });
    assert_eq!((reply.status, &reply.error()["code"]), (403, &json!("revoked")));
    let result = home.result().await;
    assert_eq!(
        (&result["result"]["outcome"], &result["result"]["code"]),
        (&json!("failed"), &json!("revoked"))
    );
    assert_eq!(gateway.metric("portcullis_in_flight_requests", "").await, 0);
}

#[tokio::test]
async fn a_broken_list_changes_nothing_and_is_told() {
    let upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let (gateway, admin) = serve(&home).await;
    revoke(&home, &admin, "workflows: [docs]").await;
    for broken in ["version: 1\nworkflow: []\n", "version: 1\nworkflows: docs\n", ""] {
        put(&home, broken);
        let outcome = reload(&admin).await;
        assert_eq!(outcome.status, 422, "{}", outcome.text());
        assert_eq!(outcome.json()["revocations"]["failure"]["stage"], "compile");
        check_revoked(gateway.client(), &ask("hello")).await;
    }
    // Nor does it help to take the file away.
    std::fs::remove_file(home.path().join(LIST)).unwrap();
    assert_eq!(reload(&admin).await.json()["revocations"]["failure"]["stage"], "load");
    check_revoked(gateway.client(), &ask("hello")).await;
    let ready = gateway.client().get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["degraded"]["revocations"]["stage"]), (200, &json!("load")));
    let metrics = gateway.client().get("/metrics").await.text();
    assert!(metrics.contains("portcullis_revocations_reload_success 0\n"), "{metrics}");
    assert!(metrics.contains("portcullis_revocations_entries 1\n"), "{metrics}");
    assert_eq!(home.records_of("revocations.reject").len(), 4);

    revoke(&home, &admin, "").await;
    eventually("a list that is right again", async || {
        let ready = gateway.client().get("/readyz").await.json();
        ready["degraded"]["revocations"].is_null().then_some(())
    })
    .await;
    gateway.stop().await;

    // At the start there is none to go on with.
    put(&home, "version: 1\ncaller: [a]\n");
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("revocations.yaml:2:1: "));
    let output = home.run(&["serve", "--listen", "127.0.0.1:0", "--revocations", "elsewhere.yaml"]);
    assert_eq!(output.status.code(), Some(1));
}
