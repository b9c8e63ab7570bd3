//! What goes through a tunnel: the 200, the client's hello, and then bytes.
//!
//! The order is: connect, say 200, read the hello, pass it on. The hello comes only after the 200, so a target that is
//! not reached has to be known before, or the client could not be told with a status; and the connection, which has
//! been opened by then, is not given a byte before the hello is what was granted.
//!
//! Deliberately absent: anything after the hello. HTTP/2 and WebSocket pass because nobody looks.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::client::Client;
use super::exit::Io;
use super::hello::{self, ACCESS_DENIED, Hello, Misuse};
use super::record::Open;
use super::relay::{self, Metered};
use super::rules::{Inside, Mode};
use super::target::Target;

/// The answer to a CONNECT that is granted. It has no headers, so that nobody takes one for a body's.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Both sides have ended.
pub(super) const CLOSED: &str = "closed";
/// A side broke off.
pub(super) const BROKEN: &str = "broken";

/// A tunnel that was granted.
pub(super) struct Tunnel<'a> {
    pub(super) target: &'a Target,
    pub(super) inside: Inside,
    pub(super) mode: Mode,
    /// How long the client may take to say hello.
    pub(super) hello_limit: Duration,
}

/// How a connection ends.
pub(super) struct End {
    /// For the record; one of a closed set.
    pub(super) code: &'static str,
    /// For the client.
    pub(super) last: &'static [u8],
}

impl End {
    /// An end without a word.
    pub(super) const fn quiet(code: &'static str) -> Self {
        Self { code, last: b"" }
    }
}

impl Tunnel<'_> {
    /// Says that there is a tunnel, and passes on what belongs there.
    ///
    /// What arrived together with the CONNECT is the beginning of what the client says inside, and is looked at like
    /// all of it.
    pub(super) async fn run<S: Io>(
        &self,
        client: &mut Client<S>,
        upstream: &mut Metered,
        open: &mut Open,
    ) -> End {
        if client.stream.write_all(ESTABLISHED).await.is_err() {
            return End::quiet(BROKEN);
        }
        if self.inside == Inside::Tls
            && let Some(end) = self.check_hello(client, open).await
        {
            return end;
        }
        let passing = async {
            upstream.write_all(&client.bytes).await?;
            client.bytes = BytesMut::new();
            relay::both_ways(&mut client.stream, upstream).await
        };
        End::quiet(passing.await.map_or(BROKEN, |()| CLOSED))
    }

    /// Reads the hello, and returns how the tunnel ends if it is not what was granted.
    async fn check_hello<S: Io>(&self, client: &mut Client<S>, open: &mut Open) -> Option<End> {
        let reading = hello::read(&mut client.stream, &mut client.bytes);
        let misuse = match timeout(self.hello_limit, reading).await {
            Err(_) => Misuse::Late,
            Ok(Ok(Hello::Gone)) if client.bytes.is_empty() => return Some(End::quiet(CLOSED)),
            Ok(Ok(Hello::Gone) | Err(_)) => return Some(End::quiet(BROKEN)),
            Ok(Ok(Hello::Bad(misuse))) => misuse,
            Ok(Ok(Hello::Read(name))) => {
                let compared = hello::compare(self.target, name.as_deref());
                open.said_hello(name);
                compared.err()?
            }
        };
        if self.mode == Mode::Report {
            open.would_be_closed(misuse.code());
            return None;
        }
        let last = match misuse {
            // An alert means something to those who speak TLS.
            Misuse::NotTls | Misuse::Late => &[][..],
            Misuse::Malformed | Misuse::TooLong | Misuse::NoName | Misuse::OtherName => &ACCESS_DENIED[..],
        };
        Some(End { code: misuse.code(), last })
    }
}
