//! Origins that answer by themselves, and that notice whoever connects, at whatever address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::patience::eventually;
use crate::upstream::DOCUMENT;

/// Every address of both families, at the port of HTTPS.
pub(crate) const EVERYWHERE: &str = "[::]:443";

/// From where the test connects itself, to see that nobody else is in the queue before it.
const PROBE: &str = "127.254.254.254";

/// How an origin treats a call.
#[derive(Clone)]
pub(crate) enum Manner {
    /// It answers with these bytes and hangs up.
    Says(Vec<u8>),
    /// It answers with [`DOCUMENT`] and waits for the next call.
    Stays,
    /// It takes the call and never answers.
    Mute,
    /// It takes the connection and says nothing at all, not even of TLS.
    Deaf,
}

impl Manner {
    /// A good answer, after which it hangs up.
    pub(crate) fn good() -> Self {
        Self::Says(document("connection: close\r\n"))
    }

    /// Half of a good answer.
    pub(crate) fn half() -> Self {
        let whole = document("connection: close\r\n");
        Self::Says(whole[..whole.len() - DOCUMENT.len() / 2].to_vec())
    }

    /// A head with a status and headers, each with its line end, and no body.
    pub(crate) fn head(status: &str, headers: &str) -> Self {
        Self::Says(
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n{headers}\r\n")
                .into_bytes(),
        )
    }
}

fn document(more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}\r\n{DOCUMENT}",
        DOCUMENT.len()
    )
    .into_bytes()
}

/// A running origin.
pub(crate) struct Origin {
    /// Where the test connects itself.
    probe_at: SocketAddr,
    seen: Seen,
    accepting: JoinHandle<()>,
}

/// What an origin has seen.
#[derive(Clone, Default)]
struct Seen {
    /// The addresses under which somebody connected.
    dialled: Arc<Mutex<Vec<IpAddr>>>,
    /// Heads of the calls.
    heads: Arc<Mutex<Vec<String>>>,
    /// How often the test itself connected.
    probes: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) async fn at(address: &str, tls: Option<TlsAcceptor>, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let place = listener.local_addr().unwrap();
        let host = if place.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { place.ip() };
        let probe_at = SocketAddr::new(host, place.port());
        let seen = Seen::default();
        let noting = seen.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, peer)) = listener.accept().await {
                if canonical(peer).to_string() == PROBE {
                    noting.probes.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                // The one who connected may have gone already.
                let Ok(address) = tcp.local_addr() else { continue };
                noting.dialled.lock().unwrap().push(canonical(address));
                let (seen, tls, manner) = (noting.clone(), tls.clone(), manner.clone());
                tokio::spawn(async move { seen.serve(tcp, tls, manner).await });
            }
        });
        Self { probe_at, seen, accepting }
    }

    /// Frees its place for another one.
    pub(crate) async fn close(self) {
        self.accepting.abort();
        assert!(self.accepting.await.unwrap_err().is_cancelled());
    }

    /// The addresses at which somebody connected until now, in their order.
    pub(crate) async fn dialled(&self) -> Vec<IpAddr> {
        let before = self.seen.probes.load(Ordering::Relaxed);
        // It comes out of the queue behind all others.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(PROBE.parse().unwrap(), 0)).unwrap();
        let _probe = socket.connect(self.probe_at).await.unwrap();
        eventually("the test's own connection", async || {
            let is_there = self.seen.probes.load(Ordering::Relaxed) > before;
            is_there.then(|| self.seen.dialled.lock().unwrap().clone())
        })
        .await
    }

    /// The heads of the calls until now.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }
}

impl Seen {
    async fn serve(&self, tcp: TcpStream, tls: Option<TlsAcceptor>, manner: Manner) {
        if matches!(manner, Manner::Deaf) {
            return hold(tcp).await;
        }
        match tls {
            None => self.answer(tcp, manner).await,
            Some(tls) => {
                // A client that does not like the certificate makes no call.
                if let Ok(stream) = tls.accept(tcp).await {
                    self.answer(stream, manner).await;
                }
            }
        }
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner) {
        while let Some(head) = call(&mut stream).await {
            self.heads.lock().unwrap().push(head);
            let (bytes, stays) = match &manner {
                Manner::Says(bytes) => (bytes.clone(), false),
                Manner::Stays => (document(""), true),
                Manner::Mute | Manner::Deaf => return hold(stream).await,
            };
            // Whoever called may have gone; then there is no next call.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            if !stays {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}

/// The address as the one who connected has written it, who may have meant IPv4.
fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// Reads a call and returns its head; nothing if there is none.
async fn call(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await.ok()?;
    Some(head)
}

/// Reads until the other side has gone.
pub(crate) async fn hold(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}
