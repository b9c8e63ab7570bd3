//! A request to the proxy: CONNECT, or plain HTTP in absolute form.
//!
//! The target stands in the request line, and the `Host` header, where there is one, must say the same: whoever reads
//! the other of the two must not end up elsewhere.
//!
//! Deliberately absent: what the policy says of it.

use http::header::{EXPECT, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Version};

use super::head::{Body, Head, HeadError};
use super::target::{Target, TargetError};

/// The port of plain HTTP.
pub(super) const HTTP_PORT: u16 = 80;

/// What is asked of the proxy.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) target: Target,
    pub(super) form: Form,
    /// What the sender shows of itself.
    pub(super) credentials: Option<HeaderValue>,
    pub(super) headers: HeaderMap,
}

/// How it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// A tunnel.
    Connect,
    /// One exchange of plain HTTP.
    Plain(Exchange),
}

/// What goes to the server of a plain exchange, apart from the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Body,
}

/// What an agent may want of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A tunnel.
    Connect,
    /// Plain HTTP.
    Plain,
}

impl Kind {
    /// Returns the word for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Plain => "plain",
        }
    }
}

/// Why a request makes no sense to a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(
        "this is a forward proxy, and the request names no host: set it as HTTPS_PROXY, not as a base URL"
    )]
    NotForAProxy,
    #[error("only http:// is taken in absolute form: for TLS use CONNECT")]
    Scheme,
    #[error("the path holds a character that has no place there")]
    Path,
    #[error("the header `host` and the request line name different hosts")]
    OtherHost,
    #[error("HTTP/1.1 needs a `host` header")]
    NoHost,
    #[error("a CONNECT has no body")]
    ConnectBody,
    #[error("plain HTTP needs HTTP/1.1")]
    OldVersion,
    #[error("`expect` is not supported: send the body at once")]
    Expectation,
}

impl Form {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Connect => Kind::Connect,
            Self::Plain(_) => Kind::Plain,
        }
    }
}

impl Request {
    /// Reads a request out of its head.
    pub(super) fn read(head: Head) -> Result<Self, RequestError> {
        let body = head.body()?;
        let (target, form, default_port) = if head.method == Method::CONNECT {
            // What follows a CONNECT belongs to the tunnel; a body would make that a matter of opinion.
            if !matches!(body, Body::None | Body::Length(0)) {
                return Err(RequestError::ConnectBody);
            }
            let target = Target::with_port(&head.target)?;
            let port = target.port();
            (target, Form::Connect, port)
        } else {
            let (target, path) = absolute(&head.target)?;
            if head.version != Version::HTTP_11 {
                return Err(RequestError::OldVersion);
            }
            if head.headers.contains_key(EXPECT) {
                return Err(RequestError::Expectation);
            }
            (target, Form::Plain(Exchange { method: head.method.clone(), path, body }), HTTP_PORT)
        };
        match head.one(&HOST)? {
            Some(host) => {
                let host = host.to_str().map_err(|_| TargetError::Host)?;
                if Target::with_default(host, default_port)? != target {
                    return Err(RequestError::OtherHost);
                }
            }
            None if head.version == Version::HTTP_11 => return Err(RequestError::NoHost),
            None => {}
        }
        let credentials = head.one(&PROXY_AUTHORIZATION)?.cloned();
        Ok(Self { target, form, credentials, headers: head.headers })
    }
}

fn absolute(text: &str) -> Result<(Target, String), RequestError> {
    let (scheme, rest) = text.split_once("://").ok_or(RequestError::NotForAProxy)?;
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return Err(RequestError::NotForAProxy);
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(RequestError::Scheme);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    // Some readers take a backslash for a slash, and what follows a `#` never belongs on the wire.
    if path.contains(['\\', '#']) {
        return Err(RequestError::Path);
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((Target::with_default(authority, HTTP_PORT)?, format!("{slash}{path}")))
}

#[cfg(test)]
mod tests {
    use super::super::head;
    use super::*;

    fn read(text: &str) -> Result<Request, RequestError> {
        let end = head::end(text.as_bytes(), 0)?.expect("the test writes whole heads");
        Request::read(Head::parse(&text.as_bytes()[..end])?)
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &RequestError) {
        assert_eq!(&read(text).unwrap_err(), expected, "{text:?}");
    }

    #[test]
    fn a_connect_names_its_target_twice_or_once_in_old_http() {
        let target = |text| read(text).map(|request| request.target.to_string());
        let expected = Ok("dir.test:443".to_owned());
        assert_eq!(target("CONNECT dir.test:443 HTTP/1.1\r\nhost: dir.test:443\r\n\r\n"), expected);
        assert_eq!(target("CONNECT Dir.Test.:443 HTTP/1.1\r\nhost: dir.TEST\r\n\r\n"), expected);
        // Clients of the standard library of Python before 3.12.
        assert_eq!(target("CONNECT dir.test:443 HTTP/1.0\r\n\r\n"), expected);
        check_refused("CONNECT dir.test:443 HTTP/1.1\r\n\r\n", &RequestError::NoHost);
        check_refused(
            "CONNECT dir.test HTTP/1.1\r\nhost: dir.test\r\n\r\n",
            &TargetError::PortMissing.into(),
        );
        check_refused(
            "CONNECT http://dir.test:443 HTTP/1.1\r\nhost: dir.test\r\n\r\n",
            &TargetError::Port.into(),
        );
    }

    // E6, replay 9, replay 35
    #[test]
    fn a_host_header_says_the_same_as_the_request_line_and_says_it_once() {
        for (line, host) in [
            ("CONNECT dir.test:443", "evil.com:443"),
            ("CONNECT dir.test:443", "dir.test:8443"),
            ("GET http://dir.test/", "evil.com"),
            ("GET http://dir.test/", "dir.test:8080"),
            ("GET http://dir.test:8080/", "dir.test"),
        ] {
            check_refused(&format!("{line} HTTP/1.1\r\nhost: {host}\r\n\r\n"), &RequestError::OtherHost);
        }
        let twice = "CONNECT a.com:443 HTTP/1.1\r\nhost: a.com\r\nhost: a.com\r\n\r\n";
        check_refused(twice, &HeadError::Repeated(HOST).into());
        let two_keys = "CONNECT a.com:443 HTTP/1.1\r\nhost: a.com\r\nproxy-authorization: Bearer a\r\n\
                        proxy-authorization: Bearer a\r\n\r\n";
        check_refused(two_keys, &HeadError::Repeated(PROXY_AUTHORIZATION).into());
        check_refused("GET http://a.com/ HTTP/1.1\r\nhost: a.com, b.com\r\n\r\n", &TargetError::Host.into());
    }

    // Replay 8
    #[test]
    fn a_connect_has_no_body() {
        for header in ["content-length: 4", "transfer-encoding: chunked"] {
            let text = format!("CONNECT a.com:443 HTTP/1.1\r\nhost: a.com\r\n{header}\r\n\r\n");
            check_refused(&text, &RequestError::ConnectBody);
        }
    }

    // Replay 10, replay 11, replay 22
    #[test]
    fn the_absolute_form_has_one_reading() {
        let plain = |target: &str| {
            let request = read(&format!("GET {target} HTTP/1.1\r\nhost: a.com\r\n\r\n"))?;
            let Form::Plain(exchange) = request.form else { panic!("not plain") };
            Ok(format!("{} {}", request.target, exchange.path))
        };
        assert_eq!(plain("http://a.com/x?y=%3F"), Ok("a.com:80 /x?y=%3F".to_owned()));
        assert_eq!(plain("HTTP://A.com"), Ok("a.com:80 /".to_owned()));
        assert_eq!(plain("http://a.com?x=http://b.com/"), Ok("a.com:80 /?x=http://b.com/".to_owned()));
        assert_eq!(plain("http://a.com//b.com/x"), Ok("a.com:80 //b.com/x".to_owned()));
        for (target, expected) in [
            ("/x", RequestError::NotForAProxy),
            ("*", RequestError::NotForAProxy),
            ("//a.com/x", RequestError::NotForAProxy),
            ("a.com:80", RequestError::NotForAProxy),
            ("/x?u=http://a.com", RequestError::NotForAProxy),
            ("https://a.com/", RequestError::Scheme),
            ("HTTPS://a.com/", RequestError::Scheme),
            ("FILE://a.com/", RequestError::Scheme),
            ("http://a.com\\@b.com/", RequestError::Path),
            ("http://a.com/#x", RequestError::Path),
            ("http://u@a.com/", TargetError::Host.into()),
            ("http://u:p@a.com/", TargetError::Port.into()),
            ("http:///x", TargetError::Host.into()),
            ("http://[a.com]/", TargetError::Host.into()),
        ] {
            assert_eq!(plain(target), Err(expected), "{target}");
        }
    }

    #[test]
    fn plain_http_is_spoken_in_the_version_that_can_end_a_body() {
        check_refused("GET http://a.com/ HTTP/1.0\r\nhost: a.com\r\n\r\n", &RequestError::OldVersion);
        let expect =
            "POST http://a.com/ HTTP/1.1\r\nhost: a.com\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
        check_refused(expect, &RequestError::Expectation);
    }
}
