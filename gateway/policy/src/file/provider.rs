//! The sections `providers` and `models` as written, without the key `auth`.

use std::time::Duration;

use ipnet::IpNet;

use super::auth::{self, AuthFile};
use super::fields::{self, Fields};
use super::health;
use super::node::{Node, NodeKind};
use super::scalar;
use super::tls::{self, TlsFile};
use crate::api::Server;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::digest::Digest;
use crate::locality::Locality;
use crate::model::{Price, WeightFormat};
use crate::provider::{BreakerRule, Device, Probe};

/// Why a key of another kind of provider is refused.
const NOT_FOR_ENGINE: &str = "does not apply to a provider of kind `engine`";

/// One entry of `providers`.
#[derive(Debug)]
pub(crate) enum ProviderFile {
    Engine { device: Device },
    Http(Box<HttpFile>),
}

/// The kinds of provider that are reached over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenAi,
    Anthropic,
    AzureOpenAi,
    Bedrock,
    Vertex,
    Gemini,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::OpenAi, Self::Anthropic, Self::AzureOpenAi, Self::Bedrock, Self::Vertex, Self::Gemini];

    /// Returns the word used in the policy file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::AzureOpenAi => "azure_openai",
            Self::Bedrock => "bedrock",
            Self::Vertex => "vertex",
            Self::Gemini => "gemini",
        }
    }
}

/// A provider reached over HTTP.
#[derive(Debug)]
pub(crate) struct HttpFile {
    pub(crate) kind: Kind,
    /// Only of kind `openai`.
    pub(crate) server: Option<Server>,
    /// Only of kind `azure_openai`.
    pub(crate) api_version: Option<String>,
    pub(crate) base_url: Spanned<String>,
    pub(crate) locality: Spanned<Locality>,
    pub(crate) region: Option<String>,
    pub(crate) auth: Option<AuthFile>,
    /// Absent where the key is; an empty list is a list.
    pub(crate) cidrs: Option<Spanned<Vec<Spanned<IpNet>>>>,
    /// A name of `proxies`.
    pub(crate) proxy: Option<Spanned<String>>,
    pub(crate) tls: Option<TlsFile>,
    pub(crate) timeouts: TimeoutsFile,
    pub(crate) health: Option<Probe>,
    pub(crate) breaker: BreakerRule,
}

/// The timeouts that were written.
#[derive(Debug, Default)]
pub(crate) struct TimeoutsFile {
    pub(crate) connect: Option<Spanned<Duration>>,
    pub(crate) first_byte: Option<Spanned<Duration>>,
    pub(crate) idle: Option<Spanned<Duration>>,
    pub(crate) total: Option<Spanned<Duration>>,
}

/// One entry of `models`. Which keys are needed depends on the kind of the provider.
#[derive(Debug)]
pub(crate) struct ModelFile {
    pub(crate) at: Position,
    pub(crate) provider: Spanned<String>,
    pub(crate) path: Option<Spanned<String>>,
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) context_tokens: Option<u32>,
    pub(crate) digest: Option<Spanned<Digest>>,
    pub(crate) weights: Option<Spanned<WeightFormat>>,
    pub(crate) price: Option<Price>,
}

/// Reads one entry of `providers`.
pub(super) fn provider(node: &Node, findings: &mut Findings) -> Option<ProviderFile> {
    let mut fields = Fields::open(node, "a provider", findings)?;
    let kind = scalar::text(fields.required("kind", findings)?, findings)?;
    if kind.value == "engine" {
        return engine(fields, findings);
    }
    let Some(known) = Kind::ALL.into_iter().find(|known| known.as_str() == kind.value) else {
        let message = format!("unknown kind of provider `{}`", kind.value);
        let kinds = ["engine"].into_iter().chain(Kind::ALL.map(Kind::as_str));
        findings.unknown(kind.at, message, &kind.value, kinds);
        return None;
    };
    http(known, fields, findings).map(Box::new).map(ProviderFile::Http)
}

fn engine(mut fields: Fields<'_>, findings: &mut Findings) -> Option<ProviderFile> {
    let device = fields.optional("device");
    let locality = fields.optional("locality");
    fields.close(
        &[
            ("base_url", NOT_FOR_ENGINE),
            ("server", NOT_FOR_ENGINE),
            ("api_version", NOT_FOR_ENGINE),
            ("region", NOT_FOR_ENGINE),
            ("auth", NOT_FOR_ENGINE),
            ("cidrs", NOT_FOR_ENGINE),
            ("timeouts", NOT_FOR_ENGINE),
            ("health", NOT_FOR_ENGINE),
            ("breaker", NOT_FOR_ENGINE),
            ("proxy", NOT_FOR_ENGINE),
            ("tls", NOT_FOR_ENGINE),
        ],
        findings,
    );
    if let Some(node) = locality
        && let Some(Spanned { value, at }) = scalar::word(node, findings, &Locality::ALL, Locality::as_str)
        && value != Locality::Local
    {
        let message = format!("a provider of kind `engine` is local, not {value}");
        findings.error_with_hint(at, message, "leave `locality` out");
    }
    let device = match device {
        Some(node) => scalar::word(node, findings, &Device::ALL, Device::as_str)?.value,
        None => Device::Auto,
    };
    Some(ProviderFile::Engine { device })
}

fn http(kind: Kind, mut fields: Fields<'_>, findings: &mut Findings) -> Option<HttpFile> {
    let base_url = fields.required("base_url", findings).and_then(|node| scalar::text(node, findings));
    let locality = fields
        .required("locality", findings)
        .and_then(|node| scalar::word(node, findings, &Locality::ALL, Locality::as_str));
    let server = match kind {
        Kind::OpenAi => {
            fields.read("server", findings, |node, f| scalar::word(node, f, &Server::ALL, Server::as_str))
        }
        _ => Ok(None),
    };
    let api_version = match kind {
        Kind::AzureOpenAi => fields.read("api_version", findings, api_version),
        _ => Ok(None),
    };
    let region = fields.read("region", findings, scalar::text);
    let auth = fields.read("auth", findings, auth::auth);
    let cidrs = fields.read("cidrs", findings, |node, findings| {
        let value = fields::list(node, findings, scalar::network)?;
        Some(Spanned { value, at: node.at })
    });
    let proxy = fields.read("proxy", findings, proxy_name);
    let tls = fields.read("tls", findings, tls::tls);
    let timeouts = fields.read("timeouts", findings, timeouts);
    let health = fields.read("health", findings, health::probe);
    let breaker = fields.read("breaker", findings, health::breaker);
    let not_here = format!("does not apply to a provider of kind `{}`", kind.as_str());
    let refused = ["device", "server", "api_version"].map(|key| (key, not_here.as_str()));
    fields.close(&refused, findings);
    Some(HttpFile {
        kind,
        server: server.ok()?.map(|server| server.value),
        api_version: api_version.ok()?,
        base_url: base_url?,
        locality: locality?,
        region: region.ok()?.map(|region| region.value),
        auth: auth.ok()?,
        cidrs: cidrs.ok()?,
        proxy: proxy.ok()?,
        tls: tls.ok()?,
        timeouts: timeouts.ok()?.unwrap_or_default(),
        health: health.ok()?,
        breaker: breaker.ok()?.unwrap_or_default(),
    })
}

fn proxy_name(node: &Node, findings: &mut Findings) -> Option<Spanned<String>> {
    if let NodeKind::Map(_) = node.kind {
        let hint = "declare it under `proxies`, beside `providers`, and write its name";
        findings.error_with_hint(node.at, "a provider names its proxy", hint);
        return None;
    }
    scalar::text(node, findings)
}

/// The version stands in every URL, so it is a date and, perhaps, `-preview`.
fn api_version(node: &Node, findings: &mut Findings) -> Option<String> {
    let Spanned { value, at } = scalar::text(node, findings)?;
    let date = value.strip_suffix("-preview").unwrap_or(&value);
    let has_form = |(byte, form): (u8, u8)| match form {
        b'-' => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let form = b"0000-00-00";
    if date.len() != form.len() || !date.bytes().zip(form.iter().copied()).all(has_form) {
        let hint = "write it as `2024-10-21` or `2025-04-01-preview`, or leave it out for the `v1` form";
        findings.error_with_hint(at, format!("`{value}` is not a dated version of Azure's API"), hint);
        return None;
    }
    Some(value)
}

fn timeouts(node: &Node, findings: &mut Findings) -> Option<TimeoutsFile> {
    let mut fields = Fields::open(node, "`timeouts`", findings)?;
    let mut duration = |key| fields.read(key, findings, scalar::duration);
    let [connect, first_byte, idle, total] = ["connect", "first_byte", "idle", "total"].map(&mut duration);
    fields.close(&[], findings);
    Some(TimeoutsFile {
        connect: connect.ok()?,
        first_byte: first_byte.ok()?,
        idle: idle.ok()?,
        total: total.ok()?,
    })
}

/// Reads one entry of `models`.
pub(super) fn model(node: &Node, findings: &mut Findings) -> Option<ModelFile> {
    let mut fields = Fields::open(node, "a model", findings)?;
    let provider = fields.required("provider", findings).and_then(|node| scalar::text(node, findings));
    let path = fields.read("path", findings, scalar::text);
    let name = fields.read("name", findings, scalar::text);
    let context_tokens = fields.read("context", findings, scalar::count);
    let digest = fields.read("digest", findings, |node, f| scalar::sha256(node, f, "sha256:"));
    let weights = fields
        .read("weights", findings, |node, f| scalar::word(node, f, &WeightFormat::ALL, WeightFormat::as_str));
    let price = fields.read("price", findings, price);
    fields.close(&[], findings);
    Some(ModelFile {
        at: node.at,
        provider: provider?,
        path: path.ok()?,
        name: name.ok()?,
        context_tokens: context_tokens.ok()?,
        digest: digest.ok()?,
        weights: weights.ok()?,
        price: price.ok()?,
    })
}

fn price(node: &Node, findings: &mut Findings) -> Option<Price> {
    let mut fields = Fields::open(node, "`price`", findings)?;
    let input = fields.required("input", findings).and_then(|node| scalar::micro_usd(node, findings));
    let cached_input = fields.read("cached_input", findings, scalar::micro_usd);
    let output = fields.required("output", findings).and_then(|node| scalar::micro_usd(node, findings));
    fields.close(&[], findings);
    let input = input?;
    Some(Price { input, cached_input: cached_input.ok()?.unwrap_or(input), output: output? })
}
