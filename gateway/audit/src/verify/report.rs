//! The two verdicts, and their text for people.

use std::fmt;

use crate::fault::Fault;
use crate::kind::Kind;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the records are as they were written.
    pub integrity: Integrity,
    /// Whether evidence is known to be missing.
    pub completeness: Completeness,
    /// Number of verified records of each kind.
    pub records: std::collections::BTreeMap<Kind, u64>,
    /// Number of segment files in the directory.
    pub segments: usize,
    /// Whether a process was writing the log meanwhile; calls in progress then miss nothing.
    pub in_use: bool,
}

/// The first verdict: is what is there unchanged?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// Every record continues the chain.
    Valid {
        /// Number of records.
        records: u64,
    },
    /// A line does not; nothing after it was read.
    Invalid {
        /// Name of the segment file.
        file: String,
        /// Line in it, from 1.
        line: u64,
        /// Number of the last record before it; 0 if there is none.
        last_valid_seq: u64,
        /// What is wrong with the line.
        reason: Fault,
    },
}

/// The second verdict: does anything in the log say that evidence is missing?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// Nothing does.
    Complete,
    /// Something does.
    Gaps(Vec<Missing>),
    /// The records are not valid, so what they say counts for nothing.
    NotAssessed,
}

/// Evidence that should be there and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A record that was being written when its process or machine died.
    TornTail {
        /// The file that holds the incomplete bytes.
        file: String,
        /// How many there are.
        bytes: u64,
        /// The last record before them.
        after_seq: u64,
    },
    /// Calls that began and whose end was never recorded.
    Results {
        /// The run that made the calls.
        boot: u32,
        /// Number of calls.
        count: u64,
        /// The first of their intents.
        first_seq: u64,
    },
    /// Results of calls that never began. No crash leaves this.
    Intents {
        /// The run that wrote the results.
        boot: u32,
        /// Number of results.
        count: u64,
    },
    /// Connections that were opened and whose end was never recorded. They may have stayed open after the run.
    Closes {
        /// The run that opened them.
        boot: u32,
        /// Number of connections.
        count: u64,
        /// The first of their decisions.
        first_seq: u64,
    },
    /// Ends of connections that nobody opened. No crash leaves this.
    Dials {
        /// The run that wrote the ends.
        boot: u32,
        /// Number of ends.
        count: u64,
    },
    /// The end of a run: it was killed, or it could no longer write.
    Close {
        /// The run.
        boot: u32,
    },
}

impl Report {
    /// Returns the exit code that states both verdicts to a script.
    ///
    /// | code | integrity | completeness |
    /// |---|---|---|
    /// | 0 | valid | nothing known to be missing |
    /// | 10 | valid | gaps |
    /// | 40 | invalid | not assessed |
    pub fn exit_code(&self) -> u8 {
        match (&self.integrity, &self.completeness) {
            (Integrity::Invalid { .. }, _) => 40,
            (Integrity::Valid { .. }, Completeness::Complete) => 0,
            (Integrity::Valid { .. }, Completeness::Gaps(_) | Completeness::NotAssessed) => 10,
        }
    }
}

/// Several lines, the last without its newline.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "integrity:    {}", self.integrity)?;
        writeln!(f, "completeness: {}", self.completeness)?;
        if let Completeness::Gaps(missing) = &self.completeness {
            for missing in missing {
                writeln!(f, "  - {missing}")?;
            }
        }
        let plural = if self.segments == 1 { "" } else { "s" };
        writeln!(f, "records, in {} file{plural}:", self.segments)?;
        for (kind, count) in &self.records {
            writeln!(f, "  {count:>10}  {}", kind.as_str())?;
        }
        if self.in_use {
            writeln!(f, "note: the log is in use; calls in progress have no result yet")?;
        }
        write!(f, "note: the chain is not keyed; that its newest records were removed would not show here")
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid { records } => write!(f, "VALID, {records} records"),
            Self::Invalid { file, line, last_valid_seq, reason } => {
                write!(f, "INVALID at {file}, line {line}, after record {last_valid_seq}: {reason}")
            }
        }
    }
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("COMPLETE, as far as the log itself can tell"),
            Self::Gaps(missing) => write!(f, "GAPS, {} known", missing.len()),
            Self::NotAssessed => f.write_str("NOT ASSESSED"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { file, bytes, after_seq } => {
                // The name comes from the log; a person's terminal must not obey what stands in it.
                let file = file.escape_debug();
                write!(f, "torn record after record {after_seq}: {bytes} bytes in {file}")
            }
            Self::Results { boot, count, first_seq } => {
                write!(f, "run {boot}: {count} calls without a result, the first is record {first_seq}")
            }
            Self::Intents { boot, count } => write!(f, "run {boot}: {count} results without an intent"),
            Self::Closes { boot, count, first_seq } => {
                write!(f, "run {boot}: {count} connections without an end, the first is record {first_seq}")
            }
            Self::Dials { boot, count } => {
                write!(f, "run {boot}: {count} ends of connections that no record opens")
            }
            Self::Close { boot } => write!(f, "run {boot}: no log.close, it did not end in order"),
        }
    }
}
