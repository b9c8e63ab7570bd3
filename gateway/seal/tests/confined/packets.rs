//! What leaves the machine while all escapes are tried: captured in a network of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::net::{AddressFamily, Protocol, RawProtocol, RecvFlags, SocketFlags, SocketType};

use crate::child::{Role, say};
use crate::escapes::connection;
use crate::roles::skip;

pub(crate) fn not_one_packet_leaves_a_confined_process() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can make a network namespace and capture in it");
    }
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe().unwrap());
    let child = match Role::by(command, "namespace").start() {
        Ok(child) => child,
        Err(error) => return skip(&format!("no `unshare` here: {error}")),
    };
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    if let Some(why) = said.strip_prefix("skip: ") {
        return skip(why.trim());
    }
    let count = |of: &str| -> usize {
        let line = said.lines().find_map(|line| line.strip_prefix(of)).unwrap_or_else(|| panic!("{said}"));
        line.trim().parse().unwrap()
    };
    // A TCP connection, a multipath one and three fast opens to one address; a datagram to it; the same once over v6.
    assert!(count("free, openings:") >= 4, "{said}");
    assert!(count("free, datagrams:") >= 2, "{said}");
    assert_eq!(count("confined, openings:"), 0, "{said}");
    assert_eq!(count("confined, datagrams:"), 0, "{said}");
}

/// The part of the process in the namespace: whatever it routes to the canary comes back over loopback.
pub(crate) fn compare() {
    for arguments in ["link set lo up", "route add 192.0.2.0/24 dev lo", "-6 route add 2001:db8::/32 dev lo"]
    {
        let done = Command::new("ip").args(arguments.split(' ')).status();
        if !done.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return say(&format!("skip: cannot run `ip {arguments}`: {done:?}"));
        }
    }
    let capture = capture();
    for role in ["free", "confined"] {
        let (ours, theirs) = connection();
        packets(&capture);
        Role::new(role).given(theirs).say();
        let seen = packets(&capture);
        drop(ours);
        say(&format!("{role}, openings: {}", seen.iter().filter(|packet| opens(packet)).count()));
        say(&format!("{role}, datagrams: {}", seen.iter().filter(|packet| is_datagram(packet)).count()));
    }
}

fn capture() -> OwnedFd {
    /// Every protocol, in the order of bytes that the kernel expects.
    const ALL: u32 = 0x0003_u16.to_be() as u32;
    let protocol = RawProtocol::new(ALL).map(Protocol::from_raw);
    rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::NONBLOCK, protocol).unwrap()
}

/// All that was captured since the last time, without the 14 bytes of the link's header.
fn packets(capture: &OwnedFd) -> Vec<Vec<u8>> {
    const LINK_BYTES: usize = 14;
    let mut seen = Vec::new();
    let mut bytes = [0; 2048];
    loop {
        match rustix::net::recv(capture, &mut bytes[..], RecvFlags::empty()) {
            Ok((_, length)) => seen.push(bytes[LINK_BYTES.min(length)..length.min(bytes.len())].to_vec()),
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => return seen,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The protocol of a packet and what follows the IP header; no attempt uses extension headers.
fn payload(packet: &[u8]) -> Option<(u8, &[u8])> {
    match packet.first()? >> 4 {
        4 => Some((*packet.get(9)?, packet.get(usize::from(packet[0] & 0xf) * 4..)?)),
        6 => Some((*packet.get(6)?, packet.get(40..)?)),
        _ => None,
    }
}

/// A TCP segment with SYN and without ACK.
fn opens(packet: &[u8]) -> bool {
    const FLAGS: usize = 13;
    payload(packet)
        .is_some_and(|(protocol, tcp)| protocol == 6 && tcp.get(FLAGS).is_some_and(|flags| flags & 0x12 == 2))
}

fn is_datagram(packet: &[u8]) -> bool {
    payload(packet).is_some_and(|(protocol, _)| protocol == 17)
}
