//! The processes of a server, which are one program: `portcullis serve` starts all three.
//!
//! ```text
//! supervisor --spawns--> broker    opens connections, by its own copy of the policy
//!            --spawns--> gateway   answers calls; the kernel lets it open none
//! ```
//!
//! The supervisor binds the listeners and makes the line between the two others; it keeps both, so whichever of its
//! children dies is started again with the same ones, and no call that waits to be accepted is lost. Each child has a
//! [`lifeline`] to the supervisor in place of its standard input: what it begins with comes through it, and a gateway
//! that sees its end drains as after a signal. The broker ends when nobody is left at the other end of the line.
//!
//! With `--confine off` there is one process, which opens its connections itself.
//!
//! Deliberately absent: privileges to drop. Nothing here needs any.

pub(crate) mod broker;
pub(crate) mod child;
pub(crate) mod confinement;
mod kept_policy;
pub(crate) mod lifeline;
pub(crate) mod listeners;
pub(crate) mod supervisor;
pub(crate) mod way;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Starts the others.
    Supervisor,
    /// Opens connections.
    Broker,
    /// Answers calls.
    Gateway,
}

impl Role {
    /// Returns the word for logs and records.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Broker => "broker",
            Self::Gateway => "gateway",
        }
    }
}
