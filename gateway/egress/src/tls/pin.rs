//! Pins: of an upstream's certificate, one key has to be known beforehand.
//!
//! A pin is the SHA-256 of a public key, written as X.509 writes it (`SubjectPublicKeyInfo`; RFC 7469, 2.4). It may be
//! the server's own key, or that of an authority that certified it. That a certificate with a pinned key is sent along
//! is not enough: anybody can send a copy of anybody's. So the certificate is verified twice, first as always, and then
//! as if the pinned keys were the only authorities in the world.
//!
//! Deliberately absent: pins that are only reported, and a way to pin instead of verifying.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

/// None of the pinned keys certified a certificate that is otherwise valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no pinned key certifies it; its own is sha256/{}", BASE64.encode(.found))]
pub struct PinMismatch {
    /// Hash of the server's own key.
    pub found: [u8; 32],
}

impl PinMismatch {
    /// Finds it among the causes of a failed handshake.
    pub(crate) fn cause_of(error: &std::io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error else {
            return None;
        };
        other.downcast_ref().copied()
    }
}

/// Verifies as always, and then insists on a pinned key.
#[derive(Debug)]
pub(super) struct Pinned {
    always: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    pins: Vec<[u8; 32]>,
    /// Those of the roots whose keys are pinned.
    roots: RootCertStore,
}

impl Pinned {
    /// Makes the verifier for servers that `roots`, which are not empty, certify.
    pub(super) fn new(roots: Arc<RootCertStore>, pins: &[[u8; 32]], provider: Arc<CryptoProvider>) -> Self {
        let is_pinned = |key: &[u8]| pins.contains(&spki_sha256(&sequence(key)));
        let pinned = roots.roots.iter().filter(|root| is_pinned(&root.subject_public_key_info));
        let pinned = RootCertStore { roots: pinned.cloned().collect() };
        let always = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .expect("there are roots, and no lists of revoked certificates that could be malformed");
        Self { always, provider, pins: pins.to_vec(), roots: pinned }
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        key_sha256(certificate).is_ok_and(|hash| self.pins.contains(&hash))
    }

    /// Says whether pinned keys alone would do as authorities.
    fn is_certified(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<bool, Error> {
        let mut authorities = self.roots.clone();
        let pinned = intermediates.iter().filter(|certificate| self.is_pinned(certificate));
        authorities.add_parsable_certificates(pinned.cloned());
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let verified =
            verify_server_cert_signed_by_trust_anchor(&leaf, &authorities, intermediates, now, algorithms);
        Ok(verified.is_ok())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.always.verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        if self.is_pinned(leaf) || self.is_certified(leaf, intermediates, now)? {
            return Ok(verified);
        }
        let mismatch = PinMismatch { found: key_sha256(leaf)? };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.always.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.always.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.always.supported_verify_schemes()
    }
}

/// Returns the hash that a pin of the certificate's key would have.
pub(super) fn key_sha256(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    Ok(spki_sha256(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

fn spki_sha256(spki: &[u8]) -> [u8; 32] {
    digest(&SHA256, spki).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Puts a DER header before the content of a sequence: that is how a root's key is kept, and not how it is hashed.
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|&&byte| byte == 0).count();
    let significant = &length[zeros.min(length.len() - 1)..];
    let mut header = vec![0x30];
    if content.len() >= 0x80 {
        header.push(0x80 | significant.len() as u8);
    }
    [&header, significant, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Roots;

    #[test]
    fn a_public_authority_may_be_pinned() {
        // ISRG Root X1, whose key is an RSA key of 4,096 bits.
        let pin = BASE64.decode("C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=").unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Pinned::new(Roots::public().0, &[pin.try_into().unwrap()], provider);
        assert_eq!(verifier.roots.len(), 1);
    }

    #[test]
    fn a_sequence_states_its_length_in_as_few_bytes_as_it_can() {
        for (length, header) in [
            (0, &[0x30, 0][..]),
            (127, &[0x30, 127]),
            (128, &[0x30, 0x81, 128]),
            (256, &[0x30, 0x82, 1, 0]),
            (65_536, &[0x30, 0x83, 1, 0, 0]),
        ] {
            let encoded = sequence(&vec![7; length]);
            assert_eq!(&encoded[..header.len()], header);
            assert_eq!(encoded.len(), header.len() + length);
        }
    }
}
