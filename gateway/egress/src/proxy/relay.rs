//! Carries bytes between a Unix socket and a stream that no descriptor can stand for.
//!
//! Who gets a tunnel may live in another process, and TLS with a proxy lives in this one. So that process gets one end
//! of a pair of sockets, and a task here copies between the other end and the tunnel, as it comes, in both directions.
//!
//! The end of one direction is passed on, and the other goes on: a peer may have said all and still want to listen.
//! Any failure ends both. A direction that is alone must move, because nobody else would notice that it does not. Whoever
//! opened the tunnel ends it by dropping the [`Relay`].
//!
//! Deliberately absent: any look at what passes, and any time limit while both directions are open. Whoever uses the
//! tunnel has one.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Size of the buffer of each direction, in bytes: the payload of the largest TLS record.
const BUFFER_BYTES: usize = 16 * 1024;

/// Longest silence of a direction whose counterpart has ended.
const LONE_SILENCE_MAX: Duration = Duration::from_secs(60);

/// A running relay. It ends when its connections do, or when this is dropped: that closes both at once.
#[derive(Debug)]
pub(crate) struct Relay {
    counts: Arc<Counts>,
    task: JoinHandle<Ending>,
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both directions ended.
    Finished,
    /// One of the connections failed.
    Failed,
    /// One direction ended, and the other stood still.
    Silent,
}

/// Bytes carried so far, without what TLS adds. Relaxed: they order nothing.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Relay {
    /// Starts to relay between `far` and the socket that is returned. `first` came from `far` and was read already.
    ///
    /// # Errors
    /// Returns the system's error if there is no pair of sockets to be had.
    pub(super) fn start<S>(far: S, first: Vec<u8>) -> io::Result<(UnixStream, Self)>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (theirs, ours) = UnixStream::pair()?;
        let counts = Arc::<Counts>::default();
        let counting = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            let ending = carry(ours, far, first, counting).await;
            tracing::debug!(?ending, "a relay ended");
            ending
        });
        Ok((theirs, Self { counts, task }))
    }

    /// Returns how many bytes were handed to the far side.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Returns how many bytes of the far side were handed over.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.counts.received.load(Ordering::Relaxed)
    }

    /// Waits for the end. May be dropped and called again, until it has returned.
    #[cfg(test)]
    pub(super) async fn ended(&mut self) -> Ending {
        (&mut self.task).await.unwrap_or(Ending::Failed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A peer that takes nothing more would keep the task for as long as the system tries, a quarter of an hour.
        self.task.abort();
    }
}

async fn carry<S>(mut near: UnixStream, far: S, first: Vec<u8>, counts: Arc<Counts>) -> Ending
where
    S: AsyncRead + AsyncWrite,
{
    let (mut near_in, mut near_out) = near.split();
    let (mut far_in, mut far_out) = split(far);
    let mut sending = pin!(copy(&mut near_in, &mut far_out, &counts.sent));
    let mut receiving = pin!(async {
        hand_on(&first, &mut near_out, &counts.received).await?;
        copy(&mut far_in, &mut near_out, &counts.received).await
    });
    tokio::select! {
        sent = &mut sending => match sent {
            Ok(()) => alone(receiving, &counts.received).await,
            Err(_) => Ending::Failed,
        },
        received = &mut receiving => match received {
            Ok(()) => alone(sending, &counts.sent).await,
            Err(_) => Ending::Failed,
        },
    }
}

/// Waits for the direction that is left, while it moves.
async fn alone(mut rest: Pin<&mut impl Future<Output = io::Result<()>>>, count: &AtomicU64) -> Ending {
    loop {
        let before = count.load(Ordering::Relaxed);
        match timeout(LONE_SILENCE_MAX, rest.as_mut()).await {
            Ok(Ok(())) => return Ending::Finished,
            Ok(Err(_)) => return Ending::Failed,
            Err(_) if count.load(Ordering::Relaxed) == before => return Ending::Silent,
            Err(_) => {}
        }
    }
}

/// Copies until `from` ends, and passes the end on.
async fn copy<R, W>(from: &mut R, to: &mut W, count: &AtomicU64) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = match from.read(&mut buffer).await {
            // TLS without its farewell. What is inside the tunnel has means of its own to notice that it was cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        if length == 0 {
            return to.shutdown().await;
        }
        hand_on(&buffer[..length], to, count).await?;
    }
}

async fn hand_on<W: AsyncWrite + Unpin>(bytes: &[u8], to: &mut W, count: &AtomicU64) -> io::Result<()> {
    to.write_all(bytes).await?;
    // TLS may hold back the end of a record that the socket had no room for.
    to.flush().await?;
    count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;

    use super::*;

    /// What the far end holds before it blocks.
    const FAR_BYTES: usize = 64 * 1024;

    /// A relay, and the two ends that talk through it.
    fn relay(first: &[u8]) -> (UnixStream, DuplexStream, Relay) {
        let (far, peer) = tokio::io::duplex(FAR_BYTES);
        let (near, relay) = Relay::start(far, first.to_vec()).unwrap();
        (near, peer, relay)
    }

    async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn bytes_pass_and_are_counted_each_way() {
        let (mut near, mut peer, mut relay) = relay(b"first, ");
        let (sent, received) = (vec![7; 100_000], b"then".to_vec());
        let (upstream, ()) = tokio::join!(rest(&mut peer), async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        });
        assert_eq!(upstream, sent);
        peer.write_all(&received).await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(rest(&mut near).await, b"first, then");
        assert_eq!(relay.ended().await, Ending::Finished);
        assert_eq!((relay.bytes_sent(), relay.bytes_received()), (100_000, 11));
    }

    #[tokio::test]
    async fn the_end_of_one_direction_leaves_the_other_open() {
        let (mut near, mut peer, mut relay) = relay(b"");
        peer.shutdown().await.unwrap();
        assert_eq!(rest(&mut near).await, b"");
        near.write_all(b"still here").await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(rest(&mut peer).await, b"still here");
        assert_eq!(relay.ended().await, Ending::Finished);
    }

    #[tokio::test]
    async fn a_near_end_that_is_gone_ends_the_relay_when_the_far_end_talks_on() {
        let (near, mut peer, mut relay) = relay(b"");
        drop(near);
        assert_eq!(rest(&mut peer).await, b"", "the far side learns that nobody will send any more");
        let talking = async { while peer.write_all(&[0; 64]).await.is_ok() {} };
        let ((), ending) = tokio::join!(talking, relay.ended());
        assert_eq!(ending, Ending::Failed);
    }

    #[tokio::test]
    async fn a_far_end_that_is_gone_closes_the_near_one() {
        let (mut near, peer, mut relay) = relay(b"");
        drop(peer);
        assert_eq!(rest(&mut near).await, b"");
        drop(near);
        assert_eq!(relay.ended().await, Ending::Finished);
    }

    #[tokio::test(start_paused = true)]
    async fn a_direction_that_is_alone_must_move() {
        let (near, mut peer, mut relay) = relay(b"");
        drop(near);
        let began = Instant::now();
        assert_eq!(relay.ended().await, Ending::Silent);
        assert_eq!(began.elapsed(), LONE_SILENCE_MAX);
        assert_eq!(rest(&mut peer).await, b"");
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_is_open_both_ways_may_be_silent() {
        let (mut near, mut peer, mut relay) = relay(b"");
        assert!(timeout(LONE_SILENCE_MAX * 10, relay.ended()).await.is_err());
        near.write_all(b"late").await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(rest(&mut peer).await, b"late");
    }

    #[tokio::test]
    async fn a_relay_that_is_dropped_closes_both_sides() {
        let (mut near, mut peer, relay) = relay(b"");
        drop(relay);
        assert_eq!(rest(&mut near).await, b"");
        assert_eq!(rest(&mut peer).await, b"");
    }

    #[tokio::test]
    async fn a_far_end_that_takes_nothing_more_does_not_keep_a_dropped_relay() {
        let (mut near, mut peer, relay) = relay(b"");
        // More than the far end holds, so that the relay waits for it.
        near.write_all(&vec![7; FAR_BYTES + 1]).await.unwrap();
        near.shutdown().await.unwrap();
        peer.read_exact(&mut [0]).await.unwrap();
        drop(relay);
        // By an end or by a reset, as the system sees fit: what was written last has not been taken.
        drop(near.read_to_end(&mut Vec::new()).await);
    }

    #[tokio::test]
    async fn a_near_end_that_does_not_read_holds_the_far_one_back() {
        let (_near, mut peer, relay) = relay(b"");
        let much = vec![0; FAR_BYTES];
        let mut flood = pin!(async { while peer.write_all(&much).await.is_ok() {} });
        for _ in 0..1000 {
            assert!(flood.as_mut().now_or_never().is_none(), "the relay is still there");
            tokio::task::yield_now().await;
        }
        // What the kernel keeps for a pair of sockets, and far less than was on offer.
        assert!((1..8 << 20).contains(&relay.bytes_received()), "{}", relay.bytes_received());
    }
}
