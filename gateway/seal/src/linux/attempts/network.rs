//! Sockets of every family, and a received connection that is turned into another one.

use std::io::{self, IoSlice};
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::net::{
    AddressFamily, MMsgHdr, Protocol, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, addr::SocketAddrArg,
};

use super::{Row, outcome};
use crate::escapes::{Context, Layer, Outcome};
use crate::linux::sys::{self, Harmless};

/// How long a lookup may take before it counts as one that nobody answers.
const LOOKUP_WAIT: Duration = Duration::from_secs(2);

pub(super) const LIST: &[Row] = &[
    ("inet stream", Layer::Seccomp, |to| outcome(stream(AddressFamily::INET, None, &to.address_v4))),
    ("inet6 stream", Layer::Seccomp, |to| outcome(stream(AddressFamily::INET6, None, &to.address_v6))),
    ("inet multipath stream", Layer::Seccomp, |to| {
        outcome(stream(AddressFamily::INET, protocol(MULTIPATH), &to.address_v4))
    }),
    ("inet datagram", Layer::Seccomp, |to| outcome(datagram(AddressFamily::INET, &to.address_v4))),
    ("inet6 datagram", Layer::Seccomp, |to| outcome(datagram(AddressFamily::INET6, &to.address_v6))),
    ("inet raw", Layer::Seccomp, |_| opened(libc::AF_INET, SocketType::RAW, libc::IPPROTO_ICMP)),
    ("inet6 raw", Layer::Seccomp, |_| opened(libc::AF_INET6, SocketType::RAW, libc::IPPROTO_ICMPV6)),
    ("packet", Layer::Seccomp, |_| opened(libc::AF_PACKET, SocketType::RAW, 0)),
    ("netlink route", Layer::Seccomp, |_| opened(libc::AF_NETLINK, SocketType::RAW, libc::NETLINK_ROUTE)),
    ("vsock", Layer::Seccomp, |_| opened(libc::AF_VSOCK, SocketType::STREAM, 0)),
    ("bluetooth", Layer::Seccomp, |_| opened(libc::AF_BLUETOOTH, SocketType::RAW, 1)),
    ("kernel crypto", Layer::Seccomp, |_| opened(libc::AF_ALG, SocketType::SEQPACKET, 0)),
    ("can", Layer::Seccomp, |_| opened(libc::AF_CAN, SocketType::RAW, 1)),
    ("tipc", Layer::Seccomp, |_| opened(libc::AF_TIPC, SocketType::STREAM, 0)),
    ("smc", Layer::Seccomp, |_| opened(SMC, SocketType::STREAM, 0)),
    ("xdp", Layer::Seccomp, |_| opened(libc::AF_XDP, SocketType::RAW, 0)),
    ("x32 socket", Layer::Seccomp, |_| outcome(sys::x32_socket().map(|_| "opened"))),
    ("io_uring", Layer::Seccomp, |_| outcome(sys::io_uring().map(|_| "ring made"))),
    ("unix stream to an abstract name", Layer::Seccomp, |_| outcome(abstract_stream())),
    ("unix datagram pair", Layer::Seccomp, |_| pair(SocketType::DGRAM)),
    ("unix raw pair", Layer::Seccomp, |_| pair(SocketType::RAW)),
    ("received socket connected anew", Layer::Seccomp, |to| {
        received(to, |socket| Ok(rustix::net::connect_unspec(socket).map(|()| "disconnected")?))
    }),
    ("fast open by sendto", Layer::Seccomp, |to| {
        fast_open(to, |socket, flags| Ok(rustix::net::sendto(socket, b"x", flags, &to.address_v4)?))
    }),
    ("fast open by sendmsg", Layer::Seccomp, |to| {
        fast_open(to, |socket, flags| {
            let mut control = SendAncillaryBuffer::default();
            let bytes = [IoSlice::new(b"x")];
            Ok(rustix::net::sendmsg_addr(socket, &to.address_v4, &bytes, &mut control, flags)?)
        })
    }),
    ("fast open by sendmmsg", Layer::Seccomp, |to| {
        fast_open(to, |socket, flags| {
            let mut control = SendAncillaryBuffer::default();
            let (bytes, address) = ([IoSlice::new(b"x")], to.address_v4.into());
            let message = MMsgHdr::new_with_addr(&address, &bytes, &mut control);
            Ok(rustix::net::sendmmsg(socket, &mut [message], flags)?)
        })
    }),
    ("fast open by option", Layer::Seccomp, |to| {
        received(to, |socket| sys::fast_open_connect(socket).map(|()| "option set"))
    }),
    ("received socket made a listener", Layer::Seccomp, |to| {
        received(to, |socket| {
            disconnect(socket);
            Harmless::listen(socket).call()?;
            Ok(rustix::net::shutdown(socket, Shutdown::Both).map_or("listens", |()| "listened"))
        })
    }),
    ("name lookup", Layer::Seccomp, lookup),
];

/// Multipath TCP, and the shared-memory family that the C library's table lacks.
const MULTIPATH: i32 = 262;
const SMC: i32 = 43;

fn protocol(number: i32) -> Option<Protocol> {
    u32::try_from(number).ok().and_then(rustix::net::RawProtocol::new).map(Protocol::from_raw)
}

fn socket(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, kind, flags, protocol)?)
}

fn opened(family: i32, kind: SocketType, number: i32) -> Outcome {
    let made = socket(AddressFamily::from_raw(family as u16), kind, protocol(number));
    outcome(made.map(|_| "opened"))
}

/// Opens a socket and begins to connect it. An open way sends one packet.
fn stream(family: AddressFamily, protocol: Option<Protocol>, to: &impl SocketAddrArg) -> io::Result<String> {
    let socket = socket(family, SocketType::STREAM, protocol)?;
    Ok(match rustix::net::connect(&socket, to) {
        Ok(()) => "connected".to_owned(),
        Err(error) => format!("opened; connecting: {error}"),
    })
}

/// Opens a socket and sends one byte.
fn datagram(family: AddressFamily, to: &impl SocketAddrArg) -> io::Result<String> {
    let socket = socket(family, SocketType::DGRAM, None)?;
    Ok(match rustix::net::sendto(&socket, b"x", SendFlags::DONTWAIT, to) {
        Ok(_) => "sent".to_owned(),
        Err(error) => format!("opened; sending: {error}"),
    })
}

fn abstract_stream() -> io::Result<String> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    Ok(match rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(b"seal-attempt")?) {
        Ok(()) => "connected".to_owned(),
        Err(error) => format!("opened; connecting: {error}"),
    })
}

/// An end of such a pair can send to any socket that has a name.
fn pair(kind: SocketType) -> Outcome {
    let made = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    outcome(made.map(|_| "made").map_err(io::Error::from))
}

fn received(context: &Context, attempt: impl FnOnce(BorrowedFd<'_>) -> io::Result<&'static str>) -> Outcome {
    match &context.connected {
        Some(socket) => outcome(attempt(socket.as_fd())),
        None => Outcome::NotApplicable("no connected socket was given".to_owned()),
    }
}

/// Readies a received socket for another use. Refused in a confined process, and reported by an attempt of its own.
fn disconnect(socket: BorrowedFd<'_>) {
    let _ = rustix::net::connect_unspec(socket);
}

/// Sends a byte on a received socket together with a new connection. Where the way is open, the socket loses its old one.
fn fast_open(
    context: &Context,
    send: impl FnOnce(BorrowedFd<'_>, SendFlags) -> io::Result<usize>,
) -> Outcome {
    let flags = SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32);
    received(context, |socket| {
        disconnect(socket);
        send(socket, flags | SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(|_| "sent")
    })
}

/// Asks as any program does. A thread waits, because where the way is open nobody may answer.
fn lookup(context: &Context) -> Outcome {
    let Some(name) = context.name.clone() else {
        return Outcome::NotApplicable("no name was given".to_owned());
    };
    let (sender, answer) = mpsc::channel();
    let asked = thread::Builder::new().spawn(move || {
        let found = (name.as_str(), 443).to_socket_addrs().map(Iterator::count);
        // The other end is gone if this took too long.
        let _ = sender.send(found);
    });
    match asked.map(|_| answer.recv_timeout(LOOKUP_WAIT)) {
        Ok(Ok(Ok(count))) if count > 0 => Outcome::Escaped(format!("{count} addresses found")),
        Ok(Ok(_)) => Outcome::Blocked("no address".into()),
        Ok(Err(_)) => Outcome::Escaped("a question was sent, and nobody answered".to_owned()),
        Err(error) => Outcome::NotApplicable(format!("no thread to ask from: {error}")),
    }
}
