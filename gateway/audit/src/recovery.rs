//! What the last run left in the directory, and how a new run continues it.
//!
//! The newest records are read and checked; an incomplete last line is moved aside, never cut off; calls
//! without a result are counted. All of it becomes records of the new run. A crash in the middle of recovery
//! loses no report: bytes moved aside keep the name `*.torn.unreported` until the record about them is
//! durable, and the count of open calls stays in each `log.open` until a `log.gap` has taken it over.
//!
//! Deliberately absent: repair. A line that fails its check stops the start, because nothing here can tell
//! a bad disk from a bad hand.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::line::{Body, Gap};
use crate::scan::{Head, Position, ScanError, Scanner, Step};
use crate::segment::{self, Segment};
use crate::storage::{move_tail, sync_dir};

const TORN: &str = "torn";
const UNREPORTED: &str = ".unreported";

/// What [`Log::open`](crate::Log::open) found of earlier runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Number of this run over the directory, from 1.
    pub boot: u32,
    /// How the run before ended.
    pub previous: Previous,
    /// Number of the last record found; 0 if there was none.
    pub last_seq: u64,
    /// Incomplete lines that were moved aside.
    pub torn_tails: Vec<TornTail>,
    /// Calls that began and whose result was never recorded.
    pub orphan_intents: u64,
}

/// How the run before this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Previous {
    /// There was none: the directory held no record.
    None,
    /// In order: its last record is `log.close`.
    Clean,
    /// Without `log.close`: it was killed, or it could no longer write.
    Unclean,
}

/// The bytes of an incomplete line, kept beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Name of the file in the log's directory that holds the bytes.
    pub file: String,
    /// How many there are.
    pub bytes: u64,
}

/// Why the records of the last run cannot be continued.
#[derive(Debug)]
pub(crate) enum RecoverError {
    Damaged { file: String, line: u64, fault: Fault },
    Io(io::Error),
}

impl From<io::Error> for RecoverError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The state from which a new run starts.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) head: Head,
    pub(crate) report: Recovery,
}

impl Recovered {
    /// The gaps that the new run has to record.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let torn = self.report.torn_tails.iter().map(|torn| Gap::TornTail {
            file: torn.file.clone(),
            bytes: torn.bytes,
            after_seq: self.head.seq,
        });
        let count = self.report.orphan_intents;
        torn.chain((count > 0).then_some(Gap::OrphanIntents { count })).collect()
    }
}

/// Reads the end of the log in `dir`, and moves an incomplete last line aside.
pub(crate) fn recover(dir: &Path) -> Result<Recovered, RecoverError> {
    let segments = segment::list(dir)?;
    let boot = segments.last().map_or(1, |last| last.boot.saturating_add(1));
    let mut tail = Tail::EMPTY;
    // A file may hold no record, if the crash came between its creation and its first group.
    for &segment in segments.iter().rev() {
        if let Some(found) = read_tail(dir, segment)? {
            tail = found;
            break;
        }
    }
    let torn_tails = unreported(dir)?;
    let Tail { head, pending, previous } = tail;
    let report = Recovery { boot, previous, last_seq: head.seq, torn_tails, orphan_intents: pending };
    Ok(Recovered { head, report })
}

/// Marks torn tails as reported, once the records about them are durable.
pub(crate) fn settle(dir: &Path, torn_tails: &[TornTail]) -> io::Result<()> {
    for torn in torn_tails {
        fs::rename(dir.join(format!("{}{UNREPORTED}", torn.file)), dir.join(&torn.file))?;
    }
    if torn_tails.is_empty() { Ok(()) } else { sync_dir(dir) }
}

/// Where the records of one segment end.
struct Tail {
    head: Head,
    /// Intents without a result that no gap reports.
    pending: u64,
    previous: Previous,
}

impl Tail {
    const EMPTY: Self = Self { head: Head::EMPTY, pending: 0, previous: Previous::None };

    fn follow(&mut self, body: &Body) {
        self.previous = Previous::Unclean;
        match body {
            Body::Open(opening) => self.pending = opening.pending,
            Body::Intent { .. } => self.pending += 1,
            // Saturating: the counts stand in a file, which may say anything.
            Body::Result { .. } => self.pending = self.pending.saturating_sub(1),
            Body::Gap(Gap::OrphanIntents { count }) => self.pending = self.pending.saturating_sub(*count),
            Body::Close => self.previous = Previous::Clean,
            // The verifier counts connections; the start of a run has nothing to do about them.
            Body::Dialled { .. } | Body::Ended { .. } | Body::Gap(Gap::TornTail { .. }) | Body::Plain(_) => {}
        }
    }
}

/// Returns `None` if the segment holds no whole record.
fn read_tail(dir: &Path, segment: Segment) -> Result<Option<Tail>, RecoverError> {
    let mut scanner = Scanner::open(dir, segment, Position::Unknown)?;
    let mut tail = Tail::EMPTY;
    loop {
        match scanner.step() {
            Ok(Step::Record(entry)) => tail.follow(&entry.body),
            Ok(Step::Torn { offset, .. }) => {
                move_tail(&segment.path(dir), offset, &aside(dir, segment))?;
                break;
            }
            Ok(Step::End) => break,
            Err(ScanError::Io(error)) => return Err(error.into()),
            Err(ScanError::Fault(fault)) => {
                return Err(RecoverError::Damaged { file: segment.to_string(), line: scanner.line(), fault });
            }
        }
    }
    let Position::After(head) = scanner.position() else { return Ok(None) };
    // What was read may so far be in the page cache alone, if the last run was killed before its sync. The
    // new run's records will name it as their predecessor, so it must not be lost after them.
    File::open(segment.path(dir))?.sync_all()?;
    Ok(Some(Tail { head, ..tail }))
}

fn aside(dir: &Path, segment: Segment) -> PathBuf {
    dir.join(format!("{segment}.{TORN}{UNREPORTED}"))
}

/// Lists bytes that were moved aside and that no durable record is known to report.
pub(crate) fn unreported(dir: &Path) -> io::Result<Vec<TornTail>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(file) = name.to_str().and_then(|name| name.strip_suffix(UNREPORTED)) {
            found.push(TornTail { file: file.to_owned(), bytes: entry.metadata()?.len() });
        }
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}
