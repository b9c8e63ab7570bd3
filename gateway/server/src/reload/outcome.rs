//! What a reload came to, and if it changed nothing, at which step and why.

use jiff::Timestamp;
use serde::Serialize;

/// A step on the way from a file to a policy in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The files cannot be read.
    Load,
    /// They are not signed as they must be.
    Signature,
    /// What they say is not valid.
    Compile,
    /// They do not do what their test cases say.
    Tests,
    /// A model or a client cannot be built.
    Build,
    /// Whoever opens connections does not decide by it.
    Broker,
    /// The activation cannot be recorded.
    Audit,
}

impl Stage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Signature => "signature",
            Self::Compile => "compile",
            Self::Tests => "tests",
            Self::Build => "build",
            Self::Broker => "broker",
            Self::Audit => "audit",
        }
    }
}

/// Why a reload changed nothing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    /// Of the text of the files, if they could be read.
    #[serde(rename = "file_digest")]
    pub(crate) digest: Option<String>,
    pub(crate) message: String,
    pub(crate) at: String,
}

impl Failure {
    pub(crate) fn new(stage: Stage, digest: Option<String>, message: impl Into<String>) -> Self {
        Self { stage, digest, message: message.into(), at: Timestamp::now().to_string() }
    }

    /// Whether the same state of the files failed in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// Files that cannot be read have no text, and a signature may be wrong in many ways: what is said counts too.
    pub(super) fn key(&self) -> (Stage, Option<&str>, &str) {
        (self.stage, self.digest.as_deref(), &self.message)
    }
}

/// What a reload came to.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Another policy is in force.
    Activated { digest: String, old_digest: String, summary: String },
    /// The files say what is in force already.
    Unchanged { digest: String },
    /// Nothing changed.
    Rejected { digest: String, failure: Failure },
}

impl Outcome {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Activated { .. } => "activated",
            Self::Unchanged { .. } => "unchanged",
            Self::Rejected { .. } => "rejected",
        }
    }
}
