//! What is put on record of dials and connections.

use std::sync::{Arc, Mutex};

use egress::{Close, CloseReason, Decision, Unrecorded, Vantage, Verdict, Witness};
use policy::{Revocations, Source};
use tokio::sync::watch;

use crate::gate::{Gate, Options, Rules, collect, options, outbound, sent};
use crate::upstream::{PATIENCE, Upstream};

/// Keeps what it is told, or nothing any more.
#[derive(Default)]
pub(crate) struct Notes {
    decisions: Mutex<Vec<Decision>>,
    closes: Mutex<Vec<Close>>,
    changed: tokio::sync::Notify,
    is_full: std::sync::atomic::AtomicBool,
}

impl Witness for Notes {
    fn decided(&self, decision: Decision) -> Result<(), Unrecorded> {
        if self.is_full.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Unrecorded);
        }
        self.decisions.lock().unwrap().push(decision);
        self.changed.notify_one();
        Ok(())
    }

    fn closed(&self, close: Close) {
        self.closes.lock().unwrap().push(close);
        self.changed.notify_one();
    }
}

impl Notes {
    pub(crate) fn decisions(&self) -> Vec<Decision> {
        self.decisions.lock().unwrap().clone()
    }

    /// Waits until so many connections are closed.
    pub(crate) async fn closes(&self, count: usize) -> Vec<Close> {
        let waiting = async {
            while self.closes.lock().unwrap().len() < count {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the connections end");
        self.closes.lock().unwrap().clone()
    }
}

fn local(upstream: &Upstream) -> Rules {
    Rules::default().local(upstream.port(), "").workflow("docs", "{ mode: sealed }", "up")
}

fn gate(rules: &Rules, notes: &Arc<Notes>) -> Gate {
    let gate = Gate::with(rules, &Options { witness: Arc::clone(notes) as Arc<dyn Witness>, ..options() });
    gate.names.answer("up.test", &["127.0.0.1"]);
    gate
}

#[tokio::test]
async fn a_connection_is_on_record_before_it_is_used_and_its_end_when_it_ends() {
    let mut upstream = Upstream::start().await;
    let notes = Arc::<Notes>::default();
    let gate = gate(&local(&upstream), &notes);
    let admitted = gate.admit("docs");
    let request = outbound(http::HeaderMap::new(), "{}");
    let passage = request.passage.clone();
    let sending = gate.client.send(&admitted, &admitted.hops()[0], request);
    let (reply, ()) = tokio::join!(sending, async {
        let mut exchange = upstream.request().await;
        assert_eq!(notes.decisions().len(), 1, "recorded before the first byte");
        exchange.answer("ok").await;
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "ok");
    let dial = passage.dial().cloned().expect("an answered call knows its connection");
    let decision = notes.decisions().remove(0);
    assert_eq!((&decision.dial, decision.workflow.as_ref(), decision.port), (&dial, "docs", upstream.port()));
    let Verdict::Opened { address, vantage: Vantage::Local, proxy: None } = decision.verdict else {
        panic!("{decision:?}")
    };
    assert_eq!(address, upstream.address());
    assert!(decision.lookup.is_some() && decision.connect.is_some());
    // The upstream has gone meanwhile, so the pool lets go.
    let closes = notes.closes(1).await;
    assert_eq!((&closes[0].dial, closes[0].reason), (&dial, CloseReason::Closed));
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    assert_eq!(closes[0].bytes_received, cfg!(target_os = "linux").then_some(answer.len() as u64));
    assert!(closes[0].bytes_sent > closes[0].bytes_received);
}

#[tokio::test]
async fn whoever_sends_knows_how_the_request_went_also_if_it_gives_up_half_way() {
    let mut upstream = Upstream::start().await;
    let notes = Arc::<Notes>::default();
    let gate = gate(&local(&upstream), &notes);
    let admitted = gate.admit("docs");
    let request = outbound(http::HeaderMap::new(), "{}");
    let passage = request.passage.clone();
    let sending = gate.client.send(&admitted, &admitted.hops()[0], request);
    let exchange = tokio::select! {
        answered = sending => panic!("nobody has answered: {answered:?}"),
        exchange = upstream.request() => exchange,
    };
    // The request was there when its sender gave it up.
    let given_up = notes.decisions().remove(0).dial;
    assert_eq!(passage.dial(), Some(&given_up));
    assert_eq!((passage.bytes_sent(), passage.bytes_received()), (0, 0));
    exchange.closed().await;

    let request = outbound(http::HeaderMap::new(), "{}");
    let passage = request.passage.clone();
    let sending = gate.client.send(&admitted, &admitted.hops()[0], request);
    let (reply, ()) = tokio::join!(sending, async { upstream.request().await.answer("good").await });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "good");
    assert_eq!(passage.dial(), Some(&notes.decisions()[1].dial));
    assert_eq!((passage.bytes_sent(), passage.bytes_received()), (2, 4));
}

#[tokio::test]
async fn a_dial_that_comes_to_nothing_is_on_record_with_its_reason() {
    let mut upstream = Upstream::start().await;
    let notes = Arc::<Notes>::default();
    let gate = Gate::with(
        &local(&upstream),
        &Options { witness: Arc::clone(&notes) as Arc<dyn Witness>, ..options() },
    );
    assert_eq!(gate.send("docs").await.unwrap_err().code(), "egress.dns");
    gate.names.answer("up.test", &["127.0.0.1", "10.0.0.1"]);
    assert_eq!(gate.send("docs").await.unwrap_err().code(), "egress.address");
    let codes: Vec<_> = notes.decisions().into_iter().map(|decision| decision.verdict).collect();
    assert_eq!(codes, ["egress.dns", "egress.address"].map(|code| Verdict::Refused { code }));
    assert_eq!(upstream.connection_count().await, 0);
    assert!(notes.closes(0).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_used() {
    let mut upstream = Upstream::start().await;
    let notes = Arc::<Notes>::default();
    notes.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    let gate = gate(&local(&upstream), &notes);
    assert_eq!(gate.send("docs").await.unwrap_err().code(), "egress.unrecorded");
    let mut connection = upstream.connection().await;
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut connection, &mut byte).await;
    assert_eq!(read.unwrap(), 0, "not one byte was sent");
}

#[tokio::test]
async fn a_revoked_connection_is_cut_in_the_middle_of_an_answer() {
    let mut upstream = Upstream::start().await;
    let notes = Arc::<Notes>::default();
    let revocations = watch::Sender::new(Arc::new(Revocations::none()));
    let options = Options {
        witness: Arc::clone(&notes) as Arc<dyn Witness>,
        revocations: revocations.subscribe(),
        ..options()
    };
    let (direct, gate) = Gate::with_way(&local(&upstream), &options);
    gate.names.answer("up.test", &["127.0.0.1"]);
    let (reply, exchange) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.begin().await;
        exchange.chunk("one").await;
        exchange
    });
    let text = "version: 1\nworkflows: [docs]\n".to_owned();
    let list = Revocations::parse(&Source { name: "revocations.yaml".to_owned(), text }).unwrap();
    revocations.send_replace(Arc::new(list));
    direct.recheck();
    exchange.closed().await;
    assert!(collect(reply.unwrap()).await.is_err(), "a cut answer does not look like a whole one");
    assert_eq!(notes.closes(1).await[0].reason, CloseReason::Revoked);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_nobody_waits_for_any_more_is_on_record_once() {
    let upstream = Upstream::start().await;
    let notes = Arc::<Notes>::default();
    let policy = local(&upstream).compile();
    let options = Options { witness: Arc::clone(&notes) as Arc<dyn Witness>, ..options() };
    let client = options.client(Arc::clone(&policy), Arc::new(crate::gate::Silent));
    let admitted = crate::gate::admit(&policy, "docs");
    let request = crate::gate::outbound(http::HeaderMap::new(), "{}");
    let sending = sent(&client, &admitted, request);
    let left = tokio::time::timeout(std::time::Duration::from_secs(1), sending).await;
    assert!(left.is_err(), "the caller leaves first");
    drop(client);
    let waiting = async {
        while notes.decisions().is_empty() {
            notes.changed.notified().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(notes.decisions().len(), 1);
}
