//! Connections to one destination, kept for one workflow.
//!
//! hyper's pool does the keeping; what stands here are its limits, and the translation of its errors into ours.
//! The pool repeats a request by itself in one case only: a kept connection turned out to be closed before any
//! of the request was written.
//!
//! Deliberately absent: a limit on connections in use. The server admits a bounded number of requests, and each
//! needs one.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use policy::{Destination, Scheme};
use tokio::time::timeout;

use crate::connection::{Connector, DialFailure};
use crate::dial::Dialler;
use crate::error::{FailureKind, Retry};
use crate::passage::{Noting, Passage};
use crate::path;

/// Connections kept open without work. As many as a busy gateway reuses at once; more would only be held.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// How long such a connection is kept: below the time after which load balancers drop theirs without a word.
const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(50);

/// Largest response head, and largest single read of a body, over HTTP/1.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A dead HTTP/2 connection would otherwise fail every call that is put on it, one timeout after another.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to one destination.
pub(crate) struct Pool {
    http: legacy::Client<Connector, Full<Bytes>>,
    destination: Arc<Destination>,
}

impl Pool {
    pub(crate) fn new(dialler: Dialler) -> Self {
        let destination = Arc::clone(&dialler.destination);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION_KEPT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(READ_BUFFER_BYTES_MAX)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(Connector(Arc::new(dialler)));
        Self { http, destination }
    }

    /// Returns where the connections lead.
    pub(crate) fn destination(&self) -> &Arc<Destination> {
        &self.destination
    }

    /// Sends a request and waits for the head of the answer. Says in `passage` which connection it is sent on, also if
    /// no answer comes.
    pub(crate) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        passage: &Passage,
    ) -> Result<Response<Incoming>, FailureKind> {
        let bytes = request.body().size_hint().exact().unwrap_or(0);
        let mut captured = capture_connection(&mut request);
        let _noting = Noting { captured: captured.clone(), passage };
        let mut answer = self.http.request(request);
        // The dialler bounds the wait for a connection; the time for the first byte starts when there is one.
        let first_byte = self.destination.timeouts().first_byte;
        let at_once = tokio::select! {
            biased;
            _ = captured.wait_for_connection_metadata() => None,
            answer = &mut answer => Some(answer),
        };
        let answer = match at_once {
            Some(answer) => answer,
            None => {
                timeout(first_byte, answer).await.map_err(|_| FailureKind::FirstByteTimeout(first_byte))?
            }
        };
        let answer = answer.map_err(failure)?;
        passage.answered(bytes);
        Ok(answer)
    }
}

/// Returns the URI of `path` at `destination`: host and base path are the policy's alone.
pub(crate) fn uri(destination: &Destination, path: &str) -> Result<Uri, FailureKind> {
    uri_below(destination, destination.base_path(), path)
}

/// Returns the URI of `path` at the root of `destination`'s host.
pub(crate) fn root_uri(destination: &Destination, path: &str) -> Result<Uri, FailureKind> {
    uri_below(destination, "", path)
}

fn uri_below(destination: &Destination, base: &str, path: &str) -> Result<Uri, FailureKind> {
    path::check(path).map_err(FailureKind::Path)?;
    let (scheme, host, port) = (destination.scheme(), destination.host(), destination.port());
    let authority = match (scheme, port) {
        (Scheme::Http, 80) | (Scheme::Https, 443) => host.to_string(),
        _ => format!("{host}:{port}"),
    };
    let whole = format!("{base}{path}");
    let uri = Uri::builder().scheme(scheme.as_str()).authority(authority).path_and_query(&*whole).build();
    let uri = uri.map_err(|source| FailureKind::Protocol { retry: Retry::Safe, source: Box::new(source) })?;
    debug_assert_eq!(uri.path_and_query().map(PathAndQuery::as_str), Some(&*whole), "sent as checked");
    Ok(uri)
}

/// Finds in hyper's chain of errors what our own dialler said, or else what became of the request.
fn failure(error: impl Error + Send + Sync + 'static) -> FailureKind {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    let mut retry = Retry::Unsafe;
    while let Some(current) = cause {
        if let Some(DialFailure(dial)) = current.downcast_ref::<DialFailure>() {
            return FailureKind::Dial(Arc::clone(dial));
        }
        // Cancelled is what hyper calls a request that it hands back without having written any of it.
        if current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            retry = Retry::Safe;
        }
        cause = current.source();
    }
    FailureKind::Protocol { retry, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use policy::{Policy, Provider, Source};

    use super::*;

    #[track_caller]
    fn check_uri(base_url: &str, more: &str, expected: &str) {
        let text = format!(
            "version: 1\nproviders: {{ up: {{ kind: openai, base_url: \"{base_url}\", {more} }} }}\n\
             models: {{ m: {{ provider: up, name: m }} }}\n\
             workflows: {{ w: {{ owner: t, callers: [ {{ loopback: true }} ], \
             egress: {{ mode: hosted, providers: [up] }}, route: [ {{ to: [m] }} ] }} }}\n"
        );
        let policy = Policy::compile(&Source { name: "routes.yaml".to_owned(), text }).unwrap();
        let Some(Provider::Http(destination)) = policy.providers().next() else { panic!("no HTTP provider") };
        assert_eq!(uri(destination, "/chat/completions").unwrap(), expected);
    }

    #[test]
    fn a_uri_is_made_of_the_policys_parts() {
        let local = "locality: local, cidrs: [10.0.0.0/8, \"::1/128\"]";
        check_uri("https://api.test", "locality: hosted", "https://api.test/chat/completions");
        check_uri(
            "https://api.test:8443/v1",
            "locality: hosted",
            "https://api.test:8443/v1/chat/completions",
        );
        check_uri("http://10.0.0.7/v1", local, "http://10.0.0.7/v1/chat/completions");
        check_uri("http://[::1]:8000/v1", local, "http://[::1]:8000/v1/chat/completions");
    }

    #[tokio::test]
    async fn a_request_that_was_never_written_is_safe_to_send_elsewhere() {
        let (client, _server) = tokio::io::duplex(1024);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        drop(connection);
        let error = sender.send_request(Request::new(Full::<Bytes>::default())).await.unwrap_err();
        assert!(matches!(failure(error), FailureKind::Protocol { retry: Retry::Safe, .. }));
    }
}
