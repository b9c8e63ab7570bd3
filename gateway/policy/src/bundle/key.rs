//! The keys that sign a policy, and those that verify it, in the text form of C2SP signed notes.
//!
//! A verifier key is `<name>+<id>+<base64>`, where the base64 holds one byte for the algorithm and the 32 bytes of
//! an Ed25519 public key, and the id is the start of a hash over name, algorithm and key. A private key is
//! `PRIVATE+KEY+<name>+<id>+<base64>`, with the seed in the key's place, as Go's `note` package writes it. Other
//! algorithms are deliberately absent: one is enough, and a choice is something that an attacker can make.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::digest::{Digest, hex};

/// The byte that stands for Ed25519.
const ED25519_TYPE: u8 = 1;

/// What a private key begins with, so that scanners for secrets find it.
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// Longest name of a key, in bytes: that of a host name.
const NAME_BYTES_MAX: usize = 253;

/// Why a text is not a key. The text itself is never repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty, too long, or holds a space, a plus or a control character.
    #[error(
        "the name of a key has 1 to {NAME_BYTES_MAX} bytes and neither spaces nor `+`, such as corp.example/security"
    )]
    Name,
    /// The text does not have the parts of a key.
    #[error("this is not a key of the form {0}")]
    Form(&'static str),
    /// The id does not belong to the key, so one of them was mistyped or cut.
    #[error("the key is damaged: its id belongs to another name or key")]
    Id,
    /// The key is of a kind other than Ed25519.
    #[error("the key is not an Ed25519 key")]
    Algorithm,
}

/// The short form of a key's name and contents. An identifier, no protection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SignerId(pub(crate) [u8; 4]);

impl SignerId {
    fn of(name: &str, public: &[u8; 32]) -> Self {
        let hashed = [name.as_bytes(), b"\n", &[ED25519_TYPE], public].concat();
        let [a, b, c, d, ..] = *Digest::of(&hashed).as_bytes();
        Self([a, b, c, d])
    }
}

impl fmt::Display for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerId({self})")
    }
}

/// A key that can check signatures. Shown and read as `<name>+<id>+<base64>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: SignerId,
    public: [u8; 32],
}

impl VerifierKey {
    /// Reads a key's text form.
    ///
    /// # Errors
    /// Returns [`KeyError`] if the text is no Ed25519 verifier key, or was damaged.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = parts(text, "<name>+<id>+<base64>")?;
        let key = Self { name: name.to_owned(), id: SignerId::of(name, &public), public };
        if key.id.to_string() == id { Ok(key) } else { Err(KeyError::Id) }
    }

    /// Returns whose key it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns name and id, which together name the key.
    pub fn label(&self) -> String {
        format!("{}+{}", self.name, self.id)
    }

    pub(crate) fn id(&self) -> SignerId {
        self.id
    }

    /// Says whether both are the same key, whatever they are called.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self.public == other.public
    }

    pub(crate) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, self.id, encoded(&self.public))
    }
}

/// A key that signs.
pub struct SigningKey {
    verifier: VerifierKey,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a key from `entropy`, which must come from the operating system's generator.
    ///
    /// # Errors
    /// Returns [`KeyError::Name`] if the name cannot stand in a signature.
    ///
    /// # Panics
    /// Never: every 32 bytes are a seed.
    pub fn from_entropy(name: &str, entropy: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&entropy).expect("every 32 bytes are a seed");
        let public: [u8; 32] =
            pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        let verifier = VerifierKey { name: name.to_owned(), id: SignerId::of(name, &public), public };
        Ok(Self { verifier, seed: entropy, pair })
    }

    /// Reads a private key's text form.
    ///
    /// # Errors
    /// Returns [`KeyError`] if the text is no Ed25519 private key, or was damaged.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        const FORM: &str = "PRIVATE+KEY+<name>+<id>+<base64>";
        let rest = text.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::Form(FORM))?;
        let (name, id, seed) = parts(rest, FORM)?;
        let key = Self::from_entropy(name, seed)?;
        if key.verifier.id.to_string() == id { Ok(key) } else { Err(KeyError::Id) }
    }

    /// Returns the key itself, for the file that only its owner can read.
    pub fn expose(&self) -> String {
        let VerifierKey { name, id, .. } = &self.verifier;
        format!("{PRIVATE_PREFIX}{name}+{id}+{}", encoded(&self.seed))
    }

    /// Returns the key that checks this one's signatures.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        self.pair.sign(text.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key", &self.verifier.label()).finish_non_exhaustive()
    }
}

/// Says whether `text` can name a key: C2SP forbids spaces and plus signs, and a terminal the rest.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(allowed)
}

/// Takes `<name>+<id>+<base64>` apart. The base64 may hold plus signs itself.
fn parts<'t>(text: &'t str, form: &'static str) -> Result<(&'t str, &'t str, [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form(form));
    };
    if !is_name(name) {
        return Err(KeyError::Name);
    }
    let bytes = BASE64.decode(key).map_err(|_| KeyError::Form(form))?;
    let (kind, bytes) = bytes.split_first().ok_or(KeyError::Form(form))?;
    if *kind != ED25519_TYPE {
        return Err(KeyError::Algorithm);
    }
    Ok((name, id, bytes.try_into().map_err(|_| KeyError::Form(form))?))
}

fn encoded(key: &[u8; 32]) -> String {
    BASE64.encode([&[ED25519_TYPE], key.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys with which Go's `sumdb/note` is tested, and a note of its tests.
    const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_SIGNER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn keys_of_go_are_read_and_written_as_they_are() {
        let (verifier, signer) =
            (VerifierKey::parse(GO_VERIFIER).unwrap(), SigningKey::parse(GO_SIGNER).unwrap());
        assert_eq!(verifier.to_string(), GO_VERIFIER);
        assert_eq!(signer.expose(), GO_SIGNER);
        assert_eq!(signer.verifier(), &verifier);
        assert_eq!(verifier.label(), "PeterNeumann+c74f20a3");
        assert!(!format!("{signer:?}").contains("AYEK"));
    }

    #[test]
    fn a_key_that_was_cut_or_mistyped_is_none() {
        for (key, reads) in [
            (GO_VERIFIER, (|text| VerifierKey::parse(text).is_ok()) as fn(&str) -> bool),
            (GO_SIGNER, |text| SigningKey::parse(text).is_ok()),
        ] {
            assert!(reads(key));
            for start in 0..key.len() {
                for end in start..=key.len() {
                    assert!((start, end) == (0, key.len()) || !reads(&key[start..end]), "{start}..{end}");
                }
            }
            for index in 0..key.len() {
                for bit in 0..7 {
                    let mut bytes = key.as_bytes().to_vec();
                    bytes[index] ^= 1 << bit;
                    let text = String::from_utf8(bytes).unwrap();
                    assert!(!reads(&text), "{text}");
                }
            }
        }
        let longer = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
        assert!(VerifierKey::parse(longer).is_err());
        let unknown = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(VerifierKey::parse(unknown), Err(KeyError::Algorithm));
    }

    #[test]
    fn names_are_what_fits_into_a_signature_line() {
        for name in ["a", "corp.example/security", "équipe"] {
            assert!(SigningKey::from_entropy(name, [7; 32]).is_ok(), "{name}");
        }
        let long = "a".repeat(254);
        for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "a\u{7f}b", &long] {
            assert_eq!(SigningKey::from_entropy(name, [7; 32]).unwrap_err(), KeyError::Name, "{name:?}");
        }
    }
}
