//! Log-probabilities of prompts and replies against the reference's logits.

use super::harness::{Case, cases, folder};
use crate::{
    Detail, Ending, EngineConfig, Event, NewTokens, Prompt, Report, Request, Sampling, Token, start,
};

/// Largest difference of a log-probability. Both sides compute in f32; the logits may differ by 2e-4.
const TOLERANCE: f64 = 5e-4;

/// The first token of the reply is the last that is returned.
async fn told(engine: &crate::Handle, prompt: &[u32]) -> Vec<Token> {
    let detail = Detail::Logprobs { alternatives: 3 };
    let request = Request {
        prompt: Prompt::Tokens(prompt.to_vec()),
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        ending: Ending::default(),
        new_tokens: NewTokens::Reserved(1),
        constraint: None,
        report: Report { prompt: detail, reply: detail },
        now: jiff::ZonedDateTime::default(),
    };
    let mut events = engine.submit(request).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Prompt(tokens) => {
                assert!(told.is_empty(), "the prompt comes first");
                told = tokens;
            }
            Event::Token(token) => told.push(token),
            _ => {}
        }
    }
    told
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - max) - sum.ln()).collect()
}

fn check(name: &str, case: &Case, told: &[Token]) {
    let ids: Vec<u32> = told.iter().map(|token| token.id).collect();
    let expected: Vec<u32> = case.prompt.iter().copied().chain([case.greedy[0]]).collect();
    assert_eq!(ids, expected, "{name}");
    assert!(told[0].logprob.is_none() && told[0].alternatives.is_empty(), "nothing stands before the first");
    for (token, logits) in told[1..].iter().zip(&case.logits) {
        let reference = log_softmax(logits);
        let near = |logprob: f32, id: u32| {
            let off = (f64::from(logprob) - reference[id as usize]).abs();
            assert!(off <= TOLERANCE, "{name}: token {id} is off by {off}");
        };
        near(token.logprob.expect("each further token has one"), token.id);
        token.alternatives.iter().for_each(|alternative| near(alternative.logprob, alternative.id));
        let mut order = reference.clone();
        order.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(token.alternatives.len(), 3);
        for (alternative, best) in token.alternatives.iter().zip(order) {
            assert!((f64::from(alternative.logprob) - best).abs() <= TOLERANCE, "{name}: not the likeliest");
        }
    }
}

/// A fixture with a tokenizer, which the checkpoints of the fixtures do not have.
fn with_tokenizer(name: &str) -> tempfile::TempDir {
    let whole = tempfile::tempdir().unwrap();
    for part in [name, "tokenizer"] {
        for file in std::fs::read_dir(folder(part)).unwrap().map(Result::unwrap) {
            if ["config.json", "tokenizer.json", "tokenizer_config.json"]
                .iter()
                .any(|name| file.file_name() == *name)
                || file.path().extension().is_some_and(|extension| extension == "safetensors")
            {
                std::fs::copy(file.path(), whole.path().join(file.file_name())).unwrap();
            }
        }
    }
    std::fs::write(whole.path().join("chat_template.jinja"), "{{ messages[0].content }}").unwrap();
    whole
}

#[tokio::test]
async fn the_log_probabilities_of_prompts_equal_the_references() {
    for name in ["gemma3_text", "gpt_oss", "llama", "mistral_window", "qwen2", "qwen3_moe"] {
        // Prompts in chunks, and their logits in several pieces.
        let config = EngineConfig {
            kv_cache_bytes: 16 << 20,
            step_tokens_max: 48,
            sequences_max: 5,
            ..EngineConfig::default()
        };
        let whole = with_tokenizer(name);
        let engine = start(whole.path(), config).unwrap();
        for case in cases(name) {
            check(name, &case, &told(&engine, &case.prompt).await);
        }
    }
}
