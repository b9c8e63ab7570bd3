//! What is stated of the program's own processes: when they began and ended, and whether their walls hold.

use serde::Serialize;

use crate::record::{Text, names};

/// One round of attempts to get out of a confined process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selftest {
    /// Which wall was tried, such as `seccomp`, `landlock`, `resolver` or `broker`.
    pub layer: Text,
    /// What came of it.
    #[serde(rename = "outcome")]
    pub state: SealState,
    /// Number of escapes that were tried.
    pub tried: u64,
    /// Number of those that succeeded and should not have.
    pub escaped: u64,
    /// Their names, as many as a record takes.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "names")]
    pub escapes: Vec<Text>,
}

/// Whether a wall holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SealState {
    /// Every attempt failed.
    Held,
    /// At least one succeeded.
    Broken,
    /// There is no such wall: switched off, or unknown to this system.
    Absent,
}

/// A process of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// `supervisor`, `broker`, `gateway` or `proxy`.
    pub role: Text,
    /// Its number in the system.
    pub pid: u32,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEnd {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}
