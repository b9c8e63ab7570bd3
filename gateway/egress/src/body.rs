//! The bytes of an upstream's answer, as they arrive, with an end to every wait.
//!
//! Nothing is collected here: a piece is handed on as soon as it is read, and reading goes no faster than the
//! consumer. Dropping a [`Body`] closes the HTTP/1 connection or resets the HTTP/2 stream, which is how an
//! upstream learns that nobody listens any more.
//!
//! An answer whose length the upstream did not declare ends where its connection ends. Whether it was whole is
//! then for the reader of the format to say.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::Frame;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::passage::Passage;

/// The body of an upstream's answer: a stream of bytes that ends after its first error.
#[derive(Debug)]
pub struct Body {
    frames: Timed<Incoming>,
    passage: Passage,
}

/// Why an answer broke off. The upstream may have done the work all the same.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream sent nothing for too long.
    #[error("the upstream sent nothing for {0:?}")]
    Idle(Duration),
    /// The exchange as a whole took too long.
    #[error("the answer did not end in time")]
    Total,
    /// The connection failed before the answer was complete.
    #[error("the answer was cut off")]
    Cut(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl BodyError {
    /// Returns the code for records and metrics; one of a closed set.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Idle(_) => "egress.timeout_idle",
            Self::Total => "egress.timeout_total",
            Self::Cut(_) => "egress.cut",
        }
    }
}

impl Body {
    /// Hands on what comes, no longer than `idle` after the piece before and until `deadline`.
    pub(crate) fn new(frames: Incoming, (idle, deadline): (Duration, Instant), passage: Passage) -> Self {
        Self { frames: Timed::new(frames, idle, deadline), passage }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(pin!(&mut self.frames).poll_next(context));
        if let Some(Ok(piece)) = &piece {
            self.passage.read(piece.len());
        }
        Poll::Ready(piece)
    }
}

/// A body under two clocks. Generic so that tests can drive it without a socket.
#[derive(Debug)]
struct Timed<B> {
    /// `None` once the stream has ended: the connection is given up at once, not when the consumer gets round
    /// to dropping the stream.
    frames: Option<B>,
    idle: Duration,
    /// Whether a wait is in progress that `idle_end` bounds.
    is_waiting: bool,
    idle_end: Pin<Box<Sleep>>,
    total_end: Pin<Box<Sleep>>,
}

impl<B> Timed<B> {
    fn new(frames: B, idle: Duration, deadline: Instant) -> Self {
        Self {
            frames: Some(frames),
            idle,
            is_waiting: false,
            idle_end: Box::pin(sleep_until(deadline)),
            total_end: Box::pin(sleep_until(deadline)),
        }
    }

    /// Is ready with an error once the upstream has been silent for too long.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        if !self.is_waiting {
            // Silence counts from the moment that we began to listen. A slow consumer leaves bytes unread, and
            // that must not look like an upstream that went quiet.
            self.idle_end.as_mut().reset(Instant::now() + self.idle);
            self.is_waiting = true;
        }
        self.idle_end.as_mut().poll(context).map(|()| BodyError::Idle(self.idle))
    }
}

impl<B> Stream for Timed<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let end = loop {
            let Some(frames) = &mut this.frames else { return Poll::Ready(None) };
            // First, because an upstream that always has something ready would otherwise never run out of time.
            if this.total_end.as_mut().poll(context).is_ready() {
                break Some(BodyError::Total);
            }
            match Pin::new(frames).poll_frame(context) {
                Poll::Pending => break Some(ready!(this.poll_idle(context))),
                Poll::Ready(None) => break None,
                Poll::Ready(Some(Err(error))) => break Some(BodyError::Cut(error.into())),
                Poll::Ready(Some(Ok(frame))) => {
                    this.is_waiting = false;
                    // Trailers and empty pieces carry nothing for the caller.
                    if let Some(data) = Frame::into_data(frame).ok().filter(|data| !data.is_empty()) {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        };
        this.frames = None;
        Poll::Ready(end.map(Err))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio::time::{advance, timeout};

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    type Piece = Result<Frame<Bytes>, io::Error>;

    /// A body fed by hand, and the handle that feeds it.
    fn fed(total: Duration) -> (mpsc::Sender<Piece>, impl Stream<Item = Result<Bytes, BodyError>> + Unpin) {
        let (feed, mut pieces) = mpsc::channel::<Piece>(16);
        let frames = StreamBody::new(stream::poll_fn(move |context| pieces.poll_recv(context)));
        (feed, Timed::new(frames, IDLE, Instant::now() + total))
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_goes_quiet_is_given_up_after_the_idle_time() {
        let (feed, mut body) = fed(Duration::from_secs(1000));
        feed.send(Ok(data("a"))).await.unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        let began = Instant::now();
        assert!(matches!(body.next().await, Some(Err(BodyError::Idle(IDLE)))));
        assert_eq!(began.elapsed(), IDLE);
        assert!(body.next().await.is_none());
        assert!(feed.is_closed(), "the upstream must be let go with the error, not with the drop");
    }

    #[tokio::test(start_paused = true)]
    async fn every_piece_starts_the_idle_time_anew() {
        let (feed, mut body) = fed(Duration::from_secs(1000));
        for _ in 0..5 {
            assert!(timeout(IDLE * 9 / 10, body.next()).await.is_err());
            feed.send(Ok(data("a"))).await.unwrap();
            assert_eq!(body.next().await.unwrap().unwrap(), "a");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_that_comes_back_late_does_not_make_the_upstream_look_idle() {
        let (feed, mut body) = fed(Duration::from_secs(1000));
        feed.send(Ok(data("a"))).await.unwrap();
        assert!(body.next().await.unwrap().is_ok());
        advance(IDLE * 5).await;
        assert!(body.next().now_or_never().is_none(), "listening has only just begun");
        feed.send(Ok(data("b"))).await.unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "b");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_stops_ends_at_the_total_time() {
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(data("a")));
        let mut body = Timed::new(StreamBody::new(endless), IDLE, Instant::now() + Duration::from_secs(30));
        assert!(body.next().await.unwrap().is_ok());
        advance(Duration::from_secs(31)).await;
        assert!(matches!(body.next().await, Some(Err(BodyError::Total))));
        assert!(body.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_upstream_is_not_a_finished_one() {
        let (feed, mut body) = fed(Duration::from_secs(1000));
        feed.send(Ok(data("a"))).await.unwrap();
        feed.send(Err(io::ErrorKind::ConnectionReset.into())).await.unwrap();
        assert!(body.next().await.unwrap().is_ok());
        assert!(matches!(body.next().await, Some(Err(BodyError::Cut(_)))));
        assert!(body.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_and_empty_pieces_are_not_handed_on() {
        let (feed, mut body) = fed(Duration::from_secs(1000));
        feed.send(Ok(data(""))).await.unwrap();
        feed.send(Ok(data("a"))).await.unwrap();
        feed.send(Ok(Frame::trailers(http::HeaderMap::new()))).await.unwrap();
        drop(feed);
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        assert!(body.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_body_ends_at_once() {
        let mut body = Timed::new(http_body_util::Empty::new().boxed(), IDLE, Instant::now() + IDLE);
        assert!(body.next().now_or_never().expect("nothing to wait for").is_none());
    }
}
