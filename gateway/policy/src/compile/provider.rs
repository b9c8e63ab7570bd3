//! Providers and models: addresses that mean one thing, and localities that are true.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE};
use ipnet::IpNet;
use url::Host;

use super::{Table, base_url, resolve};
use crate::api::{Api, Server};
use crate::auth::Auth;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::{AuthFile, HttpFile, Kind, ModelFile, ProviderFile, TimeoutsFile};
use crate::host;
use crate::locality::Locality;
use crate::model::{EngineTarget, Model, Target, WeightFormat};
use crate::name::{ModelName, ProviderName};
use crate::provider::{Destination, Provider, Scheme, Timeouts};

/// Timeouts of a provider that sets none. The first byte may have to wait for a long prompt to be read.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(2 * 60),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(10 * 60),
};

/// Networks that no one on the public internet answers in.
const PRIVATE: [&str; 7] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128"];
/// Networks that no model is served from, and that hold instance metadata, multicast or mapped addresses.
const NEVER: [&str; 9] = [
    "0.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fe80::/10",
    "ff00::/8",
];
/// Headers that carry the message itself; a secret in one of them would break it.
const FRAMING: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE];

/// Compiles one provider.
pub(super) fn provider(
    name: &Spanned<ProviderName>,
    file: &ProviderFile,
    findings: &mut Findings,
) -> Option<Provider> {
    match file {
        ProviderFile::Engine { device } => {
            Some(Provider::Engine { name: name.value.clone(), device: *device })
        }
        ProviderFile::Http(file) => {
            let destination = destination(name, file, findings)?;
            Some(Provider::Http(Arc::new(destination)))
        }
    }
}

fn destination(
    name: &Spanned<ProviderName>,
    file: &HttpFile,
    findings: &mut Findings,
) -> Option<Destination> {
    let url = base_url::base_url(&file.base_url, findings);
    let locality = file.locality.value;
    let cidrs = cidrs(name.at, file, findings);
    let auth = auth(file.kind, file.auth.as_ref(), findings);
    let (url, cidrs, auth) = (url?, cidrs?, auth?);
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
    for Spanned { value: network, at } in &networks.value {
        check_network(network, *at, findings);
    }
    let mut networks: Vec<IpNet> = networks.value.iter().map(|network| network.value).collect();
    networks.sort_unstable();
    networks.dedup();
    Some(networks)
}

fn check_network(network: &IpNet, at: Position, findings: &mut Findings) {
    let parse = |text: &&str| text.parse::<IpNet>().expect("the networks of this file are well-formed");
    let overlapping = |other: &IpNet| other.contains(network) || network.contains(other);
    if let Some(never) = NEVER.iter().map(parse).find(overlapping) {
        let message = format!("`{network}` overlaps `{never}`, where no model is served from");
        findings.error_with_hint(at, message, "write the network that the provider's servers are in");
    } else if !PRIVATE.iter().map(parse).any(|private| private.contains(network)) {
        let hint = "make sure that all of it is yours: it counts as part of your own network";
        findings.warning(at, format!("`{network}` is public address space"), hint);
    }
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
