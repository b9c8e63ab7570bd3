//! Which certificate authorities are believed, and how a TLS session is set up.
//!
//! The trust store is compiled in and does not depend on the machine, so the same binary trusts the same
//! authorities everywhere; a company adds its own from a file. There is no switch that turns verification off.
//!
//! Deliberately absent: client certificates and pins.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use url::Host;

/// The certificate authorities that upstreams may be certified by.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read certificates from {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The file holds a certificate that cannot be an authority.
    #[error("{path} holds a certificate that is not usable as an authority")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: rustls::Error,
    },
    /// The file holds no certificate.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Why a destination or a proxy cannot be reached by TLS as the policy wants it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate authorities cannot be used.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// No certificate can be for this host.
    #[error("no certificate can be for the host {0}")]
    Host(Host),
}

impl Roots {
    /// Returns the authorities that browsers trust, as compiled in.
    pub fn public() -> Self {
        Self(Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }))
    }

    /// Returns the public authorities and those in the PEM file at `path`.
    ///
    /// # Errors
    /// Returns [`RootsError`] if the file cannot be read, holds no certificate, or one that cannot be used.
    pub fn public_and_file(path: &Path) -> Result<Self, RootsError> {
        Self::public().and_file(path)
    }

    /// Returns these authorities and those in the PEM file at `path`.
    pub(crate) fn and_file(&self, path: &Path) -> Result<Self, RootsError> {
        Self::read(RootCertStore::clone(&self.0), path)
    }

    /// Returns the authorities in the PEM file at `path`, and no others.
    pub(crate) fn file(path: &Path) -> Result<Self, RootsError> {
        Self::read(RootCertStore::empty(), path)
    }

    fn read(mut store: RootCertStore, path: &Path) -> Result<Self, RootsError> {
        let read = |source| RootsError::Read { path: path.to_owned(), source };
        let known = store.roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
            store
                .add(certificate.map_err(read)?)
                .map_err(|source| RootsError::Certificate { path: path.to_owned(), source })?;
        }
        if store.roots.len() == known {
            return Err(RootsError::Empty { path: path.to_owned() });
        }
        Ok(Self(Arc::new(store)))
    }

    /// Returns a new session configuration.
    ///
    /// Each pool gets its own: session tickets live in it, and a ticket from a sealed workflow must not appear
    /// on another workflow's connection.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        let mut config = self.plain_config();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Returns the configuration for TLS with a proxy, where CONNECT is spoken as HTTP/1.1.
    ///
    /// No session is resumed: a tunnel must not tell the proxy which other tunnel it is related to.
    pub(crate) fn proxy_config(&self) -> Arc<ClientConfig> {
        let mut config = self.plain_config();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    fn plain_config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the ring provider supports TLS 1.2 and 1.3")
            .with_root_certificates(Arc::clone(&self.0))
            .with_no_client_auth()
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
