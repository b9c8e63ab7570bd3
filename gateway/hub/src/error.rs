//! What can go wrong with a hub, and what to do about it.
//!
//! An error says what happened; [`HubError::advice`] says what comes next, apart, so that it can stand below the causes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a repository or a file of it did not come.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub does not let us in.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The hub has no such thing.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// The hub is overloaded or broken, more often than we try.
    #[error("{host} answered {status}{}", said(.message))]
    Busy {
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The hub's own words.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// An answer that no second try would change.
    #[error("{url} answered {status}{}", said(.message))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The hub's own words.
        message: String,
    },
    /// No connection, or one that broke.
    #[error("cannot load from {host}")]
    Transport {
        /// Whom we asked.
        host: String,
        /// What happened.
        source: Box<ureq::Error>,
    },
    /// A download stopped before its end, more often than we try.
    #[error("{host} stopped {missing} bytes before the end of `{file}`")]
    Cut {
        /// Who sent it.
        host: String,
        /// The file.
        file: String,
        /// What is still to come.
        missing: u64,
        /// How it ended, if not in order.
        source: Option<io::Error>,
    },
    /// A redirect that we do not follow.
    #[error("{from} sends us to {to}, and {why}")]
    Redirect {
        /// Who answered.
        from: String,
        /// Where to.
        to: String,
        /// Why we do not go there.
        why: &'static str,
    },
    /// The hub's description of a repository is not one.
    #[error("{url} did not answer with the description of a repository: {detail}")]
    Listing {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The hub names a file that would lie outside the folder.
    #[error(
        "the hub lists a file called {name:?}, which would lie outside the model's folder; nothing was loaded"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The hub does not say what the file's bytes are.
    #[error("the hub gives no size or checksum for `{file}`, so it could not be checked, and was not loaded")]
    Unverifiable {
        /// The file.
        file: String,
    },
    /// The hub says two things about one file.
    #[error("the hub contradicts itself about `{file}`: it listed {listed}, and sends {sent}")]
    Contradiction {
        /// The file.
        file: String,
        /// What the listing said.
        listed: String,
        /// What came with the file.
        sent: String,
    },
    /// The bytes are not those that the hub names.
    #[error(
        "`{file}` is not what the hub says it is, and has been removed\n  expected {expected}\n  received \
         {received}"
    )]
    Digest {
        /// The file.
        file: String,
        /// The checksum that the hub gave.
        expected: String,
        /// The checksum, or the length, of what came.
        received: String,
    },
    /// There is no room for a file, and what had been written of it is removed.
    #[error("no room left for `{}`; what was there of it has been removed", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk failed in another way.
    #[error("cannot write {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why the hub does not let us have a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub(crate) hub: String,
    pub(crate) repository: String,
    pub(crate) door: Door,
}

/// Which door is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The repository is gated, and we did not say who we are.
    GatedUnknown,
    /// The repository is gated, and whose token it is has not been let in.
    GatedKnown,
    /// There is no such repository, or it is private; the hub does not tell which.
    HiddenUnknown,
    /// The same, with a token.
    HiddenKnown,
    /// The token is not valid.
    Token,
}

/// What the hub does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    pub(crate) hub: String,
    pub(crate) repository: String,
    pub(crate) what: Missing,
}

/// What is missing of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    Repository,
    Revision(String),
    File(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hub, repository, door } = self;
        match door {
            Door::GatedUnknown => {
                write!(out, "{repository} is gated: its owners want to know who downloads it")
            }
            Door::GatedKnown => {
                write!(out, "{repository} is gated, and the owner of this token has not been let in")
            }
            Door::HiddenUnknown => write!(out, "{hub} has no repository {repository}, or it is private"),
            Door::HiddenKnown => {
                write!(out, "{hub} has no repository {repository}, or the owner of this token may not see it")
            }
            Door::Token => write!(out, "{hub} does not accept the token"),
        }
    }
}

impl std::error::Error for Refused {}

impl Refused {
    fn advice(&self) -> String {
        let Self { hub, repository, door } = self;
        let tokens = format!("{hub}/settings/tokens");
        let again = "set HF_TOKEN to it, or name its file with --token-file, and run the command again";
        match door {
            Door::GatedUnknown => format!(
                "1. sign in and accept the terms at {hub}/{repository}\n2. make a token with read access at \
                 {tokens}\n3. {again}"
            ),
            Door::GatedKnown => format!(
                "sign in with the token's account and accept the terms at {hub}/{repository}\nsome owners answer \
                 by hand, which takes its time\na fine-grained token also needs leave to read gated repositories: \
                 {tokens}"
            ),
            Door::HiddenUnknown => format!(
                "check the spelling, capitals too\nif it is private, make a token with read access at \
                 {tokens};\n{again}"
            ),
            Door::HiddenKnown => {
                format!("check the spelling, capitals too, and the token's permissions at {tokens}")
            }
            Door::Token => format!(
                "make a new one at {tokens};\n{again}\nwithout any token public repositories still load"
            ),
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hub, repository, what } = self;
        match what {
            Missing::Repository => write!(out, "{hub} has no repository {repository}"),
            Missing::Revision(revision) => write!(out, "{repository} has no revision `{revision}`"),
            Missing::File(file) => write!(out, "{repository} has no file `{file}`"),
        }
    }
}

impl std::error::Error for Absent {}

impl Absent {
    fn advice(&self) -> Option<String> {
        match &self.what {
            Missing::Repository => Some("check the spelling, capitals too".to_owned()),
            Missing::Revision(_) => {
                Some("name a branch, a tag or a commit that is there, or none for the newest".to_owned())
            }
            Missing::File(_) => None,
        }
    }
}

impl HubError {
    /// Returns what to do next, in one or more lines, where there is something to do.
    pub fn advice(&self) -> Option<String> {
        let again = "run the command again, it goes on where it stopped";
        match self {
            Self::Refused(refused) => Some(refused.advice()),
            Self::Absent(absent) => absent.advice(),
            Self::Busy { retry_after: Some(wait), .. } => {
                Some(format!("run the command again in {} s, it goes on where it stopped", wait.as_secs()))
            }
            Self::Transport { .. } => Some(format!(
                "check the network; {again}\nHF_ENDPOINT names a mirror, --proxy a proxy: HTTPS_PROXY is not read"
            )),
            Self::Busy { .. } | Self::Cut { .. } | Self::Contradiction { .. } => Some(again.to_owned()),
            Self::Digest { .. } => Some(
                "run the command again; if it happens again, something on the way alters files".to_owned(),
            ),
            Self::Full { .. } => {
                Some("free some room and run the command again; files that are whole stay".to_owned())
            }
            _ => None,
        }
    }

    /// An error of the disk; one that says that there is no room is told apart from the others.
    pub(crate) fn of_disk(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Disk { path, source },
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
