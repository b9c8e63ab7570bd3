//! The first thing that a client says inside a tunnel.
//!
//! A tunnel was granted for a name, so what goes through it has to be TLS for that name: otherwise a granted name
//! would be the key to everything that shares an address with it. The client hello is read from a copy, by the same
//! library that our own TLS uses, and what the client sent is passed on byte by byte as it came.
//!
//! What cannot be seen: whatever comes after the hello. An encrypted client hello has an outer name, and that one is
//! compared; the inner one is the business of whoever holds the outer name.

use std::io;

use bytes::BytesMut;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};
use url::Host;

use super::target::Target;

/// Most bytes to wait for. A hello with keys of post-quantum schemes and a session ticket has some 4 KiB.
const HELLO_BYTES_MAX: usize = 16 << 10;

/// How every handshake of TLS begins: the type of the record, and the first byte of its version.
const HANDSHAKE: [u8; 2] = [0x16, 3];

/// A record of TLS with a fatal alert, `access_denied`: what a client's error message will say.
pub(super) const ACCESS_DENIED: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 49];

/// Why a tunnel is not used for what it was granted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Misuse {
    /// The first bytes are not TLS.
    NotTls,
    /// They are TLS, and not a client hello that can be read.
    Malformed,
    /// The hello is too long.
    TooLong,
    /// It did not come in time.
    Late,
    /// It names no server.
    NoName,
    /// It names another server.
    OtherName,
}

impl Misuse {
    /// Returns the code for records; one of a closed set.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotTls => "tunnel.not_tls",
            Self::Malformed => "tunnel.hello_malformed",
            Self::TooLong => "tunnel.hello_too_long",
            Self::Late => "tunnel.timeout_hello",
            Self::NoName => "tunnel.no_sni",
            Self::OtherName => "tunnel.other_sni",
        }
    }
}

/// How reading a hello ended.
#[derive(Debug)]
pub(super) enum Hello {
    /// It names this server, or none.
    Read(Option<String>),
    /// It is none.
    Bad(Misuse),
    /// The client went away before it was whole.
    Gone,
}

/// Reads the hello from `client`, behind the bytes that have already arrived; leaves all of them in `bytes`.
///
/// Not cancel safe for the acceptor's state, only for `bytes`: after a timeout they can still be passed on.
pub(super) async fn read<C: AsyncRead + Unpin>(client: &mut C, bytes: &mut BytesMut) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut seen = 0;
    loop {
        if bytes.iter().zip(HANDSHAKE).any(|(&byte, expected)| byte != expected) {
            return Ok(Hello::Bad(Misuse::NotTls));
        }
        let mut news = &bytes[seen..];
        while !news.is_empty() {
            if acceptor.read_tls(&mut news).is_err() {
                return Ok(Hello::Bad(Misuse::Malformed));
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    return Ok(Hello::Read(accepted.client_hello().server_name().map(str::to_owned)));
                }
                Err(_) => return Ok(Hello::Bad(Misuse::Malformed)),
            }
        }
        seen = bytes.len();
        if seen >= HELLO_BYTES_MAX {
            return Ok(Hello::Bad(Misuse::TooLong));
        }
        let left = (HELLO_BYTES_MAX - seen) as u64;
        if (&mut *client).take(left).read_buf(bytes).await? == 0 {
            return Ok(Hello::Gone);
        }
    }
}

/// Compares the name in a hello with what the tunnel was granted for.
///
/// A tunnel to an address has no name to compare, and RFC 6066 allows none there.
pub(super) fn compare(target: &Target, name: Option<&str>) -> Result<(), Misuse> {
    match (target.host(), name) {
        (Host::Domain(host), Some(name)) if host == name => Ok(()),
        (Host::Domain(_), None) => Err(Misuse::NoName),
        (Host::Ipv4(_) | Host::Ipv6(_), None) => Ok(()),
        (_, Some(_)) => Err(Misuse::OtherName),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// Returns the hello that a client of our own library sends to `name`.
    fn hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    async fn read_all(mut text: &[u8]) -> Hello {
        read(&mut text, &mut BytesMut::new()).await.unwrap()
    }

    #[track_caller]
    fn check(hello: &Hello, expected: Result<Option<&str>, Misuse>) {
        match hello {
            Hello::Read(name) => assert_eq!(Ok(name.as_deref()), expected),
            Hello::Bad(misuse) => assert_eq!(Err(*misuse), expected),
            Hello::Gone => panic!("the hello is not whole"),
        }
    }

    // E5
    #[tokio::test]
    async fn a_hello_is_read_and_left_as_it_came() {
        let sent = hello("dir.test");
        let mut bytes = BytesMut::from(&sent[..3]);
        check(&read(&mut &sent[3..], &mut bytes).await.unwrap(), Ok(Some("dir.test")));
        assert_eq!(bytes, sent);
        check(&read_all(&hello("127.0.0.1")).await, Ok(None));
    }

    // E5
    #[tokio::test]
    async fn what_is_no_hello_is_told_apart() {
        check(&read_all(b"GET / HTTP/1.1\r\n\r\n").await, Err(Misuse::NotTls));
        check(&read_all(b"SSH-2.0-x\r\n").await, Err(Misuse::NotTls));
        // The old form of a hello, which no server of today should take.
        check(&read_all(&[0x80, 0x2e, 1, 3, 1]).await, Err(Misuse::NotTls));
        check(&read_all(&[0x16, 3, 1, 0, 4, 2, 0, 0, 0]).await, Err(Misuse::Malformed));
        check(&read_all(&[0x16, 3, 1, 0, 0]).await, Err(Misuse::Malformed));
        let mut long = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x7f, 0xff];
        long.resize(HELLO_BYTES_MAX + 1000, 0);
        check(&read_all(&long).await, Err(Misuse::TooLong));
        let sent = hello("dir.test");
        assert!(matches!(read_all(&sent[..sent.len() - 1]).await, Hello::Gone));
        assert!(matches!(read_all(b"").await, Hello::Gone));
    }

    // E5, replay 7
    #[tokio::test]
    async fn a_name_with_a_control_character_is_malformed() {
        let mut sent = hello("dir.test");
        let at = sent.windows(8).position(|window| window == b"dir.test").unwrap();
        sent[at + 4] = 0;
        check(&read_all(&sent).await, Err(Misuse::Malformed));
    }

    /// Adds to a big-endian number of `width` bytes.
    fn add(bytes: &mut [u8], at: usize, width: usize, more: usize) {
        let number = bytes[at..at + width].iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let sum = (number + more).to_be_bytes();
        bytes[at..at + width].copy_from_slice(&sum[sum.len() - width..]);
    }

    /// Puts an encrypted hello into one, as clients do that know a server's key, and those that only look so.
    fn with_encrypted_hello(mut hello: Vec<u8>) -> Vec<u8> {
        let extension = [0xfe, 0x0d, 0, 13, 0, 0, 1, 0, 1, 7, 0, 1, 0xaa, 0, 2, 0xbb, 0xbb];
        // Record and handshake header, version and random; then a session, suites and compressions with their sizes.
        let mut at = 5 + 4 + 2 + 32;
        at += 1 + usize::from(hello[at]);
        at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
        at += 1 + usize::from(hello[at]);
        for (at, width) in [(3, 2), (6, 3), (at, 2)] {
            add(&mut hello, at, width, extension.len());
        }
        hello.extend(extension);
        hello
    }

    // E5
    #[tokio::test]
    async fn the_outer_name_of_an_encrypted_hello_is_the_one_that_counts() {
        check(&read_all(&with_encrypted_hello(hello("outer.example"))).await, Ok(Some("outer.example")));
    }

    // E5
    #[tokio::test]
    async fn a_hello_in_several_records_is_read_like_one() {
        let sent = hello("dir.test");
        let at = sent.windows(8).position(|window| window == b"dir.test").unwrap() + 4;
        let record = |part: &[u8]| [&[0x16, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
        let split = [record(&sent[5..at]), record(&sent[at..])].concat();
        check(&read_all(&split).await, Ok(Some("dir.test")));
    }

    // E5
    #[test]
    fn the_name_has_to_be_the_one_that_was_granted() {
        let target = |text| Target::with_port(text).unwrap();
        let name = target("dir.test:443");
        assert_eq!(compare(&name, Some("dir.test")), Ok(()));
        assert_eq!(compare(&name, Some("evil.com")), Err(Misuse::OtherName));
        assert_eq!(compare(&name, Some("dir.test.")), Err(Misuse::OtherName));
        assert_eq!(compare(&name, None), Err(Misuse::NoName));
        for address in ["93.184.216.34:443", "[2606:4700::1]:443"] {
            assert_eq!(compare(&target(address), None), Ok(()));
            assert_eq!(compare(&target(address), Some("dir.test")), Err(Misuse::OtherName));
        }
    }
}
