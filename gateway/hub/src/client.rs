//! One question to the hub, and the redirects on the way to its answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};
use url::Url;

use crate::access::Access;
use crate::checksum::Checksum;
use crate::error::{Absent, Door, HubError, Missing, Refused};
use crate::reference::Reference;
use crate::tries::Failure;

/// Longest wait for a name server.
const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a connection, TLS included.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(20);
/// Longest wait for the head of an answer. Stores that fetch a file from colder ones take their time.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest silence in the middle of a file; then the connection counts as cut.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Redirects in a row. A hub needs two: to the name that a repository has now, and to the store.
const REDIRECTS_MAX: usize = 6;
/// Most bytes of the hub's own words in an error.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Most characters of them that are shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// How to wait between two tries; [`std::thread::sleep`], unless a test counts the waits.
pub type Pause = Arc<dyn Fn(Duration) + Send + Sync>;

/// How a hub is reached.
pub struct Options {
    /// Where it is, and who asks.
    pub access: Access,
    /// A proxy, such as `http://proxy.example:3128`. What the environment says about proxies is not read.
    pub proxy: Option<String>,
    /// A PEM file of certificate authorities that are trusted instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// How to wait between two tries.
    pub pause: Pause,
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The proxy's address is none.
    #[error("`{address}` is not the address of a proxy, such as http://proxy.example:3128")]
    Proxy {
        /// As it was given.
        address: String,
    },
    /// The file of certificate authorities is unreadable.
    #[error("cannot read certificates from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of certificate authorities holds something else.
    #[error("{} holds no certificate, or one that is damaged", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
    },
}

/// A client of one hub.
pub struct Client {
    agent: Agent,
    pub(crate) access: Access,
    pub(crate) pause: Pause,
}

/// What a question is about, for the words of its error.
pub(crate) struct About<'a> {
    pub(crate) reference: &'a Reference,
    /// A file of the repository, or nothing for the repository itself.
    pub(crate) file: Option<&'a str>,
}

/// Which part of a file is asked for.
#[derive(Debug, Default)]
pub(crate) struct Range {
    /// The first byte.
    pub(crate) from: u64,
    /// The version of the file that the bytes before `from` belong to.
    pub(crate) etag: Option<String>,
}

/// An answer with a body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// What the hub itself said, whoever sends the bytes.
    pub(crate) said: Said,
    /// Who sends the bytes.
    pub(crate) host: String,
}

/// What the hub says about a file in the headers of its own answers.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) commit: Option<String>,
    /// The checksum and the size of a file that lies in a store.
    pub(crate) linked: Option<Checksum>,
    pub(crate) linked_size: Option<u64>,
    /// What the version tag would be as a checksum. The hub uses git's names; mirrors have other habits.
    pub(crate) etag: Option<Checksum>,
}

impl Client {
    /// Sets up a client. Nothing is sent yet.
    ///
    /// # Errors
    /// Returns [`SetupError`] if the proxy's address or the file of authorities is unusable.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let proxy = match options.proxy {
            Some(address) => Some(Proxy::new(&address).map_err(|_| SetupError::Proxy { address })?),
            None => None,
        };
        let root_certs = match &options.ca_file {
            Some(path) => authorities(path)?,
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(root_certs).build())
            .proxy(proxy)
            // Redirects are followed here, because only we know who may see the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // Ranges count the bytes of the file, and not those of its compressed form.
            .accept_encoding("identity")
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(RESOLVE_WAIT_MAX))
            .timeout_connect(Some(CONNECT_WAIT_MAX))
            .timeout_recv_response(Some(HEAD_WAIT_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .build();
        Ok(Self { agent: config.new_agent(), access: options.access, pause: options.pause })
    }

    /// Asks for `url`, or a part of it, and follows redirects.
    pub(crate) fn get(&self, url: &Url, range: &Range, about: &About<'_>) -> Result<Answer, Failure> {
        let mut url = url.clone();
        let mut said = Said::default();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&url, range)?;
            if url.origin() == self.access.endpoint.origin() {
                said.learn(response.headers());
            }
            let status = response.status();
            if is_redirect(status) {
                url = redirected(&url, response.headers())?;
                continue;
            }
            let (parts, body) = response.into_parts();
            let answer = Answer { status, headers: parts.headers, body, said, host: host_of(&url) };
            return match status.as_u16() {
                200 | 206 | 416 => Ok(answer),
                _ => Err(self.failure(&url, answer, about)),
            };
        }
        let why = "there were too many redirects before";
        Err(HubError::Redirect { from: host_of(&url), to: url.into(), why }.into())
    }

    /// Sends one request. The token goes to the hub alone.
    fn ask(&self, url: &Url, range: &Range) -> Result<ureq::http::Response<Body>, Failure> {
        let mut request = self.agent.get(url.as_str());
        if let Some(token) = self.access.token_for(url) {
            request = request.header("authorization", token.header());
        }
        if range.from > 0 {
            request = request.header("range", format!("bytes={}-", range.from));
            if let Some(etag) = &range.etag {
                request = request.header("if-range", etag);
            }
        }
        request.call().map_err(|source| {
            let is_passing = is_passing(&source);
            let error = HubError::Transport { host: host_of(url), source: Box::new(source) };
            if is_passing { Failure::passing(error) } else { Failure::Final(error) }
        })
    }

    /// Says what an answer means that brought nothing.
    fn failure(&self, url: &Url, answer: Answer, about: &About<'_>) -> Failure {
        let status = answer.status.as_u16();
        let code = header(&answer.headers, "x-error-code").unwrap_or_default().to_owned();
        let retry_after = retry_after(&answer.headers);
        let message = message(answer);
        if matches!(status, 408 | 429 | 500 | 502 | 503 | 504) {
            let error = HubError::Busy { host: host_of(url), status, message, retry_after };
            return Failure::Passing { error, retry_after };
        }
        let (hub, repository) = (self.access.base().to_owned(), about.reference.repository());
        let error = if let Some(door) = door(status, &code, &message, self.access.token.is_some()) {
            Refused { hub, repository, door }.into()
        } else if status == 404 {
            Absent { hub, repository, what: missing(&code, about) }.into()
        } else {
            HubError::Status { url: without_query(url), status, message }
        };
        Failure::Final(error)
    }
}

/// The certificate authorities in a PEM file.
fn authorities(path: &Path) -> Result<RootCerts, SetupError> {
    let pem = std::fs::read(path).map_err(|source| SetupError::Read { path: path.to_owned(), source })?;
    let damaged = || SetupError::Certificates { path: path.to_owned() };
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(damaged()),
        }
    }
    if certificates.is_empty() { Err(damaged()) } else { Ok(RootCerts::new_with_certs(&certificates)) }
}

impl Said {
    /// Takes what an answer of the hub says; the last one to say something is right.
    fn learn(&mut self, headers: &HeaderMap) {
        let text = |name| header(headers, name);
        let checksum = |name| text(name).and_then(|etag| Checksum::from_hex(etag.trim_matches('"')));
        self.commit = text("x-repo-commit").map(str::to_owned).or(self.commit.take());
        self.linked = checksum("x-linked-etag").or(self.linked);
        self.linked_size = text("x-linked-size").and_then(|size| size.parse().ok()).or(self.linked_size);
        self.etag = checksum("etag").or(self.etag);
    }
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if we go there.
fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let location = header(headers, "location").unwrap_or_default();
    let refuse = |why| HubError::Redirect { from: host_of(from), to: format!("{location:?}"), why };
    let to = from.join(location).map_err(|_| refuse("that is no address"))?;
    if location.is_empty() || !matches!(to.scheme(), "http" | "https") {
        return Err(refuse("that is no address").into());
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(refuse("that would go on without encryption").into());
    }
    Ok(to)
}

/// Which door a refusal is about, if it is one.
fn door(status: u16, code: &str, message: &str, knows_us: bool) -> Option<Door> {
    if !matches!(status, 401 | 403 | 404) {
        return None;
    }
    let by_token = |unknown, known| Some(if knows_us { known } else { unknown });
    match code {
        "GatedRepo" => by_token(Door::GatedUnknown, Door::GatedKnown),
        "RepoNotFound" => by_token(Door::HiddenUnknown, Door::HiddenKnown),
        _ if status == 404 => None,
        // Said of a token that has expired or never was one.
        _ if knows_us && status == 401 => Some(Door::Token),
        // The hub's own words say more than we could.
        _ if !message.is_empty() && status == 403 => None,
        _ => by_token(Door::HiddenUnknown, Door::HiddenKnown),
    }
}

/// What is absent.
fn missing(code: &str, about: &About<'_>) -> Missing {
    match (code, about.file) {
        ("RevisionNotFound", _) => Missing::Revision(about.reference.revision().to_owned()),
        (_, Some(file)) => Missing::File(file.to_owned()),
        (_, None) => Missing::Repository,
    }
}

/// How long the hub wants to be left alone: `retry-after` in seconds, or the end of the window of its rate limit,
/// which it writes as `"api";r=0;t=55`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let window = || header(headers, "ratelimit")?.rsplit_once(";t=")?.1.trim().parse().ok();
    let seconds = header(headers, "retry-after").and_then(|text| text.trim().parse().ok());
    seconds.or_else(window).map(Duration::from_secs)
}

/// The hub's own words: a header, or the text of a small body.
fn message(answer: Answer) -> String {
    let text = if let Some(text) = header(&answer.headers, "x-error-message") {
        text.to_owned()
    } else {
        let body = answer.body.into_with_config().limit(MESSAGE_BYTES_MAX).read_to_vec();
        readable(&body.unwrap_or_default())
    };
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

/// What a body of an error says: the text of a JSON field `error`, or nothing, because the rest are pages.
fn readable(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
    }
    serde_json::from_slice::<Said>(body).map(|said| said.error).unwrap_or_default()
}

/// Whether a second try may go better. A certificate, an address or a proxy stays wrong.
fn is_passing(error: &ureq::Error) -> bool {
    use ureq::Error;
    match error {
        // As which a handshake fails.
        Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        Error::Timeout(_) | Error::HostNotFound | Error::ConnectionFailed | Error::Protocol(_) => true,
        _ => false,
    }
}

/// Host and port of an address, for messages.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An address without its query, in which stores put signatures.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}
