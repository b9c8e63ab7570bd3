//! A signature as AWS wants it, version 4, over everything that is sent.
//!
//! The URI is signed as it goes out: each segment of a path is escaped once by whoever wrote it and once more by
//! the signature, which is what every service of AWS but S3 expects. The host is the URI's authority, and that is
//! what both `host` and `:authority` carry.
//!
//! The library writes what it signs to the trace log, session token included, and would write the body if a
//! variable of the environment told it to. It is therefore called with the log switched off, and learns no more of
//! the body than its hash.

use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{self, SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use policy::SigV4;
use ring::digest::{SHA256, digest};
use tracing::subscriber::NoSubscriber;

use super::Unsigned;
use crate::secret::{Secret, SecretError};

/// The name under which requests to Bedrock are signed, that of its runtime's host notwithstanding.
pub(super) const BEDROCK: &str = "bedrock";

/// An access key of AWS.
pub(super) struct Keys {
    id: Secret,
    secret: Secret,
    session_token: Option<Secret>,
}

impl Keys {
    /// Reads what `auth` refers to.
    pub(super) async fn read(auth: &SigV4, base: &Path) -> Result<Self, SecretError> {
        let session_token = match auth.session_token() {
            Some(reference) => Some(Secret::read(reference, base).await?),
            None => None,
        };
        Ok(Self {
            id: Secret::read(auth.access_key_id(), base).await?,
            secret: Secret::read(auth.secret_access_key(), base).await?,
            session_token,
        })
    }
}

/// For what a signature holds: one service in one region on one day, and a few minutes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) time: SystemTime,
}

/// Signs a request with all of `headers` and adds the signature to them.
pub(super) fn sign(
    headers: &mut HeaderMap,
    request: Unsigned<'_>,
    keys: &Keys,
    scope: Scope<'_>,
) -> Result<(), SecretError> {
    let added =
        tracing::subscriber::with_default(NoSubscriber::new(), || signature(headers, request, keys, scope))?;
    headers.extend(added);
    Ok(())
}

fn signature(
    headers: &HeaderMap,
    request: Unsigned<'_>,
    keys: &Keys,
    scope: Scope<'_>,
) -> Result<HeaderMap, SecretError> {
    let token = keys.session_token.as_ref().map(Secret::line).transpose()?;
    let (id, secret) = (keys.id.line()?, keys.secret.line()?);
    let identity = Credentials::new(id, secret, token.map(str::to_owned), None, "policy").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time)
        .settings(SigningSettings::default())
        .build()
        .map_err(unsigned)?
        .into();
    // A value that is no text stays outside the signature, as the library has no form for it.
    let covered = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let body = SignableBody::Precomputed(hex(digest(&SHA256, request.body).as_ref()));
    let uri = request.uri.to_string();
    let signable = SignableRequest::new(Method::POST.as_str(), uri, covered, body).map_err(unsigned)?;
    let (instructions, _) = http_request::sign(signable, &params).map_err(unsigned)?.into_parts();
    instructions.headers().map(|(name, value)| header(name, value)).collect()
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), SecretError> {
    let name = HeaderName::try_from(name).map_err(unsigned)?;
    let mut value = HeaderValue::try_from(value).map_err(unsigned)?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn unsigned(error: impl std::error::Error + Send + Sync + 'static) -> SecretError {
    SecretError::Signature(Box::new(error))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use http::Uri;
    use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
    use policy::{Policy, Provider, SecretRef, Source};
    use proptest::prelude::*;
    use ring::hmac;

    use super::*;
    use crate::path::path_segment;

    /// The access key of every example that AWS publishes.
    const ID: &str = "AKIDEXAMPLE";
    const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    /// 2015-08-30T12:36:00Z, when the published examples were signed.
    const THEN: u64 = 1_440_938_160;

    fn scope(service: &'static str) -> Scope<'static> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(THEN);
        Scope { region: "us-east-1", service, time }
    }

    async fn keys(values: [&str; 2], token: Option<&str>) -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let read = async |value: &str| {
            std::fs::write(folder.path().join("part"), value).unwrap();
            Secret::read(&SecretRef::File("part".into()), folder.path()).await.ok().unwrap()
        };
        let session_token = match token {
            Some(token) => Some(read(token).await),
            None => None,
        };
        Keys { id: read(values[0]).await, secret: read(values[1]).await, session_token }
    }

    fn signed(uri: &str, keys: &Keys, service: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let uri: Uri = uri.parse().unwrap();
        sign(&mut headers, Unsigned { uri: &uri, body: b"" }, keys, scope(service)).unwrap();
        headers
    }

    /// Three cases of AWS's own suite of signatures, all of them `POST`.
    #[tokio::test]
    async fn the_published_examples_have_the_published_signatures() {
        let plain = keys([ID, KEY], None).await;
        let temporary = keys([ID, KEY], Some(TOKEN)).await;
        let short = "host;x-amz-date";
        for (path, keys, names, expected) in [
            ("/", &plain, short, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "/?Param1=value1",
                &plain,
                short,
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "/",
                &temporary,
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let headers = signed(&format!("https://example.amazonaws.com{path}"), keys, "service");
            assert_eq!(headers["x-amz-date"], "20150830T123600Z");
            let credential = format!("Credential={ID}/20150830/us-east-1/service/aws4_request");
            let value = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={expected}");
            assert_eq!(headers[AUTHORIZATION], value);
        }
    }

    fn mac(key: &[u8], text: &str) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    }

    /// The signature, worked out again from the description of AWS: what is hashed stands here as text.
    fn recomputed(uri: &Uri, headers: &[(&str, &str)], body: &[u8]) -> String {
        let path: Vec<String> = uri.path().split('/').map(path_segment).collect();
        let mut query: Vec<&str> =
            uri.query().unwrap_or("").split('&').filter(|part| !part.is_empty()).collect();
        query.sort_unstable();
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let lines = lines.concat();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let hash = |bytes: &[u8]| hex(digest(&SHA256, bytes).as_ref());
        let canonical = format!(
            "POST\n{}\n{}\n{lines}\n{}\n{}",
            path.join("/"),
            query.join("&"),
            names.join(";"),
            hash(body)
        );
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/bedrock/aws4_request\n{}",
            hash(canonical.as_bytes())
        );
        let parts = ["20150830", "us-east-1", "bedrock", "aws4_request"];
        let key = parts.iter().fold(format!("AWS4{KEY}").into_bytes(), |key, part| mac(&key, part));
        hex(&mac(&key, &to_sign))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn every_signature_can_be_worked_out_again(
            name in "[\\PC&&[^%]]{1,12}",
            query in prop::option::of("[a-z]{1,4}=[a-zA-Z0-9.~_-]{0,8}"),
            port in prop::option::of(1024_u16..),
            body: Vec<u8>,
        ) {
            let authority = port.map_or("bedrock.test".to_owned(), |port| format!("bedrock.test:{port}"));
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let uri = format!("https://{authority}/model/x{}/converse{query}", path_segment(&name));
            let uri: Uri = uri.parse().unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(USER_AGENT, HeaderValue::from_static("ours"));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let keys = runtime.block_on(keys([ID, KEY], Some("token")));
            sign(&mut headers, Unsigned { uri: &uri, body: &body }, &keys, scope(BEDROCK)).unwrap();
            let covered = [
                ("content-type", "application/json"),
                ("host", authority.as_str()),
                ("x-amz-date", "20150830T123600Z"),
                ("x-amz-security-token", "token"),
            ];
            let value = headers[AUTHORIZATION].to_str().unwrap();
            let signature = format!("Signature={}", recomputed(&uri, &covered, &body));
            prop_assert!(value.ends_with(&signature), "{} for {}", value, uri);
        }
    }

    #[tokio::test]
    async fn a_colon_in_a_models_name_is_escaped_twice_in_what_is_signed() {
        let segment = path_segment("anthropic.claude-v1:0");
        let uri: Uri = format!("https://bedrock.test/model/{segment}/converse").parse().unwrap();
        assert_eq!(uri.path(), "/model/anthropic.claude-v1%3A0/converse");
        let headers = signed(&uri.to_string(), &keys([ID, KEY], None).await, BEDROCK);
        let covered = [("host", "bedrock.test"), ("x-amz-date", "20150830T123600Z")];
        assert!(headers[AUTHORIZATION].to_str().unwrap().ends_with(&recomputed(&uri, &covered, b"")));
    }

    /// Keeps everything that anybody writes to the log, at any level.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<String>>);

    impl tracing::Subscriber for Seen {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = self.0.lock().unwrap();
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                write!(text, "{field}={value:?} ").unwrap();
            });
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[tokio::test]
    async fn nothing_that_is_signed_reaches_a_log() {
        let keys = keys(["canary-id", "canary-secret"], Some("canary-token")).await;
        let seen = Seen::default();
        let _log = tracing::subscriber::set_default(seen.clone());
        tracing::trace!("the log is on");
        let headers = signed("https://bedrock.test/model/m/converse", &keys, BEDROCK);
        assert_eq!(headers["x-amz-security-token"], "canary-token");
        let seen = seen.0.lock().unwrap();
        assert!(seen.contains("the log is on") && !seen.contains("canary"), "{seen}");
        assert!(!format!("{headers:?}").contains("canary"), "{headers:?}");
    }

    #[tokio::test]
    async fn an_unusable_key_is_named_by_its_place_alone() {
        for (values, token) in [
            (["canary id", KEY], None),
            (["canary\u{e9}", KEY], None),
            ([ID, "canary\ncanary"], None),
            ([ID, KEY], Some("canary token")),
        ] {
            let keys = keys(values, token).await;
            let uri = Uri::from_static("https://bedrock.test/model/m/converse");
            let unsigned = Unsigned { uri: &uri, body: b"" };
            let error = sign(&mut HeaderMap::new(), unsigned, &keys, scope(BEDROCK)).unwrap_err();
            let expected = "the secret in the file part is not a single line of printable characters";
            assert_eq!(error.to_string(), expected);
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn each_part_of_a_key_is_read_from_where_the_policy_says() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["id", "secret", "token"] {
            std::fs::write(folder.path().join(name), format!("{name}-value\n")).unwrap();
        }
        let text = "version: 1\nmodels: {}\nworkflows: {}\nproviders:\n  up: { kind: bedrock, locality: hosted, \
            region: us, base_url: 'https://bedrock.test', auth: { sigv4: { region: eu-west-1, \
            access_key_id_file: id, secret_access_key_file: secret, session_token_file: token } } }\n";
        let policy =
            Policy::compile(&Source { name: "routes.yaml".to_owned(), text: text.to_owned() }).unwrap();
        let Some(Provider::Http(destination)) = policy.providers().next() else { panic!("no HTTP provider") };
        let policy::Auth::SigV4(auth) = destination.auth() else { panic!("no signature") };
        let keys = Keys::read(auth, folder.path()).await.unwrap();
        assert_eq!(keys.id.line().unwrap(), "id-value");
        assert_eq!(keys.secret.line().unwrap(), "secret-value");
        assert_eq!(keys.session_token.unwrap().line().unwrap(), "token-value");
        std::fs::remove_file(folder.path().join("token")).unwrap();
        assert!(matches!(Keys::read(auth, folder.path()).await.err(), Some(SecretError::File { .. })));
    }
}
