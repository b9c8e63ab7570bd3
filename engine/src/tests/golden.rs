//! Parity: every logit, every router's choice and the greedy continuation of tiny random checkpoints equal the
//! reference's.

use std::path::PathBuf;

use super::harness::{Case, Cut, FIXTURES, Made, cases, folder, loaded, run};
use crate::model::WeightFormat;

/// Largest difference of a logit, relative to its size above 1. Both sides compute in f32 and differ in the
/// order of sums only.
const TOLERANCE: f32 = 2e-4;

#[test]
fn every_logit_and_the_greedy_continuation_equal_the_reference() {
    check(FIXTURES.iter().map(|name| (*name, *name, folder(name))));
}

#[test]
fn every_gguf_equals_the_reference_of_what_it_was_made_from() {
    let models = [
        ("deepseek_v2_lite", "gguf_deepseek_v2_lite/model.gguf"),
        ("deepseek_v3", "gguf_deepseek_v3/model.gguf"),
        ("gpt_oss", "gguf_gpt_oss/model.gguf"),
        ("gpt_oss_mxfp4", "gguf_gpt_oss_mxfp4/model.gguf"),
        ("llama", "gguf_llama/model.gguf"),
        ("mixtral", "gguf_mixtral/model-00001-of-00003.gguf"),
        ("qwen2", "gguf_qwen2/model.gguf"),
        ("qwen3", "gguf_qwen3/model.gguf"),
        ("qwen3_moe", "gguf_qwen3_moe/model.gguf"),
        // All block types, against what their blocks decode to.
        ("gguf_types", "gguf_types/model.gguf"),
    ];
    check(models.into_iter().map(|(reference, path)| (path, reference, folder(path))));
}

/// Compares models, each with a name and the fixture that has its reference.
fn check<'a>(models: impl Iterator<Item = (&'a str, &'a str, PathBuf)>) {
    let mut wrong = Vec::new();
    println!("| fixture | largest difference |\n|---|---|");
    for (name, reference, path) in models {
        let network = loaded(&path, WeightFormat::AsStored);
        let mut worst = 0f32;
        for case in cases(reference) {
            let made = run(&network, &[&case.prompt], Cut::WHOLE).made.remove(0);
            worst = worst.max(difference(&made, &case));
            let prompt = case.prompt.len();
            let mut check = |holds: bool, what: &str| {
                if !holds {
                    wrong.push(format!("{name}, prompt of {prompt}: {what}"));
                }
            };
            check(worst <= TOLERANCE, &format!("a logit is off by {worst}"));
            check(made.tokens == case.greedy, "another continuation");
            let layers: Vec<_> = made.experts.keys().collect();
            check(layers.iter().eq(&case.experts.keys().collect::<Vec<_>>()), "other layers have routers");
            for (layer, chosen) in &case.experts {
                let same = made.experts.get(layer).is_some_and(|made| made[..prompt] == chosen[..]);
                check(same, &format!("layer {layer} chooses other experts"));
            }
        }
        println!("| `{name}` | {worst:.1e} |");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The largest difference of a logit of the prompt.
fn difference(made: &Made, case: &Case) -> f32 {
    assert!(made.logits.len() >= case.logits.len(), "a position has no logits");
    let rows = made.logits.iter().zip(&case.logits);
    let differences = rows.flat_map(|(got, want)| {
        assert_eq!(got.len(), want.len(), "another vocabulary");
        got.iter().zip(want).map(|(got, want)| (got - want).abs() / want.abs().max(1.0))
    });
    // NaN is a difference, and `f32::max` would forget it.
    differences.fold(0.0, |worst, difference| if difference <= worst { worst } else { difference })
}
