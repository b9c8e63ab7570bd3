//! Proxies: an address that means one thing, and a way that can be vouched for.

use url::{Host, Url};

use super::network;
use crate::diagnostic::{Findings, Spanned};
use crate::file::ProxyFile;
use crate::host;
use crate::name::ProxyName;
use crate::provider::Scheme;
use crate::proxy::Proxy;

/// How the URL of a proxy is written.
const FORM: &str = "write it as `http://proxy.corp.example:3128` or `https://proxy.corp.example`";

/// Compiles one proxy.
pub(super) fn proxy(name: &ProxyName, file: &ProxyFile, findings: &mut Findings) -> Option<Proxy> {
    let url = url(&file.url, findings);
    let cidrs = network::networks(&file.cidrs, "the proxy's addresses", findings);
    let (scheme, host, port) = url?;
    if let (Scheme::Http, Some(ca_file)) = (scheme, &file.ca_file) {
        let hint = "if the proxy opens the provider's TLS, write it as `tls: { ca_file: … }` in the provider";
        let message = "`ca_file` is for the certificate of a proxy at `https://`, and this one has none";
        findings.warning(ca_file.at, message, hint);
    }
    if let Some(address) = host::address(&host)
        && !cidrs.iter().any(|network| network.contains(&address))
        && (network::is_private(address) || !cidrs.is_empty())
    {
        let message = format!("the address {address} is in none of the proxy's `cidrs`");
        findings.error_with_hint(file.url.at, message, "write the network that it is in under `cidrs`");
    }
    Some(Proxy {
        name: name.clone(),
        scheme,
        host,
        port,
        auth_file: file.auth_file.clone(),
        ca_file: file.ca_file.as_ref().map(|path| path.value.clone()),
        resolve: file.resolve,
        cidrs,
    })
}

/// Reads a URL of nothing but scheme, host and port.
fn url(text: &Spanned<String>, findings: &mut Findings) -> Option<(Scheme, Host, u16)> {
    let Spanned { value: text, at } = text;
    // A text that has a user name in it is not repeated: it may hold a password.
    let is_secret = text.contains('@');
    let mut refuse = |message: &str, hint: &str| {
        let what = if is_secret { "the URL".to_owned() } else { format!("`{text}`") };
        findings.error_with_hint(*at, format!("{what} {message}"), hint);
        None
    };
    let Ok(url) = Url::parse(text) else { return refuse("is not a URL", FORM) };
    let (scheme, default_port) = match url.scheme() {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        _ => return refuse("has another scheme than `http` and `https`", FORM),
    };
    if is_secret {
        return refuse("names a user", "put `user:password` into a file and name it: `auth_file: …`");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return refuse("has more than a host and a port", FORM);
    }
    let authority = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    // The default port is written like any other, so that nobody has to know which one it is.
    let is_default_written = authority.ends_with(&format!(":{default_port}"));
    let written = url.port().or_else(|| is_default_written.then_some(default_port));
    let host = url.host_str().map(host::parse_host);
    let Some(Ok(host)) = host else {
        return refuse("has a host that is not a plain name or an address", "use letters, digits and `-`");
    };
    let normal = match written {
        Some(port) => format!("{}://{host}:{port}", scheme.as_str()),
        None => format!("{}://{host}", scheme.as_str()),
    };
    if *text != normal && *text != format!("{normal}/") {
        return refuse("is not in its normal form", &format!("write `{normal}`"));
    }
    match (written, scheme) {
        (Some(0), _) => refuse("has the port 0, which no one listens at", FORM),
        (Some(port), _) => Some((scheme, host, port)),
        (None, Scheme::Https) => Some((scheme, host, default_port)),
        (None, Scheme::Http) => refuse("has no port, and proxies have no usual one", FORM),
    }
}
