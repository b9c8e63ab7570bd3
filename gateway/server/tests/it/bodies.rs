//! Packed bodies: what is decided about them is decided about what they say, and limits hold for that, too.

use crate::client::ask;
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, Upstream};

/// The size of a block of zstd that repeats one byte; it takes four bytes itself.
const RUN_BYTES: u32 = 128 << 10;

/// Packs with gzip, without making it smaller.
fn gzip(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(text.as_bytes());
    let crc = text.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    });
    packed.extend((!crc).to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}

/// Packs with zstd: `spaces` of [`RUN_BYTES`] each, which become very small, and a text.
fn zstd(spaces: u32, text: &str) -> Vec<u8> {
    // One window of 128 KiB, and no size or checksum of the whole.
    let mut packed = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    let block =
        |size: u32, kind: u32, is_last: bool| ((size << 3) | (kind << 1) | u32::from(is_last)).to_le_bytes();
    for _ in 0..spaces {
        packed.extend(&block(RUN_BYTES, 1, false)[..3]);
        packed.push(b' ');
    }
    packed.extend(&block(u32::try_from(text.len()).unwrap(), 0, true)[..3]);
    packed.extend(text.as_bytes());
    packed
}

async fn serve(port: u16) -> (Home, Gateway) {
    let routes = Routes::upstream(port, "").defaults("limits: { max_body: 1MiB }");
    let home = Home::new(&routes);
    let gateway = home.serve().await;
    (home, gateway)
}

// Rule 29, complaint 24.
#[tokio::test]
async fn a_packed_body_is_unpacked_before_anything_is_decided() {
    let mut upstream = Upstream::start().await;
    let (home, gateway) = serve(upstream.port()).await;
    let request = ask("hello").to_string();
    for (encoding, body) in
        [("gzip", gzip(&request)), ("zstd", zstd(0, &request)), ("zstd", zstd(2, &request))]
    {
        let client = gateway.client().with_header("content-encoding", encoding);
        let (reply, ()) = tokio::join!(client.post(body), async {
            let call = upstream.call().await;
            let expected = request.replacen("\"auto\"", "\"upstream-up\"", 1);
            assert_eq!(call.body.trim_start(), expected);
            assert_eq!(call.header("content-encoding"), None);
            call.answer(DOCUMENT).await;
        });
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let bytes: Vec<u64> = home
        .records_of("llm.intent")
        .iter()
        .map(|intent| intent["request"]["bytes"].as_u64().unwrap())
        .collect();
    let length = request.len() as u64;
    assert_eq!(bytes, [length, length, length + 2 * u64::from(RUN_BYTES)]);
    // A model that may not be named is refused in a packed body, too.
    let other = request.replacen("\"auto\"", "\"other\"", 1);
    let client = gateway.client().with_header("content-encoding", "gzip");
    assert_eq!(client.post(gzip(&other)).await.status, 404);
}

// Rule 29, complaint 24.
#[tokio::test]
async fn the_limit_of_a_body_holds_for_what_it_unpacks_to() {
    let mut upstream = Upstream::start().await;
    let (_home, gateway) = serve(upstream.port()).await;
    let body = zstd(4096, &ask("hello").to_string());
    assert!(body.len() < 20_000, "it fits packed");
    let reply = gateway.client().with_header("content-encoding", "zstd").post(body).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert_eq!(reply.error()["code"], "body_too_large");
    assert_eq!(upstream.dials().await, 0);
}

// Rule 29.
#[tokio::test]
async fn a_body_that_cannot_be_unpacked_is_refused() {
    let mut upstream = Upstream::start().await;
    let (_home, gateway) = serve(upstream.port()).await;
    let request = ask("hello").to_string();
    let damaged = gateway.client().with_header("content-encoding", "gzip").post(request.clone()).await;
    assert_eq!(damaged.status, 400, "{}", damaged.text());
    let unknown = gateway.client().with_header("content-encoding", "compress").post(request).await;
    assert_eq!(unknown.status, 415, "{}", unknown.text());
    assert_eq!(upstream.dials().await, 0);
}
