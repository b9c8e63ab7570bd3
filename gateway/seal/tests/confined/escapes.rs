//! The list of escapes, from inside and from outside.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream};
use std::process;

use crate::child::Role;

/// What any user can do on any kernel that this runs on.
const OPEN_TO_ALL: [&str; 20] = [
    "inet stream",
    "inet datagram",
    "netlink route",
    "unix stream to an abstract name",
    "unix datagram pair",
    "unix raw pair",
    "received socket connected anew",
    "fast open by sendto",
    "fast open by sendmsg",
    "fast open by sendmmsg",
    "fast open by option",
    "received socket made a listener",
    "name lookup",
    "signal a process",
    "execute itself",
    "execute a shell",
    "fork",
    "change the user",
    "read a file outside",
    "write a file outside",
];

/// What root can do.
const OPEN_TO_ROOT: [&str; 12] = [
    "trace a process",
    "open a process's memory",
    "list a process's descriptors",
    "read a process's memory",
    "take a process's descriptor",
    "change a process's limits",
    "new network namespace",
    "mount",
    "watch performance events",
    "change a file's mode by name",
    "change a file's owner by name",
    "clone3",
];

/// Runs all attempts in a child of that role, aimed at this process and at ports of loopback.
fn attempts(role: &str) -> String {
    let (ours, theirs) = connection();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("readable");
    std::fs::write(&file, "x").unwrap();
    let refusing = refusing_port();
    let said = Role::new(role)
        .given(theirs)
        .file(&file)
        .folder(folder.path())
        .process(process::id())
        .addresses(
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, refusing),
            SocketAddrV6::new(Ipv6Addr::LOCALHOST, refusing, 0, 0),
        )
        .say();
    drop(ours);
    said
}

/// Whether an attempt is on the list with an outcome that begins so.
pub(crate) fn came_to(said: &str, name: &str, outcome: &str) -> bool {
    let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(", ")?.split_once(": "));
    line.is_some_and(|(_, came)| came.starts_with(outcome))
}

/// Both ends of a TCP connection over loopback.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, theirs)
}

/// A port on which nobody listens, because its listener is gone.
fn refusing_port() -> u16 {
    let address: SocketAddr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    address.port()
}

pub(crate) fn every_escape_is_blocked_in_a_confined_process() {
    insta::assert_snapshot!("blocked", attempts("confined"));
}

pub(crate) fn a_gpu_opens_no_way_out() {
    assert_eq!(attempts("confined with a GPU"), attempts("confined"));
}

pub(crate) fn the_same_attempts_succeed_in_a_free_process() {
    let said = attempts("free");
    let escaped = |name: &&str| came_to(&said, name, "escaped");
    let root: &[&str] = if rustix::process::geteuid().is_root() { &OPEN_TO_ROOT } else { &[] };
    let closed: Vec<_> = OPEN_TO_ALL.iter().chain(root).filter(|name| !escaped(name)).collect();
    assert!(closed.is_empty(), "a free process cannot do {closed:?}, so nothing is shown by that:\n{said}");
}

pub(crate) fn a_program_cannot_be_started() {
    assert_eq!(Role::new("start a program").say(), "exit status: 0\n");
    assert_eq!(Role::new("start a program confined").say(), "permission denied\n");
}
