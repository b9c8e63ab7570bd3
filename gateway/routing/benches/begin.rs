//! What choosing an upstream costs a call: the order of its hops, and one whole try.

use std::time::Duration;

use divan::Bencher;
use routing::{
    Balance, BreakerRule, Conversation, Hop, Order, Prefix, Question, RetryRule, Routes, Step, Tokens,
};

fn main() {
    divan::main();
}

const BREAKER: BreakerRule =
    BreakerRule { failures: 5, window: Duration::from_secs(30), open_for: Duration::from_secs(30) };
const HOPS: [usize; 3] = [1, 4, 16];
const WEIGHTS: [u32; 16] = [5; 16];

fn measure(bencher: Bencher<'_, '_>, count: usize, order: Order<'_>) {
    let names: Vec<String> = (0..count).map(|number| format!("replica-{number}")).collect();
    let hops: Vec<Hop<'_>> = names
        .iter()
        .map(|name| Hop { provider: name, model: "large", price: None, breaker: BREAKER })
        .collect();
    let routes = Routes::new(1);
    let prefix = Prefix::of(b"workflow", &vec![b'x'; 100_000]);
    let mut number = 0_u64;
    bencher.bench_local(|| {
        number += 1;
        let now = Duration::from_micros(number);
        let question = Question {
            hops: &hops,
            order,
            conversation: Conversation::named(b"workflow", &number.to_le_bytes()),
            prefix: &prefix,
            tokens: Tokens { input: 1000, output: 1000 },
            retry: RetryRule { attempts: 2, budget_percent: 20 },
            deadline: now + Duration::from_secs(600),
        };
        let Step::Try(mut attempt) = routes.begin(&question, now).next(now) else { panic!("all are well") };
        attempt.answered(now);
    });
}

#[divan::bench(args = HOPS)]
fn listed(bencher: Bencher<'_, '_>, hops: usize) {
    measure(bencher, hops, Order::Listed);
}

#[divan::bench(args = HOPS)]
fn split(bencher: Bencher<'_, '_>, hops: usize) {
    measure(bencher, hops, Order::Split(&WEIGHTS[..hops]));
}

#[divan::bench(args = HOPS)]
fn least_inflight(bencher: Bencher<'_, '_>, hops: usize) {
    measure(bencher, hops, Order::Balance(Balance::LeastInflight));
}

#[divan::bench(args = HOPS)]
fn latency(bencher: Bencher<'_, '_>, hops: usize) {
    measure(bencher, hops, Order::Balance(Balance::Latency));
}

#[divan::bench(args = HOPS)]
fn prefix(bencher: Bencher<'_, '_>, hops: usize) {
    measure(bencher, hops, Order::Balance(Balance::Prefix));
}

/// A prompt of 100 kB has to be read once.
#[divan::bench]
fn hash_of_a_long_prompt(bencher: Bencher<'_, '_>) {
    let prompt = vec![b'x'; 100_000];
    bencher.bench_local(|| Prefix::of(b"workflow", divan::black_box(&prompt)));
}
