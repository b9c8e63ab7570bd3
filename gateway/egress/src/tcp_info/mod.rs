//! How many bytes a TCP connection carried, as the system counted them.
//!
//! Whoever opened a connection that somebody else uses can ask this of a second descriptor, so the count owes nothing
//! to the one who used it.
//!
//! Deliberately absent: everything else that the system knows of a connection.

use std::os::fd::BorrowedFd;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
use other as system;

/// Bytes of payload in each direction: neither headers nor what was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpBytes {
    /// Written to the connection, and sent or waiting to be sent.
    pub sent: u64,
    /// Arrived from the other side, read by somebody or not.
    pub received: u64,
}

/// Asks the system about a connection; nothing if it is no TCP connection, or the system does not tell.
///
/// The counts grow for as long as a descriptor of it is open for sending. Once the connection is over for both sides
/// the system no longer tells an end from a reset, and after a reset `received` is one byte less than it was.
pub fn bytes(socket: BorrowedFd<'_>) -> Option<TcpBytes> {
    system::bytes(socket)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// The end that dialled, a second descriptor of it, and the other end.
    fn connection() -> (TcpStream, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        (ours.try_clone().unwrap(), ours, theirs)
    }

    /// Sends `count` bytes and waits until the other end has read them.
    fn send(from: &mut TcpStream, to: &mut TcpStream, count: usize) {
        std::thread::scope(|scope| {
            scope.spawn(|| from.write_all(&vec![7; count]).unwrap());
            to.read_exact(&mut vec![0; count]).unwrap();
        });
    }

    /// Waits until the other end's end has arrived.
    fn await_end(stream: &mut TcpStream) {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    }

    fn counted(socket: &TcpStream) -> (u64, u64) {
        let TcpBytes { sent, received } = bytes(socket.as_fd()).unwrap();
        (sent, received)
    }

    #[test]
    fn what_was_sent_each_way_is_counted_to_the_byte() {
        let (second, mut ours, mut theirs) = connection();
        assert_eq!(counted(&second), (0, 0));
        send(&mut ours, &mut theirs, 1);
        assert_eq!(counted(&second), (1, 0));
        send(&mut theirs, &mut ours, 300);
        assert_eq!(counted(&second), (1, 300));
        send(&mut ours, &mut theirs, 2_000_000);
        send(&mut theirs, &mut ours, 1_000_000);
        assert_eq!(counted(&second), (2_000_001, 1_000_300));
    }

    #[test]
    fn the_ends_of_a_connection_are_no_payload_whoever_comes_first() {
        let (second, mut ours, mut theirs) = connection();
        send(&mut ours, &mut theirs, 1000);
        send(&mut theirs, &mut ours, 300);
        drop(theirs);
        await_end(&mut ours);
        assert_eq!(counted(&second), (1000, 300));
        ours.shutdown(Shutdown::Both).unwrap();
        drop(ours);
        assert_eq!(counted(&second), (1000, 300));

        let (second, mut ours, mut theirs) = connection();
        send(&mut ours, &mut theirs, 1000);
        send(&mut theirs, &mut ours, 300);
        ours.shutdown(Shutdown::Write).unwrap();
        await_end(&mut theirs);
        assert_eq!(counted(&second), (1000, 300));
        drop(theirs);
        await_end(&mut ours);
        assert_eq!(counted(&second), (1000, 300));
    }

    #[test]
    fn what_nobody_reads_is_counted_too() {
        let (second, mut ours, theirs) = connection();
        ours.set_nonblocking(true).unwrap();
        let mut written = 0;
        // Far more than the other end takes without reading: most of it waits on this side.
        let much = vec![7; 65_536];
        while let Ok(count) = ours.write(&much) {
            written += count as u64;
        }
        assert!(written > 65_536);
        let TcpBytes { sent, .. } = bytes(second.as_fd()).unwrap();
        // Probes into the full window count as sent again, and only roughly.
        assert!(sent.abs_diff(written) < 1024, "{sent} of {written}");
        drop(theirs);
    }

    #[test]
    fn a_reset_costs_the_count_one_byte_at_most() {
        let (second, mut ours, mut theirs) = connection();
        send(&mut theirs, &mut ours, 300);
        ours.write_all(&[7; 1000]).unwrap();
        // Data that is thrown away unread makes the system reset the connection.
        theirs.peek(&mut [0; 1]).unwrap();
        drop(theirs);
        assert!(ours.read(&mut [0; 1]).is_err());
        let (sent, received) = counted(&second);
        assert_eq!(sent, 1000);
        assert!((299..=300).contains(&received), "{received}");
    }

    #[test]
    fn what_is_no_tcp_connection_has_no_count() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(bytes(one.as_fd()), None);
        assert_eq!(bytes(std::fs::File::open("/dev/null").unwrap().as_fd()), None);
    }
}
