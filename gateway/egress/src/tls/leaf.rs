//! What an upstream's certificate says, for the record.
//!
//! A company's proxy may end TLS and begin it anew: the certificate is then the company's, and valid, because the
//! policy believes the company. Who issued it, and for which key, is all that tells the two apart afterwards.
//!
//! The issuer's name is written by whoever issued the certificate, and read here with what little of DER it takes.
//! Nothing is decided by it.

use rustls::ClientConnection;
use rustls::pki_types::CertificateDer;

use super::pin::key_sha256;

/// Longest issuer that is kept, in bytes; one that is longer is cut.
const ISSUER_BYTES_MAX: usize = 256;

/// DER: a context tag with the number 0, around a certificate's version.
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Strings of UTF-8, or of a part of it.
const STRINGS: [u8; 4] = [0x0c, 0x12, 0x13, 0x16];

/// Parts of a name and their short forms (RFC 4519), by their identifiers.
const PARTS: [(&[u8], &str); 7] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// What the server's own certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Who issued it, such as `C=US, O=Example Trust, CN=Example CA 3`; empty if that cannot be read.
    pub(crate) issuer: String,
    /// SHA-256 of its key, as a pin has it.
    pub(crate) spki_sha256: [u8; 32],
}

/// Returns what the server's certificate says, once the handshake is over.
pub(crate) fn leaf(session: &ClientConnection) -> Option<Leaf> {
    let certificate = session.peer_certificates()?.first()?;
    let spki_sha256 = key_sha256(certificate).ok()?;
    Some(Leaf { issuer: issuer(certificate).unwrap_or_default(), spki_sha256 })
}

/// Reads `Certificate { tbsCertificate { version, serialNumber, signature, issuer, … }, … }` (RFC 5280, 4.1).
fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let mut certificate = Der(certificate).open(SEQUENCE)?;
    let mut content = certificate.open(SEQUENCE)?;
    // Absent from certificates of the first version.
    content.open(VERSION);
    content.open(INTEGER)?;
    content.open(SEQUENCE)?;
    name(content.open(SEQUENCE)?)
}

/// Writes a name in the order in which it is encoded.
fn name(mut name: Der<'_>) -> Option<String> {
    let mut parts = Vec::new();
    while !name.is_empty() {
        let mut set = name.open(SET)?;
        while !set.is_empty() {
            let mut part = set.open(SEQUENCE)?;
            let kind = part.open(OBJECT_IDENTIFIER)?;
            let kind =
                PARTS.iter().find(|(identifier, _)| *identifier == kind.0).map_or("?", |(_, kind)| kind);
            let text = STRINGS.iter().find_map(|&tag| part.open(tag)).map_or(&b"?"[..], |text| text.0);
            parts.push(format!("{kind}={}", printable(&String::from_utf8_lossy(text))));
        }
    }
    let mut text = parts.join(", ");
    let end = (0..=ISSUER_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or_default());
    Some(text)
}

/// Replaces what would change how a line of a record looks.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == ',' { '?' } else { c }).collect()
}

/// Bytes of DER that have not been read yet.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the next value if it has this tag, and returns what is in it.
    fn open(&mut self, tag: u8) -> Option<Der<'a>> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        if found != tag {
            return None;
        }
        let (length, rest) = match first.checked_sub(0x80) {
            None => (usize::from(first), rest),
            // Three bytes of length are more than a handshake can hold.
            Some(count @ 1..=3) => {
                let (length, rest) = rest.split_at_checked(usize::from(count))?;
                (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
            }
            Some(_) => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Der(content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};

    use super::*;

    /// Returns the issuer of a certificate that `names` issued to itself.
    fn issuer_named(names: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        super::issuer(issuer.der()).unwrap()
    }

    #[test]
    fn an_issuer_is_written_on_one_line() {
        let country = (DnType::CountryName, "US");
        let organisation = (DnType::OrganizationName, "Example Trust, Inc.\n");
        let name = (DnType::CommonName, "Example CA 3 \u{fc}");
        assert_eq!(
            issuer_named(&[country, organisation, name]),
            "C=US, O=Example Trust? Inc.?, CN=Example CA 3 \u{fc}"
        );
        assert_eq!(issuer_named(&[]), "");
        let rare = DnType::CustomDnType(vec![2, 5, 4, 65]);
        assert_eq!(issuer_named(&[(rare, "x")]), "?=x");
    }

    #[test]
    fn a_long_issuer_is_cut_between_characters() {
        let text = issuer_named(&[(DnType::CommonName, &"\u{fc}".repeat(300))]);
        assert_eq!(text, format!("CN={}", "\u{fc}".repeat(126)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            index in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            issuer(&CertificateDer::from(bytes));
            let params = CertificateParams::new(vec!["up.test".to_owned()]).unwrap();
            let mut broken = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            let index = index.index(broken.len());
            broken[index] = byte;
            issuer(&CertificateDer::from(broken));
        }
    }
}
