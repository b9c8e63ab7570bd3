//! Bytes, both ways, until one of several clocks says that it is enough.
//!
//! An end of one direction is passed on and the other direction goes on, as it does without a proxy in between.
//!
//! Deliberately absent: any look at the bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, sleep_until};

use super::exit::Io;

/// Buffer of each direction, in bytes: a record of TLS.
const BUFFER_BYTES: usize = 16 << 10;

/// What passed through a connection, and when last.
#[derive(Debug)]
pub(super) struct Traffic {
    began: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// When something passed last, in milliseconds since the beginning.
    last_ms: AtomicU64,
}

// Relaxed throughout: the numbers order nothing.
impl Traffic {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until nothing has passed for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let last_ms = self.last_ms.load(Ordering::Relaxed);
            sleep_until(self.began + Duration::from_millis(last_ms) + limit).await;
            if self.last_ms.load(Ordering::Relaxed) == last_ms {
                return;
            }
        }
    }

    fn count(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// The upstream's side of a connection, counted.
pub(super) struct Metered {
    io: Box<dyn Io>,
    traffic: Arc<Traffic>,
}

impl Metered {
    pub(super) fn new(io: Box<dyn Io>, traffic: Arc<Traffic>) -> Self {
        Self { io, traffic }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let traffic = &self.traffic;
        traffic.count(&traffic.received, buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
        let traffic = &self.traffic;
        traffic.count(&traffic.sent, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Passes bytes on in both directions until both have ended.
pub(super) async fn both_ways<C: Io>(client: &mut C, upstream: &mut Metered) -> io::Result<()> {
    copy_bidirectional_with_sizes(client, upstream, BUFFER_BYTES, BUFFER_BYTES).await.map(drop)
}
