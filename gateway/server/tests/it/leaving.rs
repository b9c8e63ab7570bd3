//! Clients that go away, in every dialect: the provider's work ends, and the record says so.

use serde_json::{Value, json};

use crate::agents::{MESSAGES, RESPONSES, message, response};
use crate::client::{ask, with};
use crate::gateway::Home;
use crate::routes::Routes;
use crate::upstream::Upstream;

/// A call of each dialect that a provider of chat completions can answer.
pub(crate) fn calls() -> [(&'static str, Value); 3] {
    [("/v1/chat/completions", ask("hello")), (MESSAGES, message("hello")), (RESPONSES, response("hello"))]
}

// Rule 22, complaint 8.
#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_ends_the_work_in_every_dialect() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    for (path, request) in calls() {
        for request in [request.clone(), with(request, json!({ "stream": true }))] {
            let connection = gateway.client().post_at_and_hold(path, &request).await;
            let call = upstream.call().await;
            drop(connection);
            call.closed().await;
        }
    }
    gateway.stop().await;
    let results = home.records_of("llm.result");
    assert_eq!(results.len(), 6);
    assert!(results.iter().all(|result| result["result"]["outcome"] == "aborted"), "{results:#?}");
    // What may have reached the provider is explained.
    assert!(results.iter().all(|result| result["route"]["dial"].is_string()), "{results:#?}");
}

// Rule 22, complaint 8.
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_ends_the_work_in_every_dialect() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    for (path, request) in calls() {
        let streamed = with(request.clone(), json!({ "stream": true }));
        let (mut stream, call) = upstream.stream_at(&gateway, path, &streamed).await;
        assert!(stream.event().await.is_some());
        drop(stream);
        call.closed().await;
        // The same while a whole answer comes.
        let connection = gateway.client().post_at_and_hold(path, &request).await;
        let mut call = upstream.call().await;
        call.begin_with("application/json").await;
        call.send("{\"id\":").await;
        drop(connection);
        call.closed().await;
    }
    assert_eq!(gateway.metric("portcullis_in_flight_requests", "").await, 0);
    gateway.stop().await;
    let results = home.records_of("llm.result");
    assert_eq!(results.len(), 6);
    assert!(results.iter().all(|result| result["result"]["outcome"] == "aborted"), "{results:#?}");
    // What may have reached the provider is explained.
    assert!(results.iter().all(|result| result["route"]["dial"].is_string()), "{results:#?}");
}

// Rule 22.
#[tokio::test]
async fn a_client_that_leaves_frees_the_model_in_the_process_in_every_dialect() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    for (path, request) in calls() {
        let request = with(request, json!({ "stream": true }));
        let stream = gateway.client().open_at(path, &request).await;
        drop(stream);
        gateway.idle().await;
    }
}
