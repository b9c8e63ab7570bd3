//! Providers and models: addresses that mean one thing, and localities that are true.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE};
use ipnet::IpNet;
use url::Host;

use super::{Table, base_url, network, refuse_repetition, resolve};
use crate::api::{Api, Server};
use crate::auth::Auth;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::{AuthFile, HttpFile, Kind, ModelFile, ProviderFile, TimeoutsFile, TlsFile};
use crate::host;
use crate::locality::Locality;
use crate::model::{EngineTarget, Model, Target, WeightFormat};
use crate::name::{ModelName, ProviderName, ProxyName};
use crate::provider::{Destination, Provider, Scheme, Timeouts};
use crate::proxy::{Proxy, Resolve};
use crate::tls::{TlsRule, show_pin};

/// Timeouts of a provider that sets none. The first byte may have to wait for a long prompt to be read.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(2 * 60),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(10 * 60),
};

/// Headers that carry the message itself; a secret in one of them would break it.
const FRAMING: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE];

/// The proxies that a provider may name.
type Proxies = Table<ProxyName, Arc<Proxy>>;

/// Compiles one provider.
pub(super) fn provider(
    name: &Spanned<ProviderName>,
    file: &ProviderFile,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Option<Provider> {
    match file {
        ProviderFile::Engine { device } => {
            Some(Provider::Engine { name: name.value.clone(), device: *device })
        }
        ProviderFile::Http(file) => {
            let destination = destination(name, file, proxies, findings)?;
            Some(Provider::Http(Arc::new(destination)))
        }
    }
}

fn destination(
    name: &Spanned<ProviderName>,
    file: &HttpFile,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Option<Destination> {
    let url = base_url::base_url(&file.base_url, findings);
    let locality = file.locality.value;
    let cidrs = cidrs(name.at, file, findings);
    let auth = auth(file.kind, file.auth.as_ref(), findings);
    let proxy = match &file.proxy {
        Some(reference) => proxy(reference, file, proxies, findings).map(Some),
        None => Some(None),
    };
    let (url, cidrs, auth, proxy) = (url?, cidrs?, auth?, proxy?);
    let tls = file.tls.as_ref().map(|file| tls(file, url.scheme, findings)).unwrap_or_default();
    if url.scheme == Scheme::Http && locality != Locality::Local {
        let message = format!("a {locality} provider is reached over `https`, not `http`");
        findings.error_with_hint(file.base_url.at, message, "write `https://…`, or `locality: local`");
    }
    if let Some(address) = host::address(&url.host)
        && !cidrs.is_empty()
        && !cidrs.iter().any(|network| network.contains(&address))
    {
        let message = format!("the address {address} is in none of the provider's `cidrs`");
        findings.error_with_hint(file.base_url.at, message, "write the network that it is in under `cidrs`");
    }
    if locality == Locality::Hosted && file.region.is_none() {
        let hint = "write `region: …`, so that records say where the data went";
        findings.warning(name.at, format!("the hosted provider `{}` has no region", name.value), hint);
    }
    base_url::check_habits(file.kind, &url, file.base_url.at, findings);
    if let Auth::SigV4(sigv4) = &auth {
        base_url::check_region(&url, file.base_url.at, sigv4.region(), findings);
    }
    Some(Destination {
        provider: name.value.clone(),
        api: api(file, &url.host),
        scheme: url.scheme,
        host: url.host,
        port: url.port,
        base_path: url.base_path,
        cidrs,
        locality,
        region: file.region.clone(),
        auth,
        proxy,
        tls,
        timeouts: timeouts(&file.timeouts),
        health: file.health.clone(),
        breaker: file.breaker,
    })
}

fn api(file: &HttpFile, host: &Host) -> Api {
    match file.kind {
        Kind::OpenAi => Api::OpenAi(file.server.unwrap_or_else(|| Server::at(host))),
        Kind::Anthropic => Api::Anthropic,
        Kind::AzureOpenAi => Api::AzureOpenAi { api_version: file.api_version.clone() },
        Kind::Bedrock => Api::Bedrock,
        Kind::Vertex => Api::Vertex,
        Kind::Gemini => Api::Gemini,
    }
}

/// Checks the networks of a provider, which say what `local` means for it.
fn cidrs(name_at: Position, file: &HttpFile, findings: &mut Findings) -> Option<Vec<IpNet>> {
    let locality = file.locality.value;
    let networks = match &file.cidrs {
        Some(networks) => networks,
        None if locality == Locality::Local => {
            let hint = "write the networks that it may be in, such as `cidrs: [10.20.0.0/16]`";
            findings.error_with_hint(name_at, "a local provider needs `cidrs`", hint);
            return None;
        }
        None => return Some(Vec::new()),
    };
    match locality {
        Locality::Hosted => {
            let hint = "a service at a private address is `dedicated` or `local`";
            findings.error_with_hint(networks.at, "a hosted provider has no `cidrs`", hint);
            return None;
        }
        Locality::Local if networks.value.is_empty() => {
            let message = "an empty list of `cidrs` allows no address at all";
            findings.error_with_hint(networks.at, message, "write them as `[10.20.0.0/16]`");
            return None;
        }
        Locality::Local | Locality::Dedicated => {}
    }
    Some(network::networks(&networks.value, "the provider's servers", findings))
}

/// Finds the proxy of a provider. What the proxy would make unenforceable must not be written beside it.
fn proxy(
    reference: &Spanned<String>,
    file: &HttpFile,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Option<Arc<Proxy>> {
    let proxy = resolve(proxies, reference, "proxy", findings);
    if file.locality.value == Locality::Local {
        let hint = "leave `proxy` out, or declare where the provider is: `locality: dedicated` or `hosted`";
        findings.error_with_hint(reference.at, "a local provider is called directly, without a proxy", hint);
        return None;
    }
    let proxy = proxy?;
    if let (Resolve::Proxy, Some(networks)) = (proxy.resolve, &file.cidrs) {
        let message = format!("nobody checks `cidrs` behind `{}`, which resolves names itself", proxy.name);
        findings.error_with_hint(networks.at, message, "remove them, or write `resolve: local` in the proxy");
    }
    Some(proxy.clone())
}

fn tls(file: &TlsFile, scheme: Scheme, findings: &mut Findings) -> TlsRule {
    let TlsFile { at, ca_file, roots, pins, client_cert } = file;
    if scheme == Scheme::Http {
        let hint = "write `base_url: https://…`, or leave `tls` out";
        findings.error_with_hint(*at, "`tls` does not apply to a provider at `http://`", hint);
    }
    let places = pins.iter().map(|pin| (pin.at, pin.value));
    refuse_repetition(places, |pin| format!("`{}` is already in this list", show_pin(pin)), findings);
    let mut pins: Vec<[u8; 32]> = pins.iter().map(|pin| pin.value).collect();
    pins.sort_unstable();
    TlsRule { ca_file: ca_file.clone(), roots: *roots, pins, client_cert: client_cert.clone() }
}

fn auth(kind: Kind, file: Option<&AuthFile>, findings: &mut Findings) -> Option<Auth> {
    let mut only_for = |key: &str, kinds: &[Kind], at: Position| {
        let fits = kinds.contains(&kind);
        if !fits {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
            let message = format!("`{key}` does not apply to a provider of kind `{}`", kind.as_str());
            let hint = format!("it is for the kind {}", kinds.join(" and the kind "));
            findings.error_with_hint(at, message, hint);
        }
        fits
    };
    let headers = match file {
        None => return Some(Auth::None),
        Some(AuthFile::Bearer(secret)) => return Some(Auth::Bearer(secret.clone())),
        Some(AuthFile::SigV4(Spanned { value, at })) => {
            return only_for("sigv4", &[Kind::Bedrock], *at).then(|| Auth::SigV4(value.clone()));
        }
        Some(AuthFile::Google(Spanned { value, at })) => {
            let kinds = [Kind::Vertex, Kind::Gemini];
            return only_for("google", &kinds, *at).then(|| Auth::Google(value.clone()));
        }
        Some(AuthFile::Headers(headers)) => headers,
    };
    let mut compiled = Vec::with_capacity(headers.len());
    for header in headers {
        if FRAMING.contains(&header.header.value) {
            let message = format!("`{}` is not a header for secrets", header.header.value);
            let hint = "write the one that the provider asks for, such as `x-api-key`";
            findings.error_with_hint(header.header.at, message, hint);
            return None;
        }
        compiled.push((header.header.value.clone(), header.secret.clone()));
    }
    compiled.sort_unstable_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    Some(Auth::Headers(compiled))
}

fn timeouts(file: &TimeoutsFile) -> Timeouts {
    let or = |written: &Option<Spanned<Duration>>, default| written.as_ref().map_or(default, |t| t.value);
    Timeouts {
        connect: or(&file.connect, TIMEOUTS.connect),
        first_byte: or(&file.first_byte, TIMEOUTS.first_byte),
        idle: or(&file.idle, TIMEOUTS.idle),
        total: or(&file.total, TIMEOUTS.total),
    }
}

/// Compiles one model.
pub(super) fn model(
    name: &ModelName,
    file: &ModelFile,
    providers: &Table<ProviderName, Provider>,
    findings: &mut Findings,
) -> Option<Model> {
    let provider = resolve(providers, &file.provider, "provider", findings)?;
    let (target, upstream_name) = match provider {
        Provider::Engine { device, .. } => {
            refuse_key(file.name.as_ref(), "name", "engine", findings);
            let path = require_key(file, file.path.as_ref(), "path", findings)?;
            let weights = file.weights.as_ref().map_or(WeightFormat::AsStored, |weights| weights.value);
            let target = EngineTarget { path: path.into(), device: *device, weights };
            (Target::Engine(target), name.as_str().to_owned())
        }
        Provider::Http(destination) => {
            let kind = destination.api.as_str();
            refuse_key(file.path.as_ref(), "path", kind, findings);
            refuse_key(file.digest.as_ref(), "digest", kind, findings);
            refuse_key(file.weights.as_ref(), "weights", kind, findings);
            let upstream_name = require_key(file, file.name.as_ref(), "name", findings)?;
            (Target::Http(destination.clone()), upstream_name)
        }
    };
    Some(Model {
        name: name.clone(),
        provider: provider.name().clone(),
        upstream_name,
        locality: provider.locality(),
        target,
        context_tokens: file.context_tokens,
        weights_digest: file.digest.as_ref().map(|digest| digest.value),
        price: file.price,
    })
}

fn require_key(
    file: &ModelFile,
    value: Option<&Spanned<String>>,
    key: &str,
    findings: &mut Findings,
) -> Option<String> {
    if value.is_none() {
        let message = format!("`{key}` is missing in a model of the provider `{}`", file.provider.value);
        findings.error_with_hint(file.at, message, format!("add `{key}: …`"));
    }
    value.map(|value| value.value.clone())
}

fn refuse_key<T>(value: Option<&Spanned<T>>, key: &str, kind: &str, findings: &mut Findings) {
    if let Some(Spanned { at, .. }) = value {
        let message = format!("`{key}` does not apply to a model of a provider of kind `{kind}`");
        findings.error_with_hint(*at, message, "remove it, or name another provider");
    }
}
