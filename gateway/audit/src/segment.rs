//! Names of the segment files, and the list of those in a directory.
//!
//! `audit-<boot>-<index>.jsonl`, both numbers eight digits wide, so that names sort as the records do. The
//! boot is a counter, not a time: a clock that was set back cannot reorder the log.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One segment file: the `index`-th file (from 1) of the `boot`-th run (from 1) over this directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) boot: u32,
    pub(crate) index: u32,
}

impl Segment {
    /// The first file of a run.
    pub(crate) fn first(boot: u32) -> Self {
        Self { boot, index: 1 }
    }

    /// The file that follows in the same run.
    pub(crate) fn next(self) -> Self {
        Self { index: self.index + 1, ..self }
    }

    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }

    fn parse(name: &str) -> Option<Self> {
        let (boot, index) = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.split_once('-')?;
        let segment = Self { boot: boot.parse().ok()?, index: index.parse().ok()? };
        // One spelling only: `audit-1-+1.jsonl` parses, but is no file of ours.
        (segment.to_string() == name).then_some(segment)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit-{:08}-{:08}.jsonl", self.boot, self.index)
    }
}

/// Returns the segment files of `dir`, oldest first. Other files are ignored.
///
/// # Errors
/// Returns the error of reading the directory.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        segments.extend(entry?.file_name().to_str().and_then(Segment::parse));
    }
    segments.sort_unstable();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_records_do_and_are_read_back() {
        let ordered = [(1, 1), (1, 2), (1, 10), (2, 1), (10, 1)].map(|(boot, index)| Segment { boot, index });
        let names = ordered.map(|segment| segment.to_string());
        assert!(names.is_sorted());
        assert_eq!(names.map(|name| Segment::parse(&name).unwrap()), ordered);
    }

    #[test]
    fn a_name_of_another_form_is_no_segment() {
        for name in ["audit-1-1.jsonl", "audit-00000001-00000001.jsonl.torn", "audit-+0000001-00000001.jsonl"]
        {
            assert_eq!(Segment::parse(name), None, "{name}");
        }
    }
}
