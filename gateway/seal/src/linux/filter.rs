//! The table of calls as programs that the kernel runs before each call.
//!
//! The kernel works out once which calls pass whatever their arguments are, and runs the programs only for the rest:
//! reading, writing and waiting cost nothing.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::calls::{Denied, FORBIDDEN, LAST_KNOWN, Test, UNKNOWN, When};
use crate::SealError;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

/// Writes the programs for a process with this id. Calls of another architecture kill the process.
///
/// The kernel runs every program that is installed, so their order makes no difference.
pub(super) fn programs(process: u32) -> Result<[BpfProgram; 2], SealError> {
    let forbidden = FORBIDDEN.iter().copied().flatten();
    let written = || -> Result<_, BackendError> {
        let mut unknown = newer_than(LAST_KNOWN, libc::ENOSYS as u32);
        unknown.extend(program(UNKNOWN.iter(), libc::ENOSYS as u32, process)?);
        Ok([unknown, program(forbidden, libc::EPERM as u32, process)?])
    };
    written().map_err(SealError::refused("write the filter of system calls"))
}

fn program<'a>(
    calls: impl Iterator<Item = &'a Denied>,
    errno: u32,
    process: u32,
) -> Result<BpfProgram, BackendError> {
    let rules = calls.map(|denied| Ok((denied.number, rules(denied.when, process)?)));
    let rules = rules.collect::<Result<BTreeMap<i64, _>, BackendError>>()?;
    let denies = SeccompAction::Errno(errno);
    SeccompFilter::new(rules, SeccompAction::Allow, denies, ARCHITECTURE)?.try_into()
}

/// An empty list of rules stands for every argument.
fn rules(when: When, process: u32) -> Result<Vec<SeccompRule>, BackendError> {
    let rows = match when {
        When::Always => &[],
        When::Any(rows) => rows,
    };
    let rule = |row: &&[Test]| {
        let conditions = row.iter().map(|test| condition(*test, process));
        SeccompRule::new(conditions.collect::<Result<_, _>>()?)
    };
    rows.iter().map(rule).collect()
}

fn condition(test: Test, process: u32) -> Result<SeccompCondition, BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let (argument, length, operator, value) = match test {
        Test::Is(argument, value) => (argument, Dword, Eq, value.into()),
        Test::Not(argument, value) => (argument, Dword, Ne, value.into()),
        Test::Masked(argument, mask, value) => (argument, Dword, MaskedEq(mask.into()), value.into()),
        Test::Pointer(argument) => (argument, Qword, Ne, 0),
        Test::Other(argument) => (argument, Dword, Ne, process.into()),
    };
    SeccompCondition::new(argument, length, operator, value)
}

/// Three instructions in front of a program: a number above `last` fails, another one goes on.
///
/// The program behind loads what it needs itself, and jumps within a program are relative.
fn newer_than(last: u32, errno: u32) -> BpfProgram {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let greater = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let instruction = |code: u32, no: u8, k: u32| sock_filter { code: code as u16, jt: 0, jf: no, k };
    // The number stands first in what the kernel shows to the program.
    vec![
        instruction(load, 0, 0),
        instruction(greater, 1, last),
        instruction(answer, 0, libc::SECCOMP_RET_ERRNO | errno),
    ]
}

#[cfg(test)]
mod tests;
