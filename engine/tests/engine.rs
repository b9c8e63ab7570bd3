//! The engine as its users see it: submit, read, drop.

use std::path::PathBuf;
use std::time::Duration;

use engine::{
    Claim, Conversation, Ending, EngineConfig, Event, Events, FinishReason, Handle, Message, NewTokens,
    Prompt, Report, Request, Role, Sampling, SpecialTokens, Stats, SubmitError, Usage,
};
use jiff::ZonedDateTime;

fn demo(config: EngineConfig) -> Handle {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    engine::start(&folder, config).expect("the demo model loads")
}

fn small() -> EngineConfig {
    EngineConfig { kv_cache_bytes: 16 << 20, ..EngineConfig::default() }
}

fn conversation(text: &str) -> Conversation {
    Conversation { messages: vec![Message::new(Role::User, text)], ..Conversation::default() }
}

fn ask(text: &str, new_tokens: usize) -> Request {
    Request {
        prompt: Prompt::Conversation(conversation(text)),
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        ending: Ending::default(),
        new_tokens: NewTokens::Reserved(new_tokens),
        constraint: None,
        report: Report::default(),
        now: ZonedDateTime::now(),
    }
}

async fn read(mut events: Events) -> (String, FinishReason, Usage) {
    let mut text = String::new();
    loop {
        match events.next().await.expect("an end comes before nothing") {
            Event::Text(more) => text.push_str(&more),
            Event::Finished { reason, usage, .. } => {
                assert_eq!(events.next().await, None, "nothing follows the end");
                // What the cache had depends on who came before.
                return (text, reason, Usage { cached_tokens: 0, ..usage });
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
    let request = Request { new_tokens: NewTokens::Fitting, ..ask("count to 50", 1) };
    let (_, reason, usage) = answer(&engine, request).await;
    assert_eq!((reason, usage.prompt_tokens + usage.completion_tokens), (FinishReason::Length, 24));
}

#[tokio::test]
async fn a_limit_beyond_the_context_is_as_many_as_fit_and_one_within_it_holds() {
    let engine = demo(EngineConfig { context_max: Some(24), ..small() });
    let at_most = |tokens| Request { new_tokens: NewTokens::AtMost(tokens), ..ask("count to 50", 1) };
    let (_, reason, usage) = answer(&engine, at_most(128_000)).await;
    assert_eq!((reason, usage.prompt_tokens + usage.completion_tokens), (FinishReason::Length, 24));
    let (_, reason, usage) = answer(&engine, at_most(2)).await;
    assert_eq!((reason, usage.completion_tokens), (FinishReason::Length, 2));
    assert!(matches!(engine.submit(at_most(0)).await, Err(SubmitError::NothingAsked)));
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
    let drawn = || Request { sampling: sampling.clone(), ..ask("tell me something", 40) };
    let once = answer(&engine, drawn()).await;
    assert_eq!(answer(&engine, drawn()).await, once);

    let whole = answer(&engine, ask("count from 1 to 20", 60)).await.0;
    let at = whole.find(' ').expect("a count has spaces");
    let stopped =
        Request { stop: vec![whole[at..].chars().take(2).collect()], ..ask("count from 1 to 20", 60) };
    let (text, reason, _) = answer(&engine, stopped).await;
    assert_eq!((text.as_str(), reason), (&whole[..at], FinishReason::Stop));
}

#[tokio::test]
async fn the_end_names_the_stop_string_that_was_met() {
    let engine = demo(small());
    let end = async |stop: &[&str]| {
        let stop = stop.iter().map(ToString::to_string).collect();
        let request = Request { stop, ..ask("count from 1 to 20", 60) };
        let mut events = engine.submit(request).await.expect("the request is taken");
        loop {
            match events.next().await.expect("an end comes before nothing") {
                Event::Finished { reason, matched_stop, .. } => return (reason, matched_stop),
                Event::Text(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    };
    assert_eq!(end(&["never", " "]).await, (FinishReason::Stop, Some(" ".to_owned())));
    assert_eq!(end(&["never"]).await.1, None);
}

#[tokio::test]
async fn a_reply_that_begins_in_thought_is_reasoning_until_it_closes() {
    let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let folder = tempfile::tempdir().expect("a folder can be made");
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(demo.join(name), folder.path().join(name)).expect("the demo model is there");
    }
    let template = "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n<|im_start|>assistant\n<think>\n{# </think> #}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).expect("the folder can be written");
    let engine = engine::start(folder.path(), small()).expect("the model loads");
    let mut events = engine.submit(ask("count from 1 to 20", 24)).await.expect("the request is taken");
    let mut thought = String::new();
    loop {
        match events.next().await.expect("an end comes before nothing") {
            Event::Reasoning(more) => thought.push_str(&more),
            Event::Finished { usage, .. } => {
                assert!(!thought.is_empty() && usage.reasoning_tokens > 0, "{usage:?}");
                return;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_text_and_its_tokens_are_continued_alike_and_without_a_template() {
    let engine = demo(small());
    let text = "<|im_start|>user\ncount from 1 to 9<|im_end|>\n<|im_start|>assistant\n";
    let asked = answer(&engine, ask("count from 1 to 9", 40)).await;
    let prompt = |prompt| Request { prompt, ..ask("", 40) };
    assert_eq!(answer(&engine, prompt(Prompt::Text(text.to_owned()))).await, asked);
    let now = ZonedDateTime::now();
    let tokens = engine.tokenize(Prompt::Text(text.to_owned()), SpecialTokens::Omit, now).await;
    let tokens = tokens.expect("it is text");
    assert_eq!(answer(&engine, prompt(Prompt::Tokens(tokens))).await, asked);
    let refused = |prompt: Request| async { engine.submit(prompt).await.expect_err("it is refused") };
    assert!(matches!(refused(prompt(Prompt::Tokens(Vec::new()))).await, SubmitError::EmptyPrompt));
    assert!(matches!(
        refused(prompt(Prompt::Tokens(vec![1, 70_000]))).await,
        SubmitError::UnknownToken(70_000)
    ));
}

#[tokio::test]
async fn tokens_at_the_door_are_those_of_the_usage_and_become_text_again() {
    let engine = demo(small());
    let now = ZonedDateTime::now();
    let (_, _, usage) = answer(&engine, ask("Größe 天気 😀", 1)).await;
    let count = engine.count(conversation("Größe 天気 😀"), now.clone()).await.expect("it is counted");
    assert_eq!(count, usage.prompt_tokens);

    let prompt = Prompt::Conversation(conversation("hi"));
    let tokens = engine.tokenize(prompt, SpecialTokens::Omit, now).await.expect("it is text");
    let text = engine.detokenize(tokens.clone()).await.expect("the tokens are known");
    assert!(text.contains("<|im_start|>user\nhi<|im_end|>"), "{text}");
    let written = engine.token_text(tokens.clone()).await.expect("the process lives");
    assert_eq!((written.len(), written[0].as_str()), (tokens.len(), "<|im_start|>"));
    let unknown = engine.detokenize(vec![tokens[0], 99_999]).await.expect_err("there is no such token");
    assert_eq!(unknown.to_string(), "token 99999 is unknown to the model");
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

/// Tokens of the prompt that the cache had.
async fn cached(engine: &Handle, tenant: &str, text: &str) -> usize {
    let events = engine.submit_as(&Claim::of(tenant), ask(text, 4), 1).await;
    let mut events = events.expect("the request is taken").remove(0);
    loop {
        if let Event::Finished { usage, .. } = events.next().await.expect("an end comes before nothing") {
            assert!(usage.cached_tokens < usage.prompt_tokens, "one token at least is computed");
            return usage.cached_tokens;
        }
    }
}

#[tokio::test]
async fn a_beginning_is_computed_once_for_each_tenant() {
    let engine = demo(small());
    let long = "count from 1 to 9, then down again, then up, and once more from the beginning to the end";
    assert_eq!(cached(&engine, "one", long).await, 0);
    let again = cached(&engine, "one", long).await;
    assert!(again >= 32 && again.is_multiple_of(16), "whole blocks are found, and not {again} tokens");
    assert_eq!(cached(&engine, "one", &format!("{long}, please")).await, again);
    assert_eq!(
        cached(&engine, "two", long).await,
        0,
        "what another tenant asked cannot be told from the time"
    );
    assert_eq!(engine.stats().prompt_tokens_cached, 2 * again as u64);
    assert!(engine.stats().kv_blocks_kept > 0);
}

#[tokio::test]
async fn who_cannot_be_served_in_time_is_told_at_once() {
    let engine = demo(small());
    let impatient = Claim { patience: Some(Duration::from_nanos(1)), ..Claim::of("one") };
    // Nothing is known of the pace before the first prompt.
    let first = engine.submit_as(&impatient, ask("hi", 1), 1).await.expect("the request is taken").remove(0);
    read(first).await;
    until(&engine, |stats| stats.steps > 0).await;
    let refused = engine.submit_as(&impatient, ask("hi", 1), 1).await.expect_err("nobody is that fast");
    assert!(matches!(refused, SubmitError::TooLate { .. }), "{refused}");
}

#[tokio::test]
async fn a_canary_is_answered_by_whoever_works() {
    let engine = engine::Engine::Generator(demo(small()));
    assert_eq!((engine.stats().steps, engine.stats().last_step_age), (0, None));
    engine.canary().await.expect("the demo model works");
    let stats = engine.stats();
    assert_eq!((stats.steps, stats.failed_steps), (1, 0));
    assert!(stats.last_step_age.is_some_and(|age| age < Duration::from_secs(60)));
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/encoders/bert_mean");
    let encoder = engine::open(&folder, small(), std::sync::Arc::new(|_, _| {})).expect("it loads");
    encoder.canary().await.expect("an encoder works too");
}

#[tokio::test]
async fn an_engine_ends_when_nobody_has_it_and_its_work_is_done() {
    let engine = demo(small());
    let mut ending = engine.ending();
    let events = engine.submit(ask("count from 1 to 20", 60)).await.expect("the request is taken");
    assert_eq!(engine.stats().requests, 1);
    drop(engine);
    let (text, ..) = read(events).await;
    assert!(!text.is_empty(), "whoever was let in has a whole reply");
    tokio::time::timeout(Duration::from_secs(60), ending.come()).await.expect("the thread ends");
    assert!(ending.has_come());
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn what_breaks_an_engine_shows_in_its_counters() {
    use engine::{Engine, Poison};
    let engine = Engine::Generator(demo(small()));
    engine.poison(Poison::FailedStep).await;
    engine.poison(Poison::FailedStep).await;
    let stats = engine.stats();
    assert_eq!((stats.failed_steps, stats.healthy), (2, true), "one bad request does not end an engine");
    engine.canary().await.expect("it goes on");
    assert_eq!(engine.stats().failed_steps, 0);
    engine.poison(Poison::Panic).await;
    engine.ending().come().await;
    assert!(!engine.stats().healthy);
    engine.canary().await.expect_err("a dead engine does not answer");
}

#[tokio::test]
async fn what_a_model_needs_is_known_before_it_is_loaded() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let need = engine::need(&folder, &small()).expect("it can be served");
    assert!(need.weights_bytes > 6_000_000 && need.kv_cache_bytes <= 16 << 20, "{need}");
    let encoder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/encoders/bert_mean");
    let need = engine::need(&encoder, &small()).expect("it can be served");
    assert!(need.weights_bytes > 0 && need.kv_cache_bytes == 0, "{need}");
}
