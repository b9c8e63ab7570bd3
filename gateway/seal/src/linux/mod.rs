//! Linux: the order in which powers go.

mod attempts;
mod calls;
mod files;
mod filter;
mod sys;

use std::error::Error;
use std::fs;
use std::process;

use rustix::process::{DumpableBehavior, Signal};

pub(crate) use self::attempts::try_all;
use crate::{Applied, Rules, SealError, Support};

/// `CAP_DAC_OVERRIDE`: root keeps opening files of other users, as far as Landlock lets it. All else goes.
const CAPABILITIES_KEPT: u64 = 1 << 1;

pub(crate) fn supported() -> Support {
    Support { seccomp: sys::seccomp_available(), landlock: sys::landlock_version() }
}

pub(crate) fn confine(rules: &Rules) -> Result<Applied, SealError> {
    one_thread()?;
    let support = supported();
    if !support.seccomp {
        return Err(SealError::NoSeccomp);
    }
    let programs = filter::programs(process::id())?;
    let files = files::prepare(rules, support.landlock)?;
    harden()?;
    sys::keep_capabilities(CAPABILITIES_KEPT).map_err(SealError::refused("give up capabilities"))?;
    let landlock = files.is_some().then_some(support.landlock).flatten();
    let absent = files.map_or(Ok(Vec::new()), files::Prepared::enforce)?;
    for program in &programs {
        // Forbids new privileges as well, without which the kernel takes no filter.
        seccompiler::apply_filter(program).map_err(SealError::refused("install a filter of system calls"))?;
    }
    Ok(Applied { landlock, absent })
}

fn one_thread() -> Result<(), SealError> {
    let tasks =
        fs::read_dir("/proc/self/task").map_err(SealError::refused("count the threads of the process"))?;
    match tasks.count() {
        1 => Ok(()),
        count => Err(SealError::Threads { count }),
    }
}

pub(crate) fn harden() -> Result<(), SealError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(SealError::refused("close the process to others of its user"))
}

pub(crate) fn keep_descriptors() -> Result<(), SealError> {
    sys::close_on_exec().map_err(SealError::refused("keep descriptors from the programs that it starts"))
}

pub(crate) fn own_network() -> bool {
    sys::own_network().is_ok()
}

pub(crate) fn die_with_parent(parent: u32) -> Result<(), SealError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(SealError::refused("tie the process to its parent"))?;
    // A parent that ended before the call above sends nothing; then the process belongs to another one already.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now.and_then(|now| u32::try_from(now).ok()) == Some(parent) { Ok(()) } else { Err(SealError::Orphan) }
}

impl SealError {
    /// Says which step failed.
    fn refused<E>(step: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |source| Self::Refused { step, source: source.into() }
    }
}
