//! Which certificate authorities are believed.
//!
//! The public ones are compiled in and do not depend on the machine, so the same binary believes the same authorities
//! everywhere; a company adds its own from a file, or believes no others. Files are read when a policy takes effect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificate authorities that upstreams may be certified by.
#[derive(Debug, Clone)]
pub struct Roots(pub(super) Arc<RootCertStore>);

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
}
