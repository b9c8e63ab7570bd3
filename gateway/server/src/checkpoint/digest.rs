//! One SHA-256 for a whole model.
//!
//! It is that of a text: the line `portcullis model 1`, then for each file, sorted by the bytes of its name, a line with
//! its SHA-256, its length in bytes and its name, a space between them. Ordinary tools compute the same:
//!
//! ```sh
//! { echo 'portcullis model 1'
//!   for file in $(ls config.json tokenizer.json model.safetensors | LC_ALL=C sort); do
//!       echo "$(sha256sum "$file" | cut -d' ' -f1) $(wc -c < "$file") $file"
//!   done; } | sha256sum
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use policy::Digest;
use sha2::{Digest as _, Sha256};

use super::{CheckpointError, ModelFiles};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// One file of a model, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the model's folder, with `/`.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// The SHA-256 of its bytes.
    pub(crate) sha256: Digest,
}

/// Returns the digest of a model that consists of these files. Their order does not matter.
pub(crate) fn digest(entries: &[Entry]) -> Digest {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::from("portcullis model 1\n");
    for Entry { name, size, sha256 } in sorted {
        writeln!(text, "{sha256} {size} {name}").expect("a string takes all text");
    }
    Digest::new(Sha256::digest(text).into())
}

/// Hashes the files, several at a time, and tells `on_bytes` how far it is. The entries come in the order of the files.
///
/// # Errors
/// Returns [`CheckpointError`] if a file cannot be read.
pub(crate) fn hash(
    files: &ModelFiles,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Entry>, CheckpointError> {
    let names: Vec<&str> = files.iter().map(|(name, _)| name).collect();
    // Largest first, so that the last thread to finish has a small file.
    let mut order: Vec<usize> = (0..names.len()).collect();
    let sizes: Vec<u64> = files.iter().map(|(_, bytes)| bytes).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sizes[index]));
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(names.len());
    let work = || {
        let mut done = Vec::new();
        while let Some(&index) = order.get(next.fetch_add(1, Relaxed)) {
            done.push((index, hash_one(files, names[index], on_bytes)));
        }
        done
    };
    let mut done: Vec<(usize, Result<Entry, CheckpointError>)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("hashing does not panic")).collect()
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, entry)| entry).collect()
}

fn hash_one(files: &ModelFiles, name: &str, on_bytes: &dyn Fn(u64)) -> Result<Entry, CheckpointError> {
    let path = files.path(name);
    let (size, sha256) =
        hash_file(&path, on_bytes).map_err(|source| CheckpointError::Read { path, source })?;
    Ok(Entry { name: name.to_owned(), size, sha256 })
}

/// The number of bytes that were hashed, which is the length that counts, and their SHA-256.
fn hash_file(path: &Path, on_bytes: &dyn Fn(u64)) -> std::io::Result<(u64, Digest)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, Digest::new(hash.finalize().into())));
        }
        hash.update(&buffer[..count]);
        size += count as u64;
        on_bytes(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn entry(name: &str, size: u64, digit: &str) -> Entry {
        Entry { name: name.to_owned(), size, sha256: Digest::from_hex(&digit.repeat(64)).unwrap() }
    }

    /// `printf 'portcullis model 1\n%064d 1 a\n%064d 2 b\n' 0 0 | sha256sum`
    #[test]
    fn the_digest_is_the_one_that_ordinary_tools_compute() {
        let entries = [entry("b", 2, "0"), entry("a", 1, "0")];
        let expected = "94342fc269fb50d300e0b2b94400433004b0f56ed19bf967721206851407419a";
        assert_eq!(digest(&entries).to_string(), expected);
    }

    #[test]
    fn every_name_length_and_hash_counts_and_the_order_does_not() {
        let first = digest(&[entry("a", 1, "0"), entry("b", 2, "1")]);
        assert_eq!(digest(&[entry("b", 2, "1"), entry("a", 1, "0")]), first);
        for other in [
            vec![entry("a", 1, "0")],
            vec![entry("a", 1, "0"), entry("c", 2, "1")],
            vec![entry("a", 1, "0"), entry("b", 3, "1")],
            vec![entry("a", 1, "0"), entry("b", 2, "2")],
            vec![entry("a", 1, "0"), entry("b", 2, "1"), entry("c", 0, "0")],
        ] {
            assert_ne!(digest(&other), first, "{other:?}");
        }
    }

    #[test]
    fn files_are_hashed_in_their_order_and_every_byte_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("config.json", 2), ("model.safetensors", (3 << 20) + 1), ("tokenizer.json", 0)];
        for (name, len) in files {
            std::fs::write(folder.path().join(name), vec![b'x'; len]).unwrap();
        }
        let listed = ModelFiles::at(folder.path()).unwrap();
        let told = AtomicU64::new(0);
        let entries = hash(&listed, &|bytes| {
            told.fetch_add(bytes, Relaxed);
        })
        .unwrap();
        assert_eq!(told.into_inner(), listed.bytes());
        let hashed: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.size as usize)).collect();
        assert_eq!(hashed, files);
        for (entry, (_, len)) in entries.iter().zip(files) {
            assert_eq!(entry.sha256, Digest::new(Sha256::digest(vec![b'x'; len]).into()));
        }
    }
}
