//! Provider credentials, read at the moment they are needed.
//!
//! A file is read for every call. It is a few hundred bytes next to a call that lasts seconds, and a rotated key
//! is then in force at once; a cache would have to guess from time stamps. A [`Secret`] can be shown by nobody: it has no
//! `Debug`, errors say where it was expected and never what was found, and header values made of it are marked
//! sensitive, so that neither `Debug` shows them nor HTTP/2 indexes them.

use std::path::{Path, PathBuf};

use http::HeaderValue;
use policy::SecretRef;
use tokio::io::AsyncReadExt;

/// Largest secret. Tokens are far smaller, and a wrong path must not put a database into a header.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// Why a credential cannot be used. Says where it was expected, never what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set")]
    Variable(String),
    /// What was found is not what is needed.
    #[error("the secret in {place} is {problem}")]
    Unusable {
        /// The file or environment variable.
        place: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The request cannot be signed.
    #[error("the request cannot be signed")]
    Signature(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A secret and where it lay. Never empty, and without white space around it.
pub(crate) struct Secret {
    place: String,
    bytes: Vec<u8>,
}

impl Secret {
    /// Reads what `reference` refers to; relative paths start at `base`.
    pub(crate) async fn read(reference: &SecretRef, base: &Path) -> Result<Self, SecretError> {
        let bytes = read(reference, base).await?;
        // Files written by an editor or `echo` end in a line feed that is not part of the secret.
        let secret = Self { place: place(reference), bytes: bytes.trim_ascii().to_vec() };
        if secret.bytes.is_empty() {
            return Err(secret.unusable("empty"));
        }
        if secret.bytes.len() as u64 > SECRET_BYTES_MAX {
            return Err(secret.unusable("larger than 16 KiB"));
        }
        Ok(secret)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the secret behind `prefix` as the value of a header.
    pub(crate) fn header_value(&self, prefix: &[u8]) -> Result<HeaderValue, SecretError> {
        let mut value = HeaderValue::from_bytes(&[prefix, &self.bytes].concat())
            .map_err(|_| self.unusable("not a single line of printable characters"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Returns the secret as text, if it is a single line of plain characters.
    pub(crate) fn line(&self) -> Result<&str, SecretError> {
        let line = std::str::from_utf8(&self.bytes).ok();
        let is_plain = |line: &&str| line.bytes().all(|byte| byte.is_ascii_graphic());
        line.filter(is_plain).ok_or_else(|| self.unusable("not a single line of printable characters"))
    }

    /// Says what is wrong with the secret.
    pub(crate) fn unusable(&self, problem: &'static str) -> SecretError {
        SecretError::Unusable { place: self.place.clone(), problem }
    }
}

async fn read(reference: &SecretRef, base: &Path) -> Result<Vec<u8>, SecretError> {
    match reference {
        SecretRef::File(path) => {
            let path = base.join(path);
            read_file(&path).await.map_err(|source| SecretError::File { path, source })
        }
        SecretRef::Env(name) => {
            #[expect(
                clippy::disallowed_methods,
                reason = "the policy names the variable, so it is read at use"
            )]
            let value = std::env::var_os(name);
            value
                .map(std::ffi::OsString::into_encoded_bytes)
                .ok_or_else(|| SecretError::Variable(name.clone()))
        }
    }
}

async fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that is too large is seen to be.
    tokio::fs::File::open(path).await?.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn place(reference: &SecretRef) -> String {
    match reference {
        SecretRef::File(path) => format!("the file {}", path.display()),
        SecretRef::Env(name) => format!("the environment variable {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    const CANARY: &str = "sk-canary-8f3a";

    /// Writes `content` to a file and reads it as a bearer token.
    async fn from_file(content: &[u8]) -> Result<HeaderValue, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), content).unwrap();
        Secret::read(&SecretRef::File("key".into()), folder.path()).await?.header_value(b"Bearer ")
    }

    #[tokio::test]
    async fn a_file_is_read_without_the_space_around_its_secret() {
        for content in [CANARY.to_owned(), format!("{CANARY}\n"), format!(" {CANARY}\r\n\r\n")] {
            let value = from_file(content.as_bytes()).await.unwrap();
            assert_eq!(value, format!("Bearer {CANARY}"));
        }
    }

    #[tokio::test]
    async fn an_environment_variable_is_read_by_its_name() {
        // A test cannot set a variable safely; cargo sets this one.
        let reference = SecretRef::Env("CARGO_PKG_NAME".to_owned());
        let secret = Secret::read(&reference, Path::new("")).await.map_err(|error| error.to_string());
        assert_eq!(secret.map(|secret| secret.line().unwrap().to_owned()).unwrap(), "egress");
        let missing = SecretRef::Env("PORTCULLIS_NO_SUCH_KEY".to_owned());
        let missing = Secret::read(&missing, Path::new("")).await.err().unwrap();
        assert_eq!(missing.to_string(), "the environment variable PORTCULLIS_NO_SUCH_KEY is not set");
    }

    #[tokio::test]
    async fn a_secret_shows_in_no_debug_text() {
        let value = from_file(CANARY.as_bytes()).await.unwrap();
        assert!(!format!("{value:?}").contains("canary"), "{value:?}");
    }

    #[tokio::test]
    async fn an_unusable_secret_is_named_by_its_place_alone() {
        let large = format!("{CANARY}{}", "a".repeat(16 * 1024));
        for (content, problem) in [
            ("", "empty"),
            ("\n \n", "empty"),
            ("sk-canary\nsk-canary", "not a single line of printable characters"),
            ("sk-canary\0", "not a single line of printable characters"),
            (large.as_str(), "larger than 16 KiB"),
        ] {
            let error = from_file(content.as_bytes()).await.unwrap_err();
            assert_eq!(error.to_string(), format!("the secret in the file key is {problem}"));
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
            assert!(error.source().is_none());
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let reference = SecretRef::File("no-such-key".into());
        let error = Secret::read(&reference, Path::new("/nonexistent")).await.err().unwrap();
        assert_eq!(error.to_string(), "cannot read the secret file /nonexistent/no-such-key");
    }
}
