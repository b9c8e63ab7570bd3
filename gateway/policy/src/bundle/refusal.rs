//! Why a policy's signature is not accepted: one code for each reason, and words that say what to do.

use crate::moment::Moment;

/// Why a signed policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no signature.
    #[error("the policy is not signed: sign it with `portcullis sign`")]
    Unsigned,
    /// The signature file is not a signed note, or what was signed has another form.
    #[error("the signature file cannot be read: {0}")]
    Malformed(&'static str),
    /// What was signed is not a policy, or one of another version of the format.
    #[error("what was signed is not a policy of a version that this program knows")]
    Schema,
    /// None of the signatures is by a pinned key.
    #[error("no signature is by a key that is trusted here; signed by {}", .0.join(", "))]
    UnknownKey(Vec<String>),
    /// Fewer pinned keys have signed than must.
    #[error("{needed} trusted keys must sign, and {} did: {}", .by.len(), .by.join(", "))]
    Threshold {
        /// Those that did.
        by: Vec<String>,
        /// How many must.
        needed: usize,
    },
    /// A signature in the name of a pinned key is not by it: text or signature was changed.
    #[error("the signature of {0} does not fit: the policy or the signature was changed")]
    BadSignature(String),
    /// The policy holds from a later moment on.
    #[error("the policy holds from {0} on, and it is earlier")]
    NotYetValid(Moment),
    /// The policy held until a moment that has passed.
    #[error("the policy held until {0}: sign it again")]
    Expired(Moment),
    /// A later policy was in force already, or another one of the same number.
    #[error("revision {revision} is older than {highest}, which was accepted before")]
    RolledBack {
        /// The revision of the policy.
        revision: u64,
        /// The highest revision so far.
        highest: u64,
    },
    /// The number was used for a policy that says something else.
    #[error("revision {0} was accepted before and was another policy: sign this one with a higher number")]
    Reused(u64),
    /// A file is not the one that was signed.
    #[error("{0} is not the file that was signed: it was changed afterwards")]
    FileChanged(String),
    /// A signed file is not there.
    #[error("{0} was signed and is not there")]
    FileMissing(String),
    /// A file is there that nobody signed.
    #[error("{0} is part of the policy and was not signed")]
    FileExtra(String),
}

impl Refusal {
    /// Returns the code for records, metrics and scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Malformed(_) => "malformed",
            Self::Schema => "schema",
            Self::UnknownKey(_) => "unknown_key",
            Self::Threshold { .. } => "threshold",
            Self::BadSignature(_) => "bad_signature",
            Self::NotYetValid(_) => "not_yet_valid",
            Self::Expired(_) => "expired",
            Self::RolledBack { .. } | Self::Reused(_) => "rolled_back",
            Self::FileChanged(_) => "file_changed",
            Self::FileMissing(_) => "file_missing",
            Self::FileExtra(_) => "file_extra",
        }
    }
}
