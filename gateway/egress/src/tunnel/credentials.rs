//! What a request shows of its sender: `Proxy-Authorization`.
//!
//! Clients send what stands in the URL of the proxy: `http://WORKFLOW:KEY@proxy:3128`, where the name of the workflow
//! may be left out. `http://KEY@proxy:3128` is what people write who think of the key as a name, and has one meaning
//! only, so it is taken too.
//!
//! Deliberately absent: whether the key is any good.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use policy::key::KEY_PREFIX;

/// A key, and perhaps the workflow that it is used for.
pub struct Credentials {
    workflow: Option<String>,
    key: String,
}

/// Credentials that no reader could make out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CredentialsError {
    #[error("`proxy-authorization` is neither `Basic` nor `Bearer`")]
    Scheme,
    #[error("`proxy-authorization` cannot be read: `Basic` takes base64 of WORKFLOW:KEY, `Bearer` a key")]
    Unreadable,
}

impl Credentials {
    /// Reads the header's value.
    pub(super) fn read(value: &HeaderValue) -> Result<Self, CredentialsError> {
        let text = value.to_str().map_err(|_| CredentialsError::Unreadable)?;
        let (scheme, rest) = text.split_once(' ').ok_or(CredentialsError::Scheme)?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self { workflow: None, key: rest.to_owned() });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(CredentialsError::Scheme);
        }
        let bytes = STANDARD.decode(rest).map_err(|_| CredentialsError::Unreadable)?;
        let text = String::from_utf8(bytes).map_err(|_| CredentialsError::Unreadable)?;
        let (user, password) = text.split_once(':').ok_or(CredentialsError::Unreadable)?;
        Ok(match (user, password) {
            (user, "") if user.starts_with(KEY_PREFIX) => Self { workflow: None, key: user.to_owned() },
            ("", password) => Self { workflow: None, key: password.to_owned() },
            (user, password) => Self { workflow: Some(user.to_owned()), key: password.to_owned() },
        })
    }

    /// Returns the workflow that was named.
    pub fn workflow(&self) -> Option<&str> {
        self.workflow.as_deref()
    }

    /// Returns the key.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Option<String>, String), CredentialsError> {
        let value = HeaderValue::from_str(text).unwrap();
        Credentials::read(&value).map(|Credentials { workflow, key }| (workflow, key))
    }

    fn basic(text: &str) -> Result<(Option<String>, String), CredentialsError> {
        read(&format!("Basic {}", STANDARD.encode(text)))
    }

    // E9
    #[test]
    fn a_key_comes_with_or_without_the_name_of_a_workflow() {
        let (named, alone) = ((Some("docs".to_owned()), "pck_a".to_owned()), (None, "pck_a".to_owned()));
        assert_eq!(basic("docs:pck_a"), Ok(named.clone()));
        assert_eq!(read(&format!("bASIC  {}", STANDARD.encode("docs:pck_a"))), Ok(named));
        for text in [":pck_a", "pck_a:"] {
            assert_eq!(basic(text), Ok(alone.clone()), "{text}");
        }
        assert_eq!(read("Bearer pck_a"), Ok(alone));
        assert_eq!(basic("docs:"), Ok((Some("docs".to_owned()), String::new())));
    }

    #[test]
    fn what_cannot_be_read_is_no_key() {
        assert_eq!(read("Negotiate abc"), Err(CredentialsError::Scheme));
        assert_eq!(read("pck_a"), Err(CredentialsError::Scheme));
        assert_eq!(read("Basic ?"), Err(CredentialsError::Unreadable));
        assert_eq!(basic("nocolon"), Err(CredentialsError::Unreadable));
        assert_eq!(
            read(&format!("Basic {}", STANDARD.encode([b':', 0xff]))),
            Err(CredentialsError::Unreadable)
        );
    }

    #[test]
    fn a_key_is_never_printed() {
        let value = HeaderValue::from_static("Bearer pck_secret");
        assert!(!format!("{:?}", Credentials::read(&value).unwrap()).contains("secret"));
    }
}
