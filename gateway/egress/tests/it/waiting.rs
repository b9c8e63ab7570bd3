//! Every wait has an end. Times are real and short, since a paused clock would run ahead of the sockets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use egress::{BodyError, Fault, Resolver, Retry};
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::gate::{Gate, Rules, Silent, admit, options, outbound, sent};
use crate::tls::Authority;
use crate::upstream::{PATIENCE, Upstream};

const SHORT: Duration = Duration::from_millis(250);

fn gate(upstream: &Upstream, timeouts: &str) -> Gate {
    let more = format!("timeouts: {{ {timeouts} }}");
    Gate::new(&Rules::default().local(upstream.port(), &more).workflow("docs", "{ mode: sealed }", "up"))
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_ends_at_the_connect_time() {
    let rules =
        Rules::default().local(1, "timeouts: { connect: 3s }").workflow("docs", "{ mode: sealed }", "up");
    let policy = rules.compile();
    let admitted = admit(&policy, "docs");
    let resolver: Arc<dyn Resolver> = Arc::new(Silent);
    let client = options().client(policy, resolver);
    let began = Instant::now();
    let sent = sent(&client, &admitted, outbound(HeaderMap::new(), "{}")).await;
    let error = sent.unwrap_err();
    assert_eq!((error.code(), error.fault()), ("egress.timeout_connect", Fault::Upstream));
    assert_eq!(error.retry(), Retry::Safe);
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_ends_at_the_connect_time() {
    let mut upstream = Upstream::start().await;
    let base_url = format!("https://up.test:{}", upstream.port());
    let more = "locality: local, cidrs: [127.0.0.0/8], timeouts: { connect: 250ms }";
    let rules = Rules::default().provider("up", &base_url, more).workflow("docs", "{ mode: sealed }", "up");
    let gate = Gate::new(&rules);
    let (reply, _held_open) = tokio::join!(gate.send("docs"), upstream.connection());
    let error = reply.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("egress.timeout_connect", Retry::Safe));
}

#[tokio::test]
async fn an_upstream_that_takes_the_request_and_says_nothing_is_let_go() {
    let mut upstream = Upstream::start().await;
    let gate = gate(&upstream, "first_byte: 250ms");
    let began = Instant::now();
    let (reply, exchange) = tokio::join!(gate.send("docs"), upstream.request());
    let error = reply.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("egress.timeout_first_byte", Retry::Unsafe));
    assert!(began.elapsed() >= SHORT);
    exchange.closed().await;
}

#[tokio::test]
async fn a_stream_that_goes_quiet_is_cut_and_its_upstream_let_go() {
    let mut upstream = Upstream::start().await;
    let gate = gate(&upstream, "idle: 250ms");
    let (reply, exchange) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.begin().await;
        exchange.chunk("data: 1\n\n").await;
        exchange
    });
    let mut body = reply.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "data: 1\n\n");
    let error = body.next().await.unwrap().unwrap_err();
    assert!(matches!(error, BodyError::Idle(SHORT)), "{error:?}");
    exchange.closed().await;
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn the_callers_deadline_ends_the_wait_for_a_head() {
    let mut upstream = Upstream::start().await;
    let gate = gate(&upstream, "first_byte: 60s");
    let admitted = gate.admit("docs");
    let mut request = outbound(HeaderMap::new(), "{}");
    request.deadline = Instant::now() + SHORT;
    let (reply, exchange) = tokio::join!(sent(&gate.client, &admitted, request), upstream.request());
    assert_eq!(reply.unwrap_err().code(), "egress.timeout_total");
    exchange.closed().await;
}

#[tokio::test]
async fn the_total_time_ends_a_stream_that_stays_busy() {
    let mut upstream = Upstream::start().await;
    let gate = gate(&upstream, "total: 1s");
    let began = Instant::now();
    let (reply, mut exchange) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.begin().await;
        exchange
    });
    let mut body = reply.unwrap().body;
    let error = loop {
        exchange.chunk("data: 1\n\n").await;
        match body.next().await.expect("the stream has no end of its own") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BodyError::Total), "{error:?}");
    // The caller's own deadline, a minute away, would end it too: but later.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    exchange.closed().await;
}

#[tokio::test]
async fn giving_up_before_the_head_ends_the_http2_stream_too() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://up.test:{}", listener.local_addr().unwrap().port());
    let acceptor = authority.acceptor("up.test", &["h2"]);
    let (report, mut arrived) = mpsc::channel(1);
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let tls = acceptor.accept(tcp).await.unwrap();
        let service = service_fn(move |_: Request<Incoming>| {
            let report = report.clone();
            async move {
                // The other end of the channel learns when this work, which never ends by itself, is dropped.
                let (_alive, work) = oneshot::channel::<Infallible>();
                report.send(work).await.unwrap();
                std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
            }
        });
        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await
    });
    let more = "locality: local, cidrs: [127.0.0.0/8]";
    let rules = Rules::default().provider("up", &base_url, more).workflow("docs", "{ mode: sealed }", "up");
    let gate = Gate::with(&rules, &authority.options(folder.path()));
    gate.names.answer("up.test", &["127.0.0.1"]);
    let work = tokio::select! {
        work = arrived.recv() => work.unwrap(),
        reply = gate.send("docs") => panic!("nobody answered, yet there is {reply:?}"),
    };
    assert!(timeout(PATIENCE, work).await.expect("the upstream's work is dropped").is_err());
}
