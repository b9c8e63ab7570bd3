//! Hours of the week in words, and the time of a call as the clock of a place shows it.

use crate::window::{DAY_MINUTES, DAYS, Window};

/// Minutes of a week.
pub(crate) const WEEK_MINUTES: i64 = 7 * DAY_MINUTES as i64;

/// The Monday after the first of January 1970, in minutes; that day was a Thursday.
pub(crate) const FIRST_MONDAY: i64 = 4 * DAY_MINUTES as i64;

/// Says when a window is open, such as `mon, tue 08:00-18:00 UTC`.
pub(crate) fn hours(window: &Window) -> String {
    let Window { days, from, to, ahead } = window;
    let days: Vec<&str> = DAYS.iter().zip(days).filter(|(_, on)| **on).map(|(day, _)| *day).collect();
    let days = if days.len() == DAYS.len() { "every day".to_owned() } else { days.join(", ") };
    format!("{days} {}-{} {}", time(i64::from(*from)), time(i64::from(*to)), zone(*ahead))
}

/// Says what the clock of a place shows at `now`, in seconds since 1970 in UTC.
pub(crate) fn moment(now: u64, ahead: i16) -> String {
    let minutes = i64::try_from(now / 60).unwrap_or(i64::MAX).saturating_add(ahead.into());
    let of_week = (minutes - FIRST_MONDAY).rem_euclid(WEEK_MINUTES);
    let day = usize::try_from(of_week / i64::from(DAY_MINUTES)).ok().and_then(|day| DAYS.get(day));
    format!("{} {} {}", day.unwrap_or(&""), time(of_week % i64::from(DAY_MINUTES)), zone(ahead))
}

/// Returns the first moment at which the clock of a place shows this minute of this day of the week, Monday being 0,
/// in seconds since 1970 in UTC.
pub(crate) fn at(day: usize, minute: u16, ahead: i16) -> u64 {
    let day = i64::try_from(day).unwrap_or(0);
    let minutes = FIRST_MONDAY + day * i64::from(DAY_MINUTES) + i64::from(minute) - i64::from(ahead);
    u64::try_from(minutes * 60).unwrap_or(0)
}

fn time(minutes: i64) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn zone(ahead: i16) -> String {
    if ahead == 0 {
        return "UTC".to_owned();
    }
    let sign = if ahead < 0 { '-' } else { '+' };
    format!("{sign}{}", time(i64::from(ahead.abs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_as_it_was_asked_for() {
        for (day, minute, ahead, shown) in [
            (0, 0, 0, "mon 00:00 UTC"),
            (2, 10 * 60 + 5, 60, "wed 10:05 +01:00"),
            (6, 23 * 60 + 59, -330, "sun 23:59 -05:30"),
        ] {
            assert_eq!(moment(at(day, minute, ahead), ahead), shown);
        }
    }

    #[test]
    fn hours_are_shown_as_they_are_written() {
        let window =
            Window { days: [true, false, false, false, true, false, false], from: 480, to: 1440, ahead: 90 };
        assert_eq!(hours(&window), "mon, fri 08:00-24:00 +01:30");
        assert_eq!(hours(&Window { days: [true; 7], ahead: 0, ..window }), "every day 08:00-24:00 UTC");
    }
}
