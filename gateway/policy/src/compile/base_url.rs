//! The `base_url` of a provider: it means one thing, and it is the address that its kind is called at.
//!
//! The first is a rule, and what breaks it is an error. The second is a habit of each service: a URL that goes
//! against it most likely came from the wrong line of a manual, which is worth a warning and no more, because a
//! company's own proxy may stand there.

use url::{Host, Url};

use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::Kind;
use crate::host;
use crate::provider::Scheme;

/// The parts of a `base_url`.
pub(super) struct BaseUrl {
    pub(super) scheme: Scheme,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) base_path: String,
}

/// Reads a URL that is written in its normal form, so that no reader can take it for another: what is parsed
/// here and written again has to be what stands in the file.
pub(super) fn base_url(text: &Spanned<String>, findings: &mut Findings) -> Option<BaseUrl> {
    let Spanned { value: text, at } = text;
    let mut refuse = |message: &str, hint: &str| {
        findings.error_with_hint(*at, format!("`{text}` {message}"), hint);
    };
    let Ok(url) = Url::parse(text) else {
        refuse("is not a URL", "write it as `https://api.example.com/v1`");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not repeated: it may hold a secret.
        findings.error_with_hint(*at, "a URL with a user name is not allowed", "put the secret under `auth`");
        return None;
    }
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => {
            refuse("has another scheme than `http` and `https`", "write it as `https://api.example.com/v1`");
            return None;
        }
    };
    if url.query().is_some() || url.fragment().is_some() {
        // Nor here: some services take their key in the query.
        findings.error_with_hint(
            *at,
            "a URL with a query or a fragment is not allowed",
            "end it with the path",
        );
        return None;
    }
    let normal = url.as_str().trim_end_matches('/');
    if normal != text.trim_end_matches('/') {
        refuse("is not in its normal form", &format!("write `{normal}`"));
        return None;
    }
    let host = url.host_str().map(host::parse_host);
    let Some(Ok(host)) = host else {
        refuse("has a host that is not a plain name or an address", "use letters, digits and `-`");
        return None;
    };
    let base_path = url.path().trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    if !base_path.chars().all(is_plain) || url.path().contains("//") {
        let hint = "use letters, digits, `-`, `.`, `_` and `~`, with one `/` between them";
        refuse("has a path with empty parts or characters that need escaping", hint);
        return None;
    }
    let port = url.port_or_known_default().expect("both schemes have a default port");
    if port == 0 {
        refuse("has the port 0, which no one listens at", "write the port or leave it out");
        return None;
    }
    Some(BaseUrl { scheme, host, port, base_path: base_path.to_owned() })
}

/// Warns of a URL that is not the one to which the paths of its kind are added.
pub(super) fn check_habits(kind: Kind, url: &BaseUrl, at: Position, findings: &mut Findings) {
    let path = url.base_path.as_str();
    let habit = match kind {
        Kind::OpenAi => openai(url),
        Kind::Anthropic => ends_in(path, &["/v1", "/v1/messages"])
            .then_some(("ends in a part that is added to it", "write `https://api.anthropic.com`")),
        Kind::AzureOpenAi => (ends_in(path, &["/openai", "/openai/v1"])
            || path.contains("/openai/deployments"))
        .then_some(("ends in a part that is added to it", "write `https://NAME.openai.azure.com`")),
        Kind::Bedrock => (!path.is_empty()).then_some((
            "has a path, and Bedrock has none",
            "write `https://bedrock-runtime.REGION.amazonaws.com`",
        )),
        Kind::Vertex => vertex(url),
        Kind::Gemini => gemini(path),
    };
    if let Some((fault, hint)) = habit {
        findings.warning(
            at,
            format!("the `base_url` of a provider of kind `{}` {fault}", kind.as_str()),
            hint,
        );
    }
}

/// Warns of a signature for another region than the one that is asked.
pub(super) fn check_region(url: &BaseUrl, at: Position, region: &str, findings: &mut Findings) {
    let Host::Domain(name) = &url.host else { return };
    let mut labels = name.split('.').skip_while(|label| !label.starts_with("bedrock-runtime"));
    if let (Some(_), Some(asked)) = (labels.next(), labels.next())
        && asked != region
    {
        let message = format!("the host is in the region `{asked}`, and requests are signed for `{region}`");
        findings.warning(at, message, "write the same region in both");
    }
}

/// What is wrong with a URL, and what to write.
type Habit = (&'static str, &'static str);

fn openai(url: &BaseUrl) -> Option<Habit> {
    let path = url.base_path.as_str();
    let is_openai = matches!(&url.host, Host::Domain(name) if name == "api.openai.com");
    if ends_in(path, &["/chat/completions", "/completions", "/embeddings", "/responses"]) {
        return Some(("ends in a part that is added to it", "end it before that part, such as in `/v1`"));
    }
    (is_openai && path.is_empty())
        .then_some(("lacks the path of the API", "write `https://api.openai.com/v1`"))
}

/// `/v1/projects/P/locations/L`, at the host of that location.
fn vertex(url: &BaseUrl) -> Option<Habit> {
    let write = "write `https://LOCATION-aiplatform.googleapis.com/v1/projects/P/locations/LOCATION`";
    let parts: Vec<&str> = url.base_path.split('/').collect();
    let location = match parts.as_slice() {
        [.., "v1" | "v1beta1", "projects", _, "locations", location] => *location,
        _ => return Some(("does not end in `/v1/projects/…/locations/…`", write)),
    };
    let Host::Domain(name) = &url.host else { return None };
    let place = name.strip_suffix("aiplatform.googleapis.com")?;
    let place = place.strip_suffix('-').unwrap_or("global");
    (place != location).then_some(("names one location in its host and another in its path", write))
}

fn gemini(path: &str) -> Option<Habit> {
    let write = "write `https://generativelanguage.googleapis.com/v1beta`";
    if ends_in(path, &["/openai"]) {
        return Some((
            "is that of the form that copies OpenAI's API",
            "write `kind: openai`, or end it in `/v1beta`",
        ));
    }
    (!ends_in(path, &["/v1beta", "/v1", "/v1alpha"]))
        .then_some(("does not end in the version of the API", write))
}

fn ends_in(path: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| path.ends_with(end))
}
