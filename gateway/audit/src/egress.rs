//! What whoever opens connections states of them: one decision for each attempt, one close for each connection.
//!
//! Such records stand in a log of their own, written by the process that dials. A call's record names the dial that
//! carried it, so the two logs can be held against each other ([`reconcile`](crate::reconcile)).
//!
//! Deliberately absent: what a connection carried. Whoever dials counts bytes and does not read them.

use std::fmt;

use serde::Serialize;

use crate::record::{Caller, Text};

/// The name of one attempt to open a connection, the same in every log that speaks of it.
///
/// Printable ASCII without quotation marks and backslashes, at most [`DialId::BYTES_MAX`] bytes: it stands on a line
/// as it is. In other text, which no dialler of ours makes, `?` stands for every other character, and the rest is cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct DialId(Box<str>);

impl DialId {
    /// The most bytes of a name.
    pub const BYTES_MAX: usize = 64;

    /// Returns the name as it is recorded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DialId {
    fn from(name: &str) -> Self {
        let plain = |c: char| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '?' };
        Self(name.chars().take(Self::BYTES_MAX).map(plain).collect())
    }
}

impl From<String> for DialId {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl fmt::Display for DialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What came of one attempt to open a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EgressDecision {
    /// The attempt.
    pub dial: DialId,
    /// What it was for: `call`, `probe`, `tunnel` or `seal_test`.
    pub purpose: Text,
    /// On whose behalf.
    pub workflow: Text,
    /// Name of the provider; absent if an agent connects by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Text>,
    /// The host that was asked for.
    pub host: Text,
    /// The port that was asked for.
    pub port: u16,
    /// Yes or no.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Time for the look-up, in microseconds; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_us: Option<u64>,
    /// Time from the checked answer to the connection, in microseconds; absent if none was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_us: Option<u64>,
    /// What is known beyond that of a connection that an agent opens by itself.
    #[serde(flatten)]
    pub tunnel: Option<Tunnel>,
}

/// Whether a connection was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It was. A close follows.
    Opened {
        /// What was connected to, the upstream or the proxy: address and port.
        address: Text,
        /// Who looked the name up: `local`, or `proxy`, whose answer nobody here saw.
        vantage: Text,
        /// Name of the proxy in the policy.
        #[serde(skip_serializing_if = "Option::is_none")]
        proxy: Option<Text>,
    },
    /// It was not; nothing follows.
    Refused {
        /// Why: a closed code of the policy, of the guard, or of the network.
        code: Text,
    },
}

impl Verdict {
    /// How [`Verdict::Opened`] is written.
    pub(crate) const OPENED: &str = "opened";
}

/// An agent's own connection, through the controlled proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    /// Who asked, as far as that was found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// `enforce` or `report`.
    pub mode: Text,
    /// The code with which it would have been refused; absent if it was refused, or would not have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_deny: Option<Text>,
}

/// The end of a connection; exactly one follows each that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EgressClose {
    /// The attempt that opened it.
    pub dial: DialId,
    /// Why it ended: a closed code such as `closed`, `peer`, `reset`, `timeout`, `limit`, `revoked`, `shutdown` or
    /// `gateway_gone`.
    pub reason: Text,
    /// Bytes sent, those of TLS and HTTP included; absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Bytes received, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// How long it was open, in milliseconds.
    pub open_ms: u64,
    /// The name that an agent's TLS asked for; absent if there was none, and where agents do not connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<Text>,
    /// The code with which `enforce` would have closed it, for what the agent's first message was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_deny: Option<Text>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_dial_needs_no_escaping_and_has_a_largest_size() {
        assert_eq!(DialId::from("b-018f-12").as_str(), "b-018f-12");
        assert_eq!(DialId::from("a\"b\\c\nd é").as_str(), "a?b?c?d??");
        assert_eq!(DialId::from("x".repeat(1000)).as_str().len(), DialId::BYTES_MAX);
    }
}
