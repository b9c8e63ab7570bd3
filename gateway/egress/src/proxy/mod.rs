//! The way through a company's proxy: a connection to the proxy becomes one to the destination.
//!
//! ```text
//! http   TCP --CONNECT--> the same TCP connection         a descriptor that any process can hold
//! https  TCP --TLS, CONNECT--> Unix socket <-relay- TLS   a descriptor again, and a task behind it
//! ```
//!
//! Nothing is sent through a tunnel before the proxy said yes, and an answer other than yes closes the connection. A
//! [`Via`] is given a connection to the proxy and knows no way to make one, so none of its failures can end in a dial
//! of the destination itself.
//!
//! Deliberately absent: a request that the proxy could read (only CONNECT is used), a second try with another
//! credential, proxies that the environment names, and tunnels kept for other destinations.

mod error;
mod head;
pub(crate) mod relay;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use policy::{Proxy, Scheme, SecretRef};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use error::{ProxyError, ProxyFailure};
use head::{HEAD_BYTES_MAX, Head, HeadError, Step};
use relay::Relay;

use crate::secret::{Secret, SecretError};
use crate::tls::{Roots, TlsError, server_name};

/// Longest time from a connection to a tunnel: for TLS with the proxy, and until it has connected and said so. The
/// destination's connect timeout is usually shorter.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Where a tunnel shall lead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// An address that we resolved and checked.
    Address(SocketAddr),
    /// A name that the proxy resolves.
    Name(&'a str, u16),
}

/// A connection that leads to the target.
#[derive(Debug)]
pub(crate) enum Tunnel {
    /// The connection to the proxy itself. Not a byte of the tunnel has been read.
    Direct(TcpStream),
    /// A socket whose bytes are relayed through TLS with the proxy.
    Relayed {
        /// The end to use, or to give to another process.
        near: UnixStream,
        /// What carries its bytes.
        relay: Relay,
    },
}

/// One proxy, as one destination uses it.
#[derive(Debug)]
pub(crate) struct Via {
    tls: Option<Tls>,
    auth: Option<SecretRef>,
    /// Folder from which a relative secret file is meant.
    base: PathBuf,
}

/// How to speak TLS with a proxy.
struct Tls {
    connector: TlsConnector,
    /// What the proxy's certificate must be for.
    name: ServerName<'static>,
}

impl Via {
    /// Makes the way through `proxy`; relative paths start at `base`.
    ///
    /// A certificate file is read now, and read again for the next policy. A credential is read for each tunnel.
    ///
    /// # Errors
    /// Returns [`TlsError`] if the proxy is reached by TLS and its certificate file cannot be used.
    pub(crate) fn new(proxy: &Proxy, base: &Path) -> Result<Self, TlsError> {
        let tls = match proxy.scheme() {
            Scheme::Http => None,
            Scheme::Https => Some(Tls::new(proxy, base)?),
        };
        let auth = proxy.auth_file().map(|file| SecretRef::File(file.to_owned()));
        Ok(Self { tls, auth, base: base.to_owned() })
    }

    /// Turns a fresh connection to the proxy into one that leads to `target`.
    ///
    /// # Errors
    /// Returns [`ProxyError`] if the proxy does not connect, and closes the connection.
    pub(crate) async fn tunnel(&self, tcp: TcpStream, target: Target<'_>) -> Result<Tunnel, ProxyError> {
        let opened = timeout(ANSWER_WAIT_MAX, self.open(tcp, target)).await;
        opened.unwrap_or(Err(ProxyError::Timeout(ANSWER_WAIT_MAX)))
    }

    async fn open(&self, mut tcp: TcpStream, target: Target<'_>) -> Result<Tunnel, ProxyError> {
        let request = self.request(target).await?;
        let Some(Tls { connector, name }) = &self.tls else {
            tcp.write_all(&request).await.map_err(ProxyError::Closed)?;
            return verdict(peek_head(&mut tcp).await?).map(|()| Tunnel::Direct(tcp));
        };
        let mut tls = connector.connect(name.clone(), tcp).await.map_err(ProxyError::Tls)?;
        write(&mut tls, &request).await.map_err(ProxyError::Closed)?;
        let (status, first) = read_head(&mut tls).await?;
        verdict(status)?;
        let (near, relay) = Relay::start(tls, first).map_err(ProxyError::Closed)?;
        Ok(Tunnel::Relayed { near, relay })
    }

    async fn request(&self, target: Target<'_>) -> Result<Vec<u8>, ProxyError> {
        let authority = authority(target)?;
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        if let Some(auth) = &self.auth {
            let secret = Secret::read(auth, &self.base).await.map_err(ProxyError::Secret)?;
            let pair = user_and_password(&secret).map_err(ProxyError::Secret)?;
            request.extend_from_slice(b"Proxy-Authorization: Basic ");
            request.extend_from_slice(BASE64.encode(pair).as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        Ok(request)
    }
}

impl Tls {
    fn new(proxy: &Proxy, base: &Path) -> Result<Self, TlsError> {
        let roots = match proxy.ca_file() {
            Some(file) => Roots::public_and_file(&base.join(file))?,
            None => Roots::public(),
        };
        let name = server_name(proxy.host())?;
        Ok(Self { connector: TlsConnector::from(roots.proxy_config()?), name })
    }
}

/// Shows whom the certificate must name, and nothing of the session.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Writes a target as CONNECT and `Host` want it.
fn authority(target: Target<'_>) -> Result<String, ProxyError> {
    match target {
        // Written from its parts: a zone, as in `fe80::1%2`, has no place here.
        Target::Address(address) => Ok(SocketAddr::new(address.ip(), address.port()).to_string()),
        // The policy knows plain names only. Checked once more, because a line feed here would be a second request.
        Target::Name(name, port) if is_name(name) => Ok(format!("{name}:{port}")),
        Target::Name(..) => Err(ProxyError::Target),
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !name.is_empty() && name.bytes().all(is_plain)
}

/// Checks that a secret can be a credential for Basic (RFC 7617).
fn user_and_password(secret: &Secret) -> Result<&[u8], SecretError> {
    let pair = secret.bytes();
    if pair.iter().any(u8::is_ascii_control) || !pair.contains(&b':') {
        return Err(secret.unusable("not one line of the form user:password"));
    }
    Ok(pair)
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await
}

/// Reads the head of an answer and leaves every byte behind it in the socket, for whoever gets the descriptor.
///
/// The bytes are looked at before they are taken, and no more is taken than belongs to the head.
async fn peek_head(tcp: &mut TcpStream) -> Result<StatusCode, ProxyError> {
    let (mut head, mut buffer) = (Head::default(), vec![0; HEAD_BYTES_MAX]);
    loop {
        let length = tcp.peek(&mut buffer).await.and_then(some).map_err(ProxyError::Closed)?;
        let step = head.take(&buffer[..length]).map_err(not_a_head)?;
        let used = if let Step::End { used, .. } = step { used } else { length };
        tcp.read_exact(&mut buffer[..used]).await.map_err(ProxyError::Closed)?;
        if let Step::End { status, .. } = step {
            return Ok(status);
        }
    }
}

/// Reads the head of an answer, and returns what came behind it.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(StatusCode, Vec<u8>), ProxyError> {
    let (mut head, mut buffer) = (Head::default(), vec![0; HEAD_BYTES_MAX]);
    loop {
        let length = stream.read(&mut buffer).await.and_then(some).map_err(ProxyError::Closed)?;
        if let Step::End { status, used } = head.take(&buffer[..length]).map_err(not_a_head)? {
            return Ok((status, buffer[used..length].to_vec()));
        }
    }
}

/// Nothing to read means that the proxy is gone.
fn some(length: usize) -> io::Result<usize> {
    if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(length) }
}

fn not_a_head(error: HeadError) -> ProxyError {
    match error {
        HeadError::Malformed => ProxyError::Malformed,
        HeadError::TooLarge => ProxyError::TooLarge,
    }
}

fn verdict(status: StatusCode) -> Result<(), ProxyError> {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(ProxyError::Auth),
        status if status.is_success() => Ok(()),
        status => Err(ProxyError::Refused(status)),
    }
}

#[cfg(test)]
mod tests;
