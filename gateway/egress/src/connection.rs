//! The seam between our dialler and hyper's connection pool.
//!
//! hyper's pool asks a service for a connection to a URI. The service here ignores the URI: it holds a
//! [`Dialler`], and that goes to one destination only. Deliberately absent: anything that decides.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Describe};
use hyper_util::rt::TokioIo;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::dial::{DialError, Dialler};
use crate::stream::Io;
use crate::way::{DialId, Lease, Opened};

/// A connected byte stream, plain or encrypted.
pub(crate) struct Connection {
    io: TokioIo<Box<dyn Io>>,
    is_http2: bool,
    dial: DialId,
    /// Behind the stream, because it ends after it.
    _lease: Lease,
}

impl Connection {
    /// Wraps a plain connection, which speaks HTTP/1.1.
    pub(crate) fn plain(opened: Opened) -> Self {
        let Opened { stream, dial, lease } = opened;
        Self { io: TokioIo::new(stream.into_io()), is_http2: false, dial, _lease: lease }
    }

    /// Wraps an encrypted connection, which speaks what both sides agreed on.
    pub(crate) fn tls(stream: TlsStream<Box<dyn Io>>, dial: DialId, lease: Lease) -> Self {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Self { io: TokioIo::new(Box::new(stream)), is_http2, dial, _lease: lease }
    }
}

impl Describe for Connection {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.dial.clone());
        if self.is_http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }
}

/// Gives hyper's pool its connections.
#[derive(Clone)]
pub(crate) struct Connector(pub(crate) Arc<Dialler>);

/// A [`DialError`] on its way through hyper, which hands errors back by reference only.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct DialFailure(pub(crate) Arc<DialError>);

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = DialFailure;
    type Future = BoxFuture<'static, Result<Connection, DialFailure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialler = Arc::clone(&self.0);
        async move { dialler.dial().await.map_err(|error| DialFailure(Arc::new(error))) }.boxed()
    }
}
