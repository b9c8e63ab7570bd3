//! Moments in time, as a policy and its signature write them: `2027-01-31T06:00:00Z`.
//!
//! The crate has no clock, so a moment is only ever read or handed in. There is one spelling, in UTC and whole
//! seconds, because two people who compare dates in a review should compare text. Years before 1970, offsets and
//! leap seconds are deliberately absent.

use std::fmt;
use std::time::Duration;

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// The last moment with a year of four digits.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A moment, in whole seconds since 1970 in UTC. Shown and read as `2027-01-31T06:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Takes seconds since the Unix epoch; what lies beyond the year 9999 becomes its last second.
    pub fn from_unix_s(seconds: u64) -> Self {
        Self(seconds.min(SECONDS_MAX))
    }

    /// Returns the seconds since the Unix epoch.
    pub fn unix_s(self) -> u64 {
        self.0
    }

    /// Returns the moment `duration` later, without its fraction of a second.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_unix_s(self.0.saturating_add(duration.as_secs()))
    }

    /// Returns the first moment of a day that is not before this one.
    #[must_use]
    pub fn next_day_start(self) -> Self {
        Self::from_unix_s(self.0.div_ceil(DAY_S) * DAY_S)
    }

    /// Reads `2027-01-31T06:00:00Z`, or `2027-01-31` for the first moment of that day.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, seconds) = match text.split_once('T') {
            Some((date, time)) => (date, time_of_day(time.strip_suffix('Z')?)?),
            None => (text, 0),
        };
        Some(Self(days_until(date)? * DAY_S + seconds))
    }

    /// Returns the date alone, such as `2027-01-31`.
    pub fn date(self) -> String {
        let (year, month, day) = civil(self.0 / DAY_S);
        format!("{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0 % DAY_S;
        write!(f, "{}T{:02}:{:02}:{:02}Z", self.date(), second / 3600, second / 60 % 60, second % 60)
    }
}

/// Reads a number of exactly `digits` digits, at most `max`.
fn number(text: &str, digits: usize, max: u64) -> Option<u64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&value| plain && value <= max)
}

/// Splits text at `separator` into exactly three parts.
fn three(text: &str, separator: char) -> Option<[&str; 3]> {
    let mut parts = text.split(separator);
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

fn time_of_day(text: &str) -> Option<u64> {
    let [hour, minute, second] = three(text, ':')?;
    Some(number(hour, 2, 23)? * 3600 + number(minute, 2, 59)? * 60 + number(second, 2, 59)?)
}

/// Counts the days from 1970-01-01 to `date`.
fn days_until(date: &str) -> Option<u64> {
    let [year, month, day] = three(date, '-')?;
    let (year, month, day) = (number(year, 4, 9999)?, number(month, 2, 12)?, number(day, 2, 31)?);
    if year < 1970 || month < 1 || day < 1 || day > month_days(year, month) {
        return None;
    }
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    Some(days_before_year(year) - days_before_year(1970) + months + day - 1)
}

/// Turns days since 1970-01-01 into year, month and day.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + days_before_year(1970);
    // Never too late by more than a year: a mean year is longer than 365 days.
    let mut year = days / 366 + 1;
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let (mut month, mut rest) = (1, days - days_before_year(year));
    while rest >= month_days(year, month) {
        rest -= month_days(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

/// Counts the days of the years 1 to `year - 1` in the Gregorian calendar.
fn days_before_year(year: u64) -> u64 {
    let before = year - 1;
    before * 365 + before / 4 - before / 100 + before / 400
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_have_one_spelling() {
        // The numbers are those of `date -u -d … +%s`.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:30:45Z", 951_827_445),
            ("2027-01-31T06:00:00Z", 1_801_375_200),
            ("9999-12-31T23:59:59Z", SECONDS_MAX),
        ] {
            assert_eq!(Moment::parse(text), Some(Moment(seconds)), "{text}");
            assert_eq!(Moment(seconds).to_string(), text);
        }
        assert_eq!(Moment::parse("2027-01-31"), Moment::parse("2027-01-31T00:00:00Z"));
        for text in [
            "",
            "2027-1-31",
            "2027-02-29",
            "2100-02-29",
            "1969-12-31",
            "2027-00-10",
            "2027-13-10",
            "2027-01-00",
            "+027-01-31",
            "2027-01-31T06:00:00",
            "2027-01-31T06:00:00+00:00",
            "2027-01-31T06:00:00.5Z",
            "2027-01-31t06:00:00z",
            "2027-01-31 06:00:00Z",
            "2027-01-31T24:00:00Z",
            "2027-01-31T23:59:60Z",
            "2027-01-31T06:00Z",
            "2027-01-31Z",
            "٢027-01-31",
        ] {
            assert_eq!(Moment::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_day_begins_where_it_begins() {
        let morning = Moment::parse("2027-01-31T06:00:00Z").unwrap();
        assert_eq!(morning.next_day_start().to_string(), "2027-02-01T00:00:00Z");
        assert_eq!(morning.next_day_start().next_day_start(), morning.next_day_start());
        assert_eq!(Moment::from_unix_s(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_and_keeps_its_order(a in 0..=SECONDS_MAX, b in 0..=SECONDS_MAX) {
            let (a, b) = (Moment(a), Moment(b));
            prop_assert_eq!(Moment::parse(&a.to_string()), Some(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
