//! Who calls: what a request shows of its sender, as the policy wants to see it.
//!
//! A key comes as `Authorization: Bearer` or `x-api-key`; both with different keys is refused, because two
//! readers of the same request would disagree about who sent it.
//!
//! A peer on the loopback interface may be let in without a key, so a browser on the same machine must not be
//! able to speak for its user: a request with an `Origin`, or whose `Host` is a name other than localhost (DNS
//! rebinding), does not count as coming from here. Nor does one that a proxy on this machine has passed on and marked. Client libraries insist on some key; one that was not made
//! by this gateway is looked past where the peer's place alone would do.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use policy::key::KEY_PREFIX;
use policy::{Caller, IdentityError, Policy, Presented};

use crate::clock::now;
use crate::error::ApiError;

/// How a caller with several workflows names one.
pub(crate) const WORKFLOW_HEADER: HeaderName = HeaderName::from_static("x-portcullis-workflow");

const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// What a proxy in front of us adds: its peer is then somebody else than ours.
const RELAYED: [HeaderName; 5] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("via"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// Finds the caller behind a request.
pub(crate) fn identify(policy: &Policy, peer: SocketAddr, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let loopback = is_from_here(peer, headers);
    let key = presented_key(headers)?.filter(|key| !loopback || key.starts_with(KEY_PREFIX));
    policy.identify(&Presented { loopback, api_key: key, now: now() }).map_err(|error| match error {
        IdentityError::Missing => ApiError::unauthenticated(
            "missing_api_key",
            "an API key is required: send it as `Authorization: Bearer KEY`; your platform team makes one with `portcullis key new`",
        ),
        IdentityError::NotAKey => ApiError::unauthenticated(
            "invalid_api_key",
            "this is not a whole key of this gateway: those begin with `pck_`, and end with a check that this one fails; copy it anew",
        ),
        IdentityError::ExpiredKey => ApiError::unauthenticated(
            "key_expired",
            "this API key has expired; ask your platform team for a new one",
        ),
        IdentityError::UnknownKey => ApiError::unauthenticated(
            "invalid_api_key",
            "this API key is not known here; ask your platform team for a new one",
        ),
    })
}

fn is_from_here(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let named_here = host.is_empty() || is_loopback_name(host);
    let relayed = RELAYED.iter().any(|name| headers.contains_key(name));
    peer.ip().to_canonical().is_loopback() && named_here && !relayed && !headers.contains_key(ORIGIN)
}

/// Whether a `Host` value, with or without port, means this machine.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let unreadable =
        || ApiError::unauthenticated("invalid_api_key", "the API key header is not readable text");
    let one = |name: &HeaderName| -> Result<Option<&str>, ApiError> {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().map_err(|_| unreadable())).transpose()?;
        if values.next().is_some() {
            return Err(ApiError::invalid(
                "duplicate_header",
                format!("the header {name} was sent more than once"),
            ));
        }
        Ok(first)
    };
    let bearer = one(&AUTHORIZATION)?.map(|value| match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(key.trim()),
        _ => Err(ApiError::unauthenticated("invalid_api_key", "`Authorization` must be `Bearer KEY`")),
    });
    match (
        bearer.transpose()?.filter(|key| !key.is_empty()),
        one(&API_KEY_HEADER)?.filter(|key| !key.is_empty()),
    ) {
        (Some(bearer), Some(other)) if bearer != other => Err(ApiError::invalid(
            "two_api_keys",
            "`Authorization` and `x-api-key` carry different keys; send one",
        )),
        (bearer, other) => Ok(bearer.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_browser_page_does_not_count_as_local() {
        let here: SocketAddr = "127.0.0.1:5".parse().unwrap();
        assert!(is_from_here(here, &headers(&[("host", "127.0.0.1:8080")])));
        assert!(is_from_here(here, &headers(&[("host", "localhost:8080")])));
        assert!(is_from_here("[::1]:5".parse().unwrap(), &headers(&[("host", "[::1]:8080")])));
        assert!(!is_from_here(here, &headers(&[("host", "evil.example:8080")])));
        assert!(!is_from_here(here, &headers(&[("host", "localhost.evil.example")])));
        assert!(!is_from_here(here, &headers(&[("host", "localhost"), ("origin", "http://localhost")])));
        assert!(!is_from_here(here, &headers(&[("host", "localhost"), ("x-forwarded-for", "10.0.0.9")])));
        assert!(!is_from_here("10.0.0.9:5".parse().unwrap(), &headers(&[("host", "localhost")])));
    }

    #[test]
    fn one_key_from_either_header_and_never_two() {
        assert_eq!(presented_key(&headers(&[("authorization", "bearer pck_a_1")])).unwrap(), Some("pck_a_1"));
        assert_eq!(presented_key(&headers(&[("x-api-key", "pck_a_1")])).unwrap(), Some("pck_a_1"));
        assert!(presented_key(&headers(&[("authorization", "Bearer a"), ("x-api-key", "b")])).is_err());
        assert!(presented_key(&headers(&[("authorization", "Basic a")])).is_err());
        let mut twice = headers(&[("x-api-key", "a")]);
        twice.append("x-api-key", "a".parse().unwrap());
        assert!(presented_key(&twice).is_err());
    }
}
