//! Provider credentials, read at the moment they are needed.
//!
//! A file is read for every call. It is a few hundred bytes next to a call that lasts seconds, and a rotated key
//! is then in force at once; a cache would have to guess from time stamps. Values exist only inside header
//! values marked sensitive, so neither `Debug` nor an error can show one, and HTTP/2 does not index them.

use std::path::{Path, PathBuf};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use policy::{Auth, SecretRef};
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
    /// What was found cannot be a header value.
    #[error("the secret in {place} is {problem}")]
    Unusable {
        /// The file or environment variable.
        place: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Reads what `auth` refers to and puts it into `headers`; relative paths start at `base`.
pub(crate) async fn authenticate(
    headers: &mut HeaderMap,
    auth: &Auth,
    base: &Path,
) -> Result<(), SecretError> {
    match auth {
        Auth::None => {}
        Auth::Bearer(reference) => {
            let value = header_value(reference, base, b"Bearer ").await?;
            headers.insert(AUTHORIZATION, value);
        }
        Auth::Headers(references) => {
            for (name, reference) in references {
                headers.insert(name, header_value(reference, base, b"").await?);
            }
        }
    }
    Ok(())
}

async fn header_value(reference: &SecretRef, base: &Path, prefix: &[u8]) -> Result<HeaderValue, SecretError> {
    let bytes = read(reference, base).await?;
    // Files written by an editor or `echo` end in a line feed that is not part of the secret.
    let secret = bytes.trim_ascii();
    let unusable = |problem| SecretError::Unusable { place: place(reference), problem };
    if secret.is_empty() {
        return Err(unusable("empty"));
    }
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(unusable("larger than 16 KiB"));
    }
    let mut value = HeaderValue::from_bytes(&[prefix, secret].concat())
        .map_err(|_| unusable("not a single line of printable characters"))?;
    value.set_sensitive(true);
    Ok(value)
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

    use http::HeaderName;

    use super::*;

    const CANARY: &str = "sk-canary-8f3a";

    async fn bearer(reference: SecretRef, base: &Path) -> Result<HeaderMap, SecretError> {
        let mut headers = HeaderMap::new();
        authenticate(&mut headers, &Auth::Bearer(reference), base).await?;
        Ok(headers)
    }

    /// Writes `content` to a file and reads it as a bearer token.
    async fn from_file(content: &[u8]) -> Result<HeaderMap, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), content).unwrap();
        bearer(SecretRef::File("key".into()), folder.path()).await
    }

    #[tokio::test]
    async fn a_file_is_read_without_the_space_around_its_secret() {
        for content in [CANARY.to_owned(), format!("{CANARY}\n"), format!(" {CANARY}\r\n\r\n")] {
            let headers = from_file(content.as_bytes()).await.unwrap();
            assert_eq!(headers[AUTHORIZATION], format!("Bearer {CANARY}"));
        }
    }

    #[tokio::test]
    async fn headers_carry_their_secrets_bare() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, CANARY).unwrap();
        let name = HeaderName::from_static("x-api-key");
        let mut headers = HeaderMap::new();
        let auth = Auth::Headers(vec![(name.clone(), SecretRef::File(file))]);
        authenticate(&mut headers, &auth, Path::new("/elsewhere")).await.unwrap();
        assert_eq!(headers[name], CANARY);
        assert_eq!(headers.len(), 1);
    }

    #[tokio::test]
    async fn an_environment_variable_is_read_by_its_name() {
        // A test cannot set a variable safely; cargo sets this one.
        let headers = bearer(SecretRef::Env("CARGO_PKG_NAME".to_owned()), Path::new("")).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], "Bearer egress");
        let missing = bearer(SecretRef::Env("PORTCULLIS_NO_SUCH_KEY".to_owned()), Path::new("")).await;
        assert_eq!(
            missing.unwrap_err().to_string(),
            "the environment variable PORTCULLIS_NO_SUCH_KEY is not set"
        );
    }

    #[tokio::test]
    async fn a_secret_shows_in_no_debug_text() {
        let headers = from_file(CANARY.as_bytes()).await.unwrap();
        assert!(!format!("{headers:?}").contains("canary"), "{headers:?}");
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
        let error =
            bearer(SecretRef::File("no-such-key".into()), Path::new("/nonexistent")).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read the secret file /nonexistent/no-such-key");
    }
}
