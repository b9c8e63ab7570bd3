//! How a TLS session is set up: whom it believes, which keys it insists on, and what it shows of itself.
//!
//! A certificate is always verified. What a policy can add makes the check stricter (pins), moves it to other
//! authorities (files), or answers the same question from the other side (a client certificate). Nothing turns it off,
//! nothing is sent before the handshake is over, and no session goes by without its server's name in the clear: whoever
//! watches the connection shall see where it leads.
//!
//! Files are read when a policy takes effect; a changed file counts from the next one. Deliberately absent: lists of revoked certificates, which the authorities' short lifetimes replace.

mod leaf;
mod pin;
mod roots;
mod sessions;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::{ClientCert, Roots as Trust, TlsRule};
use rustls::client::{Resumption, WantsClientCert};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder};
use url::Host;

pub(crate) use leaf::{Leaf, leaf};
pub use pin::PinMismatch;
use pin::Pinned;
pub use roots::{Roots, RootsError};
pub use sessions::Unprepared;
pub(crate) use sessions::{Sessions, reads_no_file};

/// Why a destination or a proxy cannot be reached by TLS as the policy wants it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate authorities cannot be used.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// Nobody's certificate would be believed.
    #[error("there is no certificate authority to believe")]
    NoRoots,
    /// The client certificate cannot be read.
    #[error("cannot read the client certificate from {path}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: pem::Error,
    },
    /// The key of the client certificate cannot be read.
    #[error("cannot read the private key from {path}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file holds no private key.
    #[error("{path} holds no private key in PEM without a passphrase (PKCS#8, PKCS#1 or SEC1)")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The client certificate and its key cannot be used together.
    #[error("the certificate in {certificate} cannot be used with the key in {key}")]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What went wrong.
        source: rustls::Error,
    },
    /// No certificate can be for this host.
    #[error("no certificate can be for the host {0}")]
    Host(Host),
}

impl Roots {
    /// Returns a session configuration for upstreams of which the policy asks what `rule` says; relative paths start at
    /// `base`.
    ///
    /// # Errors
    /// Returns [`TlsError`] if a file cannot be used.
    pub(crate) fn config_for(&self, rule: &TlsRule, base: &Path) -> Result<ClientConfig, TlsError> {
        let roots = match (rule.roots, &rule.ca_file) {
            (Trust::Public, None) => self.clone(),
            (Trust::Public, Some(file)) => self.and_file(&base.join(file))?,
            (Trust::FileAlone, Some(file)) => Self::file(&base.join(file))?,
            (Trust::FileAlone, None) => return Err(TlsError::NoRoots),
        };
        let builder = roots.verifying(&rule.pins)?;
        let mut config = match &rule.client_cert {
            None => builder.with_no_client_auth(),
            Some(ClientCert { cert_file, key_file }) => {
                showing(builder, &base.join(cert_file), &base.join(key_file))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Returns the configuration for TLS with a proxy, where CONNECT is spoken as HTTP/1.1.
    ///
    /// No session is resumed: a tunnel must not tell the proxy which other tunnel it is related to.
    pub(crate) fn proxy_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = self.verifying(&[])?.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Begins a configuration that verifies certificates, and then looks for one of `pins` unless there is none.
    fn verifying(&self, pins: &[[u8; 32]]) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
        if self.0.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the ring provider supports TLS 1.2 and 1.3");
        if pins.is_empty() {
            return Ok(builder.with_root_certificates(Arc::clone(&self.0)));
        }
        let verifier = Pinned::new(Arc::clone(&self.0), pins, provider);
        Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
    }
}

/// Ends a configuration with what is shown to a server that asks who we are.
fn showing(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &Path,
    key: &Path,
) -> Result<ClientConfig, TlsError> {
    let unreadable = |source| TlsError::Certificate { path: certificate.to_owned(), source };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(unreadable)?;
    if chain.is_empty() {
        return Err(unreadable(pem::Error::NoItemsFound));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| no_key(key, error))?;
    let mismatch = |source| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        TlsError::Pair { certificate, key, source }
    };
    builder.with_client_auth_cert(chain, secret).map_err(mismatch)
}

/// Says what is wrong with the file of a key, and nothing of what stands in it.
fn no_key(path: &Path, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Key { path, source },
        _ => TlsError::NoKey { path },
    }
}

/// Returns the name that the certificate of `host` must hold.
pub(crate) fn server_name(host: &Host) -> Result<ServerName<'static>, TlsError> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| TlsError::Host(host.clone())),
        Host::Ipv4(ip) => Ok(ServerName::IpAddress(IpAddr::V4(*ip).into())),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress(IpAddr::V6(*ip).into())),
    }
}

#[cfg(test)]
mod tests;
