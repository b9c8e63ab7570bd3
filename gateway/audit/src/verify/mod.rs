//! Reads a whole log back and says two things: whether what is there is unchanged, and whether anything is
//! known to be missing.
//!
//! The two are never folded into one: a log can be perfectly intact and lack the records of a crash. Nor is
//! "complete" ever more than "nothing in this log says otherwise": records that somebody removed from the
//! end together with all later ones leave no trace in an unkeyed chain.
//!
//! Reads only, so it may run beside the process that writes.

mod ledger;
mod report;

use std::io;
use std::path::{Path, PathBuf};

pub use report::{Completeness, Integrity, Missing, Report};

use crate::fault::Fault;
use crate::kind::KindCounts;
use crate::line::Entry;
use crate::recovery;
use crate::scan::{Head, Position, ScanError, Scanner, Step};
use crate::segment::{self, Segment};
use crate::storage;
use ledger::Ledger;

/// Exit code if there is no log, or it could not be read; the others are [`Report::exit_code`]'s.
pub const CANNOT_RUN: u8 = 50;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No record was found. An absent log is not a clean log.
    #[error("{}: no audit record here", .0.display())]
    NoRecords(PathBuf),
    /// The directory or a file in it could not be read.
    #[error("{}: cannot read the audit log", dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

/// Verifies the log in `dir`, from its first record to its last.
///
/// Stops at the first line that fails. An incomplete last line is missing evidence rather than a change, as
/// a crash leaves one; in use, it is a record that is being written.
///
/// # Errors
/// [`VerifyError::NoRecords`] if there is nothing to verify, [`VerifyError::Io`] if it cannot be read.
pub fn verify(dir: &Path) -> Result<Report, VerifyError> {
    read(dir, |_, _| {})
}

/// Verifies a log, and hands each record that continues the chain to `each`, with its text.
///
/// What was handed over counts for nothing if the report says that the log is not valid.
pub(crate) fn read(dir: &Path, mut each: impl FnMut(&Entry, &[u8])) -> Result<Report, VerifyError> {
    let io_error = |source| VerifyError::Io { dir: dir.to_owned(), source };
    // Asked before the files are listed: what a run writes after this only adds to what is read here.
    let in_use = storage::is_in_use(dir);
    let segments = segment::list(dir).map_err(io_error)?;
    let mut walk = Walk::new();
    for &segment in &segments {
        match walk.read(dir, segment, &mut each) {
            Ok(()) => {}
            Err(Stop::Io(source)) => return Err(io_error(source)),
            Err(Stop::Invalid(broken)) => return Ok(walk.invalid(broken, segments.len(), in_use)),
        }
    }
    if walk.head.seq == 0 {
        return Err(VerifyError::NoRecords(dir.to_owned()));
    }
    let mut missing = Vec::new();
    if !in_use {
        let aside = recovery::unreported(dir).map_err(io_error)?;
        let lost = aside.into_iter().map(|torn| (torn.file, torn.bytes));
        let after_seq = walk.head.seq;
        let unsettled = walk.torn.take().map(|torn| (torn.segment.to_string(), torn.bytes));
        missing.extend(lost.chain(unsettled).map(|(file, bytes)| Missing::TornTail {
            file,
            bytes,
            after_seq,
        }));
    }
    Ok(walk.valid(missing, segments.len(), in_use))
}

/// The state of one pass over all segments.
struct Walk {
    head: Head,
    ledger: Ledger,
    records: KindCounts,
    /// An incomplete line that so far is the last of the log.
    torn: Option<Torn>,
}

struct Torn {
    segment: Segment,
    line: u64,
    bytes: u64,
}

/// The first line that fails.
struct Broken {
    segment: Segment,
    line: u64,
    reason: Fault,
}

enum Stop {
    Io(io::Error),
    Invalid(Broken),
}

impl Walk {
    fn new() -> Self {
        Self { head: Head::EMPTY, ledger: Ledger::default(), records: KindCounts::new(), torn: None }
    }

    fn read(
        &mut self,
        dir: &Path,
        segment: Segment,
        each: &mut impl FnMut(&Entry, &[u8]),
    ) -> Result<(), Stop> {
        let mut scanner = Scanner::open(dir, segment, Position::After(self.head)).map_err(Stop::Io)?;
        loop {
            match scanner.step() {
                Ok(Step::Record(entry)) => {
                    self.follow(&entry)?;
                    each(&entry, scanner.text());
                }
                Ok(Step::Torn { bytes, .. }) => {
                    self.torn = Some(Torn { segment, line: scanner.line(), bytes });
                    break;
                }
                Ok(Step::End) => break,
                Err(ScanError::Io(error)) => return Err(Stop::Io(error)),
                Err(ScanError::Fault(reason)) => {
                    return Err(Stop::Invalid(Broken { segment, line: scanner.line(), reason }));
                }
            }
        }
        if let Position::After(head) = scanner.position() {
            self.head = head;
        }
        Ok(())
    }

    fn follow(&mut self, entry: &Entry) -> Result<(), Stop> {
        // Recovery moves an incomplete line aside before it lets a run write on.
        if let Some(Torn { segment, line, .. }) = self.torn {
            return Err(Stop::Invalid(Broken { segment, line, reason: Fault::Incomplete }));
        }
        *self.records.entry(entry.body.kind()).or_default() += 1;
        self.ledger.follow(entry);
        Ok(())
    }

    fn invalid(self, broken: Broken, segments: usize, in_use: bool) -> Report {
        let Broken { segment, line, reason } = broken;
        // Numbers have no gaps from 1, so the count of records is the number of the last.
        let last_valid_seq = self.records.values().sum();
        Report {
            integrity: Integrity::Invalid { file: segment.to_string(), line, last_valid_seq, reason },
            completeness: Completeness::NotAssessed,
            records: self.records,
            segments,
            in_use,
        }
    }

    fn valid(self, mut missing: Vec<Missing>, segments: usize, in_use: bool) -> Report {
        missing.extend(if in_use { self.ledger.so_far() } else { self.ledger.at_end() });
        Report {
            integrity: Integrity::Valid { records: self.head.seq },
            completeness: if missing.is_empty() {
                Completeness::Complete
            } else {
                Completeness::Gaps(missing)
            },
            records: self.records,
            segments,
            in_use,
        }
    }
}
