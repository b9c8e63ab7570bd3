//! The sampler against the definitions.

use proptest::prelude::*;

use super::*;

const LOGITS: [f32; 6] = [0.0, 3.0, 1.0, 2.0, -1.0, 2.5];
const PLAIN: Sampling = Sampling {
    temperature: 1.0,
    top_k: None,
    top_p: 1.0,
    min_p: 0.0,
    seed: None,
    penalties: Penalties::NONE,
    bias: Vec::new(),
};

fn sampler(sampling: Sampling) -> Sampler {
    Sampler::new(sampling, 0, &[])
}

/// The next token with everything but a constraint, as the engine draws it.
fn next(sampler: &mut Sampler, logits: &[f32], position: usize) -> u32 {
    let mut logits = logits.to_vec();
    sampler.shape(&mut logits);
    sampler.hold_end(&mut logits);
    sampler.draw(&logits, position)
}

fn counts(sampling: Sampling, draws: usize) -> Vec<usize> {
    let mut sampler = sampler(Sampling { seed: Some(7), ..sampling });
    let mut counts = vec![0; LOGITS.len()];
    (0..draws).for_each(|position| counts[next(&mut sampler, &LOGITS, position) as usize] += 1);
    counts
}

fn kept(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
    let mut candidates = sampler(sampling).candidates(logits);
    candidates.sort_by(likelier);
    candidates.into_iter().map(|(token, _)| token).collect()
}

#[test]
fn greedy_takes_the_largest_and_the_lower_id_on_a_tie() {
    assert_eq!(sampler(Sampling::GREEDY).draw(&[1.0, 4.0, 4.0, 2.0], 0), 1);
}

#[test]
fn frequencies_follow_the_softmax() {
    let draws = 20_000;
    let total: f64 = LOGITS.iter().map(|x| f64::from(*x).exp()).sum();
    for (token, count) in counts(PLAIN, draws).into_iter().enumerate() {
        let expected = f64::from(LOGITS[token]).exp() / total * draws as f64;
        // Five standard deviations of a binomial count.
        assert!(
            (count as f64 - expected).abs() < 5.0 * expected.sqrt().max(1.0),
            "{token}: {count} {expected}"
        );
    }
}

#[test]
fn each_cut_keeps_exactly_its_tokens() {
    let kept = |sampling| kept(sampling, &LOGITS);
    assert_eq!(kept(Sampling { top_k: Some(2), ..PLAIN }), [1, 5]);
    // Probabilities in order: .478 .290 .176 .065 ...
    assert_eq!(kept(Sampling { top_p: 0.5, ..PLAIN }), [1, 5]);
    assert_eq!(kept(Sampling { top_p: 0.45, ..PLAIN }), [1]);
    // exp(2.0 - 3.0) = 0.37 stays, exp(1.0 - 3.0) = 0.14 goes.
    assert_eq!(kept(Sampling { min_p: 0.3, ..PLAIN }), [1, 5, 3]);
    assert_eq!(kept(Sampling { top_p: 1.0, ..PLAIN }).len(), 6);
}

#[test]
fn the_same_seed_and_position_draw_the_same_token() {
    assert_eq!(counts(PLAIN, 50), counts(PLAIN, 50));
    let draws = |seed| {
        let mut sampler = sampler(Sampling { seed: Some(seed), ..PLAIN });
        (0..50).map(|position| next(&mut sampler, &LOGITS, position)).collect::<Vec<_>>()
    };
    assert_ne!(draws(7), draws(8));
}

#[test]
fn a_bias_of_a_hundred_forces_a_token_and_one_of_minus_a_hundred_bans_it() {
    for temperature in [0.0, 1.0] {
        let biased = |bias| counts(Sampling { temperature, bias, ..PLAIN }, 200);
        assert_eq!(biased(vec![(4, 100.0)])[4], 200);
        assert_eq!(biased(vec![(1, -100.0)])[1], 0);
    }
}

#[test]
fn an_end_comes_only_after_the_least_number_of_tokens_or_where_nothing_else_can() {
    let mut held = sampler(Sampling::GREEDY).with_least(2, vec![1, 5]);
    let drawn: Vec<u32> = (0..3).map(|position| next(&mut held, &LOGITS, position)).collect();
    assert_eq!(drawn, [3, 3, 1]);
    let mut only_end = [f32::NEG_INFINITY; 6];
    only_end[5] = 1.0;
    assert_eq!(next(&mut sampler(Sampling::GREEDY).with_least(2, vec![1, 5]), &only_end, 0), 5);
}

#[test]
fn a_frequency_penalty_takes_turns_where_greed_repeats() {
    let penalties = Penalties { frequency: 2.0, ..Penalties::NONE };
    let mut sampler = sampler(Sampling { penalties, ..Sampling::GREEDY });
    let drawn: Vec<u32> = (0..4).map(|position| next(&mut sampler, &LOGITS, position)).collect();
    assert_eq!(drawn, [1, 5, 3, 1]);
}

#[test]
fn a_setting_out_of_range_is_named() {
    let said = |sampling: Sampling| sampling.validate(6).unwrap_err().to_string();
    assert_eq!(said(Sampling { top_p: 0.0, ..PLAIN }), "top_p must be above 0 and at most 1");
    assert!(said(Sampling { temperature: f32::NAN, ..PLAIN }).starts_with("temperature"));
    assert!(said(Sampling { bias: vec![(6, 1.0)], ..PLAIN }).contains("tokens that the model knows"));
    assert!(said(Sampling { bias: vec![(5, 101.0)], ..PLAIN }).contains("between -100 and 100"));
    let penalties = |penalties| said(Sampling { penalties, ..PLAIN });
    assert!(penalties(Penalties { presence: 2.5, ..Penalties::NONE }).starts_with("presence_penalty"));
    assert!(penalties(Penalties { frequency: -3.0, ..Penalties::NONE }).starts_with("frequency_penalty"));
    assert!(penalties(Penalties { repetition: 0.0, ..Penalties::NONE }).starts_with("repetition_penalty"));
    assert_eq!(Sampling { bias: vec![(5, -100.0)], ..PLAIN }.validate(6), Ok(()));
}

/// The cuts by their definition: everything in order, nothing clever.
fn naive(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| (f64::from(logit - max) / f64::from(sampling.temperature)).exp();
    let mut all: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|logit| weight(*logit))).collect();
    all.sort_by(likelier);
    all.truncate(sampling.top_k.map_or(all.len(), |k| k as usize));
    let total: f64 = all.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    let mut kept = Vec::new();
    for (token, weight) in all {
        if kept.is_empty() || sum < f64::from(sampling.top_p) * total * (1.0 - 1e-12) {
            sum += weight;
            if weight >= f64::from(sampling.min_p) {
                kept.push(token);
            }
        }
    }
    kept
}

proptest! {
    #[test]
    fn the_cuts_keep_what_the_definition_keeps(
        // Many of the same size, so that shares reach far beyond what is put in order first.
        logits in prop::collection::vec((-8_i8..8).prop_map(|x| f32::from(x) / 16.0), 1..300),
        top_k in prop::option::of(1_u32..300),
        (top_p, min_p) in (0.01_f32..1.0, 0.0_f32..1.0),
    ) {
        let sampling = Sampling { top_k, top_p, min_p, ..PLAIN };
        prop_assert_eq!(kept(sampling.clone(), &logits), naive(&sampling, &logits));
    }
}
