//! Many calls at once at the model in the process: each gets what it would have got alone.

use std::iter::zip;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::client::{Client, Said, ask, streamed, with};
use crate::gateway::Home;
use crate::patience::eventually;
use crate::routes::Routes;

const CALLS: usize = 64;

/// With fewer different answers, a mix-up between calls could go unseen.
const DIFFERENT_ANSWERS_MIN: usize = 8;

/// A cache that holds about 2,000 tokens, far fewer than 64 calls need, so that calls wait for each other.
const TIGHT_CACHE: [&str; 2] = ["--kv-cache-mib", "4"];

/// Different requests; every fourth is long.
fn requests() -> Vec<Value> {
    let request = |i: usize| {
        let text = match i % 4 {
            0 => format!("Repeat: {}", format!("word{i} ").repeat(40 + i)),
            1 => format!("What is {i} + {}?", 99 - i),
            2 => format!("Reverse: call{i}"),
            _ => format!("Uppercase: agent {i} of {CALLS}"),
        };
        with(ask(&text), json!({ "max_tokens": 30 + i % 20 }))
    };
    (0..CALLS).map(request).collect()
}

/// What each request gets when it is the only one.
async fn answers_alone(client: &Client, requests: &[Value]) -> Vec<Said> {
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(client.said(request).await);
    }
    let mut texts: Vec<&str> = answers.iter().map(|said| said.text.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert!(texts.len() >= DIFFERENT_ANSWERS_MIN, "only these answers differ: {texts:#?}");
    answers
}

#[tokio::test]
async fn concurrent_streams_say_what_each_says_alone() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let requests = requests();
    let alone = answers_alone(gateway.client(), &requests).await;
    let together = join_all(
        requests.iter().map(async |request| gateway.client().said(&streamed(request.clone())).await),
    )
    .await;
    for (request, (together, alone)) in zip(&requests, zip(together, alone)) {
        assert_eq!(together, alone, "{request}");
    }
    gateway.idle().await;
}

/// How long the crowd below goes on, in seconds; `SOAK_SECONDS=300` at compile time is a long run.
fn soak() -> std::time::Duration {
    let seconds = option_env!("SOAK_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    std::time::Duration::from_secs(seconds)
}

/// Streams that run at the same time in the crowd.
const CROWD: u64 = 256;

#[tokio::test]
async fn a_crowd_that_comes_and_goes_hears_what_each_hears_alone() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve_with(&TIGHT_CACHE).await;
    let requests: Vec<Value> = requests().into_iter().map(streamed).collect();
    let alone = answers_alone(gateway.client(), &requests).await;
    let end = tokio::time::Instant::now() + soak();
    let answered = join_all((0..CROWD).map(async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut answered = 0;
        while tokio::time::Instant::now() < end {
            let which = random.random_range(0..requests.len());
            if random.random_range(0..3) == 0 {
                let mut stream = gateway.client().open(&requests[which]).await;
                for _ in 0..random.random_range(0..4) {
                    stream.event().await;
                }
                continue;
            }
            let said = gateway.client().said(&requests[which]).await;
            assert_eq!(said, alone[which], "{}", requests[which]);
            answered += 1;
        }
        answered
    }))
    .await;
    assert!(answered.iter().sum::<u64>() > CROWD / 2, "{answered:?}");
    gateway.idle().await;
}

#[tokio::test]
async fn clients_that_leave_free_their_blocks_and_disturb_nobody() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve_with(&TIGHT_CACHE).await;
    let requests = requests();
    let alone = answers_alone(gateway.client(), &requests).await;

    let mut random = StdRng::seed_from_u64(2);
    let mut order: Vec<usize> = (0..CALLS).collect();
    order.shuffle(&mut random);
    let mut leave_after: Vec<Option<usize>> = vec![None; CALLS];
    for &i in &order[..CALLS / 2] {
        leave_after[i] = Some(random.random_range(0..8));
    }
    let together = join_all(zip(&requests, &leave_after).map(async |(request, leave_after)| {
        let request = streamed(request.clone());
        match *leave_after {
            None => Some(gateway.client().said(&request).await),
            // Before the first event there may be a head already, or not.
            Some(0) => {
                drop(gateway.client().post_and_hold(&request).await);
                None
            }
            Some(events) => {
                let mut stream = gateway.client().open(&request).await;
                for _ in 0..events {
                    stream.event().await;
                }
                None
            }
        }
    }))
    .await;

    for (request, (together, alone)) in zip(&requests, zip(together, alone)) {
        assert!(together.is_none_or(|together| together == alone), "{request}");
    }
    gateway.idle().await;
    assert!(gateway.metric("portcullis_requests_total", "outcome=\"aborted\"").await >= 1);
    gateway.stop().await;
    // Every call, left or not, has its two records.
    let (intents, results) = (home.records_of("llm.intent").len(), home.records_of("llm.result").len());
    assert_eq!(intents, results);
    assert!((CALLS + CALLS / 2..=2 * CALLS).contains(&intents), "{intents}");
}

#[tokio::test]
async fn clients_that_leave_take_their_work_with_them() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve_with(&TIGHT_CACHE).await;
    // A prompt that takes at least three steps and nearly all of the cache, so that one is read at a time.
    let words = |count: usize| ask(&"word ".repeat(count));
    let tokens = gateway.client().said(&words(100)).await.usage.unwrap()["prompt_tokens"].as_u64().unwrap();
    let long = words(100 * 1500 / tokens as usize);

    let connections = join_all((0..CALLS).map(async |_| gateway.client().post_and_hold(&long).await)).await;
    let waiting = eventually("a queue", async || {
        let waiting = gateway.metric("portcullis_engine_waiting_sequences", "").await;
        (waiting >= CALLS as u64 / 2).then_some(waiting)
    })
    .await;
    let steps = async || gateway.metric("portcullis_engine_steps_total", "").await;
    let before = steps().await;
    drop(connections);
    gateway.idle().await;
    let after = steps().await;
    assert!(after - before < waiting, "{} steps for {waiting} calls that nobody waits for", after - before);
}
