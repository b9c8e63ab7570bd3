//! What changes while connections are kept: the list of revocations, and the policy.

use std::sync::Arc;

use egress::{Fault, Retry};
use policy::{Revocations, Source};
use tokio::sync::watch;

use crate::gate::{Gate, Options, Rules, admit, collect, options, outbound, sent};
use crate::upstream::{Exchange, Upstream};

fn rules(upstream: &Upstream, more: &str) -> Rules {
    Rules::default().local(upstream.port(), more).workflow("docs", "{ mode: sealed }", "up")
}

/// A call on a connection of its own, which stays open.
async fn first(gate: &Gate, upstream: &mut Upstream) -> Exchange {
    let (reply, exchange) = tokio::join!(gate.send("docs"), async {
        let mut exchange = upstream.request().await;
        exchange.answer("1").await;
        exchange
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "1");
    exchange
}

fn list(lists: &str) -> Arc<Revocations> {
    let text = format!("version: 1\n{lists}\n");
    Arc::new(Revocations::parse(&Source { name: "revocations.yaml".to_owned(), text }).unwrap())
}

#[tokio::test]
async fn what_is_revoked_is_neither_dialled_nor_asked_on_a_kept_connection() {
    let mut upstream = Upstream::start().await;
    let revocations = watch::Sender::new(Arc::new(Revocations::none()));
    let options = Options { revocations: revocations.subscribe(), ..options() };
    let gate = Gate::with(&rules(&upstream, ""), &options);
    gate.names.answer("up.test", &["127.0.0.1"]);
    let mut kept = first(&gate, &mut upstream).await;
    for lists in ["providers: [up]", "hosts: [up.test]", "workflows: [docs]"] {
        revocations.send_replace(list(lists));
        let error = gate.send("docs").await.unwrap_err();
        assert_eq!((error.code(), error.fault(), error.retry()), ("revoked", Fault::Policy, Retry::Safe));
    }
    assert_eq!(gate.client.stats().dials_refused, 3);
    revocations.send_replace(list("hosts: [\"*.test.example\"]"));
    let (reply, ()) = tokio::join!(gate.send("docs"), async {
        kept.read_request().await;
        kept.answer("2").await;
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "2");
    assert_eq!(gate.client.stats().dials_allowed, 1);
}

#[tokio::test]
async fn the_next_policys_client_keeps_connections_to_what_is_still_the_same() {
    let mut upstream = Upstream::start().await;
    let gate = Gate::new(&rules(&upstream, ""));
    let mut kept = first(&gate, &mut upstream).await;
    let same = rules(&upstream, "").workflow("more", "{ mode: sealed }", "up").compile();
    let next = gate.client.succeeded_by(Arc::clone(&same)).unwrap();
    let admitted = admit(&same, "docs");
    let request = || outbound(http::HeaderMap::new(), "{}");
    let (reply, ()) = tokio::join!(sent(&next, &admitted, request()), async {
        kept.read_request().await;
        kept.answer("2").await;
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "2");

    let other = rules(&upstream, "timeouts: { idle: 7s }").compile();
    let next = next.succeeded_by(Arc::clone(&other)).unwrap();
    let admitted = admit(&other, "docs");
    let (reply, _exchange) = tokio::join!(sent(&next, &admitted, request()), async {
        let mut exchange = upstream.request().await;
        exchange.answer("3").await;
        exchange
    });
    assert_eq!(collect(reply.unwrap()).await.unwrap(), "3");
    assert_eq!(next.stats().dials_allowed, 2, "one count for all policies");
}
