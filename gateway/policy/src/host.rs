//! Patterns for hosts: one host, or everything below a domain.
//!
//! There is no bare `*`, no wildcard inside a label and none above one: who reads a pattern knows what it
//! means. `*.example.com` does not match `example.com` itself.

use std::fmt;
use std::net::IpAddr;

use url::Host;

/// Longest host name, in bytes.
const HOST_BYTES_MAX: usize = 253;
/// Longest label of a host name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Which hosts are meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostPattern {
    /// This host alone.
    Exact(Host),
    /// Every name that ends in a dot and this domain.
    Below(String),
}

/// Why a text is not a host or a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    #[error("is not a host name of letters, digits and `-`")]
    Name,
    #[error("is a wildcard that covers more than one domain")]
    Wildcard,
}

impl HostPattern {
    /// Reads `api.example.com`, `*.example.com`, `10.0.0.1` or `[::1]`.
    pub(crate) fn parse(text: &str) -> Result<Self, HostError> {
        let Some(domain) = text.strip_prefix("*.") else {
            return parse_host(text).map(Self::Exact);
        };
        match parse_host(domain)? {
            // A wildcard right above a top-level domain would cover every company in it.
            Host::Domain(name) if name.contains('.') => Ok(Self::Below(name)),
            _ => Err(HostError::Wildcard),
        }
    }

    /// Returns the host, if the pattern means one alone.
    pub(crate) fn exact(&self) -> Option<&Host> {
        match self {
            Self::Exact(host) => Some(host),
            Self::Below(_) => None,
        }
    }

    /// Returns whether `host` is meant.
    pub(crate) fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::Below(domain), Host::Domain(name)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// Reads a host in the one form that every reader takes alike: a lower-case name of plain labels without a
/// trailing dot, a dotted quad, or an IPv6 address in brackets.
pub(crate) fn parse_host(text: &str) -> Result<Host, HostError> {
    let host = Host::parse(text).map_err(|_| HostError::Name)?;
    // `0x7f.1` and `EXAMPLE.com` parse, to something that is written differently.
    if host.to_string() != text {
        return Err(HostError::Name);
    }
    match &host {
        Host::Domain(name) if !is_plain_name(name) => Err(HostError::Name),
        _ => Ok(host),
    }
}

/// Returns the address of an IP-literal host.
pub(crate) fn address(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
    }
}

fn is_plain_name(name: &str) -> bool {
    let is_plain_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_plain_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap()
    }

    fn host(text: &str) -> Host {
        parse_host(text).unwrap()
    }

    #[test]
    fn a_wildcard_matches_below_a_domain_and_not_the_domain_itself() {
        let wildcard = pattern("*.example.com");
        assert!(wildcard.matches(&host("a.example.com")));
        assert!(wildcard.matches(&host("a.b.example.com")));
        for other in ["example.com", "badexample.com", "a.example.com.evil.org", "10.0.0.1", "[::1]"] {
            assert!(!wildcard.matches(&host(other)), "{other}");
        }
    }

    #[test]
    fn an_exact_pattern_matches_one_host() {
        assert!(pattern("example.com").matches(&host("example.com")));
        assert!(!pattern("example.com").matches(&host("a.example.com")));
        assert!(pattern("10.0.0.1").matches(&host("10.0.0.1")));
        assert!(pattern("[::1]").matches(&host("[::1]")));
    }

    #[test]
    fn wide_and_misplaced_wildcards_are_refused() {
        for text in ["*", "*.", "*.com", "a.*.com", "a*.example.com", "**.example.com", "*.10.0.0.1"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_have_one_way_of_being_written() {
        for text in [
            "EXAMPLE.com",
            "example.com.",
            "exa_mple.com",
            "bücher.example",
            "0x7f.1",
            "127.1",
            "2130706433",
            "010.0.0.1",
            "[::0:1]",
            "::1",
            "a..b",
            "-a.com",
            "a-.com",
            "%61.com",
            "a b.com",
            "",
            ".",
            "user@a.com",
            "[fe80::1%25eth0]",
        ] {
            assert!(parse_host(text).is_err(), "{text:?} was taken as {:?}", parse_host(text));
        }
        let long = format!("{}.com", "a".repeat(64));
        assert!(parse_host(&long).is_err());
        assert!(parse_host("xn--bcher-kva.example").is_ok(), "a name that is already in ASCII form");
    }
}
