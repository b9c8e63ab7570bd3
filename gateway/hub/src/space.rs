//! Room on the disk.

use std::io;
use std::path::Path;

/// Returns the bytes that this user may still write to the file system that holds `folder`.
///
/// # Errors
/// Returns what the operating system said.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}
