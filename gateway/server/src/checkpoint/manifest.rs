//! `portcullis-model.json`: what was pulled, from where, and what its files hash to.
//!
//! It lies beside the files. Whoever can change them can change it, so it proves nothing: what a model is pinned by is
//! the digest in `routes.yaml`. It names what differs, and it is written last, so a folder that has one was complete.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use policy::Digest;
use serde::{Deserialize, Serialize};

use super::{CheckpointError, Entry, digest};

/// The name of the manifest in a model's folder; that of a single file has the file's name before it.
const NAME: &str = "portcullis-model.json";
/// The version of the form that is written and read.
const VERSION: u32 = 1;

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Where it came from.
    pub(crate) origin: Origin,
    /// Sorted by name.
    pub(crate) entries: Vec<Entry>,
}

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The hub's address.
    pub(crate) endpoint: String,
    /// `ORG/NAME`.
    pub(crate) repository: String,
    /// As it was asked for.
    pub(crate) revision: String,
    /// What the revision meant then.
    pub(crate) commit: String,
}

/// How files differ from a manifest; names, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// There, with other bytes.
    pub(crate) changed: Vec<String>,
    /// In the manifest alone.
    pub(crate) missing: Vec<String>,
    /// Not in the manifest.
    pub(crate) extra: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    #[serde(flatten)]
    origin: Origin,
    /// As it stands in `routes.yaml`.
    digest: String,
    files: Vec<WrittenFile>,
}

#[derive(Serialize, Deserialize)]
struct WrittenFile {
    name: String,
    size: u64,
    sha256: String,
}

/// Where the manifest of the model at `path` is.
pub(super) fn place(path: &Path, is_file: bool) -> PathBuf {
    if is_file {
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(NAME);
        name.into()
    } else {
        path.join(NAME)
    }
}

impl Manifest {
    /// Reads the manifest at `path`; none if there is none.
    ///
    /// # Errors
    /// Returns [`CheckpointError`] if it cannot be read, is of another version, or does not fit its own digest.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::Read { path: path.to_owned(), source }),
        };
        let damaged = |detail: String| CheckpointError::Manifest { path: path.to_owned(), detail };
        let written: Written = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if written.version != VERSION {
            return Err(damaged(format!("version {} is not known here, {VERSION} is", written.version)));
        }
        let entries = written.files.into_iter().map(|file| {
            let sha256 = Digest::from_hex(&file.sha256)?;
            Some(Entry { name: file.name, size: file.size, sha256 })
        });
        let entries: Vec<Entry> =
            entries.collect::<Option<_>>().ok_or_else(|| damaged("a sha256 is none".to_owned()))?;
        if written.digest != format!("sha256:{}", digest(&entries)) {
            return Err(damaged("its digest is not that of its files".to_owned()));
        }
        Ok(Some(Self { origin: written.origin, entries }))
    }

    /// Writes the manifest of the model at `path`: whole or not at all.
    ///
    /// # Errors
    /// Returns [`CheckpointError`] if it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let files = self.entries.iter().map(|entry| WrittenFile {
            name: entry.name.clone(),
            size: entry.size,
            sha256: entry.sha256.to_string(),
        });
        let written = Written {
            version: VERSION,
            origin: self.origin.clone(),
            digest: format!("sha256:{}", self.digest()),
            files: files.collect(),
        };
        let mut text = serde_json::to_string_pretty(&written).expect("a manifest is plain text");
        text.push('\n');
        let draft = path.with_extension("json.new");
        let write = || {
            fs::write(&draft, &text)?;
            fs::File::open(&draft)?.sync_all()?;
            fs::rename(&draft, path)
        };
        write().map_err(|source| CheckpointError::Write { path: path.to_owned(), source })
    }

    /// Returns the digest of the model that was pulled.
    pub(crate) fn digest(&self) -> Digest {
        digest(&self.entries)
    }

    /// Compares files with those that were pulled.
    pub(crate) fn difference(&self, found: &[Entry]) -> Difference {
        let by_name = |entries: &[Entry]| -> BTreeMap<String, (u64, Digest)> {
            entries.iter().map(|entry| (entry.name.clone(), (entry.size, entry.sha256))).collect()
        };
        let (expected, found) = (by_name(&self.entries), by_name(found));
        let mut difference = Difference::default();
        for (name, what) in &expected {
            match found.get(name) {
                None => difference.missing.push(name.clone()),
                Some(other) if other != what => difference.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        difference.extra = found.into_keys().filter(|name| !expected.contains_key(name)).collect();
        difference
    }
}

impl Difference {
    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the names by what is the matter with them.
    pub(crate) fn named(&self) -> [(&'static str, &[String]); 3] {
        [("changed", &self.changed), ("missing", &self.missing), ("extra", &self.extra)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, digit: &str) -> Entry {
        Entry { name: name.to_owned(), size: 1, sha256: Digest::from_hex(&digit.repeat(64)).unwrap() }
    }

    fn manifest() -> Manifest {
        let text = |text: &str| text.to_owned();
        let origin = Origin {
            endpoint: text("https://hub.example"),
            repository: text("org/tiny"),
            revision: text("main"),
            commit: "0".repeat(40),
        };
        Manifest { origin, entries: vec![entry("a", "1"), entry("b", "2"), entry("c", "3")] }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = place(folder.path(), false);
        assert_eq!(Manifest::read(&path).unwrap(), None);
        manifest().write(&path).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), Some(manifest()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_manifest_that_was_edited_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = place(&folder.path().join("m.gguf"), true);
        assert!(path.ends_with("m.gguf.portcullis-model.json"));
        manifest().write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let edits = [
            text.replacen("\"size\": 1", "\"size\": 2", 1),
            text.replacen("\"version\": 1", "\"version\": 2", 1),
            text.replacen("1111", "111x", 1),
            text[..text.len() / 2].to_owned(),
        ];
        for edited in edits {
            fs::write(&path, &edited).unwrap();
            assert!(matches!(Manifest::read(&path), Err(CheckpointError::Manifest { .. })), "{edited}");
        }
    }

    #[test]
    fn a_difference_is_named() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let found = [entry("a", "1"), entry("b", "4"), entry("d", "5")];
        let expected = Difference { changed: names(&["b"]), missing: names(&["c"]), extra: names(&["d"]) };
        assert_eq!(manifest().difference(&found), expected);
        assert!(manifest().difference(&manifest().entries).is_none());
    }
}
