//! Who this process is: the one that runs the tests, or a child that a test started.

use std::panic;
use std::process::ExitCode;

use crate::{child, escapes, packets, siblings, works};

/// Names the role of a child.
pub(crate) const ROLE: &str = "SEAL_TEST_ROLE";

const TESTS: &[(&str, fn())] = &[
    ("every_escape_is_blocked_in_a_confined_process", escapes::every_escape_is_blocked_in_a_confined_process),
    ("the_same_attempts_succeed_in_a_free_process", escapes::the_same_attempts_succeed_in_a_free_process),
    ("a_program_cannot_be_started", escapes::a_program_cannot_be_started),
    ("what_the_gateway_needs_still_works", works::what_the_gateway_needs_still_works),
    ("rules_that_cannot_be_kept_confine_nobody", works::rules_that_cannot_be_kept_confine_nobody),
    ("a_process_with_two_threads_is_not_confined", works::a_process_with_two_threads_is_not_confined),
    ("not_one_packet_leaves_a_confined_process", packets::not_one_packet_leaves_a_confined_process),
    ("a_hardened_process_is_closed_to_its_siblings", siblings::a_hardened_process_is_closed_to_its_siblings),
    ("a_child_dies_with_its_parent", siblings::a_child_dies_with_its_parent),
    ("a_child_whose_parent_is_gone_is_told_so", siblings::a_child_whose_parent_is_gone_is_told_so),
];

pub(crate) fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        child::play(&role);
        return ExitCode::SUCCESS;
    }
    run()
}

/// The least of a test harness: names, a filter, one line for each test. Flags of the usual one are ignored.
#[expect(clippy::print_stdout, reason = "the report of the tests goes where that of the usual harness goes")]
fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let chosen = TESTS.iter().filter(|(name, _)| wanted(name));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, test) in chosen {
        let passed = panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}
