//! The time, for policies and keys. `policy` has no clock, so this is where it comes from.

use policy::Moment;

/// Returns the time, in whole seconds.
pub(crate) fn now() -> Moment {
    Moment::from_unix_s(jiff::Timestamp::now().as_second().max(0).unsigned_abs())
}
