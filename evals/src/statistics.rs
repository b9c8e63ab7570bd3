//! How far a share of a few samples may be from the true one.

/// The 97.5 % quantile of the normal distribution: 95 % lie between its negative and itself.
const Z_95: f64 = 1.959_963_984_540_054;

/// A range of shares, each between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Returns Wilson's 95 % interval for a share of `successes` in `trials`.
///
/// Chosen over the textbook's normal interval because it stays inside 0 to 1 and says something sensible at 0 and
/// at all successes, which is where small suites end up. Without trials it is everything.
///
/// # Panics
/// Panics if there are more successes than trials.
pub fn wilson_95(successes: usize, trials: usize) -> Interval {
    assert!(successes <= trials, "{successes} successes in {trials} trials");
    if trials == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (n, share) = (trials as f64, successes as f64 / trials as f64);
    let z2 = Z_95 * Z_95;
    let centre = share + z2 / (2.0 * n);
    let half = Z_95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    // At 0 and at all successes an end is exact, and rounding must not put it outside the range.
    Interval { low: ((centre - half) / scale).max(0.0), high: ((centre + half) / scale).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(successes: usize, trials: usize, low: f64, high: f64) {
        let interval = wilson_95(successes, trials);
        assert!((interval.low - low).abs() < 5e-5, "{interval:?}");
        assert!((interval.high - high).abs() < 5e-5, "{interval:?}");
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        check(0, 10, 0.0, 0.2775);
        check(1, 10, 0.0179, 0.4042);
        check(8, 10, 0.4902, 0.9433);
        check(10, 10, 0.7225, 1.0);
        check(50, 100, 0.4038, 0.5962);
        check(0, 0, 0.0, 1.0);
    }

    #[test]
    fn an_interval_holds_its_share_and_stays_in_range() {
        for trials in 1..200 {
            for successes in 0..=trials {
                let (share, interval) = (successes as f64 / trials as f64, wilson_95(successes, trials));
                assert!(0.0 <= interval.low && interval.high <= 1.0, "{successes}/{trials}: {interval:?}");
                assert!(
                    interval.low <= share + 1e-12 && share <= interval.high + 1e-12,
                    "{successes}/{trials}: {interval:?}"
                );
            }
        }
    }
}
