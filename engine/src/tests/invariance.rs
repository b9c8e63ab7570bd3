//! Sameness: chunks, batches, block sizes, preemption and a poisoned pool change no bit of any logit.

use super::harness::{Case, Cut, FIXTURES, Made, cases, decoder, run};
use crate::model::Decoder;

fn alone(decoder: &Decoder, cases: &[Case]) -> Vec<Made> {
    cases.iter().map(|case| run(decoder, &[&case.prompt], Cut::WHOLE).made.remove(0)).collect()
}

#[test]
fn chunk_budget_and_block_size_change_no_bit() {
    for name in FIXTURES {
        let (decoder, cases) = (decoder(name), cases(name));
        let whole = alone(&decoder, &cases);
        for (step_tokens, block_size) in [(5, 16), (16, 4), (64, 64), (16, 16), (64, 4)] {
            let cut = Cut { step_tokens, block_size, ..Cut::WHOLE };
            for (case, whole) in cases.iter().zip(&whole) {
                let made = run(&decoder, &[&case.prompt], cut).made.remove(0);
                assert!(made == *whole, "{name}: {cut:?} changes a prompt of {}", case.prompt.len());
            }
        }
    }
}

#[test]
fn neighbours_in_any_order_change_no_bit() {
    for name in FIXTURES {
        let (decoder, cases) = (decoder(name), cases(name));
        let whole = alone(&decoder, &cases);
        let mut order: Vec<usize> = (0..cases.len()).collect();
        for rotation in 0..cases.len() {
            order.rotate_left(1);
            if rotation % 2 == 1 {
                order.reverse();
            }
            let prompts: Vec<&[u32]> = order.iter().map(|&i| cases[i].prompt.as_slice()).collect();
            for (made, &i) in
                run(&decoder, &prompts, Cut { step_tokens: 48, ..Cut::WHOLE }).made.iter().zip(&order)
            {
                assert!(*made == whole[i], "{name}: order {order:?} changes prompt {i}");
            }
        }
    }
}

#[test]
fn preemption_changes_no_bit() {
    for name in FIXTURES {
        let (decoder, cases) = (decoder(name), cases(name));
        let whole = alone(&decoder, &cases);
        let prompts: Vec<&[u32]> = cases.iter().map(|case| case.prompt.as_slice()).collect();
        // Room for the longest prompt with its continuation, and little more.
        let cut = Cut { block_size: 4, blocks: 27, ..Cut::WHOLE };
        let run = run(&decoder, &prompts, cut);
        assert!(run.preempted > 0, "{name}: the pool was not small enough to preempt");
        assert!(run.made == whole, "{name}: preemption changes a result");
    }
}
