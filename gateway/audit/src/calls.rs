//! Reads recorded calls back, for questions about the past such as what another policy would have decided.
//!
//! Through the same reader as the verifier, so a log that was altered answers nothing. Results are not read: what
//! was asked and what was decided stands on intents and denials. Copies for comparison are left out: nobody asked
//! for them, and the call that they are a copy of is there.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fault::Fault;
use crate::kind::Kind;
use crate::line::Body;
use crate::scan::{Head, Position, ScanError, Scanner, Step};
use crate::segment;

/// One call, as its record states it. What the record does not hold is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// When the call was decided, in RFC 3339 and UTC.
    pub ts: String,
    /// The workflow, if one was selected before the decision.
    pub workflow: Option<String>,
    /// How the caller was identified, such as `api_key`.
    pub caller_kind: String,
    /// The identity that the policy knew.
    pub caller_id: String,
    /// Digest of the policy that decided, in hex.
    pub policy: String,
    /// Whether the call was allowed.
    pub allowed: bool,
    /// The decision's code.
    pub code: String,
    /// The `model` that the caller wrote.
    pub model: Option<String>,
    /// Input tokens as estimated for the decision.
    pub input_tokens: Option<u64>,
    /// Number of tools that were offered.
    pub tools: Option<u64>,
}

/// Why the calls of a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// A line is not the next record of the log.
    #[error("{file}, line {line}: {fault}")]
    Damaged {
        /// The file's name.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// No record was found.
    #[error("{}: no audit record here", .0.display())]
    NoRecords(PathBuf),
    /// The directory or a file in it could not be read.
    #[error("{}: cannot read the audit log", dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

/// Hands every recorded call of the log in `dir` to `each`, oldest first, and no copies for comparison.
///
/// An incomplete last line is left out: it is a record that is being written, or that a crash cut.
///
/// # Errors
/// Returns [`CallsError`] at the first line that fails; the calls before it were handed over.
pub fn calls(dir: &Path, mut each: impl FnMut(RecordedCall)) -> Result<(), CallsError> {
    let io_error = |source| CallsError::Io { dir: dir.to_owned(), source };
    let segments = segment::list(dir).map_err(io_error)?;
    let mut head = Head::EMPTY;
    for &segment in &segments {
        let mut scanner = Scanner::open(dir, segment, Position::After(head)).map_err(io_error)?;
        loop {
            let damaged = |line, fault| CallsError::Damaged { file: segment.to_string(), line, fault };
            match scanner.step() {
                Ok(Step::Record(entry)) => {
                    if let Body::Intent { .. } | Body::Plain(Kind::Denied) = entry.body {
                        let stored: Stored = serde_json::from_slice(scanner.text())
                            .map_err(|_| damaged(scanner.line(), Fault::Unreadable))?;
                        if !stored.route.shadow {
                            each(stored.into());
                        }
                    }
                }
                Ok(Step::Torn { .. } | Step::End) => break,
                Err(ScanError::Fault(fault)) => return Err(damaged(scanner.line(), fault)),
                Err(ScanError::Io(source)) => return Err(io_error(source)),
            }
        }
        if let Position::After(reached) = scanner.position() {
            head = reached;
        }
    }
    if head == Head::EMPTY { Err(CallsError::NoRecords(dir.to_owned())) } else { Ok(()) }
}

/// The members of a line that a call consists of.
#[derive(Deserialize)]
struct Stored {
    ts: String,
    workflow: Option<String>,
    caller: StoredCaller,
    policy: StoredPolicy,
    decision: StoredDecision,
    request: StoredRequest,
    /// Where the call was sent; absent if it was denied.
    #[serde(default)]
    route: StoredRoute,
}

#[derive(Deserialize)]
struct StoredCaller {
    kind: String,
    id: String,
}

#[derive(Deserialize)]
struct StoredPolicy {
    digest: String,
}

#[derive(Deserialize)]
struct StoredDecision {
    effect: String,
    code: String,
}

#[derive(Deserialize)]
struct StoredRequest {
    model_requested: Option<String>,
    tokens_est: Option<u64>,
    tools: Option<u64>,
}

#[derive(Default, Deserialize)]
struct StoredRoute {
    #[serde(default)]
    shadow: bool,
}

impl From<Stored> for RecordedCall {
    fn from(stored: Stored) -> Self {
        let Stored { ts, workflow, caller, policy, decision, request, route: _ } = stored;
        Self {
            ts,
            workflow,
            caller_kind: caller.kind,
            caller_id: caller.id,
            policy: policy.digest,
            allowed: decision.effect == "allow",
            code: decision.code,
            model: request.model_requested,
            input_tokens: request.tokens_est,
            tools: request.tools,
        }
    }
}
