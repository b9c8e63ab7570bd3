//! Messages and descriptors between the processes of one program, over a connected pair of Unix sockets.
//!
//! The sockets keep messages apart (`SOCK_SEQPACKET`), so a reader sees whole messages or none, and what one process
//! writes cannot shift what the next reads. A message may carry descriptors; they arrive closed to whatever is executed.
//!
//! Deliberately absent: what the messages say.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::FdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Largest message. The largest that is written names a workflow, a provider, a host and a reason.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Most descriptors with one message.
const SOCKETS_MAX: usize = 8;

/// One message.
#[derive(Debug)]
pub struct Letter {
    /// What it says.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub sockets: Vec<OwnedFd>,
}

/// Makes the two ends of a line. Neither survives an `exec`.
///
/// # Errors
/// Returns what the system says.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::empty();
    let (near, far) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    for end in [&near, &far] {
        rustix::io::fcntl_setfd(end, FdFlags::CLOEXEC)?;
    }
    Ok((near, far))
}

/// Sends one message with descriptors; blocks if the socket does.
///
/// # Errors
/// Returns what the system says: above all that nobody holds the other end.
pub fn send(end: BorrowedFd<'_>, bytes: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > MESSAGE_BYTES_MAX || sockets.len() > SOCKETS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large for the line"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(sockets));
        debug_assert!(fits, "there is room for SOCKETS_MAX");
    }
    let sent = rustix::net::sendmsg(end, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    debug_assert_eq!(sent, bytes.len(), "messages are sent whole");
    Ok(())
}

/// Receives one message; blocks if the socket does. Returns nothing if nobody holds the other end any more.
///
/// # Errors
/// Returns what the system says, and an error for a message that is larger than any that is sent.
pub fn receive(end: BorrowedFd<'_>) -> io::Result<Option<Letter>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let message = rustix::net::recvmsg(end, &mut slices, &mut control, RecvFlags::empty())?;
    let mut sockets = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = ancillary {
            sockets.extend(rights);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was cut"));
    }
    if message.bytes == 0 && sockets.is_empty() {
        return Ok(None);
    }
    for socket in &sockets {
        rustix::io::fcntl_setfd(socket, FdFlags::CLOEXEC)?;
    }
    bytes.truncate(message.bytes);
    Ok(Some(Letter { bytes, sockets }))
}

/// One end of a line, for tasks.
///
/// The type says "stream" because that is the registration that tokio offers; only whole messages go through it.
#[derive(Debug)]
pub struct Line(UnixStream);

impl Line {
    /// Takes an end, which no longer blocks from then on.
    ///
    /// # Errors
    /// Returns what the system says.
    ///
    /// # Panics
    /// Panics outside of a runtime.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let end = std::os::unix::net::UnixStream::from(end);
        end.set_nonblocking(true)?;
        UnixStream::from_std(end).map(Self)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// Returns what the system says.
    pub async fn send(&self, bytes: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send(self.0.as_fd(), bytes, sockets)).await
    }

    /// Receives one message, or nothing if nobody holds the other end any more.
    ///
    /// # Errors
    /// Returns what the system says.
    pub async fn receive(&self) -> io::Result<Option<Letter>> {
        self.0.async_io(Interest::READABLE, || receive(self.0.as_fd())).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn messages_stay_apart_and_descriptors_arrive_with_theirs() {
        let (near, far) = pair().unwrap();
        let (mut kept, passed) = UnixStream::pair().unwrap();
        send(near.as_fd(), b"one", &[]).unwrap();
        send(near.as_fd(), b"two", &[passed.as_fd()]).unwrap();
        drop(passed);
        let one = receive(far.as_fd()).unwrap().unwrap();
        assert_eq!((one.bytes.as_slice(), one.sockets.len()), (&b"one"[..], 0));
        let mut two = receive(far.as_fd()).unwrap().unwrap();
        assert_eq!((two.bytes.as_slice(), two.sockets.len()), (&b"two"[..], 1));
        let mut passed = UnixStream::from(two.sockets.remove(0));
        kept.write_all(b"x").unwrap();
        let mut byte = [0];
        passed.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert!(rustix::io::fcntl_getfd(&passed).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn the_end_of_the_other_side_is_seen() {
        let (near, far) = pair().unwrap();
        drop(near);
        assert!(receive(far.as_fd()).unwrap().is_none());
        assert_eq!(send(far.as_fd(), b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_message_that_is_too_large_is_not_sent() {
        let (near, _far) = pair().unwrap();
        let error = send(near.as_fd(), &vec![0; MESSAGE_BYTES_MAX + 1], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
