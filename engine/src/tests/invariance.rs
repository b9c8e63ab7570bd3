//! Sameness: chunks, batches, block sizes, preemption and a poisoned pool change no bit of any logit.

use super::harness::{Case, Cut, Draft, FIXTURES, Made, Network, cases, network, run};
use crate::schedule::{StepLimits, reach_blocks_max};

fn alone(network: &Network, cases: &[Case]) -> Vec<Made> {
    cases.iter().map(|case| run(network, &[&case.prompt], Cut::WHOLE).made.remove(0)).collect()
}

#[test]
fn chunk_budget_and_block_size_change_no_bit() {
    for name in FIXTURES {
        let (network, cases) = (network(name), cases(name));
        let whole = alone(&network, &cases);
        for (step_tokens, block_size) in [(5, 16), (16, 4), (64, 64), (16, 16), (64, 4)] {
            let cut = Cut { step_tokens, block_size, ..Cut::WHOLE };
            for (case, whole) in cases.iter().zip(&whole) {
                let made = run(&network, &[&case.prompt], cut).made.remove(0);
                assert!(made == *whole, "{name}: {cut:?} changes a prompt of {}", case.prompt.len());
            }
        }
    }
}

#[test]
fn neighbours_in_any_order_change_no_bit() {
    for name in FIXTURES {
        let (network, cases) = (network(name), cases(name));
        let whole = alone(&network, &cases);
        let mut order: Vec<usize> = (0..cases.len()).collect();
        for rotation in 0..cases.len() {
            order.rotate_left(1);
            if rotation % 2 == 1 {
                order.reverse();
            }
            let prompts: Vec<&[u32]> = order.iter().map(|&i| cases[i].prompt.as_slice()).collect();
            for (made, &i) in
                run(&network, &prompts, Cut { step_tokens: 48, ..Cut::WHOLE }).made.iter().zip(&order)
            {
                assert!(*made == whole[i], "{name}: order {order:?} changes prompt {i}");
            }
        }
    }
}

#[test]
fn neighbours_that_leave_change_no_bit() {
    for name in FIXTURES {
        let (network, cases) = (network(name), cases(name));
        let whole = alone(&network, &cases);
        // The longest first: it leaves in the middle of its prompt, or while all of them write.
        let prompts: Vec<&[u32]> = cases.iter().rev().map(|case| case.prompt.as_slice()).collect();
        for steps in [1, 12] {
            let cut = Cut { step_tokens: 24, first_leaves_after: Some(steps), ..Cut::WHOLE };
            let made = run(&network, &prompts, cut).made;
            assert!(made.iter().eq(whole.iter().rev().skip(1)), "{name}: left after {steps} steps");
        }
    }
}

#[test]
fn preemption_changes_no_bit() {
    for name in FIXTURES {
        let (network, cases) = (network(name), cases(name));
        let whole = alone(&network, &cases);
        let prompts: Vec<&[u32]> = cases.iter().map(|case| case.prompt.as_slice()).collect();
        // Room for the longest prompt with its continuation, and little more. Where every layer sees a window
        // only, a sequence alone never needs more than a window and a chunk.
        let limits = StepLimits { tokens_max: 16, sequences_max: Cut::WHOLE.sequences };
        let groups = network.groups.iter();
        let each: Option<Vec<_>> = groups.map(|group| reach_blocks_max(group.reach, limits, 4)).collect();
        let (step_tokens, blocks) = match each {
            Some(each) => (limits.tokens_max, each.into_iter().fold(0, usize::max) as u32 + 3),
            None => (Cut::WHOLE.step_tokens, 27),
        };
        let cut = Cut { step_tokens, block_size: 4, blocks, ..Cut::WHOLE };
        let run = run(&network, &prompts, cut);
        assert!(run.preempted > 0, "{name}: the pool was not small enough to preempt");
        assert!(run.made == whole, "{name}: preemption changes a result");
    }
}

#[test]
fn drafts_change_no_bit() {
    let mut right = 0;
    for name in FIXTURES {
        let (network, cases) = (network(name), cases(name));
        let whole = alone(&network, &cases);
        let prompts: Vec<&[u32]> = cases.iter().map(|case| case.prompt.as_slice()).collect();
        for draft in [Draft::Lookup, Draft::Wrong] {
            let run = run(&network, &prompts, Cut { draft, step_tokens: 24, block_size: 4, ..Cut::WHOLE });
            assert!(run.made == whole, "{name}: {draft:?} changes a result");
            right += run.right;
        }
    }
    assert!(right > 100, "only {right} drafted tokens were right");
}

#[test]
fn a_beginning_that_was_there_changes_no_bit() {
    for name in FIXTURES {
        let (network, cases) = (network(name), cases(name));
        let whole = alone(&network, &cases);
        let mut saved = 0;
        for (block_size, step_tokens) in [(4, 4096), (16, 24)] {
            let cut = Cut { block_size, step_tokens, sequences: 1, shares: true, ..Cut::WHOLE };
            for (case, whole) in cases.iter().zip(&whole) {
                // The same again, then another end to the same beginning, then the first once more.
                let mut other = case.prompt.clone();
                let last = other.last_mut().expect("no prompt is empty");
                *last = last.checked_sub(1).unwrap_or(1);
                let prompts = [&case.prompt, &case.prompt, &other, &case.prompt].map(Vec::as_slice);
                let made = run(&network, &prompts, cut).made;
                for again in [&made[1], &made[3]] {
                    let found = whole.logits.len() - again.logits.len();
                    saved += found;
                    assert!(again.tokens == whole.tokens, "{name}: {cut:?} changes the reply");
                    assert!(again.logits == whole.logits[found..], "{name}: {cut:?} changes a logit");
                }
            }
        }
        assert!(saved > 0, "{name}: nothing was found");
    }
}
