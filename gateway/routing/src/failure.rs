//! Why a try gave no answer, in the three words that matter here: who is to blame, and whether it may be tried again.
//!
//! An upstream is blamed for what only it can mend. A client that sends nonsense or leaves, a deadline that the
//! workflow set, and a policy that says no are nobody's failure.

use std::time::Duration;

/// What became of a try that gave no answer, or no whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection: the request did not reach the upstream.
    Unreached,
    /// The upstream declined for now (429, 529, 503 with `Retry-After`) and may have said for how long.
    Pressed(Option<Duration>),
    /// The upstream failed (5xx), or answered what nobody can read.
    Broken,
    /// The upstream took the request and did not begin to answer in the time that the policy gives it.
    Late,
    /// The answer broke off after it had begun.
    Cut,
    /// Somebody else's doing: the client's, the workflow's limits', the policy's, the gateway's own.
    Blameless,
}

impl Failure {
    /// Says whether the failure counts against the upstream.
    pub fn is_blamed(self) -> bool {
        match self {
            Self::Unreached | Self::Broken | Self::Late | Self::Cut => true,
            Self::Pressed(_) | Self::Blameless => false,
        }
    }

    /// Says whether the upstream surely did nothing with the request, so that sending it again repeats no work.
    ///
    /// A refusal that names no time is not tried again: a spent quota looks the same, and does not pass.
    pub fn is_unaccepted(self) -> bool {
        matches!(self, Self::Unreached | Self::Pressed(Some(_)))
    }
}
