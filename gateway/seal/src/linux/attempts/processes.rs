//! Other processes: looking into them, taking from them, signalling them, and starting new ones.

use std::fs::{self, File};
use std::io;
use std::thread;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::{Row, outcome, worst};
use crate::escapes::{Context, Layer, Outcome};
use crate::linux::sys::{self, Harmless};

pub(super) const LIST: &[Row] = &[
    ("trace a process", Layer::Seccomp, |context| {
        each(context, |process| attached(process).map(|()| "attached"))
    }),
    ("open a process's memory", Layer::Landlock, |context| {
        each(context, |process| File::open(format!("/proc/{process}/mem")).map(|_| "opened"))
    }),
    ("list a process's descriptors", Layer::Landlock, |context| {
        each(context, |process| fs::read_dir(format!("/proc/{process}/fd")).map(|_| "opened"))
    }),
    ("read a process's memory", Layer::Seccomp, |context| {
        each(context, |process| sys::read_memory(process).map(|()| "read"))
    }),
    ("take a process's descriptor", Layer::Seccomp, |context| each(context, taken)),
    ("change a process's limits", Layer::Seccomp, |context| {
        each(context, |process| Harmless::limits(process).call().map(|_| "done"))
    }),
    ("signal a process", Layer::Seccomp, |context| {
        each(context, |process| {
            Ok(rustix::process::test_kill_process(known(process)?).map(|()| "could be sent")?)
        })
    }),
    ("execute itself", Layer::Seccomp, |_| outcome(sys::execute(c"/proc/self/exe").map(|()| "executed"))),
    ("execute a shell", Layer::Seccomp, |_| outcome(sys::execute(c"/bin/sh").map(|()| "executed"))),
    ("fork", Layer::Seccomp, |_| outcome(Harmless::FORK.call().map(|_| "forked"))),
    ("clone3", Layer::Seccomp, |_| outcome(Harmless::CLONE3.call().map(|_| "cloned"))),
    ("share memory by key", Layer::Seccomp, |_| outcome(Harmless::SHARED_MEMORY.call().map(|_| "shared"))),
];

fn each(context: &Context, attempt: impl Fn(i32) -> io::Result<&'static str>) -> Outcome {
    let processes = context.processes.iter().filter_map(|process| i32::try_from(*process).ok());
    worst(processes.map(|process| outcome(attempt(process))), "no process was given")
}

/// A thread of its own, whose end detaches it again.
fn attached(process: i32) -> io::Result<()> {
    let attempt = thread::Builder::new().spawn(move || Harmless::seize(process).call())?;
    attempt.join().expect("the attempt has nothing to panic about").map(|_| ())
}

fn taken(process: i32) -> io::Result<&'static str> {
    let opened = rustix::process::pidfd_open(known(process)?, PidfdFlags::empty())?;
    match rustix::process::pidfd_getfd(opened, 0, PidfdGetfdFlags::empty()) {
        Ok(_) => Ok("taken"),
        Err(_) => Ok("process opened"),
    }
}

fn known(process: i32) -> io::Result<Pid> {
    Pid::from_raw(process).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}
