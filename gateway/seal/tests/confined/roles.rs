//! Who this process is: the one that runs the tests, or a child that a test started.

use std::panic;
use std::process::ExitCode;

use crate::{child, escapes, packets, siblings, works};

/// Names the role of a child.
pub(crate) const ROLE: &str = "SEAL_TEST_ROLE";

/// Tests of confinement, which need a kernel that can.
const CONFINED: &[Test] = &[
    ("every_escape_is_blocked_in_a_confined_process", escapes::every_escape_is_blocked_in_a_confined_process),
    ("a_gpu_opens_no_way_out", escapes::a_gpu_opens_no_way_out),
    ("the_same_attempts_succeed_in_a_free_process", escapes::the_same_attempts_succeed_in_a_free_process),
    ("a_program_cannot_be_started", escapes::a_program_cannot_be_started),
    ("what_the_gateway_needs_still_works", works::what_the_gateway_needs_still_works),
    ("a_confined_process_can_still_abort", works::a_confined_process_can_still_abort),
    ("root_has_no_privileges_left", works::root_has_no_privileges_left),
    ("rules_that_cannot_be_kept_confine_nobody", works::rules_that_cannot_be_kept_confine_nobody),
    ("not_one_packet_leaves_a_confined_process", packets::not_one_packet_leaves_a_confined_process),
];

/// The others.
const FREE: &[Test] = &[
    ("a_process_with_two_threads_is_not_confined", works::a_process_with_two_threads_is_not_confined),
    ("a_hardened_process_is_closed_to_its_siblings", siblings::a_hardened_process_is_closed_to_its_siblings),
    ("a_child_dies_with_its_parent", siblings::a_child_dies_with_its_parent),
    ("a_child_whose_parent_is_gone_is_told_so", siblings::a_child_whose_parent_is_gone_is_told_so),
];

type Test = (&'static str, fn());

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
    let can = confinable();
    let able = if can { CONFINED } else { &[] };
    let chosen = able.iter().chain(FREE).filter(|(name, _)| wanted(name));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if !can {
        skip(&format!("this kernel is too old to confine as the rules demand: {:?}", seal::supported()));
    }
    let mut failed = 0;
    for (name, test) in chosen {
        let passed = panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}

/// Whether the kernel has what `Rules::new` demands.
pub(crate) fn confinable() -> bool {
    let (support, rules) = (seal::supported(), seal::Rules::new(seal::Device::Cpu));
    let least = match rules.landlock {
        seal::Landlock::Required { abi_min } => abi_min,
        seal::Landlock::BestEffort => 0,
    };
    support.seccomp && support.landlock.unwrap_or(0) >= least
}

#[expect(clippy::print_stderr, reason = "a test that shows nothing has to say so")]
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}
