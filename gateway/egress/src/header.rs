//! Which headers cross the gateway, in either direction.
//!
//! Lists of what may pass; the rest stays behind. A caller's credentials, cookies, `host` and `forwarded`
//! are thus dropped without being named, and so is whatever the next client library invents. An upstream's
//! cookies and account identifiers stay away from the caller in the same way.

use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use policy::Api;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The version that every client of the Messages API has sent since 2023; an agent of another API sends none.
const ANTHROPIC_VERSION_DEFAULT: HeaderValue = HeaderValue::from_static("2023-06-01");

/// From the caller to `OpenAI`'s API and to those who copy it.
const TO_OPENAI: &[&str] = &["accept", "content-type", "openai-beta", "x-request-id"];

/// From the caller to Anthropic's API; `anthropic-beta` passes too, with all its values.
const TO_ANTHROPIC: &[&str] = &["accept", "anthropic-version", "content-type", "x-request-id"];

/// From the caller to the clouds, where versions and beta features stand in the body.
const TO_CLOUD: &[&str] = &["accept", "content-type"];

/// From the upstream to the caller.
const REPLY: [HeaderName; 10] = [
    CONTENT_TYPE,
    RETRY_AFTER,
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("openai-version"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-amzn-errortype"),
    HeaderName::from_static("x-amzn-requestid"),
    X_REQUEST_ID,
    HeaderName::from_static("x-should-retry"),
];

/// Rate limit state comes in many names with a few beginnings.
const REPLY_PREFIXES: [&str; 2] = ["anthropic-ratelimit-", "x-ratelimit-"];

const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));

/// Returns the headers of a probe, which speaks for nobody.
pub(crate) fn of_probe() -> HeaderMap {
    HeaderMap::from_iter([(USER_AGENT, OUR_USER_AGENT)])
}

/// Returns what an upstream that speaks `api` may see of a caller's headers, under our own user agent.
pub(crate) fn outbound(api: &Api, caller: &HeaderMap) -> HeaderMap {
    let list = match api {
        Api::OpenAi(_) | Api::AzureOpenAi { .. } => TO_OPENAI,
        Api::Anthropic => TO_ANTHROPIC,
        Api::Bedrock | Api::Vertex | Api::Gemini => TO_CLOUD,
    };
    // Only the first value of each: two parties must not be able to read the same request differently.
    let mut headers: HeaderMap = list
        .iter()
        .filter_map(|name| Some((HeaderName::from_static(name), caller.get(*name)?.clone())))
        .collect();
    if *api == Api::Anthropic {
        headers.entry(ANTHROPIC_VERSION).or_insert(ANTHROPIC_VERSION_DEFAULT);
        // A list by nature: clients send one header with commas or several, and it means the same.
        headers.extend(caller.get_all(ANTHROPIC_BETA).iter().map(|value| (ANTHROPIC_BETA, value.clone())));
    }
    headers.insert(USER_AGENT, OUR_USER_AGENT);
    headers
}

/// Returns what a caller may see of an upstream's headers.
pub(crate) fn inbound(upstream: &HeaderMap) -> HeaderMap {
    let begins = |name: &HeaderName| REPLY_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
    let passes = |name: &HeaderName| REPLY.contains(name) || begins(name);
    upstream.keys().filter(|name| passes(name)).map(|name| (name.clone(), upstream[name].clone())).collect()
}

#[cfg(test)]
mod tests {
    use policy::Server;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    /// What a caller might send to anybody.
    fn caller() -> HeaderMap {
        headers(&[
            ("accept", "text/event-stream"),
            ("anthropic-dangerous-direct-browser-access", "true"),
            ("authorization", "Bearer pk_caller"),
            ("content-type", "application/json"),
            ("cookie", "session=1"),
            ("forwarded", "for=10.0.0.1"),
            ("host", "evil.example"),
            ("openai-beta", "responses=v1"),
            ("openai-organization", "acme"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("user-agent", "agent/1"),
            ("x-amz-security-token", "token"),
            ("x-api-key", "pk_caller"),
            ("x-forwarded-host", "evil.example"),
            ("x-goog-api-key", "pk_caller"),
            ("x-goog-user-project", "other"),
            ("x-portcullis-workflow", "docs"),
            ("x-request-id", "r1"),
            ("x-stainless-lang", "python"),
        ])
    }

    fn apis() -> [Api; 7] {
        let api_version = Some("2024-10-21".to_owned());
        [
            Api::OpenAi(Server::OpenAi),
            Api::OpenAi(Server::Vllm),
            Api::AzureOpenAi { api_version },
            Api::Anthropic,
            Api::Bedrock,
            Api::Vertex,
            Api::Gemini,
        ]
    }

    #[test]
    fn nothing_but_the_list_reaches_the_upstream() {
        let ours = ("user-agent", concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        let always = [("accept", "text/event-stream"), ("content-type", "application/json"), ours];
        for api in apis() {
            let more: &[(&str, &str)] = match api {
                Api::OpenAi(_) | Api::AzureOpenAi { .. } => {
                    &[("openai-beta", "responses=v1"), ("x-request-id", "r1")]
                }
                Api::Anthropic => &[("anthropic-version", "2023-06-01"), ("x-request-id", "r1")],
                Api::Bedrock | Api::Vertex | Api::Gemini => &[],
            };
            let expected = headers(&[always.as_slice(), more].concat());
            assert_eq!(outbound(&api, &caller()), expected, "{api:?}");
        }
    }

    #[test]
    fn a_repeated_header_is_sent_once() {
        for api in apis() {
            let mut caller = caller();
            caller.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            caller.append(ANTHROPIC_VERSION, HeaderValue::from_static("2024-01-01"));
            caller.append(ANTHROPIC_VERSION, HeaderValue::from_static("2025-01-01"));
            let sent = outbound(&api, &caller);
            assert_eq!(sent.get_all(CONTENT_TYPE).iter().collect::<Vec<_>>(), ["application/json"]);
            let version = sent.get_all(ANTHROPIC_VERSION).iter().collect::<Vec<_>>();
            let expected: &[&str] = if api == Api::Anthropic { &["2024-01-01"] } else { &[] };
            assert_eq!(version, expected, "the caller's own version, and its first");
        }
    }

    #[test]
    fn beta_flags_reach_anthropic_byte_for_byte_and_nobody_else() {
        let values: [&[u8]; 3] = [b"a-2025-01-01, b-2025-02-02", b"a-2025-01-01", b"  odd\xff;x=1"];
        let mut caller = caller();
        for value in values {
            caller.append(ANTHROPIC_BETA, HeaderValue::from_bytes(value).unwrap());
        }
        for api in apis() {
            let sent = outbound(&api, &caller);
            let sent: Vec<&[u8]> = sent.get_all(ANTHROPIC_BETA).iter().map(HeaderValue::as_bytes).collect();
            let expected = if api == Api::Anthropic { values.as_slice() } else { &[] };
            assert_eq!(sent, expected, "{api:?}");
        }
    }

    #[test]
    fn nothing_but_the_list_reaches_the_caller() {
        let kept = [
            ("anthropic-ratelimit-requests-remaining", "9"),
            ("anthropic-ratelimit-unified-status", "allowed"),
            ("content-type", "application/json"),
            ("openai-processing-ms", "12"),
            ("request-id", "req_1"),
            ("retry-after", "3"),
            ("retry-after-ms", "2500"),
            ("x-amzn-errortype", "ThrottlingException"),
            ("x-amzn-requestid", "u2"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-request-id", "u1"),
            ("x-should-retry", "false"),
        ];
        let dropped = [
            ("anthropic-organization-id", "acme"),
            ("connection", "keep-alive"),
            ("content-length", "12"),
            ("openai-organization", "acme"),
            ("server", "x"),
            ("set-cookie", "a=b"),
            ("transfer-encoding", "chunked"),
            ("x-amzn-bedrock-input-token-count", "7"),
            ("x-goog-ext", "x"),
        ];
        assert_eq!(inbound(&headers(&[kept.as_slice(), &dropped].concat())), headers(&kept));
    }
}
