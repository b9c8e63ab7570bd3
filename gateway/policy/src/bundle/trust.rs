//! Whose signatures count, and how many of them it takes.
//!
//! The keys are pinned by who runs the server, and not by what it loads: a policy that brought its own keys would
//! be signed by anybody.

use super::key::{KeyError, VerifierKey};
use super::note::Note;
use super::refusal::Refusal;

/// Why a list of keys cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A line is no key.
    #[error("line {line}: {source}")]
    Key {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A key stands in the list twice, so its owner would count as two.
    #[error("line {line}: the key of {name} stands in the list already")]
    Twice {
        /// The line, counted from 1.
        line: usize,
        /// What the key is called there.
        name: String,
    },
    /// There is no key at all.
    #[error("there is no key in the list")]
    Empty,
    /// More signatures are asked for than there are keys, or none.
    #[error("{threshold} signatures cannot be asked for where {keys} keys may sign")]
    Threshold {
        /// The number that was asked for.
        threshold: usize,
        /// The number of keys.
        keys: usize,
    },
}

/// Pinned keys, and how many of them must have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<VerifierKey>,
    threshold: usize,
}

impl Trust {
    /// Reads a file of verifier keys, one on each line. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// Returns [`TrustError`] if a line is no key or repeats one, or if `threshold` is not between one and the
    /// number of keys.
    pub fn parse(text: &str, threshold: usize) -> Result<Self, TrustError> {
        let mut keys: Vec<VerifierKey> = Vec::new();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let key = VerifierKey::parse(text).map_err(|source| TrustError::Key { line, source })?;
            if keys.iter().any(|known| known.is_same_key(&key)) {
                return Err(TrustError::Twice { line, name: key.name().to_owned() });
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(TrustError::Empty);
        }
        if !(1..=keys.len()).contains(&threshold) {
            return Err(TrustError::Threshold { threshold, keys: keys.len() });
        }
        Ok(Self { keys, threshold })
    }

    /// Finds the pinned keys that signed `note`, in the order of its lines.
    ///
    /// Signatures by other keys are looked past, as the specification demands; one that claims to be by a pinned
    /// key and is not spoils the note.
    pub(crate) fn signers(&self, note: &Note) -> Result<Vec<String>, Refusal> {
        let mut by: Vec<String> = Vec::new();
        for signature in &note.signatures {
            let Some(key) = self.keys.iter().find(|key| signature.is_by(key)) else { continue };
            let label = key.label();
            if !key.verifies(&note.text, &signature.bytes) {
                return Err(Refusal::BadSignature(label));
            }
            if !by.contains(&label) {
                by.push(label);
            }
        }
        match by.len() {
            0 => {
                let label =
                    |signature: &super::note::Signature| format!("{}+{}", signature.name, signature.id);
                Err(Refusal::UnknownKey(note.signatures.iter().map(label).collect()))
            }
            count if count < self.threshold => Err(Refusal::Threshold { by, needed: self.threshold }),
            _ => Ok(by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::SigningKey;
    use super::*;

    #[test]
    fn a_list_of_keys_counts_each_owner_once() {
        let key = |name, byte| SigningKey::from_entropy(name, [byte; 32]).unwrap().verifier().to_string();
        let (a, b, a_again) = (key("a", 1), key("b", 2), key("also-a", 1));
        let list = format!("# those who may sign\n{a}\n\n  {b}\r\n");
        assert!(Trust::parse(&list, 2).is_ok());
        assert_eq!(Trust::parse(&list, 3), Err(TrustError::Threshold { threshold: 3, keys: 2 }));
        assert_eq!(Trust::parse(&list, 0), Err(TrustError::Threshold { threshold: 0, keys: 2 }));
        assert_eq!(Trust::parse("# none\n", 1), Err(TrustError::Empty));
        let twice = Trust::parse(&format!("{list}{a_again}\n"), 1).unwrap_err();
        assert_eq!(twice.to_string(), "line 5: the key of also-a stands in the list already");
        let private = SigningKey::from_entropy("a", [1; 32]).unwrap().expose();
        let error = Trust::parse(&private, 1).unwrap_err();
        assert!(!error.to_string().contains(&private[20..]), "{error}");
    }
}
