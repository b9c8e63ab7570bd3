//! The audit trail of calls: written before the client can know, complete, and without anybody's words.

use serde_json::{Value, json};

use crate::client::{ask, streamed, with};
use crate::gateway::Home;
use crate::patience::eventually;
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, FIRST, SECOND, USAGE, Upstream};

#[tokio::test]
async fn a_call_is_on_record_before_it_is_sent_and_before_it_is_over() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let ready = gateway.client().get("/readyz").await.json();
    let request = with(streamed(ask("hello")), json!({ "model": "up" }));
    let (mut stream, mut call) = tokio::join!(gateway.client().open(&request), async {
        let mut call = upstream.call().await;
        // The provider has the request; nothing of the answer exists.
        assert_eq!(home.records_of("llm.intent").len(), 1);
        call.begin().await;
        call.send(FIRST).await;
        call
    });
    stream.event().await;
    for event in [SECOND, USAGE] {
        call.send(event).await;
        stream.event().await;
    }
    assert_eq!(home.records_of("llm.result").len(), 0);
    call.send(DONE).await;
    assert_eq!(stream.event().await.unwrap(), "data: [DONE]");
    // The client has seen the end, so the record is on the disk: no waiting here.
    let (intents, results) = (home.records_of("llm.intent"), home.records_of("llm.result"));
    assert_eq!((intents.len(), results.len()), (1, 1));
    let (intent, result) = (&intents[0], &results[0]);
    assert_eq!(result["intent"], intent["id"]);
    assert!(intent["seq"].as_u64() < result["seq"].as_u64());

    assert_eq!(intent["workflow"], "docs");
    assert_eq!(intent["owner"], "team");
    assert_eq!(intent["caller"], json!({ "kind": "loopback", "id": "loopback" }));
    assert_eq!(intent["policy"]["digest"], ready["policy_digest"]);
    assert_eq!(intent["policy"]["rule"], "workflows.docs.route[0]");
    assert_eq!(intent["decision"], json!({ "effect": "allow", "code": "allowed" }));
    assert_eq!(intent["request"]["model_requested"], "up");
    assert_eq!(intent["request"]["bytes"], request.to_string().len());
    assert_eq!(
        intent["route"],
        json!({ "model": "up", "provider": "up", "locality": "local", "attempt": 1 })
    );
    assert_eq!(result["result"]["outcome"], "completed");
    assert_eq!(result["result"]["status"], 200);
    assert!(result["result"]["ttft_ms"].as_u64().unwrap() <= result["result"]["dur_ms"].as_u64().unwrap());
}

#[tokio::test]
async fn every_call_has_one_intent_and_one_result_and_no_words_of_its_own() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let client = gateway.client();
    let words = "zanzibar-prompt";
    let mut answers = Vec::new();
    for request in [
        ask(words),
        streamed(ask(words)),
        with(ask(words), json!({ "user": words, "metadata": { words: words } })),
        with(ask(words), json!({ "max_tokens": 100_000 })),
        with(ask(words), json!({ "n": 2 })),
    ] {
        let reply = client.chat(&request).await;
        let record = reply.header("x-portcullis-record").map(str::to_owned);
        answers.push((reply.status, record.expect("each admitted call names its record")));
    }
    let unreadable = client.post(format!("{{\"{words}\":")).await;
    assert_eq!((unreadable.status, unreadable.header("x-portcullis-record")), (400, None));
    let denied = client.chat(&with(ask(words), json!({ "model": "other" }))).await;
    assert_eq!(denied.status, 404);
    assert_eq!(client.with_key("pck_x_zanzibar").chat(&ask(words)).await.status, 401);

    let log = gateway.stop().await;
    let (intents, results) = (home.records_of("llm.intent"), home.records_of("llm.result"));
    let ids = |records: &[Value], member: &str| -> Vec<String> {
        records.iter().map(|record| record[member].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&intents, "id"), answers.iter().map(|(_, record)| record.clone()).collect::<Vec<_>>());
    assert_eq!(ids(&intents, "id"), ids(&results, "intent"));
    for ((status, _), result) in answers.iter().zip(&results) {
        assert_eq!(result["result"]["status"], *status);
        assert_eq!(result["result"]["outcome"], if *status == 200 { "completed" } else { "failed" });
    }
    for kind in ["llm.denied", "authn.fail", "policy.activate", "log.open", "log.close"] {
        assert_eq!(home.records_of(kind).len(), 1, "{kind}");
    }
    let trail: String = home.records().iter().map(Value::to_string).collect();
    assert!(!trail.contains("zanzibar"), "{trail}");
    assert!(!log.contains("zanzibar"), "{log}");
}

#[tokio::test]
async fn calls_are_refused_once_they_cannot_be_recorded() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve_on_a_small_disk(16).await;
    let client = gateway.client();
    let refused = eventually("a full disk", async || {
        let reply = client.chat(&ask("hello")).await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.error()["code"], "audit_unavailable");
    let served = gateway.metric("portcullis_requests_total", "").await;
    for request in [ask("hello"), streamed(ask("hello"))] {
        let reply = client.chat(&request).await;
        assert_eq!(reply.status, 503);
        assert_eq!(reply.error()["code"], "audit_unavailable");
    }
    // Not even who was turned away is answered as usual.
    assert_eq!(client.with_key("pck_x_wrong").chat(&ask("hello")).await.status, 503);
    assert_eq!(gateway.metric("portcullis_requests_total", "").await, served, "no call was made");
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["audit_healthy"], false);
    gateway.kill();

    // With room again, the next run starts, says what is missing, and what was written is intact.
    let gateway = home.serve().await;
    assert_eq!(gateway.client().chat(&ask("hello")).await.status, 200);
    gateway.stop().await;
    let output = home.run(&["audit", "verify", home.audit_dir().to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(10), "{said}");
    assert!(said.contains("integrity:    VALID"), "{said}");
}

#[tokio::test]
async fn the_trails_of_calls_and_of_connections_explain_each_other() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let routes = Routes::default().local("one", first.port(), "").local("two", second.port(), "");
    let home = Home::new(&routes.workflow("docs", "{ mode: sealed }", "one, two"));
    let gateway = home.serve().await;
    // More than a handshake takes, so that each connection needs its call.
    let request = ask(&"word ".repeat(10_000));
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        first.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.text(), DOCUMENT);
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        first.call().await.answer_with("500 Internal Server Error", "", "{}").await;
        second.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.text(), DOCUMENT);
    let connection = gateway.client().post_at_and_hold("/v1/chat/completions", &request).await;
    let call = first.call().await;
    drop(connection);
    call.closed().await;
    gateway.stop().await;

    let output = home.run(&["audit", "reconcile", "data/audit", "data/witness", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["verdict"], "reconciled");
    assert_eq!((&report["tally"]["calls"], &report["tally"]["calls_connected"]), (&json!(3), &json!(3)));
    // Four tries carried the request.
    assert!(report["tally"]["bytes_sent"].as_u64() > Some(4 * 50_000), "{report:#}");
}
