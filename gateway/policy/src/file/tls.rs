//! The key `tls` of a provider as written.

use std::path::PathBuf;

use super::fields::{self, Fields};
use super::node::Node;
use super::scalar;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::tls::{self, ClientCert, Roots};

/// What is asked of a provider's certificate, as written.
#[derive(Debug)]
pub(crate) struct TlsFile {
    pub(crate) at: Position,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) roots: Roots,
    pub(crate) pins: Vec<Spanned<[u8; 32]>>,
    pub(crate) client_cert: Option<ClientCert>,
}

/// Why a key that would hold a secret is refused.
const INLINE: &str = "would put a secret into the policy";

/// Reads `tls`.
pub(super) fn tls(node: &Node, findings: &mut Findings) -> Option<TlsFile> {
    let mut fields = Fields::open(node, "`tls`", findings)?;
    let ca_file = fields.read("ca_file", findings, scalar::path);
    let public_roots = fields.read("public_roots", findings, |node, findings| {
        let value = scalar::switch(node, findings)?;
        Some(Spanned { value, at: node.at })
    });
    let pins = fields.read("pins", findings, pins);
    let client_cert = fields.read("client_cert", findings, client_cert);
    let is_empty = fields.len() == 0;
    let unchecked = ["insecure", "insecure_skip_verify", "verify", "skip_verify", "verify_ssl"];
    let refused = unchecked.map(|key| (key, "would switch off the check of certificates"));
    let hint = "name the certificate that the provider's is signed by: `ca_file: …`";
    fields.close_with_hint(&refused, hint, findings);
    if is_empty {
        let hint = "leave it out, or write `ca_file`, `pins` or `client_cert`";
        findings.error_with_hint(node.at, "`tls` asks for nothing", hint);
        return None;
    }
    let (ca_file, public_roots) = (ca_file.ok()?.map(|path| path.value), public_roots.ok()?);
    let roots = match public_roots {
        Some(Spanned { value: false, at }) if ca_file.is_none() => {
            let hint = "name the certificates that are trusted instead: `ca_file: …`";
            findings.error_with_hint(at, "`public_roots: false` alone trusts nobody", hint);
            return None;
        }
        Some(Spanned { value: false, .. }) => Roots::FileAlone,
        Some(Spanned { value: true, .. }) | None => Roots::Public,
    };
    let (pins, client_cert) = (pins.ok()?.unwrap_or_default(), client_cert.ok()?);
    Some(TlsFile { at: node.at, ca_file, roots, pins, client_cert })
}

fn pins(node: &Node, findings: &mut Findings) -> Option<Vec<Spanned<[u8; 32]>>> {
    let pins = fields::list(node, findings, pin)?;
    if pins.is_empty() {
        let hint = "leave `pins` out, or name the key: \"sha256/…\"";
        findings.error_with_hint(node.at, "an empty list of `pins` accepts no key at all", hint);
        return None;
    }
    Some(pins)
}

fn pin(node: &Node, findings: &mut Findings) -> Option<Spanned<[u8; 32]>> {
    let text = scalar::text(node, findings)?;
    let Some(value) = tls::pin(&text.value) else {
        let message = format!("`{}` is not the SHA-256 of a public key", text.value);
        let hint = "write it as \"sha256/…\", with 32 bytes in base64: 43 characters and `=`";
        findings.error_with_hint(text.at, message, hint);
        return None;
    };
    Some(Spanned { value, at: text.at })
}

fn client_cert(node: &Node, findings: &mut Findings) -> Option<ClientCert> {
    let mut fields = Fields::open(node, "`client_cert`", findings)?;
    let mut file = |key| fields.required(key, findings).and_then(|node| scalar::path(node, findings));
    let [cert_file, key_file] = ["cert_file", "key_file"].map(&mut file);
    let hint = "name the files: `cert_file: …` and `key_file: …`";
    fields.close_with_hint(&[("key", INLINE), ("private_key", INLINE)], hint, findings);
    Some(ClientCert { cert_file: cert_file?.value, key_file: key_file?.value })
}
