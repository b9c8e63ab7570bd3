//! Hours of the week: the condition `when.time`. What time it is, the caller says.
//!
//! Zones with summer time are absent: their rules change by law, and a policy means the same next year.

/// How many minutes a day has.
pub(crate) const DAY_MINUTES: u16 = 24 * 60;

/// The days of the week as the policy file writes them, Monday first.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The same hours on some days of each week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Whether the hours begin on each day, Monday first.
    pub(crate) days: [bool; 7],
    /// The minute of the day at which they begin.
    pub(crate) from: u16,
    /// The minute before which they end. Not after `from`, it is on the day after.
    pub(crate) to: u16,
    /// Minutes by which the clock of the place is ahead of UTC.
    pub(crate) ahead: i16,
}

impl Window {
    /// Returns the times of one week at which the hours begin or end, in seconds since 1970 in UTC. Between two of
    /// them nothing changes.
    pub(crate) fn turns(&self) -> impl Iterator<Item = u64> {
        let minutes = i64::from(DAY_MINUTES);
        let ahead = i64::from(self.ahead);
        let turns = [self.from, self.to].map(|minute| i64::from(minute) - ahead);
        (0..7)
            .flat_map(move |day| {
                turns.map(|turn| u64::try_from((day * minutes + turn).rem_euclid(7 * minutes) * 60))
            })
            .flatten()
    }

    /// Returns whether `now`, in seconds since 1970 in UTC, lies within.
    pub(crate) fn contains(&self, now: u64) -> bool {
        let minutes = i64::try_from(now / 60).unwrap_or(i64::MAX).saturating_add(self.ahead.into());
        let (day, minute) = (minutes.div_euclid(DAY_MINUTES.into()), minutes.rem_euclid(DAY_MINUTES.into()));
        // The first of January 1970 was a Thursday.
        let begins_on =
            |day: i64| self.days.iter().zip(0..).any(|(on, index)| *on && index == (day + 3).rem_euclid(7));
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to {
            return begins_on(day) && (from..to).contains(&minute);
        }
        // The hours pass midnight, so the small ones belong to the day before.
        (begins_on(day) && minute >= from) || (begins_on(day - 1) && minute < to)
    }
}

/// Reads a time of day such as `08:00`, in minutes; `24:00` is the end of the day.
pub(crate) fn minute_of_day(text: &str) -> Option<u16> {
    let minutes = hours_and_minutes(text)?;
    (minutes <= DAY_MINUTES).then_some(minutes)
}

/// Reads `UTC` or an offset such as `+01:00`, in minutes ahead of UTC.
pub(crate) fn minutes_ahead(text: &str) -> Option<i16> {
    /// The clocks that are furthest behind and ahead.
    const REACH: std::ops::RangeInclusive<i16> = -12 * 60..=14 * 60;
    if text == "UTC" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let minutes = i16::try_from(hours_and_minutes(rest)?).ok()?;
    Some(sign * minutes).filter(|ahead| REACH.contains(ahead))
}

/// Reads two digits, a colon and two digits up to 59.
fn hours_and_minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    Some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORK: [bool; 7] = [true, true, true, true, true, false, false];
    const HOUR: u64 = 60 * 60;
    const DAY: u64 = 24 * HOUR;
    /// Monday, 23 November 2026, at midnight in UTC.
    const MONDAY: u64 = 1_795_392_000;

    #[test]
    fn the_end_is_not_within_and_the_beginning_is() {
        let office = Window { days: WORK, from: 8 * 60, to: 18 * 60, ahead: 0 };
        for (now, expected) in [
            (MONDAY + 8 * HOUR - 1, false),
            (MONDAY + 8 * HOUR, true),
            (MONDAY + 18 * HOUR - 1, true),
            (MONDAY + 18 * HOUR, false),
            (MONDAY + 4 * DAY + 9 * HOUR, true),
            (MONDAY + 5 * DAY + 9 * HOUR, false),
            (MONDAY - DAY + 9 * HOUR, false),
        ] {
            assert_eq!(office.contains(now), expected, "{now}");
        }
    }

    #[test]
    fn hours_that_pass_midnight_belong_to_the_day_on_which_they_begin() {
        let night = Window { days: WORK, from: 22 * 60, to: 6 * 60, ahead: 0 };
        assert!(night.contains(MONDAY + 22 * HOUR) && night.contains(MONDAY + DAY + 5 * HOUR));
        assert!(!night.contains(MONDAY + 5 * HOUR), "the night before began on a Sunday");
        assert!(night.contains(MONDAY + 5 * DAY + 5 * HOUR), "the night before began on a Friday");
        assert!(!night.contains(MONDAY + 5 * DAY + 22 * HOUR));
    }

    #[test]
    fn the_clock_is_that_of_the_place() {
        let mut office = Window { days: WORK, from: 0, to: DAY_MINUTES, ahead: 60 };
        assert!(office.contains(MONDAY - HOUR) && !office.contains(MONDAY - HOUR - 1));
        office.ahead = -5 * 60;
        assert!(office.contains(MONDAY + 5 * HOUR) && !office.contains(MONDAY + 5 * HOUR - 1));
        assert!(office.contains(0), "the year there is still 1969, and it is Wednesday");
        office.days = [false; 7];
        assert!(!office.contains(u64::MAX));
    }

    #[test]
    fn times_and_offsets_have_one_spelling() {
        assert_eq!(minute_of_day("08:30"), Some(510));
        assert_eq!(minute_of_day("24:00"), Some(DAY_MINUTES));
        for text in ["8:00", "08:60", "24:01", "0800", "08:00:00", "", "-1:00", "+8:00", "０８:00"] {
            assert_eq!(minute_of_day(text), None, "{text:?}");
        }
        assert_eq!(minutes_ahead("UTC"), Some(0));
        assert_eq!(minutes_ahead("+05:45"), Some(345));
        assert_eq!(minutes_ahead("-12:00"), Some(-720));
        for text in ["", "Z", "utc", "CET", "Europe/Berlin", "+15:00", "-12:01", "01:00", "+1", "é"] {
            assert_eq!(minutes_ahead(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn hours_are_spans_that_begin_on_their_days(
            days: [bool; 7],
            (from, to) in (0..1440_u16, 0..=1440_u16),
            ahead in -720..=840_i16,
            now in 0..1_u64 << 40,
        ) {
            let there = i64::try_from(now / 60).unwrap() + i64::from(ahead);
            let is_within = |begin: i64| {
                let length = if to > from { to - from } else { to + DAY_MINUTES - from };
                (begin..begin + i64::from(length)).contains(&there)
            };
            let expected = (-8..=(there / 1440 + 1))
                .rev()
                .take(10)
                .filter(|day| days[usize::try_from((day + 3).rem_euclid(7)).unwrap()])
                .any(|day| is_within(day * 1440 + i64::from(from)));
            prop_assert_eq!(Window { days, from, to, ahead }.contains(now), expected);
        }
    }
}
