//! How a request is made the provider's own: by a secret in a header, or by a signature over all of it.
//!
//! Nothing here asks the network for a token. AWS takes a signature, and Google takes a token that the key of a
//! service account signs by itself; what has to be fetched first, such as an instance's role, is deliberately absent.

mod google;
mod sigv4;

use std::path::PathBuf;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use policy::Auth;

use crate::secret::{Secret, SecretError};

/// What a signature covers beside the headers. The method is always `POST`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    /// The very URI that is sent.
    pub(crate) uri: &'a Uri,
    pub(crate) body: &'a [u8],
}

/// Reads credentials and puts them into requests.
pub(crate) struct Credentials {
    /// Folder from which relative secret files are meant.
    base: PathBuf,
    tokens: google::Tokens,
}

impl Credentials {
    pub(crate) fn new(base: PathBuf) -> Self {
        Self { base, tokens: google::Tokens::default() }
    }

    /// Adds to `headers`, which are otherwise complete, what `auth` asks for.
    pub(crate) async fn authenticate(
        &self,
        headers: &mut HeaderMap,
        auth: &Auth,
        request: Unsigned<'_>,
        now: SystemTime,
    ) -> Result<(), SecretError> {
        match auth {
            Auth::None => {}
            Auth::Bearer(reference) => {
                let value = Secret::read(reference, &self.base).await?.header_value(b"Bearer ")?;
                headers.insert(AUTHORIZATION, value);
            }
            Auth::Headers(references) => {
                for (name, reference) in references {
                    headers.insert(name, Secret::read(reference, &self.base).await?.header_value(b"")?);
                }
            }
            Auth::SigV4(auth) => {
                let keys = sigv4::Keys::read(auth, &self.base).await?;
                let scope = sigv4::Scope { region: auth.region(), service: sigv4::BEDROCK, time: now };
                sigv4::sign(headers, request, &keys, scope)?;
            }
            Auth::Google(reference) => {
                let key = Secret::read(reference, &self.base).await?;
                headers.insert(AUTHORIZATION, self.tokens.bearer(&key, now)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use policy::SecretRef;

    use super::*;

    #[tokio::test]
    async fn headers_carry_their_secrets_bare() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "sk-canary").unwrap();
        let name = HeaderName::from_static("x-api-key");
        let mut headers = HeaderMap::new();
        let auth = Auth::Headers(vec![(name.clone(), SecretRef::File(file))]);
        let request = Unsigned { uri: &Uri::from_static("https://api.test/v1"), body: b"" };
        let credentials = Credentials::new("/elsewhere".into());
        credentials.authenticate(&mut headers, &auth, request, SystemTime::UNIX_EPOCH).await.unwrap();
        assert_eq!(headers[name], "sk-canary");
        assert_eq!(headers.len(), 1);
    }
}
