//! What a confined process can still do, and when it is not confined at all.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::Signal;
use seal::{Access, Landlock, Presence, SealError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::SignalKind;

use crate::child::{Role, confine, folder, given, rules, say};
use crate::roles::skip;

/// What a client asks for, twice.
const HELLO: &[u8] = b"hello";

pub(crate) fn what_the_gateway_needs_still_works() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy"), "v1").unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = Role::new("work").given(theirs).folder(folder.path()).start().unwrap();
    send_descriptor(&ours, listener);
    for _ in 0..2 {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(HELLO).unwrap();
        let mut echoed = [0; HELLO.len()];
        client.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, HELLO);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    insta::assert_snapshot!("works", String::from_utf8(output.stdout).unwrap());
}

/// The part of the child: each line was reached.
pub(crate) fn work() {
    let folder = folder();
    confine(&rules().reading(folder.join("policy")).writing(folder.join("data")));
    let listener = TcpListener::from(receive_descriptor(&UnixStream::from(given())));
    say("a listener was received");
    echo(listener.accept().unwrap().0);
    say("a connection was accepted and answered");
    files(&folder);
    say("granted files were read and written");
    machine();
    say("memory, time, chance, threads and processors are there");
    runtime(listener);
    say("a runtime accepted a connection, waited, read a file and took a signal");
}

fn echo(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = [0; HELLO.len()];
    stream.read_exact(&mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
}

fn files(folder: &Path) {
    let (policy, data) = (folder.join("policy"), folder.join("data"));
    assert_eq!(fs::read_to_string(&policy).unwrap(), "v1");
    assert!(fs::write(&policy, "v2").is_err());
    assert!(fs::read_dir(folder).is_err());
    fs::create_dir(data.join("segment")).unwrap();
    let mut file = File::create_new(data.join("log")).unwrap();
    file.write_all(b"line").unwrap();
    file.set_len(2).unwrap();
    file.sync_all().unwrap();
    fs::rename(data.join("log"), data.join("segment/log")).unwrap();
    assert_eq!(fs::read(data.join("segment/log")).unwrap(), b"li");
    fs::remove_dir_all(data.join("segment")).unwrap();
    File::options().append(true).open("/dev/null").unwrap().write_all(b"x").unwrap();
}

fn machine() {
    let mut chance = [0; 16];
    File::open("/dev/urandom").unwrap().read_exact(&mut chance).unwrap();
    // Keys of a map come from the kernel, and so does memory of this size.
    assert_eq!(HashMap::from([(chance, vec![1_u8; 64 << 20])])[&chance].len(), 64 << 20);
    assert!(SystemTime::now().elapsed().unwrap() < Duration::from_secs(60));
    assert!(Instant::now().elapsed() < Duration::from_secs(60));
    assert!(thread::available_parallelism().is_ok());
    let sums =
        (0..8).map(|first| thread::Builder::new().name("adder".to_owned()).spawn(move || first + 1).unwrap());
    assert_eq!(sums.collect::<Vec<_>>().into_iter().map(|sum| sum.join().unwrap()).sum::<i32>(), 36);
    assert!(std::panic::catch_unwind(|| panic!("expected")).is_err());
    let (mut left, mut right) = UnixStream::pair().unwrap();
    left.write_all(b"x").unwrap();
    right.read_exact(&mut [0]).unwrap();
}

fn runtime(listener: TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let accept = tokio::spawn(async move {
            let (mut stream, _) =
                tokio::net::TcpListener::from_std(listener).unwrap().accept().await.unwrap();
            let mut bytes = [0; HELLO.len()];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
        accept.await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::fs::read("/dev/null").await.unwrap();
        let mut user = tokio::signal::unix::signal(SignalKind::user_defined1()).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), Signal::USR1).unwrap();
        user.recv().await.unwrap();
    });
}

fn send_descriptor(over: &UnixStream, descriptor: impl Into<OwnedFd>) {
    let descriptor = descriptor.into();
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    rustix::net::sendmsg(over, &[IoSlice::new(b"l")], &mut control, SendFlags::empty()).unwrap();
}

fn receive_descriptor(over: &UnixStream) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(over, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .unwrap();
    let mut received = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.next().unwrap()
}

pub(crate) fn a_confined_process_can_still_abort() {
    let status = Role::new("abort").start().unwrap().wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
}

pub(crate) fn root_has_no_privileges_left() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root has any to lose");
    }
    // Root of a container may have been robbed before.
    if Role::new("hurry").say() != "done\n" {
        return skip("root has no such privilege here");
    }
    assert_eq!(Role::new("hurry confined").say(), "permission denied\n");
}

/// Goes before other processes, a little, which the filter lets pass and the kernel grants by a privilege alone.
pub(crate) fn hurry() {
    let now = rustix::process::getpriority_process(None).unwrap();
    let done = rustix::process::setpriority_process(None, now - 1);
    say(&done.map_or_else(|error| std::io::Error::from(error).kind().to_string(), |()| "done".to_owned()));
}

pub(crate) fn rules_that_cannot_be_kept_confine_nobody() {
    insta::assert_snapshot!("impossible", Role::new("rules").say());
}

pub(crate) fn try_impossible_rules() {
    let mut newest = rules();
    newest.landlock = Landlock::Required { abi_min: 99 };
    match seal::confine(&newest) {
        Err(SealError::Landlock { wanted: 99, .. }) => say("Landlock is too old"),
        other => panic!("{other:?}"),
    }
    say(&seal::confine(&rules().reading("/nowhere")).unwrap_err().to_string());
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("nothing was taken yet");
    let applied = seal::confine(&rules().and("/nowhere", Access::Read, Presence::Optional)).unwrap();
    assert!(applied.absent.contains(&"/nowhere".into()));
    say("an optional path may be absent");
}

pub(crate) fn a_process_with_two_threads_is_not_confined() {
    assert_eq!(
        Role::new("threads").say(),
        "the process has 2 threads, and can be confined only while it has one\n"
    );
}

pub(crate) fn confine_beside_a_thread() {
    let (stay, wait) = std::sync::mpsc::channel::<()>();
    let beside = thread::spawn(move || wait.recv());
    say(&seal::confine(&rules()).unwrap_err().to_string());
    drop(stay);
    beside.join().unwrap().unwrap_err();
}
