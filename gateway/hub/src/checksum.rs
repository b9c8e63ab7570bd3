//! What the hub says that a file's bytes are, and the check that they are.
//!
//! A large file is named by its SHA-256. A small one lies in the repository itself, and git names it by the SHA-1 of
//! its length and its bytes. SHA-1 protects against accidents, not against a hub that lies; a hub that lies about the
//! name can as well lie about the file. What pins a model for good is the SHA-256 of every file, which is computed
//! here in any case and goes into the manifest and `routes.yaml`.

use std::fmt;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// What a file's bytes have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// The SHA-256 of the bytes.
    Sha256([u8; 32]),
    /// Git's name of the bytes: SHA-1 over `blob`, their number, and themselves.
    GitBlob([u8; 20]),
}

impl Checksum {
    /// Reads a checksum from its digits: 64 are a SHA-256, 40 are git's. Nothing for anything else.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        match text.len() {
            64 => bytes(text).map(Self::Sha256),
            40 => bytes(text).map(Self::GitBlob),
            _ => None,
        }
    }

    /// Whether `other` is a checksum of the same kind and of other bytes. Two kinds cannot be compared.
    pub(crate) fn is_another(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self != other
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes): (_, &[u8]) = match self {
            Self::Sha256(bytes) => ("sha256", bytes),
            Self::GitBlob(bytes) => ("git", bytes),
        };
        write!(out, "{kind}:")?;
        bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // Signs and capitals are digits for the parser, and no digits of a checksum.
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Both checksums of a file while its bytes go by.
pub(crate) struct Hasher {
    sha256: Sha256,
    git: Option<Sha1>,
}

impl Hasher {
    /// Begins a file of `size` bytes; git's checksum is only computed where it is what the hub goes by.
    pub(crate) fn new(expected: Checksum, size: u64) -> Self {
        let git = match expected {
            Checksum::Sha256(_) => None,
            Checksum::GitBlob(_) => Some(Sha1::new_with_prefix(format!("blob {size}\0"))),
        };
        Self { sha256: Sha256::new(), git }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(git) = &mut self.git {
            git.update(bytes);
        }
    }

    /// Returns the SHA-256, and the checksum of the kind that was expected.
    pub(crate) fn finish(self) -> ([u8; 32], Checksum) {
        let sha256 = self.sha256.finalize().into();
        let found = match self.git {
            Some(git) => Checksum::GitBlob(git.finalize().into()),
            None => Checksum::Sha256(sha256),
        };
        (sha256, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'hello\n' | git hash-object --stdin`, and `sha256sum` of the same.
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    #[test]
    fn a_file_has_gits_name_and_its_sha256() {
        for expected in [GIT, SHA256].map(|text| Checksum::from_hex(text).unwrap()) {
            let mut hasher = Hasher::new(expected, 6);
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            let (sha256, found) = hasher.finish();
            assert_eq!(found, expected);
            assert_eq!(Checksum::Sha256(sha256).to_string(), format!("sha256:{SHA256}"));
        }
    }

    #[test]
    fn only_digits_of_the_right_number_are_a_checksum() {
        assert!(Checksum::from_hex("").is_none());
        assert!(Checksum::from_hex(&GIT[1..]).is_none());
        assert!(Checksum::from_hex(&GIT.to_uppercase()).is_none());
        assert!(Checksum::from_hex(&format!("+{}", &GIT[1..])).is_none());
        assert!(Checksum::from_hex(&"é".repeat(20)).is_none());
    }
}
