//! Privileges and parts of the kernel by which a process could get out of what holds it.

use std::io;
use std::thread;

use super::{Row, outcome};
use crate::escapes::{Layer, Outcome};
use crate::linux::sys::Harmless;

pub(super) const LIST: &[Row] = &[
    ("new network namespace", Layer::Seccomp, |_| aside(Harmless::unshare(libc::CLONE_NEWNET))),
    ("new user namespace", Layer::Seccomp, |_| aside(Harmless::unshare(libc::CLONE_NEWUSER))),
    ("enter a namespace", Layer::Seccomp, |_| call(Harmless::SETNS)),
    ("mount", Layer::Seccomp, |_| call(Harmless::MOUNT)),
    ("open a file system", Layer::Seccomp, |_| call(Harmless::FSOPEN)),
    ("load a program into the kernel", Layer::Seccomp, |_| call(Harmless::BPF)),
    ("load a module", Layer::Seccomp, |_| call(Harmless::MODULE)),
    ("load another kernel", Layer::Seccomp, |_| call(Harmless::KEXEC)),
    ("watch performance events", Layer::Seccomp, |_| call(Harmless::PERF)),
    ("handle page faults", Layer::Seccomp, |_| call(Harmless::USERFAULTFD)),
    ("use a keyring", Layer::Seccomp, |_| call(Harmless::KEYRING)),
    ("change the user", Layer::Seccomp, |_| call(Harmless::SETUID)),
    ("become dumpable", Layer::Seccomp, |_| call(Harmless::DUMPABLE)),
    ("type into a terminal", Layer::Seccomp, |_| call(Harmless::TERMINAL)),
    ("a call newer than the filter", Layer::Seccomp, |_| call(Harmless::NEWER)),
];

fn call(call: Harmless) -> Outcome {
    outcome(call.call().map(|_| "done"))
}

/// On a thread of its own, because namespaces belong to threads: the process stays where it is.
fn aside(call: Harmless) -> Outcome {
    let attempt = thread::Builder::new().spawn(move || call.call());
    let answer = attempt
        .and_then(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::from_raw_os_error(libc::EIO))));
    outcome(answer.map(|_| "done"))
}
