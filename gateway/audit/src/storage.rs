//! Where the bytes of a log live: a directory, or a test's faulty stand-in.
//!
//! Three operations are all that the writer needs, which keeps every failure of a disk within reach of a
//! test. Files are readable by their owner alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::segment::Segment;

const LOCK_FILE: &str = "lock";
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// An append-only sequence of segment files.
pub(crate) trait Storage: Send + 'static {
    /// Begins a new, empty segment, whose name is durable when this returns; later bytes go to it.
    fn create(&mut self, segment: Segment) -> io::Result<()>;
    /// Writes all of `bytes` after those already there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything appended survives a crash of the machine.
    fn sync(&mut self) -> io::Result<()>;
}

/// The directory of a log, locked against other writers for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    segment: Option<File>,
    /// The operating system frees the lock when the process ends, even by a crash.
    lock: File,
}

impl Directory {
    /// Creates the directory if need be and takes its lock.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if another process holds the lock, and the error of any other operation.
    pub(crate) fn lock(path: &Path) -> Result<Self, TryLockError> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(path).map_err(TryLockError::Error)?;
        let lock = owned_file().truncate(false).open(path.join(LOCK_FILE)).map_err(TryLockError::Error)?;
        lock.try_lock()?;
        Ok(Self { path: path.to_owned(), segment: None, lock })
    }
}

impl Storage for Directory {
    fn create(&mut self, segment: Segment) -> io::Result<()> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(segment.path(&self.path))?;
        sync_dir(&self.path)?;
        self.segment = Some(file);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current()?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.current()?.sync_data()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread is just starting may hold a copy
        // of the descriptor for a moment. If this fails, closing still frees the lock a little later.
        let _ = self.lock.unlock();
    }
}

impl Directory {
    fn current(&mut self) -> io::Result<&mut File> {
        self.segment.as_mut().ok_or_else(|| io::Error::other("no segment was created"))
    }
}

fn owned_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(FILE_MODE);
    options
}

/// Makes names that were created or changed in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Whether a process is writing the log of `dir` now.
///
/// The lock is held for a moment to find out; where it cannot be tried, nobody is taken to write.
pub(crate) fn is_in_use(dir: &Path) -> bool {
    let Ok(lock) = File::open(dir.join(LOCK_FILE)) else { return false };
    let in_use = matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock));
    // Freed by hand for the same reason as in `Directory::drop`; without the lock this does nothing.
    let _ = lock.unlock();
    in_use
}

/// Moves the end of a file, from `offset` on, into `aside`. At no moment are the bytes in neither file.
pub(crate) fn move_tail(path: &Path, offset: u64, aside: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut copy = owned_file().truncate(true).open(aside)?;
    file.seek(SeekFrom::Start(offset))?;
    io::copy(&mut file, &mut copy)?;
    copy.sync_all()?;
    if let Some(dir) = aside.parent() {
        sync_dir(dir)?;
    }
    file.set_len(offset)?;
    file.sync_all()
}
