//! Where a request wants to go, read once.
//!
//! A name that two readers take differently is how a filter is walked around: brackets, a trailing dot, `%2e`,
//! `0x7f.1`. So the text is read here, by one strict grammar, into a value; decision, look-up, connection and the
//! comparison with the server name all take the value, and nothing reads the text again.
//!
//! Deliberately absent: a default port for CONNECT, user information, zones of IPv6 addresses, names that are not
//! ASCII. Clients send none of these.

use std::fmt;
use std::net::Ipv6Addr;

use url::Host;

/// Longest host name, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// Longest label of a host name, in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// Most digits of a port.
const PORT_DIGITS_MAX: usize = 5;

/// A host and a port.
///
/// A name is in lower case, without a trailing dot, and made of plain labels; whatever a C library would take for an
/// IPv4 address is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    host: Host,
    port: u16,
}

/// Why a text is not a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The host is neither a plain name nor an address.
    #[error(
        "the host is not a name of letters, digits and `-`, an IPv4 address, or an IPv6 address in brackets"
    )]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// There is no port, and the form of the request has no default.
    #[error("the port is missing: write HOST:PORT")]
    PortMissing,
}

impl Target {
    /// Reads `host:port`.
    ///
    /// # Errors
    /// Returns [`TargetError`] if the text has any other form.
    pub(super) fn with_port(text: &str) -> Result<Self, TargetError> {
        let (host, port) = split(text)?;
        Ok(Self { host, port: port.ok_or(TargetError::PortMissing)? })
    }

    /// Reads `host` or `host:port`; without a port, `default` is meant.
    ///
    /// # Errors
    /// Returns [`TargetError`] if the text has any other form.
    pub(super) fn with_default(text: &str, default: u16) -> Result<Self, TargetError> {
        let (host, port) = split(text)?;
        Ok(Self { host, port: port.unwrap_or(default) })
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn split(text: &str) -> Result<(Host, Option<u16>), TargetError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(TargetError::Host)?;
        let address: Ipv6Addr = inside.parse().map_err(|_| TargetError::Host)?;
        let port = match after.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if after.is_empty() => None,
            None => return Err(TargetError::Host),
        };
        return Ok((Host::Ipv6(address), port));
    }
    match text.split_once(':') {
        Some((host, digits)) => Ok((name_or_ipv4(host)?, Some(port(digits)?))),
        None => Ok((name_or_ipv4(text)?, None)),
    }
}

fn port(digits: &str) -> Result<u16, TargetError> {
    let is_plain = (1..=PORT_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if !is_plain {
        return Err(TargetError::Port);
    }
    digits.parse().map_err(|_| TargetError::Port)
}

fn name_or_ipv4(text: &str) -> Result<Host, TargetError> {
    // Before anything decodes or maps a character: what is left after this has one reading.
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
        return Err(TargetError::Host);
    }
    let lower = text.to_ascii_lowercase();
    let absolute = lower.strip_suffix('.').unwrap_or(&lower);
    match Host::parse(absolute).map_err(|_| TargetError::Host)? {
        Host::Domain(name) if name == absolute && is_plain_name(&name) => Ok(Host::Domain(name)),
        Host::Ipv4(address) => Ok(Host::Ipv4(address)),
        Host::Domain(_) | Host::Ipv6(_) => Err(TargetError::Host),
    }
}

fn is_plain_name(name: &str) -> bool {
    let is_plain_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_plain_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, TargetError>) {
        let read = Target::with_port(text).map(|target| target.to_string());
        assert_eq!(read.as_deref(), expected.as_ref().map(|text| &**text), "{text:?}");
    }

    // E4, replay 1
    #[test]
    fn case_and_one_trailing_dot_change_nothing_and_a_second_dot_is_refused() {
        check("dir.test:443", Ok("dir.test:443"));
        check("Dir.Test:443", Ok("dir.test:443"));
        check("DIR.TEST.:443", Ok("dir.test:443"));
        for text in ["dir.test..:443", ".:443", ".dir.test:443", "a..b:443"] {
            check(text, Err(TargetError::Host));
        }
    }

    // E4, replay 2
    #[test]
    fn brackets_hold_an_ipv6_address_and_nothing_else() {
        check("[2606:4700::1]:443", Ok("[2606:4700::1]:443"));
        for text in [
            "[evil.com]:443",
            "[127.0.0.1]:443",
            "[[::1]]:443",
            "[::1:443",
            "::1:443",
            "[::1]443",
            "[fe80::1%25eth0]:443",
            "[fe80::1%eth0]:443",
            "[]:443",
            "e[vil].com:443",
        ] {
            assert!(Target::with_port(text).is_err(), "{text:?} was taken");
        }
    }

    // E4, replay 3, replay 21
    #[test]
    fn whatever_a_c_library_takes_for_an_ipv4_address_is_one() {
        for text in ["127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "127.0.0.1.", "0X7F.0.0.1"] {
            check(&format!("{text}:443"), Ok("127.0.0.1:443"));
        }
        check("0xa9fea9fe:80", Ok("169.254.169.254:80"));
        check("0:80", Ok("0.0.0.0:80"));
        for text in ["1.2.3.4.5:443", "256.1.1.1:443", "example.0x1:443", "1.2.3.09:443"] {
            check(text, Err(TargetError::Host));
        }
    }

    // E4, replay 7
    #[test]
    fn no_character_stands_for_another() {
        for host in [
            "evil.com\0.dir.test",
            "evil.com%00.dir.test",
            "deps%2eorg",
            "evil.com\\.dir.test",
            "user@dir.test",
            "dir.test@evil.com",
            "dir.test\t",
            "deps .org",
            "dir.test/",
            "dir.test#",
            "dir.test?",
            "p\u{ff59}pi.org",
            "ok\u{3002}org",
            "b\u{fc}cher.example",
            "so\u{ad}ft.example",
            "ex_ample.com",
            "-a.com",
            "a-.com",
            "*.com",
            "",
        ] {
            check(&format!("{host}:443"), Err(TargetError::Host));
        }
        check(&format!("{}.com:443", "a".repeat(64)), Err(TargetError::Host));
        check(&format!("{}com:443", "abcdefg.".repeat(32)), Err(TargetError::Host));
    }

    // Replay 32
    #[test]
    fn a_label_in_punycode_that_says_plain_ascii_is_refused() {
        check("xn--bcher-kva.example:443", Ok("xn--bcher-kva.example:443"));
        check("xn--example-.com:443", Err(TargetError::Host));
        check("xn--a.com:443", Err(TargetError::Host));
    }

    // E8
    #[test]
    fn a_port_is_a_plain_number_and_never_left_out() {
        check("dir.test:65535", Ok("dir.test:65535"));
        for text in
            ["dir.test:0", "dir.test:65536", "dir.test:", "dir.test:+443", "dir.test:0443", "dir.test:443:1"]
        {
            check(text, Err(TargetError::Port));
        }
        check("dir.test", Err(TargetError::PortMissing));
        assert_eq!(Target::with_default("dir.test", 80).map(|target| target.port), Ok(80));
        assert_eq!(Target::with_default("dir.test:81", 80).map(|target| target.port), Ok(81));
    }
}
