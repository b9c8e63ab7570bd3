//! The agent's side of a connection.
//!
//! Deliberately absent: a second request. Whatever comes behind a request that is refused is thrown away together with
//! the connection; read as a request, or passed on to anybody, it would be one that nobody has decided about.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::exit::Io;
use super::head::{self, HEAD_BYTES_MAX, Head};
use super::refusal::Refusal;

/// How long a client that was refused may take to hang up.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Most bytes that are read and thrown away meanwhile.
const LINGER_BYTES_MAX: u64 = 64 << 10;

/// An accepted connection.
pub(super) struct Client<S> {
    pub(super) stream: S,
    /// What has arrived and was not used yet.
    pub(super) bytes: BytesMut,
}

/// How waiting for a request ended.
pub(super) enum Arrival {
    /// With one.
    Request(Head),
    /// With something that gets an answer, and no more.
    Refused(Refusal),
    /// With nothing: whoever connected was silent, or went away.
    Nobody,
}

impl<S: Io> Client<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, bytes: BytesMut::new() }
    }

    /// Waits for a request, at most for `limit`.
    pub(super) async fn request(&mut self, limit: Duration) -> Arrival {
        match timeout(limit, self.head()).await {
            Ok(arrival) => arrival,
            Err(_) if self.bytes.is_empty() => Arrival::Nobody,
            Err(_) => Arrival::Refused(Refusal::head_too_late()),
        }
    }

    async fn head(&mut self) -> Arrival {
        let mut seen = 0;
        loop {
            match head::end(&self.bytes, seen) {
                Ok(None) => {}
                Ok(Some(end)) => {
                    let parsed = Head::parse(&self.bytes.split_to(end));
                    return parsed.map_or_else(
                        |error| Arrival::Refused(Refusal::request(&error.into())),
                        Arrival::Request,
                    );
                }
                Err(error) => return Arrival::Refused(Refusal::request(&error.into())),
            }
            seen = self.bytes.len();
            if seen >= HEAD_BYTES_MAX {
                return Arrival::Refused(Refusal::head_too_large());
            }
            let left = (HEAD_BYTES_MAX - seen) as u64;
            match (&mut self.stream).take(left).read_buf(&mut self.bytes).await {
                Ok(0) | Err(_) => return Arrival::Nobody,
                Ok(_) => {}
            }
        }
    }

    /// Says why there is no connection, and hangs up.
    pub(super) async fn refuse(self, refusal: &Refusal) {
        self.finish(refusal.response().as_bytes()).await;
    }

    /// Sends the last bytes, and hangs up.
    ///
    /// A socket that is closed while it holds unread bytes takes back what was sent last, so what still comes is read
    /// and thrown away, for a moment.
    pub(super) async fn finish(mut self, last: &[u8]) {
        let linger = async {
            self.stream.write_all(last).await?;
            self.stream.shutdown().await?;
            tokio::io::copy(&mut self.stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
        };
        // Whether the client still listens changes nothing.
        drop(timeout(LINGER_MAX, linger).await);
    }
}
