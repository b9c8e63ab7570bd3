//! Systems without the means: everything says so, and nothing pretends.

use crate::escapes::{Attempt, Context};
use crate::{Applied, Rules, SealError, Support};

pub(crate) fn supported() -> Support {
    Support { seccomp: false, landlock: None }
}

pub(crate) fn confine(_rules: &Rules) -> Result<Applied, SealError> {
    Err(SealError::Unsupported)
}

pub(crate) fn harden() -> Result<(), SealError> {
    Err(SealError::Unsupported)
}

pub(crate) fn keep_descriptors() -> Result<(), SealError> {
    Err(SealError::Unsupported)
}

pub(crate) fn own_network() -> bool {
    false
}

pub(crate) fn die_with_parent(_parent: u32) -> Result<(), SealError> {
    Err(SealError::Unsupported)
}

/// No attempt, so nothing is proven: whoever asks for proof must take an empty list as a failure.
pub(crate) fn try_all(_context: &Context) -> Vec<Attempt> {
    Vec::new()
}
