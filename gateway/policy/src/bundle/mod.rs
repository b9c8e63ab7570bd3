//! Signed policies: whether the files of a policy are those that its owners signed.
//!
//! A signature file is a C2SP signed note over a [`Manifest`]: paths, hashes and sizes of the files, a revision
//! that grows, and a time in which they hold. [`verify`] answers with everything that can be wrong named apart.
//! What the caller holds is given to it: the pinned keys, the time, and the highest revision that was in force.
//!
//! The order of the checks is part of the design. Nothing of a manifest is looked at before its signatures are
//! known to be good, so whoever cannot sign learns one thing only: that they cannot.
//!
//! Deliberately absent: keys that come with the policy, other algorithms, chains of certificates, and anything that
//! has to be asked for over a network.

mod key;
mod manifest;
mod note;
mod refusal;
mod trust;

use std::collections::BTreeMap;

pub use key::{KeyError, SigningKey, VerifierKey};
pub use manifest::{Manifest, ManifestError, SignedFile, Window};
pub use note::NOTE_BYTES_MAX;
pub use refusal::Refusal;
pub use trust::{Trust, TrustError};

use crate::digest::Digest;
use crate::moment::Moment;
use note::{Note, NoteError};

/// A policy that was in force: its number, and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The number.
    pub revision: u64,
    /// The hash of what was signed, without the signatures.
    pub manifest_sha256: Digest,
}

/// What a policy is checked against besides its own signature.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Whose signatures count.
    pub trust: &'a Trust,
    /// The time.
    pub now: Moment,
    /// The policy with the highest revision that was in force.
    pub highest: Option<Accepted>,
}

/// A policy whose signatures, time, revision and files are all right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What was signed.
    pub manifest: Manifest,
    /// The pinned keys that signed it, as name and id.
    pub signers: Vec<String>,
    /// What to remember once the policy is in force.
    pub accepted: Accepted,
}

/// A manifest and its signatures, on the way to a signature file.
#[derive(Debug, Clone)]
pub struct Draft {
    manifest: Manifest,
    note: Note,
}

impl Draft {
    /// Begins with a manifest that nobody has signed.
    pub fn new(manifest: Manifest) -> Self {
        let note = Note { text: manifest.to_string(), signatures: Vec::new() };
        Self { manifest, note }
    }

    /// Reads a signature file to sign it too. Its signatures are kept and not checked.
    ///
    /// # Errors
    /// Returns [`Refusal`] if the file is no signed policy.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let note = read(bytes)?;
        Ok(Self { manifest: Manifest::parse(&note.text)?, note })
    }

    /// Returns what is signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Adds a signature; a key that has signed before does so again.
    pub fn sign(&mut self, key: &SigningKey) {
        self.note.sign(key);
    }

    /// Returns how many signatures there are, checked or not.
    pub fn signature_count(&self) -> usize {
        self.note.signatures.len()
    }

    /// Returns the text of the signature file.
    pub fn text(&self) -> String {
        self.note.to_string()
    }
}

/// Checks that `files` are the policy that `signature` is about, and that it holds now.
///
/// `files` are pairs of a path relative to the signature's folder and the bytes that will be compiled: all that
/// make up the policy, and no others. `signature` is `None` where there is no signature file.
///
/// # Errors
/// Returns the first [`Refusal`] in this order: form of the note, signatures, schema and form of the manifest, time,
/// revision, files.
pub fn verify<'f>(
    signature: Option<&[u8]>,
    files: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    situation: &Situation<'_>,
) -> Result<Verified, Refusal> {
    let note = read(signature.ok_or(Refusal::Unsigned)?)?;
    let signers = situation.trust.signers(&note)?;
    let manifest = Manifest::parse(&note.text)?;
    let Window { not_before, not_after } = manifest.window();
    if situation.now < not_before {
        return Err(Refusal::NotYetValid(not_before));
    }
    if situation.now >= not_after {
        return Err(Refusal::Expired(not_after));
    }
    let accepted =
        Accepted { revision: manifest.revision(), manifest_sha256: Digest::of(note.text.as_bytes()) };
    if let Some(highest) = situation.highest {
        follows(accepted, highest)?;
    }
    compare(&manifest, files)?;
    Ok(Verified { manifest, signers, accepted })
}

fn read(bytes: &[u8]) -> Result<Note, Refusal> {
    Note::parse(bytes).map_err(|error| match error {
        NoteError::Unsigned => Refusal::Unsigned,
        NoteError::Malformed(why) => Refusal::Malformed(why),
    })
}

/// Checks that a policy is not older than the newest so far. The same one may come again, at each start.
fn follows(policy: Accepted, highest: Accepted) -> Result<(), Refusal> {
    let Accepted { revision, .. } = policy;
    if revision < highest.revision {
        return Err(Refusal::RolledBack { revision, highest: highest.revision });
    }
    // Two policies with one number: which of them is newer, nobody could say.
    if revision == highest.revision && policy != highest {
        return Err(Refusal::Reused(revision));
    }
    Ok(())
}

fn compare<'f>(
    manifest: &Manifest,
    files: impl IntoIterator<Item = (&'f str, &'f [u8])>,
) -> Result<(), Refusal> {
    let mut signed: BTreeMap<&str, &SignedFile> =
        manifest.files().iter().map(|file| (file.path.as_str(), file)).collect();
    for (path, bytes) in files {
        let file = signed.remove(path).ok_or_else(|| Refusal::FileExtra(path.to_owned()))?;
        if *file != SignedFile::of(path, bytes) {
            return Err(Refusal::FileChanged(path.to_owned()));
        }
    }
    match signed.first_key_value() {
        Some((path, _)) => Err(Refusal::FileMissing((*path).to_owned())),
        None => Ok(()),
    }
}
