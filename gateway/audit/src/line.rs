//! A record as one line of JSON: how it is written, and what a reader takes from it.
//!
//! A draft's members are serialised where the event happens, so the one writer thread only adds the place
//! (`seq`, `boot`) and the seal. Readers parse the envelope and the few members that completeness needs;
//! all other members are covered by the hash and pass unread.

use std::borrow::Cow;
use std::io::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::egress::Verdict;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::process::{Process, ProcessEnd};
use crate::record::{
    Activation, Caller, ControlEvent, Denial, Intent, Outcome, PolicyRef, RequestFacts, Route, Text,
};

/// Version of the record format.
const VERSION: u8 = 1;

/// Longest line, newline included. The largest record has about 32 texts of at most 280 bytes, half of them names of
/// dropped fields, which JSON escaping makes at most six times longer; names of dials need no escaping.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;

/// The members of a `log.open` record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) cause: Cause,
    /// Intents before this record that have no result yet and are reported by no gap. With it, the last
    /// segment alone tells how many calls a crash left without a result.
    pub(crate) pending: u64,
}

/// Why a segment file was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// A run began.
    Start,
    /// The file before was full.
    Roll,
}

/// The members of a `log.gap` record: what an earlier run lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Gap {
    /// The last line was incomplete; its bytes were moved to `file`.
    TornTail { file: String, bytes: u64, after_seq: u64 },
    /// Calls that began and whose result was never recorded.
    OrphanIntents { count: u64 },
}

/// A record that has no place in the log yet.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) id: Uuid,
    at: Timestamp,
    /// A JSON object without its outer braces.
    members: Vec<u8>,
}

impl Draft {
    pub(crate) fn intent(intent: &Intent) -> Self {
        #[derive(Serialize)]
        struct Members<'a> {
            workflow: &'a Text,
            owner: &'a Text,
            caller: &'a Caller,
            policy: &'a PolicyRef,
            decision: Decision<'a>,
            request: &'a RequestFacts,
            route: &'a Route,
        }
        let Intent { workflow, owner, caller, policy, request, route } = intent;
        let decision = Decision::ALLOW;
        Self::new(Kind::Intent, &Members { workflow, owner, caller, policy, decision, request, route })
    }

    pub(crate) fn result(intent: Uuid, (workflow, policy): (&Text, &Text), outcome: &Outcome) -> Self {
        #[derive(Serialize)]
        struct Members<'a> {
            intent: String,
            workflow: &'a Text,
            policy: PolicyDigest<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            route: Option<&'a Route>,
            result: &'a Outcome,
        }
        let (intent, policy) = (intent.to_string(), PolicyDigest { digest: policy });
        let route = outcome.route.as_ref();
        Self::new(Kind::Result, &Members { intent, workflow, policy, route, result: outcome })
    }

    pub(crate) fn event(event: &ControlEvent) -> Self {
        #[derive(Serialize)]
        struct Activated<'a> {
            policy: PolicyDigest<'a>,
            #[serde(flatten)]
            more: &'a Activation,
        }
        #[derive(Serialize)]
        struct Listed<'a> {
            revocations: Revocations<'a>,
        }
        #[derive(Serialize)]
        struct Revocations<'a> {
            digest: &'a Text,
            entries: u64,
        }
        #[derive(Serialize)]
        struct Rejected<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            file_digest: Option<&'a Text>,
            #[serde(skip_serializing_if = "Option::is_none")]
            stage: Option<&'a Text>,
            message: &'a Text,
        }
        #[derive(Serialize)]
        struct Unidentified<'a> {
            decision: Decision<'a>,
            endpoint: &'a Text,
            peer: &'a Text,
        }
        #[derive(Serialize)]
        struct Exited<'a> {
            #[serde(flatten)]
            process: &'a Process,
            #[serde(flatten)]
            end: &'a ProcessEnd,
        }
        match event {
            ControlEvent::PolicyActivate(more) => {
                let policy = PolicyDigest { digest: &more.digest };
                Self::new(Kind::PolicyActivate, &Activated { policy, more })
            }
            ControlEvent::PolicyReject { digest, stage, message } => {
                let (file_digest, stage) = (digest.as_ref(), Some(stage));
                Self::new(Kind::PolicyReject, &Rejected { file_digest, stage, message })
            }
            ControlEvent::RevocationsActivate { digest, entries } => {
                let revocations = Revocations { digest, entries: *entries };
                Self::new(Kind::RevocationsActivate, &Listed { revocations })
            }
            ControlEvent::RevocationsReject { digest, message } => {
                let (file_digest, stage) = (digest.as_ref(), None);
                Self::new(Kind::RevocationsReject, &Rejected { file_digest, stage, message })
            }
            ControlEvent::AuthnFail { code, endpoint, peer } => {
                let decision = Decision::deny(code);
                Self::new(Kind::AuthnFail, &Unidentified { decision, endpoint, peer })
            }
            ControlEvent::Denied(denial) => Self::denied(denial),
            ControlEvent::EgressDecision(decision) => Self::new(Kind::EgressDecision, decision),
            ControlEvent::EgressClose(close) => Self::new(Kind::EgressClose, close),
            ControlEvent::SealSelftest(test) => Self::new(Kind::SealSelftest, test),
            ControlEvent::ModelState(state) => Self::new(Kind::ModelState, state),
            ControlEvent::ProcessStart(process) => Self::new(Kind::ProcessStart, process),
            ControlEvent::ProcessExit { process, end } => {
                Self::new(Kind::ProcessExit, &Exited { process, end })
            }
        }
    }

    fn denied(denial: &Denial) -> Self {
        #[derive(Serialize)]
        struct Members<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            workflow: Option<&'a Text>,
            caller: &'a Caller,
            policy: &'a PolicyRef,
            decision: Decision<'a>,
            request: &'a RequestFacts,
        }
        let Denial { code, workflow, caller, policy, request } = denial;
        let decision = Decision::deny(code);
        Self::new(Kind::Denied, &Members { workflow: workflow.as_ref(), caller, policy, decision, request })
    }

    pub(crate) fn open(open: Opening) -> Self {
        #[derive(Serialize)]
        struct Members {
            open: Opening,
        }
        Self::new(Kind::LogOpen, &Members { open })
    }

    pub(crate) fn gap(gap: &Gap) -> Self {
        #[derive(Serialize)]
        struct Members<'a> {
            gap: &'a Gap,
        }
        Self::new(Kind::LogGap, &Members { gap })
    }

    pub(crate) fn close() -> Self {
        #[derive(Serialize)]
        struct Members {}
        Self::new(Kind::LogClose, &Members {})
    }

    fn new(kind: Kind, members: &impl Serialize) -> Self {
        let mut members = serde_json::to_vec(members).expect("text and numbers always serialise");
        members.pop();
        members.remove(0);
        Self { kind, id: Uuid::now_v7(), at: Timestamp::now(), members }
    }

    /// Appends the record as an unsealed JSON object.
    pub(crate) fn write(&self, seq: u64, boot: u32, buffer: &mut Vec<u8>) {
        let (kind, id, at) = (self.kind.as_str(), self.id, self.at);
        write!(
            buffer,
            r#"{{"v":{VERSION},"type":"{kind}","id":"{id}","seq":{seq},"boot":{boot},"ts":"{at:.9}""#
        )
        .expect("a Vec takes every write");
        if !self.members.is_empty() {
            buffer.push(b',');
            buffer.extend_from_slice(&self.members);
        }
        buffer.push(b'}');
    }
}

/// The policy under which something happened.
#[derive(Serialize)]
struct PolicyDigest<'a> {
    digest: &'a Text,
}

#[derive(Serialize)]
struct Decision<'a> {
    effect: &'static str,
    code: &'a str,
}

impl<'a> Decision<'a> {
    const ALLOW: Self = Self { effect: "allow", code: "allowed" };

    fn deny(code: &'a Text) -> Self {
        Self { effect: "deny", code: code.as_str() }
    }
}

/// What a reader takes from a stored line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) boot: u32,
    pub(crate) body: Body,
}

/// The members that tell whether evidence is missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Intent {
        id: Uuid,
    },
    Result {
        intent: Uuid,
    },
    /// A connection was opened; refusals are [`Self::Plain`], because nothing follows them.
    Dialled {
        dial: Box<str>,
    },
    /// A connection ended.
    Ended {
        dial: Box<str>,
    },
    Open(Opening),
    Close,
    Gap(Gap),
    /// A record that completeness does not depend on.
    Plain(Kind),
}

impl Body {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Intent { .. } => Kind::Intent,
            Self::Result { .. } => Kind::Result,
            Self::Dialled { .. } => Kind::EgressDecision,
            Self::Ended { .. } => Kind::EgressClose,
            Self::Open(_) => Kind::LogOpen,
            Self::Close => Kind::LogClose,
            Self::Gap(_) => Kind::LogGap,
            Self::Plain(kind) => *kind,
        }
    }
}

impl Entry {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// [`Fault::Unreadable`] if it is no JSON object of this version with the members that its type needs.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Stored<'a> {
            v: u8,
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            #[serde(borrow)]
            id: Cow<'a, str>,
            seq: u64,
            boot: u32,
            #[serde(borrow)]
            intent: Option<Cow<'a, str>>,
            #[serde(borrow)]
            dial: Option<Cow<'a, str>>,
            #[serde(borrow)]
            verdict: Option<Cow<'a, str>>,
            open: Option<Opening>,
            gap: Option<Gap>,
        }
        let stored: Stored<'_> = serde_json::from_slice(line).map_err(|_| Fault::Unreadable)?;
        if stored.v != VERSION {
            return Err(Fault::Unreadable);
        }
        let id = parse_id(&stored.id)?;
        let body = match Kind::named(&stored.kind) {
            Kind::Intent => Body::Intent { id },
            Kind::Result => Body::Result { intent: parse_id(&stored.intent.ok_or(Fault::Unreadable)?)? },
            Kind::EgressDecision => match stored.verdict.as_deref() {
                Some(Verdict::OPENED) => Body::Dialled { dial: dial_of(stored.dial)? },
                Some(_) => Body::Plain(Kind::EgressDecision),
                None => return Err(Fault::Unreadable),
            },
            Kind::EgressClose => Body::Ended { dial: dial_of(stored.dial)? },
            Kind::LogOpen => Body::Open(stored.open.ok_or(Fault::Unreadable)?),
            Kind::LogClose => Body::Close,
            Kind::LogGap => Body::Gap(stored.gap.ok_or(Fault::Unreadable)?),
            kind => Body::Plain(kind),
        };
        Ok(Self { seq: stored.seq, boot: stored.boot, body })
    }
}

fn dial_of(dial: Option<Cow<'_, str>>) -> Result<Box<str>, Fault> {
    dial.map(Into::into).ok_or(Fault::Unreadable)
}

fn parse_id(id: &str) -> Result<Uuid, Fault> {
    Uuid::try_parse(id).map_err(|_| Fault::Unreadable)
}
