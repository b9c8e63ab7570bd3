//! API keys: what a caller holds, and what the policy file knows of it.
//!
//! A key is `pk_<id>_<secret>`: a prefix that secret scanners can find, the id that records show, and 256 bits
//! of entropy in hexadecimal. The file holds the SHA-256 of the whole key. With that much entropy a slow hash
//! would protect nothing and cost every request.

use std::fmt;

use crate::digest::Digest;
use crate::name::KeyId;

/// A new API key. It is shown once and kept nowhere.
pub struct ApiKey {
    id: KeyId,
    text: String,
}

impl ApiKey {
    /// Makes a key from `entropy`, which must come from the operating system's generator.
    pub fn from_entropy(id: KeyId, entropy: [u8; 32]) -> Self {
        let digits = entropy.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let mut text = format!("pk_{id}_");
        text.extend(digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        Self { id, text }
    }

    /// Returns the key itself, for the caller and for nobody else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns the hash that the policy file knows the key by.
    pub fn sha256(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// Returns the item for `callers` in the policy file.
    pub fn caller_line(&self) -> String {
        format!("- {{ api_key: {{ id: {}, sha256: \"{}\" }} }}", self.id, self.sha256())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_its_id_and_hides_its_secret() {
        let key = ApiKey::from_entropy(KeyId::new("ci-7f3a").unwrap(), [0xab; 32]);
        assert_eq!(key.expose(), format!("pk_ci-7f3a_{}", "ab".repeat(32)));
        assert_eq!(format!("{key:?}"), "ApiKey { id: KeyId(\"ci-7f3a\"), .. }");
        assert!(!key.caller_line().contains("abab"));
    }
}
