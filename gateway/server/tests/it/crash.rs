//! `kill -9` in the middle of much work: what was acknowledged is on record, and what was lost is said.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, mpsc};

use crate::client::{Client, ask};
use crate::gateway::Home;
use crate::routes::Routes;
use crate::upstream::{Call, DOCUMENT, Upstream};

const CALLS: usize = 1000;

/// Calls in flight at once.
const AT_ONCE: usize = 16;

/// Each run of the gateway is killed when the client has this many answers.
const KILL_AFTER: [usize; 3] = [37, 150, 420];

/// Of this many calls the provider leaves one without an answer, so that there is something to lose.
const HELD_OF: usize = 100;

/// Makes calls until the gateway is gone, and returns the records that it named in whole answers.
async fn call_until_the_end(client: &Client, enough: &Notify, kill_after: usize) -> BTreeSet<String> {
    let answered = AtomicUsize::new(0);
    let (client, answered) = (client, &answered);
    stream::iter(0..CALLS)
        .map(async |_| {
            let reply = client.try_post(ask("hello").to_string()).await?;
            assert_eq!(reply.text(), DOCUMENT);
            if answered.fetch_add(1, Ordering::Relaxed) + 1 == kill_after {
                enough.notify_one();
            }
            Some(reply.header("x-portcullis-record").unwrap().to_owned())
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |record| record)
        .collect()
        .await
}

/// Answers calls at once, except for some that it keeps.
async fn answer_most(mut upstream: Upstream, held: mpsc::Sender<Call>) {
    let mut number = 0;
    loop {
        let call = upstream.call().await;
        number += 1;
        if number % HELD_OF == 1 {
            held.send(call).await.unwrap();
        } else {
            // A gateway that was killed does not take its answer.
            tokio::spawn(call.try_answer(DOCUMENT));
        }
    }
}

#[tokio::test]
async fn a_killed_gateway_has_recorded_what_it_answered_and_says_what_it_lost() {
    let upstream = Upstream::start().await;
    let home = Home::new(&Routes::upstream(upstream.port(), ""));
    let (holder, mut held) = mpsc::channel(CALLS);
    let provider = tokio::spawn(answer_most(upstream, holder));
    let mut acknowledged = BTreeSet::new();
    for kill_after in KILL_AFTER {
        let gateway = home.serve().await;
        let client = gateway.client().clone();
        let enough = Notify::new();
        let (records, ()) = tokio::join!(call_until_the_end(&client, &enough, kill_after), async {
            enough.notified().await;
            gateway.kill();
        });
        assert!((kill_after..CALLS).contains(&records.len()), "{} answers", records.len());
        acknowledged.extend(records);
    }
    provider.abort();
    home.serve().await.stop().await;

    let results = home.records_of("llm.result");
    let recorded: BTreeSet<String> =
        results.iter().map(|result| result["intent"].as_str().unwrap().to_owned()).collect();
    assert_eq!(recorded.len(), results.len(), "one result for each intent");
    let lost: Vec<&String> = acknowledged.difference(&recorded).collect();
    assert_eq!(lost, Vec::<&String>::new(), "answered and not on record");

    let intents = home.records_of("llm.intent").len();
    let orphans = intents - results.len();
    let mut held_calls = 0;
    while held.try_recv().is_ok() {
        held_calls += 1;
    }
    assert!(orphans >= held_calls, "{orphans} calls lost, {held_calls} held");
    assert!(held_calls >= KILL_AFTER.len() - 1, "{held_calls} held");

    let output = home.run(&["audit", "verify", home.audit_dir().to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(10), "{said}");
    assert!(said.contains("integrity:    VALID"), "{said}");
    for run in 1..=KILL_AFTER.len() {
        assert!(said.contains(&format!("run {run}: no log.close")), "{said}");
    }
    let gaps = home.records_of("log.gap");
    let reported: u64 = gaps.iter().filter_map(|record| record["gap"]["count"].as_u64()).sum();
    assert_eq!(reported, orphans as u64, "each lost result is reported by the run after it: {gaps:#?}");
}
