//! What ties a child to the supervisor: a line in place of its standard input.
//!
//! Standard input is the one descriptor that a new process has without being told its number. Whatever else a child
//! begins with is sent through it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use egress::line::{self, Letter, Line};
use serde::{Deserialize, Serialize};

use super::listeners::Listeners;

/// From the supervisor to a child, and to the program that takes the supervisor's place. The descriptors come with it,
/// in this order: a listener for each purpose, then the end of the line between gateway and broker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    listeners: Vec<String>,
    has_line: bool,
}

/// From a child to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {
    ready: bool,
}

/// What a child begins with.
pub(crate) struct Inheritance {
    pub(crate) listeners: Listeners,
    /// An end of the line between gateway and broker.
    pub(crate) line: Option<OwnedFd>,
}

/// Sends what a child begins with.
pub(crate) fn bequeath(end: &OwnedFd, listeners: &Listeners, line: Option<&OwnedFd>) -> io::Result<()> {
    let named = listeners.named();
    let begin = Begin {
        listeners: named.iter().map(|(name, _)| (*name).to_owned()).collect(),
        has_line: line.is_some(),
    };
    let mut sockets: Vec<_> = named.iter().map(|(_, listener)| listener.as_fd()).collect();
    sockets.extend(line.map(AsFd::as_fd));
    line::send(end.as_fd(), &serde_json::to_vec(&begin)?, &sockets)
}

/// Takes what this process begins with from its standard input, and the lifeline itself.
pub(crate) fn inherit() -> io::Result<(Inheritance, OwnedFd)> {
    let lifeline = io::stdin().as_fd().try_clone_to_owned()?;
    let letter = line::receive(lifeline.as_fd())?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let Letter { bytes, mut sockets } = letter;
    let begin: Begin = serde_json::from_slice(&bytes)?;
    if sockets.len() != begin.listeners.len() + usize::from(begin.has_line) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a descriptor is missing"));
    }
    let line = if begin.has_line { sockets.pop() } else { None };
    let listeners = Listeners::from_named(begin.listeners.into_iter().zip(sockets))?;
    Ok((Inheritance { listeners, line }, lifeline))
}

/// A child's end, once it runs.
pub(crate) struct Lifeline(Line);

impl Lifeline {
    pub(crate) fn new(end: OwnedFd) -> io::Result<Self> {
        Line::new(end).map(Self)
    }

    /// Tells the supervisor that this process does its work.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        self.0.send(&serde_json::to_vec(&Ready { ready: true })?, &[]).await
    }

    /// Waits until the supervisor is gone, or wants this process to be.
    pub(crate) async fn cut(&self) {
        while let Ok(Some(_)) = self.0.receive().await {}
    }
}

/// The supervisor's end: waits until the child is ready. False if it ended before.
pub(super) async fn is_ready(line: &Line) -> bool {
    let said = line.receive().await.ok().flatten();
    said.is_some_and(|letter| serde_json::from_slice::<Ready>(&letter.bytes).is_ok_and(|said| said.ready))
}
