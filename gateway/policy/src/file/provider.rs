//! The sections `providers` and `models` as written.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::fields::{self, Fields, NOT_YET};
use super::node::Node;
use super::scalar;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::digest::Digest;
use crate::locality::Locality;
use crate::model::WeightFormat;
use crate::provider::{Device, SecretRef};

/// Kinds of provider that the format names and this version does not serve.
const KINDS_LATER: [&str; 2] = ["anthropic", "azure_openai"];

/// Why a key of another kind of provider is refused.
const NOT_FOR_ENGINE: &str = "does not apply to a provider of kind `engine`";
const NOT_FOR_OPENAI: &str = "does not apply to a provider of kind `openai`";

/// One entry of `providers`.
#[derive(Debug)]
pub(crate) enum ProviderFile {
    Engine { device: Device },
    Http(Box<HttpFile>),
}

/// A provider reached over HTTP.
#[derive(Debug)]
pub(crate) struct HttpFile {
    pub(crate) base_url: Spanned<String>,
    pub(crate) locality: Spanned<Locality>,
    pub(crate) region: Option<String>,
    pub(crate) auth: Option<AuthFile>,
    /// Absent where the key is; an empty list is a list.
    pub(crate) cidrs: Option<Spanned<Vec<Spanned<IpNet>>>>,
    pub(crate) timeouts: TimeoutsFile,
}

/// How requests are authenticated.
#[derive(Debug)]
pub(crate) enum AuthFile {
    Bearer(SecretRef),
    Headers(Vec<SecretFile>),
}

/// A header and where its value lies.
#[derive(Debug)]
pub(crate) struct SecretFile {
    pub(crate) header: Spanned<HeaderName>,
    pub(crate) secret: SecretRef,
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
}

/// Reads one entry of `providers`.
pub(super) fn provider(node: &Node, findings: &mut Findings) -> Option<ProviderFile> {
    let mut fields = Fields::open(node, "a provider", findings)?;
    let kind = scalar::text(fields.required("kind", findings)?, findings)?;
    match kind.value.as_str() {
        "engine" => engine(fields, findings),
        "openai" => http(fields, findings).map(Box::new).map(ProviderFile::Http),
        later if KINDS_LATER.contains(&later) => {
            let message = format!("`kind: {later}` {NOT_YET}");
            findings.error_with_hint(kind.at, message, "the kinds are `engine` and `openai`");
            None
        }
        other => {
            let message = format!("unknown kind of provider `{other}`");
            findings.unknown(kind.at, message, other, ["engine", "openai"]);
            None
        }
    }
}

fn engine(mut fields: Fields<'_>, findings: &mut Findings) -> Option<ProviderFile> {
    let device = fields.optional("device");
    let locality = fields.optional("locality");
    fields.close(
        &[
            ("base_url", NOT_FOR_ENGINE),
            ("region", NOT_FOR_ENGINE),
            ("auth", NOT_FOR_ENGINE),
            ("cidrs", NOT_FOR_ENGINE),
            ("timeouts", NOT_FOR_ENGINE),
            ("proxy", NOT_FOR_ENGINE),
        ],
        findings,
    );
    if let Some(node) = locality
        && let Some(Spanned { value, at }) = scalar::word(node, findings, &Locality::ALL, Locality::as_str)
        && value != Locality::Local
    {
        findings.error(at, format!("a provider of kind `engine` is local, not {value}"));
    }
    let device = match device {
        Some(node) => scalar::word(node, findings, &Device::ALL, Device::as_str)?.value,
        None => Device::Auto,
    };
    Some(ProviderFile::Engine { device })
}

fn http(mut fields: Fields<'_>, findings: &mut Findings) -> Option<HttpFile> {
    let base_url = fields.required("base_url", findings).and_then(|node| scalar::text(node, findings));
    let locality = fields
        .required("locality", findings)
        .and_then(|node| scalar::word(node, findings, &Locality::ALL, Locality::as_str));
    let region = fields.read("region", findings, scalar::text);
    let auth = fields.read("auth", findings, auth);
    let cidrs = fields.read("cidrs", findings, |node, findings| {
        let value = fields::list(node, findings, scalar::network)?;
        Some(Spanned { value, at: node.at })
    });
    let timeouts = fields.read("timeouts", findings, timeouts);
    fields.close(&[("device", NOT_FOR_OPENAI), ("proxy", NOT_YET)], findings);
    Some(HttpFile {
        base_url: base_url?,
        locality: locality?,
        region: region.ok()?.map(|region| region.value),
        auth: auth.ok()?,
        cidrs: cidrs.ok()?,
        timeouts: timeouts.ok()?.unwrap_or_default(),
    })
}

fn auth(node: &Node, findings: &mut Findings) -> Option<AuthFile> {
    let mut fields = Fields::open(node, "`auth`", findings)?;
    let ways = [
        fields.optional("bearer_file").and_then(|n| secret(n, findings, file_secret)).map(AuthFile::Bearer),
        fields.optional("bearer_env").and_then(|n| secret(n, findings, env_secret)).map(AuthFile::Bearer),
        fields.optional("header_file").and_then(|n| headers(n, findings, file_secret)).map(AuthFile::Headers),
        fields.optional("header_env").and_then(|n| headers(n, findings, env_secret)).map(AuthFile::Headers),
    ];
    let inline = "would put a secret into the policy";
    let inline_keys = ["bearer", "token", "api_key", "key", "header", "headers", "basic", "password"];
    let refused: Vec<_> = inline_keys
        .into_iter()
        .map(|key| (key, inline))
        .chain([("sigv4", NOT_YET), ("google", NOT_YET)])
        .collect();
    let written_count = fields.len();
    fields.close(&refused, findings);
    if written_count != 1 {
        let hint = "write one of `bearer_file`, `bearer_env`, `header_file` and `header_env`";
        findings.error_with_hint(node.at, "`auth` names one way to authenticate", hint);
        return None;
    }
    ways.into_iter().flatten().next()
}

fn file_secret(path: String) -> SecretRef {
    SecretRef::File(PathBuf::from(path))
}

fn env_secret(variable: String) -> SecretRef {
    SecretRef::Env(variable)
}

fn secret(node: &Node, findings: &mut Findings, reference: fn(String) -> SecretRef) -> Option<SecretRef> {
    let Spanned { value, at } = scalar::text(node, findings)?;
    let reference = reference(value);
    if let SecretRef::Env(variable) = &reference
        && !is_variable_name(variable)
    {
        // The text is not repeated: it may be the secret itself, written in the wrong place.
        let hint = "write the variable's name, such as `OPENAI_API_KEY`, not its value";
        findings.error_with_hint(at, "this is not the name of an environment variable", hint);
        return None;
    }
    Some(reference)
}

fn headers(
    node: &Node,
    findings: &mut Findings,
    reference: fn(String) -> SecretRef,
) -> Option<Vec<SecretFile>> {
    let entries = fields::entries(node, "headers", findings)?;
    if entries.is_empty() {
        findings.error(node.at, "no header is named");
        return None;
    }
    let headers = entries.iter().filter_map(|entry| {
        let header = header_name(&entry.key, findings)?;
        let secret = secret(&entry.value, findings, reference)?;
        Some(SecretFile { header, secret })
    });
    Some(headers.collect())
}

fn header_name(key: &Spanned<String>, findings: &mut Findings) -> Option<Spanned<HeaderName>> {
    let Ok(value) = HeaderName::from_lowercase(key.value.as_bytes()) else {
        findings.error(key.at, format!("`{}` is not a header name in lower case", key.value));
        return None;
    };
    Some(Spanned { value, at: key.at })
}

fn is_variable_name(text: &str) -> bool {
    let is_first_plain = !text.starts_with(|c: char| c.is_ascii_digit());
    is_first_plain && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
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
    fields.close(&[("price", NOT_YET)], findings);
    Some(ModelFile {
        at: node.at,
        provider: provider?,
        path: path.ok()?,
        name: name.ok()?,
        context_tokens: context_tokens.ok()?,
        digest: digest.ok()?,
        weights: weights.ok()?,
    })
}
