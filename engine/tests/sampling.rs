//! Settings of the draw, of the end and of what is told, as users of the engine see them.

use std::path::PathBuf;

use engine::{
    Claim, Conversation, Detail, EndTokens, Ending, EngineConfig, Event, Events, FinishReason, Handle,
    Message, NewTokens, Penalties, Prompt, Report, Request, Role, Sampling, SpecialTokens, SubmitError,
    Token, Usage,
};
use jiff::ZonedDateTime;

fn demo(config: EngineConfig) -> Handle {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    engine::start(&folder, config).expect("the demo model loads")
}

fn small() -> EngineConfig {
    EngineConfig { kv_cache_bytes: 16 << 20, ..EngineConfig::default() }
}

fn ask(text: &str, new_tokens: usize) -> Request {
    let messages = vec![Message::new(Role::User, text)];
    Request {
        prompt: Prompt::Conversation(Conversation { messages, ..Conversation::default() }),
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        ending: Ending::default(),
        new_tokens: NewTokens::Reserved(new_tokens),
        constraint: None,
        report: Report { prompt: Detail::Nothing, reply: Detail::Ids },
        now: ZonedDateTime::now(),
    }
}

/// All that a reply says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    prompt: Vec<Token>,
    tokens: Vec<Token>,
    text: String,
    finish: Option<(FinishReason, Option<String>)>,
    usage: Usage,
}

impl Said {
    fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

async fn read(mut events: Events) -> Said {
    let mut said = Said::default();
    while let Some(event) = events.next().await {
        match event {
            Event::Prompt(prompt) => said.prompt = prompt,
            Event::Token(token) => said.tokens.push(token),
            Event::Text(more) => said.text.push_str(&more),
            Event::Finished { reason, matched_stop, usage } => {
                said.finish = Some((reason, matched_stop));
                said.usage = usage;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    said
}

async fn answer(engine: &Handle, request: Request) -> Said {
    read(engine.submit(request).await.expect("the request is taken")).await
}

async fn refused(engine: &Handle, request: Request) -> String {
    engine.submit(request).await.expect_err("it is refused").to_string()
}

/// A request that uses every setting that looks at the tokens so far.
fn penalised(text: &str, new_tokens: usize) -> Request {
    let penalties = Penalties { presence: 0.4, frequency: 0.3, repetition: 1.2 };
    let sampling = Sampling {
        temperature: 0.9,
        top_p: 0.95,
        seed: Some(5),
        penalties,
        bias: vec![(300, 2.0)],
        ..Sampling::GREEDY
    };
    let detail = Detail::Logprobs { alternatives: 4 };
    Request { sampling, report: Report { prompt: detail, reply: detail }, ..ask(text, new_tokens) }
}

#[tokio::test]
async fn a_penalised_reply_and_its_log_probabilities_are_the_same_at_every_budget_in_a_crowd_and_preempted() {
    let questions: Vec<String> = (5..21).map(|n| format!("count from 1 to {n}")).collect();
    let roomy = demo(small());
    let mut alone = Vec::new();
    for question in &questions {
        alone.push(answer(&roomy, penalised(question, 60)).await);
    }
    assert!(alone.iter().all(|said| said.prompt.len() == said.usage.prompt_tokens));
    assert!(alone.iter().all(|said| said.tokens.len() == said.usage.completion_tokens));
    for (step_tokens_max, block_size_tokens) in [(1, 16), (7, 4)] {
        let engine = demo(EngineConfig { step_tokens_max, block_size_tokens, ..small() });
        assert_eq!(answer(&engine, penalised(&questions[9], 60)).await, alone[9]);
    }
    let tight = demo(EngineConfig { kv_cache_bytes: 512 << 10, ..small() });
    let mut waiting = Vec::new();
    for question in &questions {
        waiting.push(tight.submit(penalised(question, 60)).await.expect("the request is taken"));
    }
    for (events, alone) in waiting.into_iter().zip(&alone) {
        assert_eq!(read(events).await, *alone);
    }
    assert!(tight.stats().preemptions > 0, "the cache was not small enough to preempt");
}

#[tokio::test]
async fn each_choice_draws_as_a_request_with_its_own_seed() {
    let engine = demo(small());
    let drawn = |seed| {
        let sampling = Sampling { temperature: 2.0, seed: Some(seed), ..Sampling::GREEDY };
        // Bare text: the model is less certain of what follows than in a conversation.
        Request { sampling, prompt: Prompt::Text("The sea".to_owned()), ..ask("", 24) }
    };
    let choices = engine.submit_as(&Claim::of(""), drawn(u64::MAX), 3).await.expect("the request is taken");
    assert_eq!(choices.len(), 3);
    let mut texts = Vec::new();
    for (events, seed) in choices.into_iter().zip([u64::MAX, 0, 1]) {
        let said = read(events).await;
        assert_eq!(said, answer(&engine, drawn(seed)).await);
        texts.push(said.text);
    }
    texts.dedup();
    assert!(texts.len() > 1, "no seed made a difference: {texts:?}");
}

#[tokio::test]
async fn more_choices_than_there_may_be_are_refused_with_the_number() {
    let engine = demo(EngineConfig { requests_max: 4, ..small() });
    let choices =
        async |choices| engine.submit_as(&Claim::of(""), ask("hi", 1), choices).await.expect_err("refused");
    assert_eq!(choices(5).await.to_string(), "5 choices were asked for, and a request may have 4");
    assert!(matches!(choices(0).await, SubmitError::NothingAsked));
    let all =
        engine.submit_as(&Claim::of(""), ask("count to 50", 200), 4).await.expect("there are four places");
    assert!(matches!(choices(1).await, SubmitError::Overloaded));
    drop(all);
}

#[tokio::test]
async fn a_stop_token_ends_the_reply_and_has_no_text() {
    let engine = demo(small());
    let whole = answer(&engine, ask("count from 1 to 20", 40)).await;
    let ids = whole.ids();
    let stop = ids[4];
    let first = ids.iter().position(|id| *id == stop).expect("it is there");
    let stopped = |min_tokens| {
        let ending = Ending { stop_tokens: vec![stop], min_tokens, ..Ending::default() };
        Request { ending, ..ask("count from 1 to 20", 40) }
    };
    let said = answer(&engine, stopped(0)).await;
    assert_eq!((said.ids(), said.finish), (ids[..=first].to_vec(), Some((FinishReason::Stop, None))));
    assert!(whole.text.starts_with(&said.text));
    let text = engine.detokenize(ids[..first].to_vec()).await.expect("the tokens are known");
    assert_eq!(said.text, text);

    // Before the least number it is not drawn at all.
    let held = answer(&engine, stopped(first + 3)).await;
    assert!(held.tokens.len() > first + 2 && !held.ids()[..first + 3].contains(&stop), "{:?}", held.ids());
}

#[tokio::test]
async fn a_stop_string_counts_only_after_the_least_number_of_tokens() {
    let engine = demo(small());
    let stopped = |min_tokens| Request {
        stop: vec![" ".to_owned()],
        ending: Ending { min_tokens, ..Ending::default() },
        ..ask("count from 1 to 20", 40)
    };
    let early = answer(&engine, stopped(0)).await;
    let late = answer(&engine, stopped(12)).await;
    assert!(early.tokens.len() < 12, "{early:?}");
    assert!(late.tokens.len() > 12 && late.text.contains(' '), "{late:?}");
    assert_eq!(late.finish, Some((FinishReason::Stop, Some(" ".to_owned()))));
}

#[tokio::test]
async fn the_models_own_end_can_be_put_off_or_ignored() {
    let engine = demo(small());
    let own = answer(&engine, ask("hi", 120)).await;
    let end = *own.ids().last().expect("there is a token");
    assert_eq!(own.finish, Some((FinishReason::Stop, None)), "the model ends its turn");
    let with = |ending| Request { ending, ..ask("hi", 120) };

    let put_off = answer(&engine, with(Ending { min_tokens: 110, ..Ending::default() })).await;
    assert!(put_off.usage.completion_tokens > 110 && !put_off.ids()[..110].contains(&end));

    let ignored = answer(&engine, with(Ending { eos: EndTokens::Ignored, ..Ending::default() })).await;
    assert_eq!(ignored.finish, Some((FinishReason::Length, None)));
    assert_eq!(ignored.usage.completion_tokens, 120);
    assert_eq!(ignored.ids()[..own.tokens.len()], own.ids());
}

#[tokio::test]
async fn a_bias_changes_what_is_drawn_and_not_what_is_told_of_the_model() {
    let engine = demo(small());
    let detail = Detail::Logprobs { alternatives: 2 };
    let report = Report { prompt: Detail::Nothing, reply: detail };
    let plain = answer(&engine, Request { report, ..ask("hi", 1) }).await;
    let [likeliest, second] = &plain.tokens[0].alternatives[..] else { panic!("two were asked for") };
    assert_eq!((plain.tokens[0].id, plain.tokens[0].logprob), (likeliest.id, Some(likeliest.logprob)));

    for bias in [vec![(likeliest.id, -100.0)], vec![(second.id, 100.0)]] {
        let sampling = Sampling { bias, ..Sampling::GREEDY };
        let biased = answer(&engine, Request { report, sampling, ..ask("hi", 1) }).await;
        assert_eq!(biased.tokens[0].id, second.id);
        assert_eq!(biased.tokens[0].logprob, Some(second.logprob));
        assert_eq!(biased.tokens[0].alternatives, plain.tokens[0].alternatives);
    }
}

#[tokio::test]
async fn a_prompt_alone_is_told_of_and_not_continued() {
    let engine = demo(small());
    let text = "Größe 天気";
    let prompt = || Prompt::Text(text.to_owned());
    let tokens = engine.tokenize(prompt(), SpecialTokens::Add, ZonedDateTime::now()).await;
    let tokens = tokens.expect("it is text");
    for detail in [Detail::Ids, Detail::Logprobs { alternatives: 1 }] {
        let report = Report { prompt: detail, reply: detail };
        let new_tokens = NewTokens::Nothing;
        let said = answer(&engine, Request { prompt: prompt(), new_tokens, report, ..ask("", 1) }).await;
        assert_eq!(said.prompt.iter().map(|token| token.id).collect::<Vec<_>>(), tokens);
        let bytes: Vec<u8> = said.prompt.iter().flat_map(|token| token.bytes.clone()).collect();
        assert!(String::from_utf8_lossy(&bytes).ends_with(text), "{bytes:?}");
        let has_logprob: Vec<bool> = said.prompt.iter().map(|token| token.logprob.is_some()).collect();
        let expected: Vec<bool> = (0..tokens.len()).map(|i| detail != Detail::Ids && i > 0).collect();
        assert_eq!(has_logprob, expected);
        assert_eq!((said.tokens.len(), said.usage.completion_tokens), (0, 0));
        assert_eq!(said.finish, Some((FinishReason::Length, None)));
    }
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_by_name() {
    let engine = demo(small());
    let ending = Ending { min_tokens: 9, ..Ending::default() };
    let message = refused(&engine, Request { ending, ..ask("hi", 8) }).await;
    assert_eq!(message, "min_tokens must be at most the number of tokens that the reply may have");
    let report = Report { prompt: Detail::Logprobs { alternatives: 21 }, reply: Detail::Nothing };
    let message = refused(&engine, Request { report, ..ask("hi", 8) }).await;
    assert_eq!(message, "logprobs must be of at most 20 alternatives for each token");
    let sampling = Sampling { bias: vec![(70_000, 1.0)], ..Sampling::GREEDY };
    let message = refused(&engine, Request { sampling, ..ask("hi", 8) }).await;
    assert_eq!(message, "logit_bias must be of tokens that the model knows");
}
