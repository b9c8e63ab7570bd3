//! What can go wrong while powers are given up. After an error the process may be half confined: it should end.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why a process could not be sealed. None of these is safe to ignore where confinement is required.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system, or the processor, has no means that this crate knows.
    #[error("this system has no means to confine a process")]
    Unsupported,
    /// Landlock binds the calling thread and those that it starts, so a second thread would stay free.
    #[error("the process has {count} threads, and can be confined only while it has one")]
    Threads {
        /// How many were found.
        count: usize,
    },
    /// The kernel was built without seccomp filters, or something forbids them.
    #[error("the kernel offers no seccomp filters")]
    NoSeccomp,
    /// The kernel's Landlock is older than the rules demand; version 0 is a kernel without it.
    #[error("Landlock version {wanted} is required, and the kernel has version {found}")]
    Landlock {
        /// The least version that the rules accept.
        wanted: u32,
        /// What the kernel has.
        found: u32,
    },
    /// A path that was marked as required cannot be opened.
    #[error("the path {} cannot be granted", path.display())]
    Path {
        /// As it stands in the rules.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The parent ended before its end could be noticed.
    #[error("the parent process has ended")]
    Orphan,
    /// The kernel refused a step.
    #[error("cannot {step}")]
    Refused {
        /// What was to be done.
        step: &'static str,
        /// What the kernel said.
        source: Box<dyn Error + Send + Sync>,
    },
}
