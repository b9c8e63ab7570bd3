//! Headers of a provider's answer, as the client of another API may see them.
//!
//! Ids and the state of rate limits have other names in other APIs. A client gets the names that it knows; what has
//! none stays behind, because a header of the wrong family would be taken for a statement of this gateway.

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use wire::Dialect;

/// The provider's own id of a call.
pub(crate) const UPSTREAM_REQUEST_ID: HeaderName =
    HeaderName::from_static("x-portcullis-upstream-request-id");

/// Under which names providers give their id.
const IDS: [&str; 3] = ["x-request-id", "request-id", "x-amzn-requestid"];

/// The two families of names for the state of rate limits: `OpenAI`'s puts the quantity last, Anthropic's first.
const OPENAI_LIMITS: &str = "x-ratelimit-";
const ANTHROPIC_LIMITS: &str = "anthropic-ratelimit-";

/// Returns the provider's id of the call, if it gave one.
pub(crate) fn upstream_id(headers: &HeaderMap) -> Option<&str> {
    IDS.iter().find_map(|name| headers.get(*name)?.to_str().ok())
}

/// Returns what the client of an answer sees.
pub(super) fn to_client(upstream: &HeaderMap, dialect: Dialect) -> HeaderMap {
    let mut headers = of_error(upstream);
    let speaks_anthropic = dialect == Dialect::AnthropicMessages;
    let is_foreign = |name: &HeaderName| {
        let foreign = if speaks_anthropic { OPENAI_LIMITS } else { ANTHROPIC_LIMITS };
        name.as_str().starts_with(foreign) || (name.as_str().starts_with("openai-") && speaks_anthropic)
    };
    let foreign: Vec<HeaderName> = headers.keys().filter(|name| is_foreign(name)).cloned().collect();
    for name in foreign {
        let value = headers.remove(&name);
        let renamed = limit_in_other_words(name.as_str());
        if let (Some(value), Some(renamed)) = (value, renamed) {
            headers.insert(renamed, value);
        }
    }
    headers
}

/// Returns what may stand beside an error: everything but what describes the provider's own body.
pub(super) fn of_error(upstream: &HeaderMap) -> HeaderMap {
    let mut headers = upstream.clone();
    for name in [CONTENT_TYPE, CONTENT_LENGTH] {
        headers.remove(name);
    }
    let id = upstream_id(&headers).and_then(|id| HeaderValue::from_str(id).ok());
    for name in IDS {
        headers.remove(name);
    }
    headers.remove("x-amzn-errortype");
    headers.extend(id.map(|id| (UPSTREAM_REQUEST_ID, id)));
    headers
}

/// `x-ratelimit-limit-requests` is `anthropic-ratelimit-requests-limit`. When a limit is reset is a span of time in one
/// and a point in time in the other, so that is not translated.
fn limit_in_other_words(name: &str) -> Option<HeaderName> {
    let swap = |rest: &str| {
        let (first, second) = rest.split_once('-')?;
        (![first, second].contains(&"reset")).then(|| format!("{second}-{first}"))
    };
    let renamed = match name.strip_prefix(OPENAI_LIMITS) {
        Some(rest) => format!("{ANTHROPIC_LIMITS}{}", swap(rest)?),
        None => format!("{OPENAI_LIMITS}{}", swap(name.strip_prefix(ANTHROPIC_LIMITS)?)?),
    };
    HeaderName::try_from(renamed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    // Rule 20.
    #[test]
    fn limits_have_the_names_that_the_client_knows() {
        let upstream = headers(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-ratelimit-reset-tokens", "1s"),
            ("openai-processing-ms", "3"),
            ("retry-after", "2"),
            ("x-request-id", "u1"),
        ]);
        let anthropic = headers(&[
            ("anthropic-ratelimit-requests-limit", "60"),
            ("anthropic-ratelimit-tokens-remaining", "7"),
            ("retry-after", "2"),
            ("x-portcullis-upstream-request-id", "u1"),
        ]);
        assert_eq!(to_client(&upstream, Dialect::AnthropicMessages), anthropic);
        let mut same = upstream.clone();
        same.remove("x-request-id");
        same.insert("x-portcullis-upstream-request-id", HeaderValue::from_static("u1"));
        assert_eq!(to_client(&upstream, Dialect::OpenAiChat), same);
    }

    // Rule 20.
    #[test]
    fn limits_of_the_other_family_are_translated_back() {
        let upstream = headers(&[
            ("anthropic-ratelimit-input-tokens-remaining", "5"),
            ("anthropic-ratelimit-requests-remaining", "4"),
            ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
            ("request-id", "req_1"),
        ]);
        let openai = to_client(&upstream, Dialect::OpenAiResponses);
        assert_eq!(openai["x-ratelimit-remaining-requests"], "4");
        assert_eq!(openai["x-portcullis-upstream-request-id"], "req_1");
        assert!(!openai.keys().any(|name| name.as_str().contains("reset")));
        assert!(!openai.keys().any(|name| name.as_str().starts_with(ANTHROPIC_LIMITS)));
    }
}
