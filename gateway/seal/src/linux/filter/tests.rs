//! The programs, run here instead of in the kernel: every argument can be tried, and none of the calls is made.

use std::collections::BTreeSet;
use std::ffi::{c_int, c_long};

use super::*;

/// The process that the programs are written for.
const OURS: u32 = 4711;
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// 32-bit programs of the older Intel instruction set.
const FOREIGN: u32 = 0x4000_0003;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allowed,
    Error(c_int),
    Killed,
}
use Answer::{Allowed, Error, Killed};

const NO: Answer = Error(libc::EPERM);
const UNHEARD_OF: Answer = Error(libc::ENOSYS);

fn all() -> impl Iterator<Item = &'static Denied> {
    FORBIDDEN.iter().copied().flatten().chain(UNKNOWN)
}

/// What the kernel would answer: the strictest of what the programs say.
fn answer(architecture: u32, number: u32, arguments: [u64; 6]) -> Answer {
    let halves = arguments.iter().flat_map(|argument| [*argument as u32, (argument >> 32) as u32]);
    // Number, architecture, two words of an address that no program reads, arguments.
    let data: Vec<u32> = [number, architecture, 0, 0].into_iter().chain(halves).collect();
    let answers = programs(OURS).unwrap().map(|program| run(&program, &data) as i32);
    let strictest = answers.into_iter().min().unwrap() as u32;
    match strictest & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW => Allowed,
        libc::SECCOMP_RET_ERRNO => Error((strictest & libc::SECCOMP_RET_DATA) as c_int),
        libc::SECCOMP_RET_KILL_PROCESS => Killed,
        other => panic!("{other:#x}"),
    }
}

/// The instructions that our programs use.
fn run(program: &[sock_filter], data: &[u32]) -> u32 {
    let (mut value, mut at) = (0, 0);
    loop {
        let instruction = &program[at];
        let constant = instruction.k;
        let holds = match instruction.code {
            0x20 => {
                value = data[constant as usize / 4];
                None
            }
            0x54 => {
                value &= constant;
                None
            }
            0x05 => {
                at += constant as usize;
                None
            }
            0x06 => return constant,
            0x15 => Some(value == constant),
            0x25 => Some(value > constant),
            0x35 => Some(value >= constant),
            other => panic!("no such instruction: {other:#x}"),
        };
        at += 1 + holds.map_or(0, |holds| usize::from(if holds { instruction.jt } else { instruction.jf }));
    }
}

fn check(number: c_long, arguments: &[c_long], expected: Answer) {
    let mut all = [0; 6];
    for (place, argument) in all.iter_mut().zip(arguments) {
        *place = *argument as u64;
    }
    assert_eq!(answer(NATIVE, number as u32, all), expected, "call {number} with {arguments:x?}");
}

/// Bits above those of an `int`, which the kernel does not read.
const ABOVE: c_long = 0x7_0000_0000;

#[test]
fn no_call_stands_in_the_table_twice_or_behind_its_end() {
    let numbers: BTreeSet<_> = all().map(|denied| denied.number).collect();
    assert_eq!(numbers.len(), all().count());
    assert!(numbers.iter().all(|number| u32::try_from(*number).is_ok_and(|number| number <= LAST_KNOWN)));
}

#[test]
fn every_program_fits_the_kernels_limit() {
    const INSTRUCTIONS_MAX: usize = 4096;
    for program in programs(OURS).unwrap() {
        assert!(program.len() <= INSTRUCTIONS_MAX, "{} instructions", program.len());
    }
}

#[test]
fn the_document_names_every_call_of_the_table() {
    let document = include_str!("../../../../../docs/seal.md");
    for denied in all() {
        let name = denied.name.trim_start_matches("SYS_");
        // With the section of the manual where a name alone would be taken for that of a test.
        let named = [format!("`{name}`"), format!("`{name}(2)`")];
        assert!(named.iter().any(|name| document.contains(name)), "docs/seal.md says nothing about {name}");
    }
}

#[test]
fn a_call_that_is_always_denied_is_denied_with_any_arguments() {
    let always = |denied: &&Denied| matches!(denied.when, When::Always);
    for denied in FORBIDDEN.iter().copied().flatten().filter(always) {
        check(denied.number, &[0; 6], NO);
        check(denied.number, &[-1; 6], NO);
    }
    for denied in UNKNOWN {
        check(denied.number, &[-1; 6], UNHEARD_OF);
    }
}

#[test]
fn waiting_reading_and_writing_pass() {
    for number in [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_recvmsg,
        libc::SYS_recvfrom,
        libc::SYS_accept4,
        libc::SYS_shutdown,
        libc::SYS_getsockopt,
        libc::SYS_epoll_pwait,
        libc::SYS_futex,
        libc::SYS_mmap,
        libc::SYS_openat,
        libc::SYS_getrandom,
        libc::SYS_rt_sigaction,
        libc::SYS_memfd_create,
        libc::SYS_exit_group,
    ] {
        check(number, &[-1; 6], Allowed);
    }
}

#[test]
fn a_thread_can_be_made_and_a_process_cannot() {
    let thread = c_long::from(
        libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD,
    );
    check(libc::SYS_clone, &[thread], Allowed);
    check(libc::SYS_clone, &[thread | ABOVE], Allowed);
    check(libc::SYS_clone, &[libc::SIGCHLD.into()], NO);
    check(libc::SYS_clone, &[c_long::from(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD)], NO);
    for namespace in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        check(libc::SYS_clone, &[thread | c_long::from(namespace)], NO);
    }
}

#[test]
fn what_is_sent_goes_to_whom_the_socket_is_connected() {
    let (silent, fast) = (c_long::from(libc::MSG_NOSIGNAL), c_long::from(libc::MSG_FASTOPEN));
    check(libc::SYS_sendto, &[3, 1, 1, silent, 0, 0], Allowed);
    check(libc::SYS_sendto, &[3, 1, 1, silent | ABOVE, 0, 0], Allowed);
    check(libc::SYS_sendto, &[3, 1, 1, silent | fast, 0, 0], NO);
    check(libc::SYS_sendto, &[3, 1, 1, silent, 1, 16], NO);
    check(libc::SYS_sendto, &[3, 1, 1, silent, 1 << 32, 16], NO);
    check(libc::SYS_sendmsg, &[3, 1, silent], Allowed);
    check(libc::SYS_sendmsg, &[3, 1, silent | fast | ABOVE], NO);
    check(libc::SYS_sendmmsg, &[3, 1, fast, silent], Allowed);
    check(libc::SYS_sendmmsg, &[3, 1, 1, silent | fast], NO);
}

#[test]
fn a_pair_is_unix_and_connected() {
    let flags = c_long::from(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    let pair = |family: c_int, kind: c_int, expected| {
        check(libc::SYS_socketpair, &[family.into(), c_long::from(kind) | flags, 0], expected);
    };
    pair(libc::AF_UNIX, libc::SOCK_STREAM, Allowed);
    pair(libc::AF_UNIX, libc::SOCK_SEQPACKET, Allowed);
    pair(libc::AF_UNIX, libc::SOCK_DGRAM, NO);
    pair(libc::AF_UNIX, libc::SOCK_RAW, NO);
    pair(libc::AF_TIPC, libc::SOCK_STREAM, NO);
}

#[test]
fn options_of_a_connection_are_those_that_open_nothing() {
    let option = |level: c_int, name: c_int, expected| {
        check(libc::SYS_setsockopt, &[3, level.into(), name.into()], expected);
    };
    option(libc::SOL_SOCKET, libc::SO_KEEPALIVE, Allowed);
    option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, Allowed);
    option(libc::SOL_SOCKET, libc::SO_BINDTODEVICE, NO);
    option(libc::SOL_SOCKET, libc::SO_ATTACH_BPF, NO);
    option(libc::IPPROTO_TCP, libc::TCP_NODELAY, Allowed);
    option(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, Allowed);
    option(libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, NO);
    option(libc::IPPROTO_TCP, libc::TCP_REPAIR, NO);
    option(libc::IPPROTO_TCP, libc::TCP_ULP, NO);
    // The number of an option that another level allows.
    option(libc::IPPROTO_TCP, libc::SO_KEEPALIVE, NO);
    option(libc::IPPROTO_IP, libc::IP_TRANSPARENT, NO);
    option(libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, NO);
}

#[test]
fn signals_limits_and_priorities_are_its_own() {
    let (ours, other) = (c_long::from(OURS), c_long::from(OURS + 1));
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        check(call, &[ours], Allowed);
        // One other, our group, everybody, another group.
        for target in [other, 0, -1, -other] {
            check(call, &[target], NO);
        }
    }
    for call in [libc::SYS_prlimit64, libc::SYS_move_pages, libc::SYS_migrate_pages] {
        check(call, &[ours], Allowed);
        check(call, &[0], Allowed);
        check(call, &[other], NO);
    }
    check(libc::SYS_setpriority, &[libc::PRIO_PROCESS.into(), 0], Allowed);
    check(libc::SYS_setpriority, &[libc::PRIO_PROCESS.into(), other], NO);
    check(libc::SYS_setpriority, &[libc::PRIO_USER.into(), 0], NO);
    check(libc::SYS_ioprio_set, &[1, 0], Allowed);
    check(libc::SYS_ioprio_set, &[1, other], NO);
    check(libc::SYS_ioprio_set, &[3, 0], NO);
}

#[test]
fn what_was_set_up_stays_and_names_of_threads_can_be_set() {
    check(libc::SYS_prctl, &[libc::PR_SET_NAME.into(), 1], Allowed);
    for option in [libc::PR_SET_DUMPABLE, libc::PR_SET_PDEATHSIG, libc::PR_SET_MM, libc::PR_SET_PTRACER] {
        check(libc::SYS_prctl, &[option.into(), 1], NO);
        check(libc::SYS_prctl, &[c_long::from(option) | ABOVE, 1], NO);
    }
    check(libc::SYS_ioctl, &[0, libc::FIONREAD as c_long], Allowed);
    check(libc::SYS_ioctl, &[0, libc::TIOCSTI as c_long], NO);
    check(libc::SYS_ioctl, &[0, libc::TIOCSTI as c_long | ABOVE], NO);
    check(libc::SYS_fcntl, &[0, libc::F_SETFL.into()], Allowed);
    check(libc::SYS_fcntl, &[0, libc::F_SETOWN.into()], NO);
    check(libc::SYS_utimensat, &[3, 0], Allowed);
    check(libc::SYS_utimensat, &[libc::AT_FDCWD.into(), 1 << 32], NO);
}

#[test]
fn a_number_that_nobody_has_read_about_is_unheard_of() {
    const X32: u32 = 0x4000_0000;
    assert_eq!(answer(NATIVE, LAST_KNOWN, [0; 6]), Allowed);
    for number in [LAST_KNOWN + 1, 1000, X32, X32 + libc::SYS_socket as u32, u32::MAX] {
        assert_eq!(answer(NATIVE, number, [0; 6]), UNHEARD_OF, "{number:#x}");
    }
}

#[test]
fn a_call_of_another_instruction_set_is_the_last_one() {
    for number in 0..=LAST_KNOWN {
        assert_eq!(answer(FOREIGN, number, [0; 6]), Killed);
    }
}
