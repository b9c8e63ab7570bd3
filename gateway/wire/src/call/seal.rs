//! What a provider wants back unread: signatures and ciphertexts of a model's reasoning.
//!
//! Only the provider that issued a seal accepts it; another one answers with an error. So a seal that crosses from one
//! dialect to another carries its provider's name on the way through the client, and goes back to that provider only.

/// What marks a seal that has passed through a translation; no provider's own seal has a full stop in it.
const MARK: &str = "pc1.";

/// A provider's proof or ciphertext of a piece of reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The provider that issued it, by its name in the policy; absent if it came through unchanged.
    pub issuer: Option<String>,
    /// What the provider wrote; empty if the reasoning has no seal of its own.
    pub data: String,
}

impl Seal {
    /// Creates the seal that the provider `issuer` wrote as `data`.
    pub fn of(issuer: &str, data: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.to_owned()), data: data.into() }
    }

    /// Reads what a client sends back.
    pub fn from_client(text: &str) -> Self {
        let marked = text.strip_prefix(MARK).and_then(|rest| rest.split_once('.'));
        match marked {
            Some((issuer, data)) => Self::of(issuer, data),
            None => Self { issuer: None, data: text.to_owned() },
        }
    }

    /// Returns whether a body may hold a seal that has passed through a translation.
    pub(crate) fn may_be_translated_in(body: &[u8]) -> bool {
        memchr::memmem::find(body, b"\"pc1.").is_some()
    }

    /// Returns what the client gets; [`from_client`](Self::from_client) reads it.
    pub fn to_client(&self) -> String {
        match &self.issuer {
            Some(issuer) => format!("{MARK}{issuer}.{}", self.data),
            None => self.data.clone(),
        }
    }

    /// Returns the seal itself if `provider` issued it and there is one.
    pub fn data_for(&self, provider: &str) -> Option<&str> {
        let is_theirs = self.issuer.as_deref() == Some(provider);
        (is_theirs && !self.data.is_empty()).then_some(self.data.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Seal;

    #[test]
    fn a_seal_finds_its_way_back_to_its_issuer_alone() {
        let there = Seal::of("cloud", "c2ln+/=").to_client();
        let back = Seal::from_client(&there);
        assert_eq!(back.data_for("cloud"), Some("c2ln+/="));
        assert_eq!(back.data_for("other"), None);
    }

    #[test]
    fn a_seal_that_never_was_translated_is_nobodys() {
        let seal = Seal::from_client("gAAAAABo");
        assert_eq!((seal.issuer.as_deref(), seal.data.as_str()), (None, "gAAAAABo"));
        assert_eq!(seal.data_for("cloud"), None);
        assert_eq!(seal.to_client(), "gAAAAABo");
    }

    #[test]
    fn reasoning_without_a_seal_keeps_its_issuer() {
        let back = Seal::from_client(&Seal::of("local", "").to_client());
        assert_eq!(back, Seal::of("local", ""));
        assert_eq!(back.data_for("local"), None);
    }
}
