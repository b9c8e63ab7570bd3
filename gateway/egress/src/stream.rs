//! A connected byte stream that can change hands between processes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::AddressFamily;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A byte stream: what hyper and rustls read and write.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to an upstream, or one end of a relay that has it.
#[derive(Debug)]
pub(crate) enum Stream {
    /// To the upstream, or through a proxy that was asked in the clear.
    Tcp(TcpStream),
    /// To a relay in the process that opened the connection.
    Relayed(UnixStream),
}

impl Stream {
    /// Takes a connected, non-blocking socket.
    pub(crate) fn from_socket(socket: OwnedFd) -> io::Result<Self> {
        let family = rustix::net::getsockname(&socket)?.address_family();
        if family == AddressFamily::UNIX {
            let stream = std::os::unix::net::UnixStream::from(socket);
            stream.set_nonblocking(true)?;
            return UnixStream::from_std(stream).map(Self::Relayed);
        }
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream).map(Self::Tcp)
    }

    /// Returns the socket, for another process.
    pub(crate) fn into_socket(self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(OwnedFd::from),
            Self::Relayed(stream) => stream.into_std().map(OwnedFd::from),
        }
    }

    /// Returns it as something to read from and to write to.
    pub(crate) fn into_io(self) -> Box<dyn Io> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Relayed(stream) => Box::new(stream),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Relayed(stream) => stream.as_fd(),
        }
    }
}
