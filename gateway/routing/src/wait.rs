//! Reading how long an upstream wants to be left alone: `Retry-After` and `retry-after-ms`.
//!
//! The text is somebody else's: nonsense is no wait, and a wait without end is cut to [`WAIT_MAX`].

use std::time::Duration;

/// The longest wait that an upstream is believed; SDKs of the large providers do not wait longer either.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// Reads `Retry-After`: seconds, or the date of its end. `unix_s` is the present time since the Unix epoch.
pub fn retry_after(text: &str, unix_s: u64) -> Option<Duration> {
    let text = text.trim();
    if let Some(seconds) = decimal(text) {
        return Some(bounded(seconds));
    }
    let end = http_date(text)?;
    Some(Duration::from_secs(end.saturating_sub(unix_s)).min(WAIT_MAX))
}

/// Reads `retry-after-ms`: milliseconds.
pub fn retry_after_ms(text: &str) -> Option<Duration> {
    decimal(text.trim()).map(|milliseconds| bounded(milliseconds / 1000.0))
}

/// Digits with perhaps a fraction: no sign, no exponent, nothing infinite.
fn decimal(text: &str) -> Option<f64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { text.parse().ok() } else { None }
}

fn bounded(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(WAIT_MAX.as_secs_f64()))
}

/// Reads a date as HTTP writes it today, `Sun, 06 Nov 1994 08:49:37 GMT`, into seconds since the Unix epoch.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let mut next = || words.next();
    let (day, month, year) = (number(next()?, 2)?, next()?, number(next()?, 4)?);
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut clock = next()?.split(':');
    let mut part = |most| clock.next().and_then(|text| number(text, 2)).filter(|part| *part <= most);
    let seconds = part(23)? * 3600 + part(59)? * 60 + part(60)?;
    let is_whole = next() == Some("GMT") && next().is_none() && (1..=31).contains(&day) && year >= 1970;
    is_whole.then(|| days_since_1970(year, month, day) * 86_400 + seconds)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Days of the Gregorian calendar, with the year taken to begin in March, so that the leap day is its last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days_before_month = (153 * month + 2) / 5;
    // The first of March of the year 0 was 719,468 days before the epoch.
    year * 365 + leap_days + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOVEMBER_1994: u64 = 784_111_777;

    fn check(text: &str, expected: Option<f64>) {
        let read = retry_after(text, NOVEMBER_1994 - 30).map(|wait| wait.as_secs_f64());
        assert_eq!(read, expected, "`{text}`");
    }

    #[test]
    fn seconds_are_read() {
        check("0", Some(0.0));
        check(" 7 ", Some(7.0));
        check("1.5", Some(1.5));
    }

    #[test]
    fn dates_are_read() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(30.0));
        check("Sun, 06 Nov 1994 08:49:00 GMT", Some(0.0));
        let leap = retry_after("Thu, 29 Feb 2024 12:00:00 GMT", 1_709_208_000 - 1);
        assert_eq!(leap, Some(Duration::from_secs(1)));
        let next_day = retry_after("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200 - 1);
        assert_eq!(next_day, Some(Duration::from_secs(1)));
    }

    #[test]
    fn nonsense_is_no_wait() {
        for text in ["", "soon", "-1", "+5", "1e9", "inf", "NaN", ".", "1.2.3", "0x10", "Sun, 06 Nov 1994"] {
            check(text, None);
        }
        check("Sun, 06 Nov 1994 25:49:37 GMT", None);
        check("Sun, 06 Nov 1994 08:49:37 CET", None);
        check("Sun, 99 Nov 1994 08:49:37 GMT", None);
        check("Sun, 06 Nov 0000 08:49:37 GMT", None);
    }

    #[test]
    fn no_wait_is_endless() {
        check("1000000000", Some(120.0));
        check("99999999999999999999999999999999999999999", Some(120.0));
        check("Sun, 06 Nov 9999 08:49:37 GMT", Some(120.0));
        assert_eq!(retry_after_ms("99999999999"), Some(WAIT_MAX));
        assert_eq!(retry_after_ms("250"), Some(Duration::from_millis(250)));
    }
}
