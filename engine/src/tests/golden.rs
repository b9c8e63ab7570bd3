//! Parity: every logit, every router's choice and the greedy continuation of tiny random checkpoints equal the
//! reference's.

use super::harness::{Case, Cut, FIXTURES, Made, cases, decoder, run};

/// Largest difference of a logit, relative to its size above 1. Both sides compute in f32 and differ in the
/// order of sums only.
const TOLERANCE: f32 = 2e-4;

#[test]
fn every_logit_and_the_greedy_continuation_equal_the_reference() {
    let mut wrong = Vec::new();
    println!("| fixture | largest difference |\n|---|---|");
    for name in FIXTURES {
        let decoder = decoder(name);
        let mut worst = 0f32;
        for case in cases(name) {
            let made = run(&decoder, &[&case.prompt], Cut::WHOLE).made.remove(0);
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
