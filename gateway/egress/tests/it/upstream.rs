//! An upstream whose every step the test takes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a step may take before the test fails instead of hanging. No passing test comes near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A listener on a free port of 127.0.0.1 that hands each connection to the test and counts them.
pub(crate) struct Upstream {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    connections: mpsc::Receiver<TcpStream>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn listen(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let (sender, connections) = mpsc::channel(16);
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                if sender.send(tcp).await.is_err() {
                    return;
                }
            }
        });
        Self { address, accepted, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns how many connections were ever opened.
    ///
    /// A connection that the client opened may still be on its way through the listener. So the test first opens
    /// one of its own, which comes out behind all others, and leaves it out of the count.
    pub(crate) async fn connection_count(&mut self) -> usize {
        let own = TcpStream::connect(self.address).await.unwrap();
        let own_address = own.local_addr().unwrap();
        while self.connections.recv().await.unwrap().peer_addr().unwrap() != own_address {}
        self.accepted.fetch_sub(1, Ordering::SeqCst) - 1
    }

    /// Waits for the next connection, as it is.
    pub(crate) async fn connection(&mut self) -> TcpStream {
        timeout(PATIENCE, self.connections.recv()).await.expect("the client opens a connection").unwrap()
    }

    /// Waits for the next connection and reads the request on it.
    pub(crate) async fn request(&mut self) -> Exchange {
        let mut exchange = Exchange { tcp: self.connection().await, head: String::new(), body: Vec::new() };
        exchange.read_request().await;
        exchange
    }
}

/// A connection on which one request has been read.
pub(crate) struct Exchange {
    tcp: TcpStream,
    /// Request line and headers, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Exchange {
    /// Reads another request on the same connection.
    pub(crate) async fn read_request(&mut self) {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.tcp.read_u8().await.unwrap());
            }
            String::from_utf8(head).unwrap()
        };
        self.head = timeout(PATIENCE, reading).await.expect("the client sends a request here");
        let length = self.header("content-length").map_or(0, |value| value.parse().unwrap());
        self.body = vec![0; length];
        self.tcp.read_exact(&mut self.body).await.unwrap();
    }

    /// Returns a header of the request, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.tcp.write_all(text.as_bytes()).await.unwrap();
    }

    /// Writes a whole answer.
    pub(crate) async fn answer(&mut self, body: &str) {
        self.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    }

    /// Writes the head of an answer that comes in chunks.
    pub(crate) async fn begin(&mut self) {
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    pub(crate) async fn chunk(&mut self, text: &str) {
        self.write(&format!("{:x}\r\n{text}\r\n", text.len())).await;
    }

    /// Waits until the client has closed its side; fails if it sends more instead.
    pub(crate) async fn closed(mut self) {
        match timeout(PATIENCE, self.tcp.read_u8()).await.expect("the client closes its side") {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection is still in use: {other:?}"),
        }
    }
}
