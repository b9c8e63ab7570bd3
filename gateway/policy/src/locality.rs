//! Where a provider runs, and how far a workflow may reach.

use std::fmt;

/// Where a provider's answer is computed, ordered from strictest to least strict.
///
/// The order is the rule for fallback: a later hop may be smaller or equal, never greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Locality {
    /// In this process, or at an address inside the provider's declared networks.
    Local,
    /// A single-tenant deployment at somebody else's.
    Dedicated,
    /// A shared service.
    Hosted,
}

impl Locality {
    /// Every locality, strictest first.
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::Dedicated, Self::Hosted];

    /// Returns the word used in the policy file, in records and in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Dedicated => "dedicated",
            Self::Hosted => "hosted",
        }
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a workflow may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EgressMode {
    /// Only [`Locality::Local`] providers.
    Sealed,
    /// Only the named providers and hosts, and models in this process.
    Allowlist,
    /// The named providers, and all local ones.
    Hosted,
}

impl EgressMode {
    /// Every mode, strictest first.
    pub(crate) const ALL: [Self; 3] = [Self::Sealed, Self::Allowlist, Self::Hosted];

    /// Returns the word used in the policy file, in records and in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Allowlist => "allowlist",
            Self::Hosted => "hosted",
        }
    }
}

impl fmt::Display for EgressMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
