//! The time of day in whole seconds, for policies, keys and answers. `policy` has no clock, so this is where it comes from.

use policy::Moment;

/// Returns the time, in whole seconds.
pub(crate) fn now() -> Moment {
    Moment::from_unix_s(unix_s())
}

/// Returns the seconds since the Unix epoch; a clock that is before it is wrong in any case, and counts as at it.
pub(crate) fn unix_s() -> u64 {
    jiff::Timestamp::now().as_second().max(0).unsigned_abs()
}
