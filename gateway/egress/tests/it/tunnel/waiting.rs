//! Time, under the test's own clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use egress::DialError;
use egress::tunnel::{Connected, Exit, Inside, Limits, Target, Verdict};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::stage::{Book, Records, connect, head, proxy, rest, status_and_code};

pub(super) const PEER: &str = "10.1.2.3:4567";

/// Hands out one stream, or never anything.
pub(super) struct OneStream(pub(super) Mutex<Option<DuplexStream>>);

impl Exit for OneStream {
    fn open<'a>(
        &'a self,
        target: &'a Target,
        _: &'a [IpNet],
        _: Instant,
    ) -> BoxFuture<'a, Result<Connected, DialError>> {
        let stream = self.0.lock().unwrap().take();
        let address = SocketAddr::from(([192, 0, 2, 1], target.port()));
        match stream {
            Some(stream) => {
                let connected =
                    Connected { stream: Box::new(stream), address, lookup: None, connect: Duration::ZERO };
                async { Ok(connected) }.boxed()
            }
            None => std::future::pending().boxed(),
        }
    }
}

struct Scene {
    client: DuplexStream,
    origin: DuplexStream,
    records: Arc<Records>,
}

/// A tunnel in which anything may pass.
async fn scene() -> Scene {
    let (book, records) = (Arc::<Book>::default(), Arc::<Records>::default());
    book.allow_as("origin.test:443", Inside::Any, &[]);
    let (mut client, agent) = duplex(1 << 10);
    let (origin, upstream) = duplex(1 << 10);
    let exit = Arc::new(OneStream(Mutex::new(Some(upstream))));
    let proxy = proxy(&book, exit, &records, Limits::STANDARD);
    tokio::spawn(async move { proxy.serve_connection(agent, PEER.parse().unwrap()).await });
    client.write_all(connect("origin.test:443").as_bytes()).await.unwrap();
    head(&mut client).await;
    Scene { client, origin, records }
}

// E15
#[tokio::test(start_paused = true)]
async fn a_tunnel_in_which_nothing_moves_is_closed_and_one_in_which_something_does_is_not() {
    let Scene { mut client, mut origin, records } = scene().await;
    let began = Instant::now();
    for _ in 0..3 {
        sleep(Limits::STANDARD.idle.saturating_sub(Duration::from_secs(1))).await;
        origin.write_all(b".").await.unwrap();
        client.read_u8().await.unwrap();
    }
    assert!(records.closes().is_empty());
    assert!(client.read_u8().await.is_err(), "the tunnel is closed");
    assert_eq!(records.close().await.reason, "timeout_idle");
    let expected = (Limits::STANDARD.idle * 4).saturating_sub(Duration::from_secs(3));
    assert_eq!(began.elapsed().as_secs(), expected.as_secs());
}

// E15
#[tokio::test(start_paused = true)]
async fn no_tunnel_lives_longer_than_a_day() {
    let Scene { mut client, mut origin, records } = scene().await;
    let began = Instant::now();
    while origin.write_all(b".").await.is_ok() {
        if client.read_u8().await.is_err() {
            break;
        }
        sleep(Duration::from_secs(5 * 60)).await;
    }
    assert_eq!(records.close().await.reason, "timeout_total");
    assert_eq!(began.elapsed().as_secs() / 3600, 24);
}

// E15
#[tokio::test(start_paused = true)]
async fn a_dial_that_nobody_answers_ends_with_a_status() {
    let (book, records) = (Arc::<Book>::default(), Arc::<Records>::default());
    book.allow("origin.test:443");
    let (mut client, agent) = duplex(1 << 10);
    let exit = Arc::new(OneStream(Mutex::new(None)));
    let proxy = proxy(&book, exit, &records, Limits::STANDARD);
    tokio::spawn(async move { proxy.serve_connection(agent, PEER.parse().unwrap()).await });
    client.write_all(connect("origin.test:443").as_bytes()).await.unwrap();
    assert_eq!(status_and_code(&rest(&mut client).await), (504, "egress.timeout_connect"));
    let code = "egress.timeout_connect";
    assert_eq!(records.decisions()[0].verdict, Verdict::Refused { code });
}
