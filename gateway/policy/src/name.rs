//! The names that a policy file gives to its parts.
//!
//! A name appears in URLs, headers, metric labels and audit records, so its alphabet is small enough to need
//! no escaping in any of them. Names are cheap to clone: a decision carries several.

use std::fmt;
use std::sync::Arc;

/// Longest name, in bytes: that of a DNS label.
const NAME_BYTES_MAX: usize = 63;

/// Says why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than 63 bytes.
    #[error("a name has at most {NAME_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// The text holds a character outside the alphabet.
    #[error("a name may not contain {character:?}, only {allowed}")]
    Character {
        /// The first character that is not allowed.
        character: char,
        /// The alphabet, in words.
        allowed: &'static str,
    },
}

fn check(text: &str, also: &[char], allowed: &'static str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(text.chars().count()));
    }
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || also.contains(&c);
    match text.chars().find(|&c| !is_allowed(c)) {
        Some(character) => Err(NameError::Character { character, allowed }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $also:expr, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps it as a name.
            ///
            /// # Errors
            /// Returns [`NameError`] if the text is empty, too long, or outside the alphabet.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text, $also, $allowed)?;
                Ok(Self(text.into()))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Lets maps keyed by the name be asked with plain text; both order and hash alike.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a workflow: the unit to which callers, routes and limits belong.
    WorkflowName,
    &[],
    "a-z, 0-9 and `-`"
);
name!(
    /// The name of a provider: something that serves models.
    ProviderName,
    &[],
    "a-z, 0-9 and `-`"
);
name!(
    /// The name of a proxy that connections to providers go through.
    ProxyName,
    &[],
    "a-z, 0-9 and `-`"
);
name!(
    /// The id of an API key: what records say instead of the key.
    KeyId,
    &[],
    "a-z, 0-9 and `-`"
);
name!(
    /// The name of a caller, which may hold two API keys while one takes the place of the other.
    CallerName,
    &[],
    "a-z, 0-9 and `-`"
);
name!(
    /// The name of a model, as agents may write it in a request. Unlike other names it may hold dots.
    ModelName,
    &['.'],
    "a-z, 0-9, `-` and `.`"
);
