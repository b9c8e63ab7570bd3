//! Which headers cross the gateway, in either direction.
//!
//! Two lists of what may pass; the rest stays behind. A caller's credentials, cookies, `host` and `forwarded`
//! are thus dropped without being named, and so is whatever the next client library invents. An upstream's
//! cookies and account identifiers stay away from the caller in the same way.

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// From the caller to the upstream.
const REQUEST: [HeaderName; 4] = [ACCEPT, CONTENT_TYPE, HeaderName::from_static("openai-beta"), X_REQUEST_ID];

/// From the upstream to the caller.
const REPLY: [HeaderName; 7] = [
    CONTENT_TYPE,
    RETRY_AFTER,
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("openai-version"),
    HeaderName::from_static("retry-after-ms"),
    X_REQUEST_ID,
    HeaderName::from_static("x-should-retry"),
];

/// Rate limit state comes in many names with one beginning.
const REPLY_PREFIX: &str = "x-ratelimit-";

const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));

/// Returns what an upstream may see of a caller's headers, under our own user agent.
pub(crate) fn outbound(caller: &HeaderMap) -> HeaderMap {
    // Only the first value of each: two parties must not be able to read the same request differently.
    let mut headers: HeaderMap =
        REQUEST.iter().filter_map(|name| Some((name.clone(), caller.get(name)?.clone()))).collect();
    headers.insert(USER_AGENT, OUR_USER_AGENT);
    headers
}

/// Returns what a caller may see of an upstream's headers.
pub(crate) fn inbound(upstream: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| REPLY.contains(name) || name.as_str().starts_with(REPLY_PREFIX);
    upstream.keys().filter(|name| passes(name)).map(|name| (name.clone(), upstream[name].clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn nothing_but_the_list_reaches_the_upstream() {
        let caller = headers(&[
            ("accept", "text/event-stream"),
            ("authorization", "Bearer pk_caller"),
            ("content-type", "application/json"),
            ("cookie", "session=1"),
            ("forwarded", "for=10.0.0.1"),
            ("host", "evil.example"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("user-agent", "agent/1"),
            ("x-api-key", "pk_caller"),
            ("x-forwarded-host", "evil.example"),
            ("x-portcullis-workflow", "docs"),
            ("x-request-id", "r1"),
        ]);
        let expected = headers(&[
            ("accept", "text/event-stream"),
            ("content-type", "application/json"),
            ("user-agent", concat!("portcullis/", env!("CARGO_PKG_VERSION"))),
            ("x-request-id", "r1"),
        ]);
        assert_eq!(outbound(&caller), expected);
    }

    #[test]
    fn a_repeated_header_is_sent_once() {
        let mut caller = headers(&[("content-type", "application/json")]);
        caller.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let sent = outbound(&caller);
        assert_eq!(sent.get_all(CONTENT_TYPE).iter().collect::<Vec<_>>(), ["application/json"]);
    }

    #[test]
    fn nothing_but_the_list_reaches_the_caller() {
        let upstream = headers(&[
            ("connection", "keep-alive"),
            ("content-length", "12"),
            ("content-type", "application/json"),
            ("openai-organization", "acme"),
            ("retry-after", "3"),
            ("server", "x"),
            ("set-cookie", "a=b"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-request-id", "u1"),
        ]);
        let expected = headers(&[
            ("content-type", "application/json"),
            ("retry-after", "3"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-request-id", "u1"),
        ]);
        assert_eq!(inbound(&upstream), expected);
    }
}
