//! The load generator against upstreams whose answers are known.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use benches::load::{self, Delivery, Plan};
use benches::mock::{self, Script};
use benches::report::{Failure, Report};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Runs `plan`'s numbers against `router`.
async fn measure(router: Router, delivery: Delivery, max_tokens: u32) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url = format!("http://{}/v1", listener.local_addr().expect("a bound address"));
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await });
    let plan = Plan {
        base_url,
        api_key: None,
        model: "auto".to_owned(),
        concurrency: 3,
        requests: 10,
        prompt_tokens: 20,
        max_tokens,
        delivery,
        timeout: Duration::from_secs(60),
    };
    load::run(plan).await.expect("the plan is right")
}

fn mock() -> Router {
    mock::router(Script { tokens: 7, first_token_delay: Duration::ZERO, token_delay: Duration::ZERO })
}

/// An endpoint that always answers alike.
fn fixed(status: StatusCode, kind: &'static str, body: &'static str) -> Router {
    let answer = move || async move { (status, [(CONTENT_TYPE, kind)], body) };
    Router::new().route("/v1/chat/completions", post(answer))
}

#[tokio::test]
async fn every_token_of_a_stream_is_timed_and_counted() {
    let report = measure(mock(), Delivery::Stream, 64).await;
    assert_eq!((report.completed(), report.output_tokens()), (10, 70));
    assert_eq!((report.first_token().count(), report.inter_token().count()), (10, 60));
    assert!(report.failures().is_empty(), "{report}");
}

#[tokio::test]
async fn a_whole_answer_has_tokens_and_no_first_one() {
    let report = measure(mock(), Delivery::Whole, 5).await;
    assert_eq!((report.completed(), report.output_tokens()), (10, 50));
    assert_eq!(report.first_token().count(), 0);
}

#[tokio::test]
async fn refusals_are_counted_by_their_status() {
    // No answer has 0 tokens, so the mock refuses as the gateway would.
    let report = measure(mock(), Delivery::Stream, 0).await;
    assert_eq!(report.completed(), 0);
    assert_eq!(report.failures().iter().collect::<Vec<_>>(), [(&Failure::Status(400), &10)]);
}

#[tokio::test]
async fn a_stream_without_its_end_is_no_answer() {
    let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let report = measure(fixed(StatusCode::OK, "text/event-stream", cut), Delivery::Stream, 5).await;
    assert_eq!(report.failures().iter().collect::<Vec<_>>(), [(&Failure::Cut, &10)]);
}

#[tokio::test]
async fn an_error_inside_a_stream_is_no_answer() {
    let failed = "data: {\"error\":{\"message\":\"overloaded\"}}\n\ndata: [DONE]\n\n";
    let report = measure(fixed(StatusCode::OK, "text/event-stream", failed), Delivery::Stream, 5).await;
    assert_eq!(report.failures().iter().collect::<Vec<_>>(), [(&Failure::Reported, &10)]);
}

#[tokio::test]
async fn an_answer_that_does_not_count_itself_is_told_apart() {
    let report = measure(fixed(StatusCode::OK, "application/json", "{}"), Delivery::Whole, 5).await;
    assert_eq!(report.failures().iter().collect::<Vec<_>>(), [(&Failure::Uncounted, &10)]);
}
