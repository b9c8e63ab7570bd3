//! Reads a segment file record by record and checks each against the chain.
//!
//! Recovery and the verifier both read through here, so what opens is what verifies.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::chain::{self, Hash};
use crate::fault::Fault;
use crate::line::{Entry, LINE_BYTES_MAX};
use crate::segment::Segment;

/// The end of the chain so far: what the next record must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of the last record; 0 before the first.
    pub(crate) seq: u64,
    /// Hash of the last record.
    pub(crate) leaf: Hash,
}

impl Head {
    /// The head of a directory without records.
    pub(crate) const EMPTY: Self = Self { seq: 0, leaf: Hash::ZERO };
}

/// Where a reader stands in the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Position {
    /// After a record that was read, or before the first one of the directory.
    After(Head),
    /// Somewhere inside: the first line is taken at its word about its predecessor.
    Unknown,
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Step {
    /// A record that continues the chain.
    Record(Entry),
    /// A last line without its newline.
    Torn {
        /// Where the incomplete line starts in the file.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
    /// The end of the file, after a whole line.
    End,
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The line that was read is not the next record.
    Fault(Fault),
    /// The file could not be read.
    Io(io::Error),
}

impl From<Fault> for ScanError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A reader of one segment file.
pub(crate) struct Scanner {
    segment: Segment,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    /// Where the next line starts in the file.
    offset: u64,
    /// Number of the line read last, from 1.
    line: u64,
    position: Position,
}

impl Scanner {
    pub(crate) fn open(dir: &Path, segment: Segment, position: Position) -> io::Result<Self> {
        let reader = BufReader::new(File::open(segment.path(dir))?);
        Ok(Self { segment, reader, buffer: Vec::new(), offset: 0, line: 0, position })
    }

    /// Number of the line that [`Self::step`] read last, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The line that [`Self::step`] read last, without its newline.
    pub(crate) fn text(&self) -> &[u8] {
        self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer)
    }

    /// Where the chain stands after the records read so far.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Reads and checks the next line. After an error or the end there is nothing more to read.
    pub(crate) fn step(&mut self) -> Result<Step, ScanError> {
        self.buffer.clear();
        // A length limit, so that a file without newlines cannot fill the memory.
        let limit = LINE_BYTES_MAX as u64;
        let bytes = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer)?;
        if bytes == 0 {
            return Ok(Step::End);
        }
        self.line += 1;
        let Some(line) = self.buffer.strip_suffix(b"\n") else {
            return if bytes < LINE_BYTES_MAX {
                Ok(Step::Torn { offset: self.offset, bytes: bytes as u64 })
            } else {
                Err(Fault::TooLong { max_bytes: LINE_BYTES_MAX }.into())
            };
        };
        let (entry, head) = check(line, self.position)?;
        if entry.boot != self.segment.boot {
            return Err(Fault::Boot(entry.boot).into());
        }
        self.offset += bytes as u64;
        self.position = Position::After(head);
        Ok(Step::Record(entry))
    }
}

fn check(line: &[u8], position: Position) -> Result<(Entry, Head), Fault> {
    let link = chain::check(line)?;
    if let Position::After(head) = position
        && link.prev != head.leaf
    {
        return Err(Fault::Unchained);
    }
    let entry = Entry::parse(line)?;
    if let Position::After(head) = position
        && entry.seq != head.seq + 1
    {
        return Err(Fault::Sequence { expected: head.seq + 1, found: entry.seq });
    }
    let head = Head { seq: entry.seq, leaf: link.leaf };
    Ok((entry, head))
}
