//! How a provider is told who asks. Secrets are references, to be read at use.

use std::path::PathBuf;

use http::HeaderName;

/// Where a secret lies. The value is read when it is needed and never enters the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// A file, as written; a relative path is relative to the folder of the policy file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// How requests to a destination are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// `authorization: Bearer <secret>`.
    Bearer(SecretRef),
    /// Each header with its secret as the value, sorted by header name, never empty.
    Headers(Vec<(HeaderName, SecretRef)>),
    /// A signature over the request, as AWS wants it.
    SigV4(SigV4),
    /// A token that the key of a Google service account signs; the secret is the key's JSON file.
    Google(SecretRef),
}

/// With what AWS requests are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigV4 {
    pub(crate) region: String,
    pub(crate) access_key_id: SecretRef,
    pub(crate) secret_access_key: SecretRef,
    pub(crate) session_token: Option<SecretRef>,
}

impl SigV4 {
    /// Returns the region for which requests are signed, such as `eu-central-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns where the access key's id lies.
    pub fn access_key_id(&self) -> &SecretRef {
        &self.access_key_id
    }

    /// Returns where the access key's secret lies.
    pub fn secret_access_key(&self) -> &SecretRef {
        &self.secret_access_key
    }

    /// Returns where the token of temporary credentials lies, if these are such.
    pub fn session_token(&self) -> Option<&SecretRef> {
        self.session_token.as_ref()
    }
}
