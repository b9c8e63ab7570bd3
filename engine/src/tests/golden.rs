//! Parity: every logit and the greedy continuation of tiny random checkpoints equal the reference's.

use super::harness::{Case, Cut, FIXTURES, cases, decoder, folder, loaded, run};
use crate::model::{Decoder, WeightFormat};

/// Largest difference of a logit, relative to its size above 1. Both sides compute in f32 and differ in the
/// order of sums only.
const TOLERANCE: f32 = 2e-4;

#[test]
fn every_logit_and_the_greedy_continuation_equal_the_reference() {
    for name in FIXTURES {
        check(name, &decoder(name), &cases(name));
    }
}

#[test]
fn every_gguf_equals_the_reference_of_what_it_was_made_from() {
    let models = [
        ("llama", "gguf_llama/model.gguf"),
        ("mixtral", "gguf_mixtral/model-00001-of-00003.gguf"),
        ("qwen2", "gguf_qwen2/model.gguf"),
        ("qwen3", "gguf_qwen3/model.gguf"),
        ("qwen3_moe", "gguf_qwen3_moe/model.gguf"),
    ];
    for (reference, path) in models {
        check(path, &loaded(path, &folder(path), WeightFormat::AsStored), &cases(reference));
    }
}

fn check(name: &str, decoder: &Decoder, cases: &[Case]) {
    for case in cases {
        let made = run(decoder, &[&case.prompt], Cut::WHOLE).made.remove(0);
        let mut worst = 0f32;
        for (got, want) in made.logits.iter().zip(&case.logits) {
            assert_eq!(got.len(), want.len(), "{name}: vocabulary");
            for (got, want) in got.iter().zip(want) {
                worst = worst.max((got - want).abs() / want.abs().max(1.0));
            }
        }
        assert!(worst <= TOLERANCE, "{name}, prompt of {}: a logit is off by {worst}", case.prompt.len());
        assert!(made.logits.len() >= case.logits.len(), "{name}: a position has no logits");
        assert_eq!(made.tokens, case.greedy, "{name}, prompt of {}", case.prompt.len());
    }
}
