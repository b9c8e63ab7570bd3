//! Whole replies of the demo model, one and several at a time: what batching brings. And what a step costs besides the
//! model: plan, batch and bookkeeping of sequences that all decode.
//!
//! Greedy, so every run decodes the same tokens and their number is known after the first.

use std::path::Path;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use engine::bench::Steps;
use engine::{
    Conversation, Ending, EngineConfig, Event, Handle, Message, NewTokens, Prompt, Report, Request, Role,
    Sampling,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Most tokens of a reply.
const NEW_TOKENS: usize = 64;

static ENGINE: LazyLock<Handle> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/models/demo");
    let config = EngineConfig { kv_cache_bytes: 64 << 20, ..EngineConfig::default() };
    engine::start(&folder, config).expect("the demo model loads")
});

fn main() {
    divan::main();
}

fn request(number: usize) -> Request {
    let text = format!("Request {number}. What is the capital of France, and what is it known for?");
    Request {
        prompt: Prompt::Conversation(Conversation {
            messages: vec![Message::new(Role::User, text)],
            ..Conversation::default()
        }),
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        ending: Ending::default(),
        new_tokens: NewTokens::Reserved(NEW_TOKENS),
        constraint: None,
        report: Report::default(),
        now: jiff::ZonedDateTime::now(),
    }
}

/// Makes `count` requests at the same time and returns the tokens of all replies.
async fn replies(count: usize) -> usize {
    let mut running = JoinSet::new();
    for number in 0..count {
        running.spawn(async move {
            let mut events = ENGINE.submit(request(number)).await.expect("the engine takes the request");
            while let Some(event) = events.next().await {
                assert!(event != Event::Failed, "the engine failed");
            }
            events.completion_tokens()
        });
    }
    running.join_all().await.into_iter().sum()
}

#[divan::bench(args = [1, 4, 16], sample_count = 10, sample_size = 1)]
fn generate(bencher: Bencher<'_, '_>, at_a_time: usize) {
    let runtime = Runtime::new().expect("a runtime starts");
    let tokens = runtime.block_on(replies(at_a_time));
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| runtime.block_on(replies(at_a_time)));
}

#[divan::bench(args = [1, 64, 256], sample_count = 200, sample_size = 1)]
fn schedule(bencher: Bencher<'_, '_>, sequences: usize) {
    let mut steps = Steps::decoding(sequences, 2048);
    bencher.bench_local(|| assert_eq!(steps.step(), sequences));
}
