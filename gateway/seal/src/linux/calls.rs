//! The system calls that fail in a confined process, and for which arguments. `docs/seal.md` gives the reasons.
//!
//! The answer is `EPERM`, which programs take as a "no", or `ENOSYS` where a library has a second way and takes it.

use std::ffi::c_long;

/// One system call, and when it fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Denied {
    pub(super) number: c_long,
    /// The constant's name, for the test that compares this table with the document.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the table is compared with the document by its names")
    )]
    pub(super) name: &'static str,
    pub(super) when: When,
}

/// For which arguments a call fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    Always,
    /// If all tests of any one row hold.
    Any(&'static [&'static [Test]]),
}

/// What one argument has to be, with the argument's position. Positions are the same on all our processors.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    /// The low 32 bits, which is what the kernel reads of an `int`.
    Is(u8, u32),
    Not(u8, u32),
    /// The low 32 bits under a mask (the first number) are the second.
    Masked(u8, u32, u32),
    /// All 64 bits are not zero.
    Pointer(u8),
    /// Not the id of this process.
    Other(u8),
}

use Test::{Is, Masked, Not, Other, Pointer};

macro_rules! denied {
    ($($name:ident $(if $when:expr)?),* $(,)?) => {
        &[$(Denied {
            number: libc::$name,
            name: stringify!($name),
            when: denied!(@when $($when)?),
        }),*]
    };
    (@when) => { When::Always };
    (@when $when:expr) => { When::Any($when) };
}

/// The last call that this table has considered: `mseal`, Linux 6.10. Later ones fail as unknown, as they do on an
/// older kernel, and so do those of the x32 interface, whose numbers start at 2^30.
pub(super) const LAST_KNOWN: u32 = 462;

/// Calls that fail as if the kernel did not have them: the C library and the runtimes then take their older way.
pub(super) const UNKNOWN: &[Denied] =
    denied![SYS_clone3, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register];

/// Calls that fail as not permitted.
pub(super) const FORBIDDEN: [&[Denied]; 7] = [NETWORK, PROCESSES, PRIVILEGES, FILES, KERNEL, OLD, NEW];

/// `MSG_FASTOPEN` in flags: a connection and its first bytes in one call.
const FAST_OPEN: u32 = libc::MSG_FASTOPEN as u32;

const NETWORK: &[Denied] = denied![
    SYS_socket,
    SYS_socketpair if &[
        &[Not(0, libc::AF_UNIX as u32)],
        // An end of a datagram pair can address any other socket; the kernel makes a raw pair a datagram pair.
        &[Masked(1, SOCKET_TYPE, libc::SOCK_DGRAM as u32)],
        &[Masked(1, SOCKET_TYPE, libc::SOCK_RAW as u32)],
    ],
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_sendto if &[&[Masked(3, FAST_OPEN, FAST_OPEN)], &[Pointer(4)]],
    SYS_sendmsg if &[&[Masked(2, FAST_OPEN, FAST_OPEN)]],
    SYS_sendmmsg if &[&[Masked(3, FAST_OPEN, FAST_OPEN)]],
    SYS_setsockopt if &[&OTHER_LEVELS, &OTHER_SOCKET_OPTIONS, &OTHER_TCP_OPTIONS],
];

/// The bits of a socket's type that are not flags.
const SOCKET_TYPE: u32 = 0xf;

const LEVEL: u8 = 1;
const OPTION: u8 = 2;
const OTHER_LEVELS: [Test; 2] = [Not(LEVEL, libc::SOL_SOCKET as u32), Not(LEVEL, libc::IPPROTO_TCP as u32)];
const OTHER_SOCKET_OPTIONS: [Test; 9] = [
    Is(LEVEL, libc::SOL_SOCKET as u32),
    Not(OPTION, libc::SO_KEEPALIVE as u32),
    Not(OPTION, libc::SO_LINGER as u32),
    Not(OPTION, libc::SO_OOBINLINE as u32),
    Not(OPTION, libc::SO_RCVBUF as u32),
    Not(OPTION, libc::SO_RCVLOWAT as u32),
    Not(OPTION, libc::SO_RCVTIMEO as u32),
    Not(OPTION, libc::SO_SNDBUF as u32),
    Not(OPTION, libc::SO_SNDTIMEO as u32),
];
const OTHER_TCP_OPTIONS: [Test; 9] = [
    Is(LEVEL, libc::IPPROTO_TCP as u32),
    Not(OPTION, libc::TCP_CORK as u32),
    Not(OPTION, libc::TCP_KEEPCNT as u32),
    Not(OPTION, libc::TCP_KEEPIDLE as u32),
    Not(OPTION, libc::TCP_KEEPINTVL as u32),
    Not(OPTION, libc::TCP_NODELAY as u32),
    Not(OPTION, libc::TCP_NOTSENT_LOWAT as u32),
    Not(OPTION, libc::TCP_QUICKACK as u32),
    Not(OPTION, libc::TCP_USER_TIMEOUT as u32),
];

const PROCESSES: &[Denied] = denied![
    SYS_execve,
    SYS_execveat,
    SYS_clone if &[
        &[Masked(0, libc::CLONE_THREAD as u32, 0)],
        &[Masked(0, libc::CLONE_NEWNS as u32, libc::CLONE_NEWNS as u32)],
        &[Masked(0, libc::CLONE_NEWCGROUP as u32, libc::CLONE_NEWCGROUP as u32)],
        &[Masked(0, libc::CLONE_NEWUTS as u32, libc::CLONE_NEWUTS as u32)],
        &[Masked(0, libc::CLONE_NEWIPC as u32, libc::CLONE_NEWIPC as u32)],
        &[Masked(0, libc::CLONE_NEWUSER as u32, libc::CLONE_NEWUSER as u32)],
        &[Masked(0, libc::CLONE_NEWPID as u32, libc::CLONE_NEWPID as u32)],
        &[Masked(0, libc::CLONE_NEWNET as u32, libc::CLONE_NEWNET as u32)],
    ],
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_process_mrelease,
    SYS_kcmp,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_kill if &[&[Other(0)]],
    SYS_tgkill if &[&[Other(0)]],
    SYS_rt_sigqueueinfo if &[&[Other(0)]],
    SYS_rt_tgsigqueueinfo if &[&[Other(0)]],
    SYS_tkill,
    SYS_prlimit64 if &[&[Other(0), Not(0, 0)]],
    SYS_setpriority if &[&[Not(0, PRIO_PROCESS)], &[Not(1, 0)]],
    SYS_ioprio_set if &[&[Not(0, IOPRIO_WHO_PROCESS)], &[Not(1, 0)]],
    SYS_sched_setscheduler if &[&[Not(0, 0)]],
    SYS_sched_setparam if &[&[Not(0, 0)]],
    SYS_sched_setattr if &[&[Not(0, 0)]],
    SYS_move_pages if &[&[Other(0), Not(0, 0)]],
    SYS_migrate_pages if &[&[Other(0), Not(0, 0)]],
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_semget,
    SYS_semctl,
    SYS_semop,
    SYS_semtimedop,
    SYS_msgget,
    SYS_msgctl,
    SYS_msgsnd,
    SYS_msgrcv,
    SYS_mq_open,
    SYS_mq_unlink,
    SYS_fcntl if &[&[Is(1, libc::F_SETOWN as u32)], &[Is(1, F_SETOWN_EX)]],
];

/// The priority of one process, as opposed to a group's or a user's.
const PRIO_PROCESS: u32 = 0;
const IOPRIO_WHO_PROCESS: u32 = 1;

/// Who is signalled about a descriptor: any process, and at a time that the caller chooses.
const F_SETOWN_EX: u32 = 15;

const PRIVILEGES: &[Denied] = denied![
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
    SYS_capset,
    SYS_unshare,
    SYS_setns,
    SYS_prctl if &[
        &[Is(0, libc::PR_SET_DUMPABLE as u32)],
        &[Is(0, libc::PR_SET_PDEATHSIG as u32)],
        &[Is(0, libc::PR_SET_MM as u32)],
        &[Is(0, libc::PR_SET_PTRACER as u32)],
    ],
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    // Typed into a terminal, a command is run by the shell that reads there.
    SYS_ioctl if &[
        &[Is(1, libc::TIOCSTI as u32)],
        &[Is(1, libc::TIOCLINUX as u32)],
        &[Is(1, FIOSETOWN)],
        &[Is(1, SIOCSPGRP)],
    ],
];

/// `F_SETOWN` under two other names.
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;

/// What Landlock does not hold: mounts, owners, modes, attributes and times, and files by number instead of by name.
const FILES: &[Denied] = denied![
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_mount_setattr,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    SYS_fanotify_mark,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_mknodat,
    SYS_fchownat,
    SYS_fchmodat,
    SYS_utimensat if &[&[Pointer(1)]],
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_removexattr,
    SYS_lremovexattr,
];

const KERNEL: &[Denied] = denied![
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_syslog,
    SYS_vhangup,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_lookup_dcookie,
];

#[cfg(target_arch = "x86_64")]
use x86_64::OLD;
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    //! Older names of calls above, and what only this processor has.
    use super::{Denied, When};

    pub(super) const OLD: &[Denied] = denied![
        SYS_fork,
        SYS_vfork,
        SYS_mknod,
        SYS_chown,
        SYS_lchown,
        SYS_chmod,
        SYS_utime,
        SYS_utimes,
        SYS_futimesat,
        SYS_kexec_file_load,
        SYS_iopl,
        SYS_ioperm,
        SYS_modify_ldt,
        SYS_uselib,
    ];
}
#[cfg(target_arch = "aarch64")]
use aarch64::OLD;
#[cfg(target_arch = "aarch64")]
mod aarch64 {
    //! What the C library's table of this processor lacks.
    use super::{Denied, When};

    pub(super) const OLD: &[Denied] =
        &[Denied { number: 294, name: "SYS_kexec_file_load", when: When::Always }];
}

/// What the C library's tables lack, by the numbers that all processors share.
const NEW: &[Denied] = &[
    Denied { number: 452, name: "SYS_fchmodat2", when: When::Always },
    Denied { number: 460, name: "SYS_lsm_set_self_attr", when: When::Always },
];
