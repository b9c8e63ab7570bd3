//! One exchange of plain HTTP.
//!
//! A request in absolute form goes on in origin form, over a connection that carries it alone: whatever two servers
//! might make of the bytes behind it cannot matter then. The answer's head is read, because headers that belong to a
//! connection end here; its body is passed on as it comes, until the server hangs up.
//!
//! Deliberately absent: caches, connections that are kept, upgrades, and headers that say who asked for whom.

use std::pin::pin;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};

use super::chunks::Chunks;
use super::client::Client;
use super::exit::Io;
use super::head::{self, Body, HEAD_BYTES_MAX};
use super::relay::Metered;
use super::request::{Exchange, HTTP_PORT, Request};
use super::through::{BROKEN, CLOSED, End};

/// Buffer for a body, in bytes.
const BUFFER_BYTES: usize = 16 << 10;

/// What belongs to one connection (RFC 9110, 7.6.1), or tells the server about this side of the proxy.
const STOPS_HERE: [&str; 16] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// What a client is told where the server's answer cannot be passed on.
const BAD_ANSWER: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\n\
    proxy-status: portcullis; error=http_protocol_error; details=\"tunnel.bad_answer\"\r\n\
    x-portcullis-error: tunnel.bad_answer\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Why an exchange stops before its end.
enum Stop {
    /// A side broke off.
    Broken,
    /// The client's body is not what its head said.
    BadBody,
    /// The server's head is none that can be passed on.
    BadAnswer,
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Broken
    }
}

/// Sends a request on, and passes the answer back until the server ends it.
pub(super) async fn run<S: Io>(
    request: &Request,
    exchange: &Exchange,
    client: &mut Client<S>,
    upstream: &mut Metered,
) -> End {
    let Client { stream, bytes } = client;
    let (mut from_client, mut to_client) = split(stream);
    let (mut from_server, mut to_server) = split(upstream);
    let asking = async {
        to_server.write_all(&request_head(request, exchange)).await?;
        send_body(exchange.body, (&mut from_client, bytes), &mut to_server).await
    };
    let answering = async {
        let rest = pass_head(&mut from_server, &mut to_client).await?;
        to_client.write_all(&rest).await?;
        copy(&mut from_server, &mut to_client).await?;
        Ok(())
    };
    let (mut asking, mut answering) = (pin!(asking), pin!(answering));
    let outcome = tokio::select! {
        asked = &mut asking => match asked {
            Ok(()) => answering.await,
            Err(stop) => Err(stop),
        },
        // A server may answer before it has the whole body, and then nobody wants the rest.
        answered = &mut answering => answered,
    };
    match outcome {
        Ok(()) => End::quiet(CLOSED),
        Err(Stop::Broken) => End::quiet(BROKEN),
        Err(Stop::BadBody) => End::quiet("tunnel.bad_body"),
        Err(Stop::BadAnswer) => End { code: "tunnel.bad_answer", last: BAD_ANSWER },
    }
}

fn request_head(request: &Request, exchange: &Exchange) -> Vec<u8> {
    let Exchange { method, path, body } = exchange;
    let (host, port) = (request.target.host(), request.target.port());
    let port = if port == HTTP_PORT { String::new() } else { format!(":{port}") };
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}{port}\r\n").into_bytes();
    append(&mut head, &request.headers, |name| *name != HOST && *name != TRANSFER_ENCODING);
    if *body == Body::Chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head
}

/// Appends the headers that go on.
fn append(head: &mut Vec<u8>, headers: &HeaderMap, goes_on: impl Fn(&HeaderName) -> bool) {
    let named: Vec<&str> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    for (name, value) in headers {
        // Whoever names these as the connection's own would have the body read with another end.
        let is_measure = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
        let is_named = named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str()));
        let stops = STOPS_HERE.contains(&name.as_str()) || is_named && !is_measure;
        if !stops && goes_on(name) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
}

/// Passes on exactly the body that the head announced: what has arrived of it, and what is still to come.
async fn send_body(
    body: Body,
    (client, bytes): (&mut (impl AsyncRead + Unpin), &mut BytesMut),
    server: &mut (impl AsyncWrite + Unpin),
) -> Result<(), Stop> {
    let mut left = match body {
        Body::None => 0,
        Body::Length(length) => length,
        Body::Chunked => u64::MAX,
    };
    let mut chunks = Chunks::BEGIN;
    while left > 0 && chunks != Chunks::Done {
        if bytes.is_empty() {
            bytes.reserve(BUFFER_BYTES);
            if client.read_buf(bytes).await? == 0 {
                return Err(Stop::BadBody);
            }
        }
        let used = match body {
            Body::Chunked => chunks.advance(bytes).map_err(|_| Stop::BadBody)?,
            Body::None | Body::Length(_) => bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
        };
        server.write_all(&bytes.split_to(used)).await?;
        if body != Body::Chunked {
            left -= used as u64;
        }
    }
    Ok(())
}

/// Passes on the head of the answer; returns what has arrived behind it.
async fn pass_head(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
) -> Result<BytesMut, Stop> {
    let mut bytes = BytesMut::new();
    loop {
        let head = read_head(server, &mut bytes).await?;
        let (status, headers) = head::answer(&head).map_err(|_| Stop::BadAnswer)?;
        let is_ambiguous = headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING);
        match status {
            101 => return Err(Stop::BadAnswer),
            100 | 102..=199 => continue,
            _ if is_ambiguous || headers.get_all(CONTENT_LENGTH).iter().count() > 1 => {
                return Err(Stop::BadAnswer);
            }
            _ => {}
        }
        let mut head = format!("HTTP/1.1 {status} \r\n").into_bytes();
        append(&mut head, &headers, |_| true);
        head.extend_from_slice(b"connection: close\r\n\r\n");
        client.write_all(&head).await?;
        return Ok(bytes);
    }
}

/// Reads a head off the front of what comes.
async fn read_head(server: &mut (impl AsyncRead + Unpin), bytes: &mut BytesMut) -> Result<BytesMut, Stop> {
    let mut seen = 0;
    loop {
        if let Some(end) = head::end(bytes, seen).map_err(|_| Stop::BadAnswer)? {
            return Ok(bytes.split_to(end));
        }
        seen = bytes.len();
        if seen >= HEAD_BYTES_MAX {
            return Err(Stop::BadAnswer);
        }
        if (&mut *server).take((HEAD_BYTES_MAX - seen) as u64).read_buf(bytes).await? == 0 {
            return Err(Stop::BadAnswer);
        }
    }
}
