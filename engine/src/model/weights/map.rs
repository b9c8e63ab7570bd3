//! Files mapped into memory, and how their pages are given back.
//!
//! A page of a map counts as memory of the process once it was read. So whoever has copied a part of a file out
//! of its map releases that part, and a model is never in memory twice while it is loaded. Released pages stay in
//! the system's page cache for as long as nobody needs the room.

#![expect(unsafe_code, reason = "mapping a file into memory has no safe form")]

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};

use crate::model::ModelError;

/// Bytes below which giving pages back costs more than it saves.
const RELEASE_MIN_BYTES: usize = 64 << 10;

/// One file, read-only.
#[derive(Debug)]
pub(crate) struct Map {
    path: PathBuf,
    map: Mmap,
}

impl Map {
    /// Maps a file.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let read = |source| ModelError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the map is only read. A checkpoint that somebody else truncates while it is loaded kills the
        // process (SIGBUS); model folders are read-only to the service for that reason.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        Ok(Self { path: path.to_owned(), map })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Reads a range that is wanted at once: in one call instead of a fault for every few pages.
    pub(crate) fn prepare(&self, range: &Range<usize>) {
        #[cfg(target_os = "linux")]
        if range.len() >= RELEASE_MIN_BYTES {
            // Advice only: a kernel that does not know it reads the pages as they are touched.
            let _ = self.map.advise_range(memmap2::Advice::PopulateRead, range.start, range.len());
        }
    }

    /// Gives back the pages that lie wholly inside `range`. They can still be read, from the file.
    pub(crate) fn release(&self, range: Range<usize>) {
        if range.len() < RELEASE_MIN_BYTES {
            return;
        }
        // SAFETY: the map is private to this process, backed by a file and never written, so a page that was
        // dropped comes back from the file with the same content.
        let outcome =
            unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        // Advice only: a system that does not take it has the file's pages reclaimed a little later.
        if let Err(error) = outcome {
            tracing::debug!(%error, "pages of a weights file were not given back");
        }
    }
}
