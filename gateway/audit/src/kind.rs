//! The kinds of records, by the names that stand on them.

use std::collections::BTreeMap;

/// What a record is about; the `type` member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `llm.intent`: an allowed call, before any byte leaves.
    Intent,
    /// `llm.result`: how a call ended.
    Result,
    /// `llm.denied`: a call that the policy refused.
    Denied,
    /// `authn.fail`: a caller that could not be identified.
    AuthnFail,
    /// `policy.activate`: a policy is about to take effect.
    PolicyActivate,
    /// `policy.reject`: a policy file was not taken.
    PolicyReject,
    /// `revocations.activate`: a list of revocations took effect.
    RevocationsActivate,
    /// `revocations.reject`: a list of revocations was not taken.
    RevocationsReject,
    /// `egress.decision`: what came of one attempt to open a connection.
    EgressDecision,
    /// `egress.close`: the end of a connection that was opened.
    EgressClose,
    /// `seal.selftest`: whether the escapes from a confined process fail.
    SealSelftest,
    /// `process.start`: a process of the program began.
    ProcessStart,
    /// `process.exit`: a process of the program ended.
    ProcessExit,
    /// `model.state`: a model of our own was loaded, unloaded, or failed.
    ModelState,
    /// `log.open`: the first record of a run, and of each further segment file.
    LogOpen,
    /// `log.close`: the last record of a run that ended in order.
    LogClose,
    /// `log.gap`: evidence that was lost, as found at the next start.
    LogGap,
    /// A type that this program does not know, written by a newer one.
    Other,
}

impl Kind {
    const NAMED: [Self; 17] = [
        Self::Intent,
        Self::Result,
        Self::Denied,
        Self::AuthnFail,
        Self::PolicyActivate,
        Self::PolicyReject,
        Self::RevocationsActivate,
        Self::RevocationsReject,
        Self::EgressDecision,
        Self::EgressClose,
        Self::SealSelftest,
        Self::ProcessStart,
        Self::ProcessExit,
        Self::ModelState,
        Self::LogOpen,
        Self::LogClose,
        Self::LogGap,
    ];

    /// Returns the name as it stands on a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "llm.intent",
            Self::Result => "llm.result",
            Self::Denied => "llm.denied",
            Self::AuthnFail => "authn.fail",
            Self::PolicyActivate => "policy.activate",
            Self::PolicyReject => "policy.reject",
            Self::RevocationsActivate => "revocations.activate",
            Self::RevocationsReject => "revocations.reject",
            Self::EgressDecision => "egress.decision",
            Self::EgressClose => "egress.close",
            Self::SealSelftest => "seal.selftest",
            Self::ProcessStart => "process.start",
            Self::ProcessExit => "process.exit",
            Self::ModelState => "model.state",
            Self::LogOpen => "log.open",
            Self::LogClose => "log.close",
            Self::LogGap => "log.gap",
            Self::Other => "other",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::NAMED.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Other)
    }
}

/// Number of records of each kind.
pub(crate) type KindCounts = BTreeMap<Kind, u64>;
