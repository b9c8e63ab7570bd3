//! The files of a local model: which they are, what they hash to, and whether they are the ones that were meant.
//!
//! `models pull`, `models verify` and the start of a serving process ask here, so that all three mean the same by "the
//! digest of a model":
//!
//! ```text
//! path --files--> names and sizes      `files`: what decides the answers, and nothing else
//! names --hash--> entries              `digest`: the SHA-256 of each, in parallel
//! entries --digest--> Digest           one SHA-256 over the sorted list of them
//! entries <--> portcullis-model.json   `manifest`: what was pulled, to name what differs
//! ```
//!
//! Deliberately absent: what is in the files. That is for the engine.

mod digest;
mod files;
mod manifest;

use std::path::{Path, PathBuf};
use std::time::Instant;

use policy::Digest;

pub(crate) use digest::{Entry, digest, hash};
pub(crate) use files::{ModelFiles, decides};
pub(crate) use manifest::{Difference, Manifest, Origin};

/// Why the files of a model are not known, or not the right ones.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// Nothing is there.
    #[error("there is nothing at {}", path.display())]
    Absent { path: PathBuf },
    /// There is something, and no model.
    #[error("{} holds no file of a model, such as config.json or *.safetensors", path.display())]
    Empty { path: PathBuf },
    /// A file or folder is unreadable.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// A manifest cannot be written.
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    /// A manifest is there, and is none.
    #[error("{} is damaged: {detail}; `portcullis models pull` writes it anew", path.display())]
    Manifest { path: PathBuf, detail: String },
    /// The files are not those that the policy names.
    #[error(
        "the files at {} are not the ones that the policy names\n  routes.yaml: sha256:{expected}\n  on disk:     \
         sha256:{found}\n  next: `portcullis models verify` names what differs, `portcullis models pull` loads the \
         model again;\n        if the change is meant, write the new digest into routes.yaml", path.display()
    )]
    Differs { path: PathBuf, expected: Digest, found: Digest },
}

/// Checks that the model at `path` is the one with the digest `expected`.
///
/// Reads every byte: about a second for each GiB and core.
///
/// # Errors
/// Returns [`CheckpointError`] if it is another one, or cannot be read.
pub(crate) fn check(path: &Path, expected: &Digest) -> Result<(), CheckpointError> {
    let started = Instant::now();
    let files = ModelFiles::at(path)?;
    tracing::info!(path = %path.display(), bytes = files.bytes(), "checking the digest");
    let found = digest(&hash(&files, &|_| ())?);
    if found != *expected {
        return Err(CheckpointError::Differs { path: path.to_owned(), expected: *expected, found });
    }
    let seconds = started.elapsed().as_secs_f32();
    tracing::info!(path = %path.display(), digest = %found, seconds, "the digest is right");
    Ok(())
}
