//! Whom a provider has to be, and what the gateway shows of itself, when a connection is encrypted.
//!
//! Files are references, read by whoever connects. There is no way to switch the check of a certificate off.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What stands before the hash in a pin.
const PREFIX: &str = "sha256/";

/// What is asked of a provider's certificate. Nothing is asked beyond the public roots by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsRule {
    /// A file of certificates in PEM that the provider's own may be signed by.
    pub ca_file: Option<PathBuf>,
    /// Whether the public roots count beside it.
    pub roots: Roots,
    /// SHA-256 of public keys (as `SubjectPublicKeyInfo`), sorted. One of them has to be in the verified chain; an
    /// empty list asks for none.
    pub pins: Vec<[u8; 32]>,
    /// What the gateway shows of itself to a provider that asks.
    pub client_cert: Option<ClientCert>,
}

/// Which roots are trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The public ones, and those of [`TlsRule::ca_file`] if there is one.
    #[default]
    Public,
    /// Those of [`TlsRule::ca_file`] alone; it is always there.
    FileAlone,
}

/// A certificate with its key, each in a file in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCert {
    /// The certificate, and those up to its root.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Reads a pin as `curl` and OpenSSL users write it: `sha256/` and 32 bytes in base64.
pub(crate) fn pin(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text.strip_prefix(PREFIX)?).ok()?.try_into().ok()
}

/// Writes a pin as it is read.
pub(crate) fn show_pin(pin: &[u8; 32]) -> String {
    format!("{PREFIX}{}", BASE64.encode(pin))
}
