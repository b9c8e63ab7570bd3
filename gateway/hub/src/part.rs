//! A file on its way: `NAME.part` with what has come, `NAME.part.json` with what it is a part of.
//!
//! A part is continued only if it belongs to the very bytes that are wanted now. So the note is written before the first
//! byte, and what has no fitting note is thrown away: a file that changed at the hub is never glued to its past.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checksum::Hasher;
use crate::snapshot::RemoteFile;

/// Bytes read at a time while a file is hashed.
const READ_BYTES: usize = 1 << 20;

/// The beginning of a file.
pub(crate) struct Part {
    data: PathBuf,
    note: PathBuf,
    target: PathBuf,
    file: Option<File>,
    len: u64,
    what: Note,
    /// Whether something was there that could not be continued.
    is_anew: bool,
}

/// What a part is a part of.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    checksum: String,
    size: u64,
    /// The version as the sender names it, to ask for the rest of the same one.
    etag: Option<String>,
}

impl Part {
    /// Finds what is there of a file that will lie at `target`.
    pub(crate) fn open(target: &Path, remote: &RemoteFile) -> io::Result<Self> {
        let (data, note) = (with_ending(target, ".part"), with_ending(target, ".part.json"));
        let what = Note { checksum: remote.checksum.to_string(), size: remote.size, etag: None };
        let mut part =
            Self { data, note, target: target.to_owned(), file: None, len: 0, what, is_anew: false };
        if let Some(found) = part.fitting()? {
            part.what = found;
            let file = OpenOptions::new().append(true).open(&part.data)?;
            (part.len, part.file) = (file.metadata()?.len(), Some(file));
        } else {
            part.is_anew = part.data.symlink_metadata().is_ok();
            part.discard()?;
        }
        Ok(part)
    }

    /// The note of the part on the disk, if it belongs to the wanted bytes.
    fn fitting(&self) -> io::Result<Option<Note>> {
        let Some(text) = absent_is_none(fs::read(&self.note))? else { return Ok(None) };
        let Some(metadata) = absent_is_none(fs::metadata(&self.data))? else { return Ok(None) };
        let Ok(found) = serde_json::from_slice::<Note>(&text) else { return Ok(None) };
        let is_same = (&found.checksum, found.size) == (&self.what.checksum, self.what.size);
        Ok((is_same && metadata.len() <= found.size).then_some(found))
    }

    /// Whether a part of other bytes was there, and has been removed.
    pub(crate) fn is_anew(&self) -> bool {
        self.is_anew
    }

    /// How many bytes have come.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The version that they belong to.
    pub(crate) fn etag(&self) -> Option<&str> {
        self.what.etag.as_deref()
    }

    /// Where they lie.
    pub(crate) fn path(&self) -> &Path {
        &self.data
    }

    /// Shows `hasher` what has come so far.
    pub(crate) fn hash(&self, hasher: &mut Hasher) -> io::Result<()> {
        if self.len == 0 { Ok(()) } else { hash_file(&self.data, hasher) }
    }

    /// Begins at the first byte, of the version `etag`.
    pub(crate) fn restart(&mut self, etag: Option<String>) -> io::Result<()> {
        self.file = None;
        self.len = 0;
        // Empty before the note speaks of another version: after a crash between the two, nothing is glued.
        let file = File::create(&self.data)?;
        self.what.etag = etag;
        let text = serde_json::to_vec(&self.what).expect("a note is plain text");
        fs::write(&self.note, text)?;
        self.file = Some(file);
        Ok(())
    }

    /// Adds what came next.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().expect("a part is restarted before it grows");
        file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Gives the whole file its name. It is on the disk before it has it.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.file.take() {
            Some(file) => file.sync_all()?,
            // Nothing was asked for, so the file is one without bytes.
            None => File::create(&self.data)?.sync_all()?,
        }
        fs::rename(&self.data, &self.target)?;
        absent_is_none(fs::remove_file(&self.note))?;
        match self.target.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Removes what has come.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        self.file = None;
        self.len = 0;
        // The data first: without its note it would be thrown away anyway.
        absent_is_none(fs::remove_file(&self.data))?;
        absent_is_none(fs::remove_file(&self.note))?;
        Ok(())
    }
}

/// Shows `hasher` a whole file.
pub(crate) fn hash_file(path: &Path, hasher: &mut Hasher) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// How many bytes of `target` lie there already, as a whole file or as a part.
pub(crate) fn bytes_there(target: &Path) -> u64 {
    let len = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    len(target).max(len(&with_ending(target, ".part")))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
