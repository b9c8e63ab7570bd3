//! What can go wrong with a hub, in words that say what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a repository or a file of it did not come.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub let us know that it does not let us in.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The hub has no such thing.
    #[error("{hub} has no {what}")]
    Absent {
        /// The hub's address.
        hub: String,
        /// What was asked for, and what to check.
        what: String,
    },
    /// The hub is overloaded or broken, more often than we try.
    #[error("{host} answered {status}{}{}", said(.message), wait(*.retry_after))]
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
    #[error("cannot load from {host}\n  {NETWORK_HINT}")]
    Transport {
        /// Whom we asked.
        host: String,
        /// What happened.
        source: Box<ureq::Error>,
    },
    /// A download stopped before its end, more often than we try.
    #[error("the connection to {host} ended {missing} bytes before the end of `{file}`\n  {AGAIN_HINT}")]
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
        "the hub lists a file called {name:?}, which would lie outside the model's folder: nothing was loaded"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The hub does not say what the file's bytes are.
    #[error("the hub gives no size or checksum for `{file}`, so it could not be checked: nothing was loaded")]
    Unverifiable {
        /// The file.
        file: String,
    },
    /// The hub says two things about one file.
    #[error(
        "the hub contradicts itself about `{file}`: it listed {listed}, and sends {sent}\n  {AGAIN_HINT}"
    )]
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
         {received}\n  next: run the command again; if it happens again, something on the way alters files"
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
    #[error("no room left for `{}`; what was there of it has been removed\n  {ROOM_HINT}", path.display())]
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

const NETWORK_HINT: &str = "next: check the network and run the command again, it goes on where it stopped; \
                            HF_ENDPOINT names a mirror, --proxy a proxy (HTTPS_PROXY is not read)";
const AGAIN_HINT: &str = "next: run the command again, it goes on where it stopped";
const ROOM_HINT: &str = "next: free some room and run the command again; files that are whole stay";

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

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hub, repository, door } = self;
        let set_token = "set HF_TOKEN to it, or name its file with --token-file, and run the command again";
        match door {
            Door::GatedUnknown => write!(
                out,
                "{repository} is gated: its owners want to know who downloads it\n  next: 1. sign in and accept the \
                 terms at {hub}/{repository}\n        2. make a token with read access at {hub}/settings/tokens\n        \
                 3. {set_token}"
            ),
            Door::GatedKnown => write!(
                out,
                "{repository} is gated, and the owner of this token has not been let in\n  next: sign in with the \
                 token's account and accept the terms at {hub}/{repository}; some owners answer by hand, which \
                 takes its time\n        a fine-grained token also needs the permission to read gated repositories \
                 ({hub}/settings/tokens)"
            ),
            Door::HiddenUnknown => write!(
                out,
                "{hub} has no repository {repository}, or it is private or gated\n  next: check the spelling, \
                 capitals too; if it is private, make a token with read access at {hub}/settings/tokens, {set_token}"
            ),
            Door::HiddenKnown => write!(
                out,
                "{hub} has no repository {repository}, or the owner of this token may not see it\n  next: check the \
                 spelling, capitals too, and the token's permissions at {hub}/settings/tokens"
            ),
            Door::Token => write!(
                out,
                "{hub} does not accept the token\n  next: make a new one at {hub}/settings/tokens, {set_token}; \
                 without a token public repositories still load"
            ),
        }
    }
}

impl std::error::Error for Refused {}

impl HubError {
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

fn wait(retry_after: Option<Duration>) -> String {
    let when = |wait: Duration| format!("in {} s", wait.as_secs());
    let when = retry_after.map_or_else(|| "later".to_owned(), when);
    format!("\n  next: run the command again {when}, it goes on where it stopped")
}
