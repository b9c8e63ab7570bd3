//! Whatever agent and target do, and whenever they stop doing it, the record has neither gap nor repetition.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use egress::DialError;
use egress::tunnel::{Connected, Exit, Inside, Limits, Target, Verdict};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipnet::IpNet;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

use super::hello::hello;
use super::stage::{Book, Records, connect, proxy};
use super::waiting::PEER;

/// One step of whoever is at an end of the proxy.
#[derive(Debug, Clone)]
enum Step {
    Send(What),
    Wait(u64),
    Read,
    EndWriting,
}

/// What an agent sends.
#[derive(Debug, Clone, Copy)]
enum What {
    Request,
    HalfRequest,
    DeniedRequest,
    Nonsense,
    Hello,
    HalfHello,
    OtherHello,
}

/// What becomes of a dial.
#[derive(Debug, Clone, Copy)]
enum Dial {
    Opens,
    OpensAfter(u64),
    Fails,
    Hangs,
    Panics,
}

#[derive(Debug, Clone)]
struct Play {
    inside: bool,
    agent: Vec<Step>,
    dial: Dial,
    origin: Vec<Step>,
    /// When the proxy's task is dropped, in milliseconds.
    cut_ms: Option<u64>,
}

impl What {
    fn bytes(self) -> Vec<u8> {
        let request = || connect("origin.test:443").into_bytes();
        let half = |mut bytes: Vec<u8>| {
            bytes.truncate(bytes.len() / 2);
            bytes
        };
        match self {
            Self::Request => request(),
            Self::HalfRequest => half(request()),
            Self::DeniedRequest => connect("denied.test:443").into_bytes(),
            Self::Nonsense => b"\0\r\n\r\n".to_vec(),
            Self::Hello => hello("origin.test"),
            Self::HalfHello => half(hello("origin.test")),
            Self::OtherHello => hello("evil.test"),
        }
    }
}

fn play() -> impl Strategy<Value = Play> {
    let what = prop_oneof![
        6 => Just(What::Request), 1 => Just(What::HalfRequest), 1 => Just(What::DeniedRequest),
        1 => Just(What::Nonsense),
        4 => Just(What::Hello), 1 => Just(What::HalfHello), 1 => Just(What::OtherHello),
    ];
    let wait = prop_oneof![0..20_u64, Just(6_000), Just(11_000), Just(700_000)];
    let step = prop_oneof![
        4 => what.prop_map(Step::Send), 2 => wait.clone().prop_map(Step::Wait), 2 => Just(Step::Read),
        1 => Just(Step::EndWriting),
    ];
    let dial = prop_oneof![
        5 => Just(Dial::Opens), 2 => (0..20_000_u64).prop_map(Dial::OpensAfter), 1 => Just(Dial::Fails),
        1 => Just(Dial::Hangs), 1 => Just(Dial::Panics),
    ];
    // Most agents begin with a request, or little else would be seen.
    let first = prop_oneof![4 => Just(Step::Send(What::Request)), 1 => Just(Step::Wait(1))];
    let agent = (first, proptest::collection::vec(step.clone(), 0..6))
        .prop_map(|(first, rest)| [vec![first], rest].concat());
    let cut = proptest::option::weighted(0.4, prop_oneof![0..30_u64, 0..30_000_u64]);
    (any::<bool>(), agent, dial, proptest::collection::vec(step, 0..4), cut)
        .prop_map(|(inside, agent, dial, origin, cut_ms)| Play { inside, agent, dial, origin, cut_ms })
}

/// Opens what the play says, once, and counts.
struct Scripted {
    dial: Dial,
    stream: Mutex<Option<DuplexStream>>,
    asked: AtomicUsize,
    opened: AtomicUsize,
}

impl Exit for Scripted {
    fn open<'a>(
        &'a self,
        _: &'a Target,
        _: &'a [IpNet],
        _: Instant,
    ) -> BoxFuture<'a, Result<Connected, DialError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        async {
            match self.dial {
                Dial::Opens => {}
                Dial::OpensAfter(ms) => sleep(Duration::from_millis(ms)).await,
                Dial::Fails => return Err(DialError::Timeout(Duration::ZERO)),
                Dial::Hangs => std::future::pending().await,
                Dial::Panics => panic!("the play says so"),
            }
            let stream = self.stream.lock().unwrap().take().expect("one request, one dial");
            self.opened.fetch_add(1, Ordering::SeqCst);
            let address = SocketAddr::from(([192, 0, 2, 1], 443));
            Ok(Connected { stream: Box::new(stream), address, lookup: None, connect: Duration::ZERO })
        }
        .boxed()
    }
}

/// Takes the steps, and returns whether a byte came back.
async fn act(mut stream: DuplexStream, steps: Vec<Step>) -> bool {
    let mut heard = false;
    for step in steps {
        match step {
            Step::Send(what) => drop(timeout(Duration::from_secs(1), stream.write_all(&what.bytes())).await),
            Step::Wait(ms) => sleep(Duration::from_millis(ms)).await,
            Step::Read => {
                let mut bytes = [0; 4096];
                let read = timeout(Duration::from_secs(1), stream.read(&mut bytes)).await;
                heard |= matches!(read, Ok(Ok(1..)));
            }
            Step::EndWriting => drop(stream.shutdown().await),
        }
    }
    heard
}

async fn run(play: Play) {
    let (book, records) = (Arc::<Book>::default(), Arc::<Records>::default());
    let inside = if play.inside { Inside::Tls } else { Inside::Any };
    book.allow_as("origin.test:443", inside, &[]);
    let (client, agent) = duplex(4 << 10);
    let (origin, upstream) = duplex(4 << 10);
    let exit = Arc::new(Scripted {
        dial: play.dial,
        stream: Mutex::new(Some(upstream)),
        asked: AtomicUsize::new(0),
        opened: AtomicUsize::new(0),
    });
    let proxy = proxy(&book, exit.clone(), &records, Limits::STANDARD);
    let serving = tokio::spawn(async move { proxy.serve_connection(agent, PEER.parse().unwrap()).await });
    let cutting = serving.abort_handle();
    let (heard, _, ()) = tokio::join!(act(client, play.agent), act(origin, play.origin), async {
        if let Some(ms) = play.cut_ms {
            sleep(Duration::from_millis(ms)).await;
            cutting.abort();
        }
    });
    // Both ends have hung up, so it ends of itself; how does not matter here.
    drop(timeout(Limits::STANDARD.life * 2, serving).await.expect("no connection hangs for ever"));

    let (decisions, closes) = (records.decisions(), records.closes());
    let (asked, opened) = (exit.asked.load(Ordering::SeqCst), exit.opened.load(Ordering::SeqCst));
    assert!(decisions.len() <= 1, "one request, one decision: {decisions:?}");
    assert!(!heard || decisions.len() == 1, "whoever is answered is on record");
    assert!(asked <= decisions.len(), "whatever is dialled for is on record");
    let is_open = decisions.iter().any(|decision| matches!(decision.verdict, Verdict::Opened { .. }));
    assert_eq!(closes.len(), usize::from(is_open), "what was opened is closed: {decisions:?} {closes:?}");
    assert!(!is_open || opened == 1);
    assert!(closes.iter().all(|close| close.id == decisions[0].id));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    // E17
    #[test]
    fn every_request_is_decided_once_and_every_connection_closed_once(play in play()) {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(run(play));
    }
}
