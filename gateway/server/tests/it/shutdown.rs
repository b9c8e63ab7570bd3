//! SIGTERM: what runs may finish, nothing new begins, and the exit says that all is well.

use tokio::net::TcpStream;

use crate::client::{Said, ask, streamed};
use crate::gateway::{Gateway, Home};
use crate::patience::eventually;
use crate::routes::Routes;
use crate::upstream::{DONE, SECOND, USAGE, Upstream};

/// The exit code is 0 and the trail is whole.
async fn check_ended_in_order(home: &Home, gateway: Gateway) {
    gateway.ended().await;
    let output = home.run(&["audit", "verify", home.audit_dir().to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    // One client keeps its connection after a call, another has said nothing yet.
    gateway.client().said(&ask("hello")).await;
    let _silent = TcpStream::connect(gateway.address()).await.unwrap();
    gateway.client().get("/healthz").await;
    gateway.terminate();
    check_ended_in_order(&home, gateway).await;
}

#[tokio::test]
async fn a_running_stream_finishes_and_nothing_new_begins() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve().await;
    let (mut stream, mut call) = upstream.stream_to(&gateway).await;
    let mut events = vec![stream.event().await.unwrap()];
    gateway.terminate();
    eventually("a gateway that takes nothing new", async || {
        TcpStream::connect(gateway.address()).await.is_err().then_some(())
    })
    .await;
    assert!(gateway.client().try_get("/readyz").await.is_none());
    for event in [SECOND, USAGE, DONE] {
        call.send(event).await;
    }
    events.extend(stream.rest().await);
    assert_eq!(Said::in_events(&events).text, "from afar");
    assert_eq!(upstream.dials().await, 1);
    check_ended_in_order(&home, gateway).await;
}

#[tokio::test]
async fn answers_of_the_model_finish_too() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let request = streamed(ask("What is Portcullis?"));
    let whole = gateway.client().said(&request).await;
    let mut stream = gateway.client().open(&request).await;
    let mut events = vec![stream.event().await.unwrap()];
    gateway.terminate();
    events.extend(stream.rest().await);
    assert_eq!(Said::in_events(&events), whole);
    check_ended_in_order(&home, gateway).await;
}

/// A stream that neither ends nor lets go is cut when the time for draining is over.
#[tokio::test]
async fn a_stream_that_does_not_end_is_cut_and_recorded() {
    let mut upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let gateway = home.serve_with(&["--drain-seconds", "1"]).await;
    let (_stream, call) = upstream.stream_to(&gateway).await;
    gateway.terminate();
    check_ended_in_order(&home, gateway).await;
    assert_eq!(home.result().await["result"]["outcome"], "aborted");
    call.closed().await;
}
