//! How long work is shown: a bar for a person at a terminal, lines in a log for everyone else.
//!
//! Both go to stderr, so that stdout holds results only. Lines come at each tenth of the work and not by time, so a log
//! has at most ten of them, however long it takes.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;

/// How often the bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);
/// Lines for the whole of the work.
const LINES: u64 = 10;

/// Bytes that are read in about a second: nobody waits for that.
const QUICK_BYTES: u64 = 1 << 30;

/// Work that is counted in bytes.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines(Lines),
    /// Work that is over before it is worth a word.
    Quick,
}

/// What has been said so far.
pub(crate) struct Lines {
    what: &'static str,
    total: u64,
    done: AtomicU64,
}

/// Sets the log up for a command: without a terminal, progress is lines in it.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::new("info");
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
}

impl Progress {
    /// Begins to show work of `total` bytes, called `what`, such as `loading`.
    pub(crate) fn begin(what: &'static str, total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines(Lines { what, total, done: AtomicU64::new(0) });
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = "{prefix} {msg} [{wide_bar}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        bar.set_prefix(what);
        bar.enable_steady_tick(TICK);
        Self::Bar(bar)
    }

    /// Begins to show that `total` bytes are read from this machine's disk.
    pub(crate) fn begin_reading(total: u64) -> Self {
        if total < QUICK_BYTES { Self::Quick } else { Self::begin("reading", total) }
    }

    /// Says which part of the work is next.
    pub(crate) fn part(&self, name: &str) {
        if let Self::Bar(bar) = self {
            bar.set_message(name.to_owned());
        }
    }

    /// Counts bytes that are done.
    pub(crate) fn advance(&self, bytes: u64) {
        match self {
            Self::Bar(bar) => bar.inc(bytes),
            Self::Lines(lines) => lines.advance(bytes),
            Self::Quick => {}
        }
    }

    /// Takes back bytes that have to be done again.
    pub(crate) fn take_back(&self, bytes: u64) {
        match self {
            Self::Bar(bar) => bar.dec(bytes),
            Self::Lines(lines) => {
                lines.done.fetch_sub(bytes, Relaxed);
            }
            Self::Quick => {}
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.println(text),
            Self::Lines(_) | Self::Quick => tracing::info!("{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn advance(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Relaxed);
        if let Some(percent) = crossed(before, before + bytes, self.total) {
            tracing::info!(bytes = before + bytes, of = self.total, "{} {percent} %", self.what);
        }
    }
}

/// The percentage that was reached between two numbers of bytes, if one is worth a line.
fn crossed(before: u64, after: u64, total: u64) -> Option<u64> {
    // In 128 bits, because a total may be any number that a hub says.
    let tenth = |bytes: u64| (u128::from(bytes) * u128::from(LINES) / u128::from(total.max(1))) as u64;
    (tenth(after) > tenth(before)).then(|| tenth(after) * 100 / LINES)
}

/// A number of bytes for people, in the units of the bar.
pub(crate) fn readable(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_line_for_each_tenth_and_no_more() {
        let lines = |step: usize, total: u64| -> Vec<u64> {
            let starts = (0..total).step_by(step);
            starts.filter_map(|from| crossed(from, total.min(from + step as u64), total)).collect()
        };
        let all = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
        assert_eq!(lines(1, 1000), all);
        assert_eq!(lines(7, 1000), all);
        assert_eq!(lines(400, 1000), [40, 80, 100]);
        assert_eq!(lines(1000, 1000), [100]);
        assert_eq!(lines(2, 3), [60, 100]);
        assert_eq!(crossed(0, u64::MAX, u64::MAX), Some(100));
        assert_eq!(crossed(0, 0, 0), None);
    }
}
