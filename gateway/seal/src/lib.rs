//! What the kernel takes away from a process: connections, other processes, and files that are not its business.
//!
//! [`confine`] is called once, by a process that has one thread. From then on the process computes, reads and writes
//! the paths that it was granted, and talks over the descriptors that it was given; it cannot make new ones to
//! anywhere, start a program, or look into another process. Nothing in user space holds this together, so a hole in
//! the process does not undo it. [`escapes::try_all`] tries from inside what must fail, and says what happened.
//!
//! [`harden`] is for the processes that keep a network: their siblings cannot look into them.
//!
//! What is denied and why stands in `docs/seal.md`. Absent on purpose: a list of allowed system calls, which would
//! break with each release of the C library or of a driver; anything that rests on namespaces, which many hosts
//! refuse to the unprivileged; and any way back.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod elsewhere;
mod error;
pub mod escapes;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux;
mod rules;

use std::path::PathBuf;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
use crate::elsewhere as system;
pub use crate::error::SealError;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
use crate::linux as system;
pub use crate::rules::{Access, Device, Grant, Landlock, Presence, Rules};

/// What the running kernel can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// Whether filters of system calls can be installed. Without them [`confine`] fails.
    pub seccomp: bool,
    /// The version of Landlock's interface, if the kernel has it and it is switched on.
    pub landlock: Option<u32>,
}

/// What [`confine`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The version of Landlock's interface by which files, ports, signals and abstract sockets are held; `None` if
    /// the kernel has none and the rules allow that.
    pub landlock: Option<u32>,
    /// Optional paths that were not there.
    pub absent: Vec<PathBuf>,
}

/// Asks the kernel what it can do. Changes nothing.
pub fn supported() -> Support {
    system::supported()
}

/// Takes away everything but what the rules leave, for good, from this process and every thread that it will have.
///
/// The order of a start is: bind listeners, receive descriptors, [`die_with_parent`], `confine`, then threads. Files
/// that are open stay open, and so do connections; mapped libraries stay mapped.
///
/// # Errors
///
/// Fails before it changed anything if there is a second thread, no seccomp, too old a Landlock, or a required path
/// that cannot be opened. A refusal by the kernel later on leaves the process with fewer powers than it had; it should end.
pub fn confine(rules: &Rules) -> Result<Applied, SealError> {
    system::confine(rules)
}

/// Closes the memory and the descriptors of this process to others of the same user, and leaves no core dump.
///
/// A process with `CAP_SYS_PTRACE` can still look; [`confine`] takes that from the process that it confines.
///
/// # Errors
///
/// Fails where the system has no such thing, or the kernel refuses.
pub fn harden() -> Result<(), SealError> {
    system::harden()
}

/// Keeps every descriptor beyond standard input, output and error from the programs that this process starts.
///
/// Whoever started this process may have left some open, and a connection among them would be a way out.
///
/// # Errors
///
/// Fails where the system has no such thing, or the kernel refuses.
pub fn keep_descriptors() -> Result<(), SealError> {
    system::keep_descriptors()
}

/// Moves this process into a network of its own that has no interface but a loopback one, which is down. Returns whether
/// it may: it takes the privilege to administer the system, which most servers rightly do not have.
///
/// Sockets that are open, or received later, stay in the network in which they were made. To be called before
/// [`confine`], which denies it. Nothing rests on it: it is one wall more where there can be one.
pub fn own_network() -> bool {
    system::own_network()
}

/// Lets the kernel kill this process when the thread that started it ends.
///
/// That thread and not its process: the parent has to start this process from a thread that lives as long as it
/// does. `parent` is the parent's id as the parent knows it, because asked here it could be that of a stranger already.
///
/// # Errors
///
/// [`SealError::Orphan`] if the parent has ended before the kernel knew; the caller should end as well.
pub fn die_with_parent(parent: u32) -> Result<(), SealError> {
    system::die_with_parent(parent)
}
