//! One deployment: which service answers, where it is, and how it is told who asks.

use std::net::IpAddr;

use url::{Host, Url};

use super::config::Deployment;
use super::service::{self, Service};
use crate::diagnostic::{Findings, Position, Spanned};

/// What a provider of the policy file will say. Two deployments with the same share a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upstream {
    /// What the provider is called, before a number is added.
    pub(super) stem: &'static str,
    pub(super) kind: &'static str,
    pub(super) server: Option<&'static str>,
    pub(super) api_version: Option<String>,
    pub(super) base_url: String,
    pub(super) cidrs: Vec<String>,
    pub(super) region: Option<String>,
    /// The value of `auth`, as YAML.
    pub(super) auth: Option<String>,
}

impl Upstream {
    pub(super) fn is_local(&self) -> bool {
        !self.cidrs.is_empty()
    }
}

/// The host of a service whose address the configuration does not hold.
const UNKNOWN: &str = "https://change-me.example/v1";
/// Where the key of a service account goes if the configuration does not name its file.
const GOOGLE_KEY: &str = "/run/secrets/google.json";
/// The region that `LiteLLM` takes if there is none.
const AWS_REGION: &str = "us-west-2";
/// The location that `LiteLLM` takes if there is none.
const VERTEX_LOCATION: &str = "us-central1";
/// Networks that a name inside a company may stand for.
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// Keys that people write where a server asks for none.
const NO_KEYS: [&str; 8] = ["none", "null", "empty", "fake", "dummy", "anything", "not-needed", "ollama"];

/// Returns where the calls of a deployment go and what the model is called there.
pub(super) fn upstream(deployment: &Deployment, findings: &mut Findings) -> Option<(Upstream, String)> {
    let group = &deployment.group.value;
    let Some(model) = deployment.param("model") else {
        findings.warning(deployment.group.at, format!("`{group}` names no `model`"), "it is left out");
        return None;
    };
    let is_line = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    if !is_line(group) || !is_line(model.value) {
        findings.warning(model.at, "a name is empty or has more than one line", "the entry is left out");
        return None;
    }
    if model.value.contains('*') || group.contains('*') {
        let hint = "write each model out: which model answers is for the policy to say, not for the caller";
        findings.warning(model.at, format!("`{group}` stands for any model, and is left out"), hint);
        return None;
    }
    let Some((service, name)) = service::of(model.value).filter(|(_, name)| !name.is_empty()) else {
        let hint = "no kind of provider speaks its API; one that copies OpenAI's is `kind: openai`";
        findings.warning(model.at, format!("`{}` has no counterpart, and is left out", model.value), hint);
        return None;
    };
    let place = match service.kind {
        "bedrock" => Place::at(bedrock_url(deployment, findings)),
        "vertex" => Place::at(vertex_url(deployment, findings)),
        _ => base_url(deployment, service, findings),
    };
    let region = match service.kind {
        "bedrock" => Some(deployment.param("aws_region_name").map_or(AWS_REGION, |region| region.value)),
        "vertex" => Some(location(deployment)),
        _ => None,
    };
    let upstream = Upstream {
        stem: if is_copy(service, &place.base_url) { "compatible" } else { service.stem },
        kind: service.kind,
        server: service.server.filter(|server| *server != "compatible"),
        api_version: api_version(deployment, service, findings),
        auth: auth(deployment, service, place.is_local(), findings),
        base_url: place.base_url,
        cidrs: place.cidrs,
        region: region.filter(|region| reference(region).is_none()).map(str::to_owned),
    };
    Some((upstream, upstream_name(service, name)))
}

/// Returns whether `OpenAI`'s name stands for a server that copies its API.
fn is_copy(service: &Service, base_url: &str) -> bool {
    service.stem == "openai" && !base_url.starts_with("https://api.openai.com/")
}

/// Takes off what says how to call a model and not which one it is.
fn upstream_name(service: &Service, name: &str) -> String {
    let behind =
        |prefixes: &[&str]| prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    match service.kind {
        "bedrock" => behind(&["converse/", "invoke/"]).to_owned(),
        "openai" => behind(&["chat/", "responses/", "chat_completion/"]).to_owned(),
        "vertex" if name.starts_with("claude-") => format!("anthropic/{name}"),
        _ => name.to_owned(),
    }
}

/// Where a service is, in the words of a policy file.
struct Place {
    base_url: String,
    cidrs: Vec<String>,
}

impl Place {
    fn at(base_url: String) -> Self {
        Self { base_url, cidrs: Vec::new() }
    }

    fn is_local(&self) -> bool {
        !self.cidrs.is_empty()
    }
}

fn base_url(deployment: &Deployment, service: &Service, findings: &mut Findings) -> Place {
    let group = &deployment.group.value;
    let written = deployment.param("api_base").or_else(|| deployment.param("base_url"));
    let Some(Spanned { value: written, at }) = written else {
        if service.base_url.is_empty() {
            let message = format!("`{group}` does not say where `{}` is", service.prefix);
            findings.warning(deployment.group.at, message, "write its `base_url`");
            return Place::at(UNKNOWN.to_owned());
        }
        return place(&Url::parse(service.base_url).expect("the addresses of this file are well-formed"));
    };
    if let Some(variable) = reference(written) {
        let message = format!("the address of `{group}` stands in the variable `{variable}`");
        findings.warning(at, message, "write it out: who reads the policy sees where calls go");
        return Place::at(UNKNOWN.to_owned());
    }
    let url =
        Url::parse(written).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    let Some(mut url) = url else {
        findings.warning(at, format!("the `api_base` of `{group}` is not a URL"), "write its `base_url`");
        return Place::at(UNKNOWN.to_owned());
    };
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        let hint = "a secret in an address belongs into `auth`";
        findings.warning(
            at,
            format!("only host and path of the `api_base` of `{group}` are carried over"),
            hint,
        );
        url.set_query(None);
        url.set_fragment(None);
        let is_plain = url.set_username("").and_then(|()| url.set_password(None));
        is_plain.expect("a URL with a host can have a user, and so have none");
    }
    if matches!(url.host(), Some(Host::Ipv4(address)) if address.is_unspecified()) {
        let is_set = url.set_ip_host(IpAddr::from([127, 0, 0, 1]));
        is_set.expect("a URL with an address can have another one");
    }
    let path = path(service, url.path()).to_owned();
    url.set_path(&path);
    place_of(&url, at, group, findings)
}

/// Returns the part of a path that the policy file has: the rest is added by the gateway.
fn path<'p>(service: &Service, written: &'p str) -> &'p str {
    let path = written.trim_end_matches('/');
    let ends: &[&str] = match service.kind {
        "anthropic" => &["/v1/messages", "/v1"],
        "azure_openai" => return path.split("/openai").next().unwrap_or(path),
        _ => &["/chat/completions", "/completions", "/embeddings"],
    };
    let path = ends.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
    // Ollama's own API has no version, its copy of OpenAI's does.
    if service.server == Some("ollama") && path.is_empty() { "/v1" } else { path }
}

fn place_of(url: &Url, at: Position, group: &str, findings: &mut Findings) -> Place {
    let is_plain_http = url.scheme() == "http";
    let place = place(url);
    if place.is_local() || !is_plain_http {
        return place;
    }
    let message = format!("`{group}` is reached over `http`, which only local providers are");
    findings.warning(at, message, "narrow its `cidrs` to the network that it is in, or write `https`");
    Place { cidrs: PRIVATE.map(str::to_owned).to_vec(), ..place }
}

fn place(url: &Url) -> Place {
    let cidrs = match url.host() {
        Some(Host::Domain("localhost")) => vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
        Some(Host::Ipv4(address)) if address.is_loopback() => vec!["127.0.0.0/8".to_owned()],
        Some(Host::Ipv4(address)) if address.is_private() => vec![format!("{address}/32")],
        Some(Host::Ipv6(address)) if address.is_loopback() || address.is_unique_local() => {
            vec![format!("{address}/128")]
        }
        _ => Vec::new(),
    };
    Place { base_url: url.as_str().trim_end_matches('/').to_owned(), cidrs }
}

fn bedrock_url(deployment: &Deployment, findings: &mut Findings) -> String {
    let group = &deployment.group.value;
    let region = deployment.param("aws_region_name");
    let fault = match &region {
        None => Some((deployment.group.at, "names no `aws_region_name`")),
        Some(region) => reference(region.value).map(|_| (region.at, "has its region in a variable")),
    };
    if let Some((at, fault)) = fault {
        let hint =
            "write it in `base_url` and under `sigv4`; for now it is that which LiteLLM takes without one";
        findings.warning(at, format!("`{group}` {fault}"), hint);
    }
    format!("https://bedrock-runtime.{}.amazonaws.com", aws_region(deployment))
}

fn aws_region(deployment: &Deployment) -> &str {
    let region = deployment.param("aws_region_name").map(|region| region.value);
    region.filter(|region| reference(region).is_none()).unwrap_or(AWS_REGION)
}

fn vertex_url(deployment: &Deployment, findings: &mut Findings) -> String {
    let group = &deployment.group.value;
    let location = location(deployment);
    let project = deployment.param("vertex_project");
    let project = project.map(|project| project.value).filter(|project| reference(project).is_none());
    if project.is_none() {
        let message = format!("`{group}` does not say its project");
        findings.warning(deployment.group.at, message, "write it in place of `change-me` in `base_url`");
    }
    let project = project.unwrap_or("change-me");
    let host = if location == "global" { String::new() } else { format!("{location}-") };
    format!("https://{host}aiplatform.googleapis.com/v1/projects/{project}/locations/{location}")
}

fn location(deployment: &Deployment) -> &str {
    let location = deployment.param("vertex_location").map(|location| location.value);
    location.filter(|location| reference(location).is_none()).unwrap_or(VERTEX_LOCATION)
}

fn api_version(deployment: &Deployment, service: &Service, findings: &mut Findings) -> Option<String> {
    let Spanned { value, at } = deployment.param("api_version")?;
    if service.kind != "azure_openai" {
        return None;
    }
    let date = value.strip_suffix("-preview").unwrap_or(value);
    let is_dated = date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if !is_dated {
        let message = format!("the `api_version` of `{}` is not a date", deployment.group.value);
        findings.warning(at, message, "without it the `v1` form of the API is used");
    }
    is_dated.then(|| value.to_owned())
}

fn auth(
    deployment: &Deployment,
    service: &Service,
    is_local: bool,
    findings: &mut Findings,
) -> Option<String> {
    match service.kind {
        "bedrock" => return Some(sigv4(deployment)),
        "vertex" => {
            let file = deployment.param("vertex_credentials").filter(|file| is_path(file.value));
            if file.is_none() {
                let message = format!("`{}` does not say in which file its key is", deployment.group.value);
                let hint = format!("put the JSON of its service account into `{GOOGLE_KEY}`");
                findings.warning(deployment.group.at, message, hint);
            }
            let file = file.map_or(GOOGLE_KEY, |file| file.value);
            return Some(format!("{{ google: {{ key_file: {} }} }}", quoted(file)));
        }
        _ => {}
    }
    let group = &deployment.group.value;
    let secret = match deployment.param("api_key") {
        None if service.variable.is_empty() => return None,
        None if is_local => return None,
        None => Secret::Variable(service.variable.to_owned()),
        Some(key) => match reference(key.value) {
            Some(variable) => Secret::Variable(variable.to_owned()),
            None if is_no_key(key.value) => return None,
            None => {
                let file = format!("/run/secrets/{}", service.stem);
                let message =
                    format!("the key of `{group}` stands in the configuration, and is not carried over");
                let hint = format!("put a new one into `{file}`: whoever could read the file has this one");
                findings.warning(key.at, message, hint);
                Secret::File(file)
            }
        },
    };
    let header = match service.kind {
        "anthropic" => Some("x-api-key"),
        "azure_openai" => Some("api-key"),
        "gemini" => Some("x-goog-api-key"),
        _ => None,
    };
    Some(match (header, secret) {
        (None, Secret::Variable(variable)) => format!("{{ bearer_env: {variable} }}"),
        (None, Secret::File(file)) => format!("{{ bearer_file: {file} }}"),
        (Some(header), Secret::Variable(variable)) => format!("{{ header_env: {{ {header}: {variable} }} }}"),
        (Some(header), Secret::File(file)) => format!("{{ header_file: {{ {header}: {file} }} }}"),
    })
}

enum Secret {
    Variable(String),
    File(String),
}

fn sigv4(deployment: &Deployment) -> String {
    let variable = |key: &str, usual: &'static str| {
        deployment.param(key).and_then(|value| reference(value.value)).unwrap_or(usual).to_owned()
    };
    let id = variable("aws_access_key_id", "AWS_ACCESS_KEY_ID");
    let secret = variable("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY");
    let token = deployment.param("aws_session_token").and_then(|value| reference(value.value));
    let token = token.map(|token| format!(", session_token_env: {token}")).unwrap_or_default();
    let region = aws_region(deployment);
    format!(
        "{{ sigv4: {{ region: {region}, access_key_id_env: {id}, secret_access_key_env: {secret}{token} }} }}"
    )
}

/// Returns the variable that a value refers to.
fn reference(value: &str) -> Option<&str> {
    let variable = value.strip_prefix("os.environ/")?;
    let is_name = variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_variable = is_name && !variable.starts_with(|c: char| c.is_ascii_digit());
    // A name that no policy file may hold is still a reference, and never a key.
    Some(if is_variable && !variable.is_empty() { variable } else { "CHANGE_ME" })
}

fn is_no_key(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    NO_KEYS.iter().any(|none| value == *none || value.starts_with("fake-") || value.starts_with("dummy-"))
}

fn is_path(value: &str) -> bool {
    reference(value).is_none() && !value.contains(['{', '\n']) && !value.is_empty()
}

/// Returns the text in quotes that YAML reads as JSON does.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
