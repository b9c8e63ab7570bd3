//! What a run saw: rates, latencies, failures.
//!
//! Latencies are kept in histograms of bounded size with three significant digits, in microseconds; percentiles of
//! a run are those of all its requests, never averages of the callers' percentiles.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longest latency that is told apart from longer ones, in microseconds: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Why a request brought no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The endpoint answered with another status than 2xx.
    Status(u16),
    /// There was no answer: no connection, or it broke before the head.
    Transport,
    /// The answer broke off, or its stream ended without `[DONE]`.
    Cut,
    /// The stream carried an error.
    Reported,
    /// The answer was not complete in time.
    Timeout,
    /// The answer came whole and did not say how many tokens it has.
    Uncounted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Transport => f.write_str("no answer"),
            Self::Cut => f.write_str("cut off"),
            Self::Reported => f.write_str("error in the stream"),
            Self::Timeout => f.write_str("timed out"),
            Self::Uncounted => f.write_str("no usage"),
        }
    }
}

/// What one caller saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    completed: u64,
    output_tokens: u64,
    request: Latency,
    first_token: Latency,
    inter_token: Latency,
    failures: BTreeMap<Failure, u64>,
}

impl Tally {
    pub(crate) fn completed(&mut self, took: Duration, output_tokens: u64) {
        self.completed += 1;
        self.output_tokens += output_tokens;
        self.request.record(took);
    }

    pub(crate) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(crate) fn first_token(&mut self, after: Duration) {
        self.first_token.record(after);
    }

    pub(crate) fn next_token(&mut self, after: Duration) {
        self.inter_token.record(after);
    }

    fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.output_tokens += other.output_tokens;
        self.request.add(&other.request);
        self.first_token.add(&other.first_token);
        self.inter_token.add(&other.inter_token);
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
    }
}

/// A distribution of times.
#[derive(Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS);
        Self(histogram.expect("the bounds are constants that a histogram accepts"))
    }
}

impl Latency {
    fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Returns how many times were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the time, in milliseconds, that `quantile` (0 to 1) of the records do not exceed; nothing if there
    /// is no record.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1000.0)
    }

    fn to_json(&self) -> Value {
        let at = |quantile| self.quantile_ms(quantile);
        json!({ "count": self.count(), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99) })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for quantile in [0.5, 0.95, 0.99] {
            match self.quantile_ms(quantile) {
                Some(milliseconds) => write!(f, "{milliseconds:>12.3}")?,
                None => write!(f, "{:>12}", "-")?,
            }
        }
        Ok(())
    }
}

/// What all callers of a run saw together.
#[derive(Debug)]
pub struct Report {
    elapsed: Duration,
    tally: Tally,
}

impl Report {
    pub(crate) fn new(elapsed: Duration, tallies: &[Tally]) -> Self {
        let mut tally = Tally::default();
        for other in tallies {
            tally.add(other);
        }
        Self { elapsed, tally }
    }

    /// Returns how many requests got a whole answer.
    pub fn completed(&self) -> u64 {
        self.tally.completed
    }

    /// Returns the tokens of all whole answers.
    pub fn output_tokens(&self) -> u64 {
        self.tally.output_tokens
    }

    /// Returns from sending a request to its first output; empty for answers that were not streamed.
    pub fn first_token(&self) -> &Latency {
        &self.tally.first_token
    }

    /// Returns the times between two outputs of one stream.
    pub fn inter_token(&self) -> &Latency {
        &self.tally.inter_token
    }

    /// Returns how many requests failed, by what became of them.
    pub fn failures(&self) -> &BTreeMap<Failure, u64> {
        &self.tally.failures
    }

    /// Returns the report for programs. Times are in milliseconds unless the name says otherwise.
    pub fn to_json(&self) -> Value {
        let failures: BTreeMap<String, u64> =
            self.failures().iter().map(|(failure, count)| (failure.to_string(), *count)).collect();
        json!({
            "elapsed_s": self.elapsed.as_secs_f64(),
            "completed": self.completed(),
            "output_tokens": self.output_tokens(),
            "requests_per_s": self.per_second(self.completed()),
            "output_tokens_per_s": self.per_second(self.output_tokens()),
            "request_ms": self.tally.request.to_json(),
            "first_token_ms": self.first_token().to_json(),
            "inter_token_ms": self.inter_token().to_json(),
            "failures": failures,
        })
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "{} requests completed in {seconds:.2} s", self.completed())?;
        writeln!(f, "{:>12.2} requests/s", self.per_second(self.completed()))?;
        writeln!(f, "{:>12.2} output tokens/s", self.per_second(self.output_tokens()))?;
        writeln!(f)?;
        writeln!(f, "{:<16}{:>12}{:>12}{:>12}", "milliseconds", "p50", "p95", "p99")?;
        writeln!(f, "{:<16}{}", "first token", self.first_token())?;
        writeln!(f, "{:<16}{}", "between tokens", self.inter_token())?;
        write!(f, "{:<16}{}", "whole request", self.tally.request)?;
        for (failure, count) in self.failures() {
            write!(f, "\n{count:>12} failed: {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_requests_together() {
        let mut fast = Tally::default();
        (0..99).for_each(|_| fast.completed(Duration::from_millis(10), 1));
        let mut slow = Tally::default();
        slow.completed(Duration::from_secs(5), 1);
        slow.failed(Failure::Status(429));
        let report = Report::new(Duration::from_secs(10), &[fast, slow]);
        let json = report.to_json();
        let near = |value: &Value, expected: f64| (value.as_f64().unwrap() / expected - 1.0).abs() < 0.001;
        assert!(near(&json["request_ms"]["p50"], 10.0) && near(&json["request_ms"]["p99"], 10.0), "{json}");
        assert!(near(&json["requests_per_s"], 10.0), "{json}");
        assert_eq!(json["failures"], json!({ "status 429": 1 }));
    }

    #[test]
    fn a_time_that_was_never_taken_is_absent_and_not_zero() {
        let report = Report::new(Duration::from_secs(1), &[]);
        assert_eq!(
            report.to_json()["first_token_ms"],
            json!({ "count": 0, "p50": null, "p95": null, "p99": null })
        );
        assert!(report.to_string().contains("first token                -"), "{report}");
    }

    #[test]
    fn an_endless_wait_is_kept_at_the_longest_time() {
        let mut latency = Latency::default();
        latency.record(Duration::MAX);
        let hour_ms = LATENCY_US_MAX as f64 / 1000.0;
        assert!((latency.quantile_ms(1.0).unwrap() / hour_ms - 1.0).abs() < 0.001);
    }
}
