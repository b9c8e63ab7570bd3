//! Holds the record of whoever calls against the record of whoever opens connections.
//!
//! A gateway states its calls, and names the dial that carried each. The process that dials, which nobody else can
//! speak for, states in a log of its own which connections it opened, for whom, and how many bytes went over them. Here
//! the two are joined: a connection that no call explains, a call without its connection, and what does not fit
//! between them has a name and a weight.
//!
//! Both logs are verified while they are read, and a log that was altered answers nothing. Deliberately absent: what
//! both sides would have to leave out together, and what a call said.

mod facts;
mod findings;
mod join;
mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use findings::{Code, Example, ExampleCall, ExampleConnection, Finding, Findings, Weight};
pub use join::{HANDSHAKE_BYTES_MAX, PROBE_BYTES_MAX, Tally};
pub use report::{LogState, Reconciliation, Side, Verdict};

use crate::fault::Fault;
use crate::line::{Body, Entry};
use crate::verify::{self, Integrity, Report, VerifyError};
use join::{Join, RunEnd};

/// Reconciles the logs of gateways with those of witnesses, each in its folder.
///
/// Reads only, and may run beside the processes that write. What is still being written is told from what is missing.
///
/// # Errors
/// Returns [`VerifyError`] if a log is absent or cannot be read. A log that was altered is a verdict, and no error.
pub fn reconcile(gateways: &[PathBuf], witnesses: &[PathBuf]) -> Result<Reconciliation, VerifyError> {
    let mut join = Join::default();
    let mut logs = Vec::new();
    // The witnesses first: every connection is on record before the call that it carries has ended, so of a log that
    // is in use nothing is missed that a call read later could name without being newer.
    for dir in witnesses {
        logs.push(read(dir, Side::Witness, |step| match step {
            Step::Record(entry, text, at) => {
                facts::witnessed(entry, text, at)?.into_iter().for_each(|fact| join.witness(fact));
                Ok(())
            }
            Step::RunEnd { last, end, .. } => {
                join.witness_ended(last, end);
                Ok(())
            }
        })?);
    }
    for dir in gateways {
        logs.push(read(dir, Side::Gateway, |step| match step {
            Step::Record(entry, text, at) => {
                facts::called(entry, text, at)?.into_iter().for_each(|fact| join.gateway(fact));
                Ok(())
            }
            Step::RunEnd { until, end, .. } => {
                join.gateway_ended(until, end);
                Ok(())
            }
        })?);
    }
    let (findings, tally) = join.finish();
    Ok(Reconciliation::new(logs, findings, tally))
}

/// What is read of a log, one after the other.
enum Step<'a> {
    Record(&'a Entry, &'a [u8], Timestamp),
    /// The run of the records before is over: its last record was made at `last`, and by `until` the next had begun.
    RunEnd {
        last: Timestamp,
        until: Timestamp,
        end: RunEnd,
    },
}

/// Verifies a log while its records, and the ends of its runs, are handed over.
fn read(
    dir: &Path,
    side: Side,
    mut each: impl FnMut(Step<'_>) -> Result<(), Fault>,
) -> Result<LogState, VerifyError> {
    let mut run: Option<Run> = None;
    let mut unreadable = None;
    let report = verify::read(dir, |entry, text| {
        let handed_over = facts::time(text).and_then(|at| {
            if let Some(before) = run.as_ref().filter(|run| run.boot != entry.boot) {
                each(before.over(at))?;
            }
            let closed = entry.body == Body::Close;
            run = Some(Run { boot: entry.boot, last: at, closed });
            each(Step::Record(entry, text, at))
        });
        if let Err(fault) = handed_over {
            unreadable.get_or_insert((entry.seq, fault));
        }
    })?;
    if let Some(run) = run {
        let end = if report.in_use { RunEnd::Writing } else { run.end() };
        let step = Step::RunEnd { last: run.last, until: Timestamp::MAX, end };
        each(step).expect("the end of a run has nothing to read");
    }
    Ok(LogState::new(dir, side, altered(report, unreadable)))
}

/// A record that continues the chain and still lacks what its kind states was not written by this program.
fn altered(mut report: Report, unreadable: Option<(u64, Fault)>) -> Report {
    let is_valid = matches!(report.integrity, Integrity::Valid { .. });
    if let Some((seq, reason)) = unreadable.filter(|_| is_valid) {
        let file = format!("record {seq}");
        report.integrity = Integrity::Invalid { file, line: 1, last_valid_seq: seq - 1, reason };
    }
    report
}

/// The run whose records are being read.
struct Run {
    boot: u32,
    last: Timestamp,
    closed: bool,
}

impl Run {
    fn end(&self) -> RunEnd {
        if self.closed { RunEnd::Closed } else { RunEnd::Crashed }
    }

    fn over(&self, until: Timestamp) -> Step<'static> {
        Step::RunEnd { last: self.last, until, end: self.end() }
    }
}
