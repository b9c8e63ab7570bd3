//! The engine as its users see it: submit, read, drop.

use std::path::PathBuf;
use std::time::Duration;

use engine::{
    Conversation, EngineConfig, Event, Events, FinishReason, Handle, Message, Request, Role, Sampling, Stats,
    SubmitError, Usage,
};
use jiff::ZonedDateTime;

fn demo(config: EngineConfig) -> Handle {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    engine::start(&folder, config).expect("the demo model loads")
}

fn small() -> EngineConfig {
    EngineConfig { kv_cache_bytes: 16 << 20, ..EngineConfig::default() }
}

fn ask(text: &str, max_new_tokens: usize) -> Request {
    Request {
        conversation: Conversation { messages: vec![Message::new(Role::User, text)], tools: Vec::new() },
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        max_new_tokens: Some(max_new_tokens),
        now: ZonedDateTime::now(),
    }
}

async fn read(mut events: Events) -> (String, FinishReason, Usage) {
    let mut text = String::new();
    loop {
        match events.next().await.expect("an end comes before nothing") {
            Event::Text(more) => text.push_str(&more),
            Event::Finished { reason, usage } => {
                assert_eq!(events.next().await, None, "nothing follows the end");
                return (text, reason, usage);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

async fn answer(engine: &Handle, request: Request) -> (String, FinishReason, Usage) {
    read(engine.submit(request).await.expect("the request is taken")).await
}

/// Waits until the engine's counters say what `holds` wants; its thread publishes them between steps.
async fn until(engine: &Handle, holds: impl Fn(Stats) -> bool) {
    let wait = async {
        while !holds(engine.stats()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the counters get there");
}

async fn idle(engine: &Handle) {
    until(engine, |s| (s.kv_blocks_used, s.running_sequences, s.waiting_sequences) == (0, 0, 0)).await;
}

#[tokio::test]
async fn the_same_question_gives_the_same_text_at_every_budget_and_block_size() {
    let question = "count from 1 to 20";
    let whole = answer(&demo(small()), ask(question, 60)).await;
    assert!(whole.2.completion_tokens > 1 && !whole.0.is_empty());
    for (step_tokens_max, block_size_tokens) in [(1, 16), (5, 4), (16, 64)] {
        let engine = demo(EngineConfig { step_tokens_max, block_size_tokens, ..small() });
        assert_eq!(answer(&engine, ask(question, 60)).await, whole, "{step_tokens_max} {block_size_tokens}");
    }
}

#[tokio::test]
async fn a_crowd_in_a_small_cache_is_preempted_and_answers_as_alone() {
    let questions: Vec<String> = (5..29).map(|n| format!("count from 1 to {n}")).collect();
    let roomy = demo(small());
    let mut alone = Vec::new();
    for question in &questions {
        alone.push(answer(&roomy, ask(question, 80)).await);
    }
    // 2 KiB of cache per token: room for three or four of these at full length.
    let tight = demo(EngineConfig { kv_cache_bytes: 768 << 10, ..small() });
    let mut waiting = Vec::new();
    for question in &questions {
        waiting.push(tight.submit(ask(question, 80)).await.expect("the request is taken"));
    }
    for (events, alone) in waiting.into_iter().zip(alone) {
        assert_eq!(read(events).await, alone);
    }
    assert!(tight.stats().preemptions > 0, "the cache was not small enough to preempt");
    idle(&tight).await;
}

#[tokio::test]
async fn dropped_streams_free_their_blocks_running_or_waiting() {
    // One token per step: the first takes hundreds of steps while the others wait for their turn.
    let engine = demo(EngineConfig { step_tokens_max: 1, ..small() });
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(engine.submit(ask("count from 1 to 60", 1000)).await.expect("the request is taken"));
    }
    assert!(matches!(streams[0].next().await, Some(Event::Text(_))), "the first streams");
    until(&engine, |stats| stats.kv_blocks_used > 0 && stats.waiting_sequences > 0).await;
    drop(streams);
    idle(&engine).await;
}

#[tokio::test]
async fn a_request_that_can_never_fit_is_refused_at_once() {
    let engine = demo(EngineConfig { context_max: Some(64), ..small() });
    assert_eq!(engine.capacity_tokens(), 64);
    let refused = engine.submit(ask("hi", 64)).await.expect_err("it does not fit");
    assert!(
        matches!(refused, SubmitError::NeverFits { new_tokens: 64, capacity_tokens: 64, .. }),
        "{refused}"
    );
    let long = engine.submit(ask(&"x ".repeat(100), 1)).await.expect_err("it does not fit");
    assert!(matches!(long, SubmitError::NeverFits { new_tokens: 1, .. }), "{long}");
    assert!(matches!(engine.submit(ask("hi", 0)).await, Err(SubmitError::NothingAsked)));
}

#[tokio::test]
async fn a_reply_without_a_limit_ends_at_the_context() {
    let engine = demo(EngineConfig { context_max: Some(24), ..small() });
    let request = Request { max_new_tokens: None, ..ask("count to 50", 1) };
    let (_, reason, usage) = answer(&engine, request).await;
    assert_eq!((reason, usage.prompt_tokens + usage.completion_tokens), (FinishReason::Length, 24));
}

#[tokio::test]
async fn more_requests_than_places_are_refused_and_places_come_back() {
    let engine = demo(EngineConfig { requests_max: 1, ..small() });
    let first = engine.submit(ask("count to 50", 500)).await.expect("a place is free");
    assert!(matches!(engine.submit(ask("hi", 1)).await, Err(SubmitError::Overloaded)));
    drop(first);
    let place = async {
        loop {
            match engine.submit(ask("hi", 1)).await {
                Err(SubmitError::Overloaded) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    let second = tokio::time::timeout(Duration::from_secs(60), place).await.expect("the place comes back");
    read(second.expect("the request is taken")).await;
}

#[tokio::test]
async fn a_seed_repeats_and_a_stop_string_ends_the_reply_before_it() {
    let engine = demo(small());
    let sampling = Sampling { temperature: 1.5, seed: Some(11), ..Sampling::GREEDY };
    let drawn = || Request { sampling, ..ask("tell me something", 40) };
    let once = answer(&engine, drawn()).await;
    assert_eq!(answer(&engine, drawn()).await, once);

    let whole = answer(&engine, ask("count from 1 to 20", 60)).await.0;
    let at = whole.find(' ').expect("a count has spaces");
    let stopped =
        Request { stop: vec![whole[at..].chars().take(2).collect()], ..ask("count from 1 to 20", 60) };
    let (text, reason, _) = answer(&engine, stopped).await;
    assert_eq!((text.as_str(), reason), (&whole[..at], FinishReason::Stop));
}

#[test]
fn a_folder_that_is_no_model_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let error = engine::start(folder.path(), small()).expect_err("there is nothing to load");
    assert!(error.to_string().contains("tokenizer"), "{error}");
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_the_numbers_and_what_would_fit() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let config = EngineConfig { memory_bytes: Some(4 << 20), ..small() };
    let error = engine::start(&folder, config).expect_err("4 MiB are too few").to_string();
    for part in [
        "it needs ",
        "weights ",
        "KV cache ",
        "activations ",
        "4.0 MiB are available",
        "as q8_0 (",
        "KV cache less",
    ] {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    engine::start(&folder, EngineConfig { memory_bytes: Some(1 << 30), ..small() }).expect("a GiB is enough");
}

#[tokio::test]
async fn a_gguf_file_is_served_with_its_own_vocabulary_and_template() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf_qwen3/model.gguf");
    let engine = engine::start(&path, small()).expect("the file is a whole model");
    let (_, reason, usage) = answer(&engine, ask("the", 8)).await;
    // `<|im_start|>`, `th`, `e`, `<|im_end|>`: the merge and the template are the file's.
    assert_eq!((usage.prompt_tokens, reason), (4, FinishReason::Length));
}
