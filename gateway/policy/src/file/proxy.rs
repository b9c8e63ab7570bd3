//! The section `proxies` as written.

use std::path::PathBuf;

use ipnet::IpNet;

use super::fields::{self, Fields};
use super::node::Node;
use super::scalar;
use crate::diagnostic::{Findings, Spanned};
use crate::proxy::Resolve;

/// One entry of `proxies`.
#[derive(Debug)]
pub(crate) struct ProxyFile {
    pub(crate) url: Spanned<String>,
    pub(crate) auth_file: Option<PathBuf>,
    pub(crate) ca_file: Option<Spanned<PathBuf>>,
    pub(crate) resolve: Resolve,
    pub(crate) cidrs: Vec<Spanned<IpNet>>,
}

/// Why a key that would hold a secret is refused.
const INLINE: &str = "would put a secret into the policy";

/// Reads one entry of `proxies`.
pub(super) fn proxy(node: &Node, findings: &mut Findings) -> Option<ProxyFile> {
    let mut fields = Fields::open(node, "a proxy", findings)?;
    let url = fields.required("url", findings).and_then(|node| scalar::text(node, findings));
    let auth_file = fields.read("auth_file", findings, scalar::path);
    let ca_file = fields.read("ca_file", findings, scalar::path);
    let resolve =
        fields.read("resolve", findings, |node, f| scalar::word(node, f, &Resolve::ALL, Resolve::as_str));
    let cidrs =
        fields.read("cidrs", findings, |node, findings| fields::list(node, findings, scalar::network));
    let inline = ["auth", "user", "username", "password", "basic", "token"].map(|key| (key, INLINE));
    let hint = "name the file that holds `user:password` on one line: `auth_file: …`";
    fields.close_with_hint(&inline, hint, findings);
    Some(ProxyFile {
        url: url?,
        auth_file: auth_file.ok()?.map(|path| path.value),
        ca_file: ca_file.ok()?,
        resolve: resolve.ok()?.map_or(Resolve::Local, |resolve| resolve.value),
        cidrs: cidrs.ok()?.unwrap_or_default(),
    })
}
