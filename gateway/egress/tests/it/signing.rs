//! Requests to the clouds: what is signed is what arrives, in either version of HTTP.
//!
//! The upstream takes what came over the socket and works the signature out again, as the service would.

use std::convert::Infallible;
use std::path::Path;

use bytes::Bytes;
use egress::{Outbound, path_segment};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use ring::{digest, hmac};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::gate::{Gate, Options, Rules, collect, options, outbound, sent};
use crate::tls::Authority;

const SECRET: &str = "secret-of-the-test";

/// A request as it arrived, whatever the version of HTTP.
struct Arrived {
    version: Version,
    path_and_query: String,
    /// `host`, or `:authority`, which stands for it.
    host: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Serves every request over TLS with an empty answer and hands it to the test.
async fn serve(authority: &Authority, alpn: &[&str]) -> (u16, mpsc::Receiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.acceptor("up.test", alpn);
    let (report, arrived) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let tls = acceptor.accept(tcp).await.unwrap();
            let report = report.clone();
            let service = service_fn(move |request| answer(request, report.clone()));
            tokio::spawn(async move {
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await
            });
        }
    });
    (port, arrived)
}

async fn answer(
    request: Request<Incoming>,
    report: mpsc::Sender<Arrived>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let from_header = head.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
    let arrived = Arrived {
        version: head.version,
        path_and_query: head.uri.path_and_query().unwrap().as_str().to_owned(),
        host: from_header.unwrap_or_else(|| head.uri.authority().unwrap().to_string()),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    report.send(arrived).await.unwrap();
    Ok(Response::new(Full::default()))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

impl Arrived {
    fn header(&self, name: &str) -> &str {
        if name == "host" { &self.host } else { self.headers[name].to_str().unwrap() }
    }

    /// Works the signature out from what arrived and from the names that the request says are covered.
    fn signature(&self, covered: &str) -> String {
        let (path, query) = self.path_and_query.split_once('?').unwrap_or((&self.path_and_query, ""));
        let path: Vec<String> = path.split('/').map(path_segment).collect();
        let lines = covered.split(';').map(|name| format!("{name}:{}\n", self.header(name)));
        let lines = lines.collect::<Vec<_>>().concat();
        let canonical =
            format!("POST\n{}\n{query}\n{lines}\n{covered}\n{}", path.join("/"), hash(&self.body));
        let time = self.header("x-amz-date");
        let scope = [&time[..8], "eu-west-1", "bedrock", "aws4_request"];
        let key = scope.iter().fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{}", scope.join("/"), hash(canonical.as_bytes()));
        hex(&mac(&key, &text))
    }
}

fn write_keys(folder: &Path) {
    for (name, value) in [("id", "id-of-the-test"), ("secret", SECRET), ("token", "token-of-the-test")] {
        std::fs::write(folder.join(name), format!("{value}\n")).unwrap();
    }
}

#[tokio::test]
async fn what_is_signed_for_aws_is_what_arrives() {
    for (alpn, version) in [("h2", Version::HTTP_2), ("http/1.1", Version::HTTP_11)] {
        let folder = tempfile::tempdir().unwrap();
        write_keys(folder.path());
        let authority = Authority::new();
        let (port, mut arrived) = serve(&authority, &[alpn]).await;
        let more = "locality: local, cidrs: [127.0.0.0/8], auth: { sigv4: { region: eu-west-1, \
            access_key_id_file: id, secret_access_key_file: secret, session_token_file: token } }";
        let rules = Rules::default()
            .provider_of("bedrock", "up", &format!("https://up.test:{port}"), more)
            .workflow("docs", "{ mode: sealed }", "up");
        let secrets_base = folder.path().to_owned();
        let gate = Gate::with(&rules, &Options { secrets_base, ..authority.options(folder.path()) });
        gate.names.answer("up.test", &["127.0.0.1"]);
        let admitted = gate.admit("docs");

        let model = path_segment("eu.anthropic.claude-v1:0/x y");
        let caller = [
            ("content-type", "application/json"),
            ("accept", "application/vnd.amazon.eventstream"),
            ("x-request-id", "r1"),
            ("x-amz-date", "19990101T000000Z"),
            ("authorization", "Bearer pk_caller"),
        ];
        let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let request = outbound(caller.into_iter().map(pair).collect(), "{\"messages\": []}");
        let request = Outbound { path: format!("/model/{model}/converse-stream?a=1&b=2"), ..request };
        let reply = sent(&gate.client, &admitted, request).await.unwrap();
        assert_eq!(collect(reply).await.unwrap(), "");

        let arrived = arrived.recv().await.unwrap();
        assert_eq!((arrived.version, arrived.host.as_str()), (version, format!("up.test:{port}").as_str()));
        assert!(arrived.path_and_query.contains("claude-v1%3A0%2Fx%20y/"), "{}", arrived.path_and_query);
        let covered = "accept;content-type;host;x-amz-date;x-amz-security-token";
        let signature = arrived.signature(covered);
        let scope = format!("{}/eu-west-1/bedrock/aws4_request", &arrived.header("x-amz-date")[..8]);
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=id-of-the-test/{scope}, SignedHeaders={covered}, Signature={signature}"
        );
        assert_eq!(arrived.header("authorization"), expected);
        assert_eq!(arrived.headers.get("x-request-id"), None);
    }
}

#[tokio::test]
async fn a_service_account_signs_its_own_token_and_asks_nobody_for_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key.json"), include_str!("../keys/service-account.json")).unwrap();
    let authority = Authority::new();
    let (port, mut arrived) = serve(&authority, &["h2"]).await;
    let base_url = format!("https://up.test:{port}/v1/projects/p/locations/eu");
    let more = "locality: local, cidrs: [127.0.0.0/8], auth: { google: { key_file: key.json } }";
    let rules = Rules::default().provider_of("vertex", "up", &base_url, more).workflow(
        "docs",
        "{ mode: sealed }",
        "up",
    );
    let secrets_base = folder.path().to_owned();
    let gate = Gate::with(&rules, &Options { secrets_base, ..authority.options(folder.path()) });
    gate.names.answer("up.test", &["127.0.0.1"]);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        collect(gate.send("docs").await.unwrap()).await.unwrap();
        let arrived = arrived.recv().await.unwrap();
        assert_eq!(arrived.path_and_query, "/v1/projects/p/locations/eu/chat/completions");
        tokens.push(arrived.header("authorization").to_owned());
    }
    assert!(tokens[0].starts_with("Bearer eyJ"), "{}", tokens[0]);
    assert_eq!(tokens[0], tokens[1], "the token is kept");
    assert_eq!(gate.names.lookups(), 1, "nothing but the provider is looked up");
}

#[tokio::test]
async fn a_key_that_cannot_sign_stops_the_call_before_any_connection() {
    for (kind, auth, file) in [
        (
            "bedrock",
            "sigv4: { region: eu-west-1, access_key_id_file: key, secret_access_key_file: key }",
            "a\nb",
        ),
        ("vertex", "google: { key_file: key }", "{}"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), file).unwrap();
        let more = format!("locality: local, cidrs: [127.0.0.0/8], auth: {{ {auth} }}");
        let rules = Rules::default().provider_of(kind, "up", "http://up.test:1", &more).workflow(
            "docs",
            "{ mode: sealed }",
            "up",
        );
        let gate = Gate::with(&rules, &Options { secrets_base: folder.path().to_owned(), ..options() });
        assert_eq!(gate.send("docs").await.unwrap_err().code(), "egress.secret");
        assert_eq!(gate.names.lookups(), 0);
    }
}
