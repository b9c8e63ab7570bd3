//! Clients that write more frames of HTTP/2 than anybody needs: each is shown out, or does no harm, and the gateway
//! neither grows nor stops answering the others.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::gateway::{Gateway, Home};
use crate::patience::within;
use crate::routes::Routes;

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often each client does what it does.
const TIMES: u32 = 10_000;

/// What the gateway may grow by, whatever such a client does, in KiB.
const GROWTH_MAX_KIB: u64 = 64 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `POST http://localhost/v1/chat/completions`, by the table that every reader has.
const CALL: &[u8] = b"\x83\x86\x04\x14/v1/chat/completions\x01\x09localhost";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A client that has said what `begin` is, in its two directions.
async fn client(gateway: &Gateway, begin: &[u8]) -> (OwnedReadHalf, OwnedWriteHalf) {
    let mut tcp = TcpStream::connect(gateway.address()).await.unwrap();
    tcp.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), begin].concat()).await.unwrap();
    tcp.into_split()
}

/// Reads until the gateway hangs up.
async fn drained(mut read: OwnedReadHalf) {
    let mut bytes = vec![0; 64 << 10];
    while read.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}

/// Writes what `turn` makes, again and again, until the gateway has hung up or it was [`TIMES`].
async fn pour(mut write: OwnedWriteHalf, turn: impl Fn(u32) -> Vec<u8>) -> OwnedWriteHalf {
    for index in 0..TIMES {
        if write.write_all(&turn(index)).await.is_err() {
            break;
        }
    }
    write
}

/// A client with whom the gateway loses patience.
async fn shown_out(gateway: &Gateway, begin: &[u8], turn: impl Fn(u32) -> Vec<u8>) {
    let (read, write) = client(gateway, begin).await;
    // It stays connected until the gateway ends it.
    let both = async { tokio::join!(drained(read), pour(write, turn)) };
    within("the gateway to hang up", both).await;
}

/// A client that the gateway may bear with.
async fn borne(gateway: &Gateway, turn: impl Fn(u32) -> Vec<u8>) {
    let (read, write) = client(gateway, b"").await;
    // Answers are read meanwhile, so that the gateway may write them.
    let reading = tokio::spawn(drained(read));
    within("the end of a flood", pour(write, turn)).await;
    reading.abort();
}

/// The memory of the process that answers, in KiB.
fn resident_kib(gateway: &Gateway) -> u64 {
    let process = gateway.child("gateway").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

// Replay 16
#[tokio::test]
async fn floods_of_frames_end_their_connection_and_nobody_elses() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let process = gateway.child("gateway");
    let open = frame(HEADERS, END_HEADERS, 1, CALL);
    let stream = |index: u32| 2 * index + 1;
    let before = resident_kib(&gateway);
    // Streams that are reset as soon as they are open; by the client, and by what it makes the gateway say.
    shown_out(&gateway, b"", |index| {
        let call = frame(HEADERS, END_HEADERS | END_STREAM, stream(index), CALL);
        [call, frame(RESET, 0, stream(index), &8_u32.to_be_bytes())].concat()
    })
    .await;
    shown_out(&gateway, b"", |index| {
        let call = frame(HEADERS, END_HEADERS, stream(index), CALL);
        [call, frame(WINDOW, 0, stream(index), &0_u32.to_be_bytes())].concat()
    })
    .await;
    // More streams than were granted.
    shown_out(&gateway, b"", |index| frame(HEADERS, END_HEADERS, stream(index), CALL)).await;
    // A head without an end, and a body without bytes.
    let unfinished = frame(HEADERS, 0, 1, CALL);
    shown_out(&gateway, &unfinished, |_| frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b")).await;
    shown_out(&gateway, &unfinished, |_| frame(CONTINUATION, 0, 1, b"")).await;
    shown_out(&gateway, &open, |_| frame(DATA, 0, 1, b"")).await;
    // Conversation about nothing.
    borne(&gateway, |_| frame(PING, 0, 0, &[0; 8])).await;
    borne(&gateway, |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])).await;
    borne(&gateway, |_| frame(0xfa, 0, 0, &[0; 64])).await;
    assert_eq!(gateway.client().get("/healthz").await.status, 200);
    assert_eq!(gateway.child("gateway"), process, "the same one that was there before");
    let growth = resident_kib(&gateway).saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB more than before");
    gateway.stop().await;
}
