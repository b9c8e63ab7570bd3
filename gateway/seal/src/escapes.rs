//! The ways out that a confined process must not have, each of them tried from inside.
//!
//! An attempt does the least that shows whether the way is open: a socket is opened and closed, a program is started
//! with arguments that the kernel cannot read, a process is sent no signal. What does reach the network where the way
//! is open goes to addresses that the caller gives, and by default to ones that belong to nobody.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::system;

/// What the attempts aim at.
#[derive(Debug)]
pub struct Context {
    /// Where packets go if they can: by default `192.0.2.1:9`, which nobody has.
    pub address_v4: SocketAddrV4,
    /// The same, by default `[2001:db8::1]:9`.
    pub address_v6: SocketAddrV6,
    /// A connected TCP socket, best one over loopback that serves nothing else: an open way disconnects it.
    pub connected: Option<OwnedFd>,
    /// Processes to look into: the broker and the supervisor.
    pub processes: Vec<u32>,
    /// A file that the user may read and the rules do not grant.
    pub file: PathBuf,
    /// A folder in which the user may write and the rules do not let this process.
    pub folder: PathBuf,
    /// A name to look up. It should be one that would be found, or a refusal shows nothing.
    pub name: Option<String>,
}

impl Default for Context {
    fn default() -> Self {
        const DISCARD: u16 = 9;
        Self {
            address_v4: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), DISCARD),
            address_v6: SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), DISCARD, 0, 0),
            connected: None,
            processes: Vec::new(),
            file: PathBuf::from("/etc/passwd"),
            folder: PathBuf::from("/tmp"),
            name: None,
        }
    }
}

/// One attempt and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What is tried, in a few words that do not change between versions.
    pub name: &'static str,
    /// Who has to refuse it.
    pub layer: Layer,
    /// What came of it.
    pub outcome: Outcome,
}

/// What has to refuse an attempt. Several may; this is the one that does it for every user and every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The filter of system calls.
    Seccomp,
    /// The rules about files.
    Landlock,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Refused, with the name of the error.
    Blocked(Cow<'static, str>),
    /// Carried out, or let through to where it failed for another reason.
    Escaped(String),
    /// There was nothing to try it on.
    NotApplicable(String),
}

impl Outcome {
    /// Says whether the way was open.
    pub fn escaped(&self) -> bool {
        matches!(self, Self::Escaped(_))
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(error) => write!(formatter, "blocked ({error})"),
            Self::Escaped(how) => write!(formatter, "escaped ({how})"),
            Self::NotApplicable(why) => write!(formatter, "not applicable ({why})"),
        }
    }
}

/// Makes every attempt, one after the other, and says what came of each, always in the same order.
///
/// Blocks for some milliseconds, and for two seconds more at most where a name can be looked up and nobody answers. An
/// empty list means that this system cannot be confined, so it proves nothing.
pub fn try_all(context: &Context) -> Vec<Attempt> {
    system::try_all(context)
}
