//! The process that starts the others and keeps them running.
//!
//! It answers no call and opens no connection. What it does is small on purpose: it has no part in any decision, and
//! it is the one that must not die.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use egress::line;
use rustix::process::Signal as Kind;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::child::{self, Child, News, Nursery};
use super::listeners::Listeners;
use super::{Role, lifeline};
use crate::cli::Serve;
use crate::command::{CommandError, FAILED};

/// In the environment of a program that takes another supervisor's place; read by the command line.
pub(crate) const SUCCESSOR: &str = "PORTCULLIS_SUCCESSOR";

/// How long a child that died is left alone: at first, and at most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A child that worked for so long died of something new.
const STEADY: Duration = Duration::from_secs(30);

/// How long the broker may take to write its last records.
const BROKER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Runs the program as three processes, and returns its exit code.
pub(crate) fn run(settings: &Serve) -> Result<ExitCode, CommandError> {
    let program = std::env::current_exe()?;
    // Before anything of ours is open: nothing of whoever started this program reaches the gateway.
    seal::keep_descriptors()?;
    harden();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let listeners =
        if settings.successor { lifeline::inherit()?.0.listeners } else { Listeners::bind(settings)? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (outcome, listeners) = runtime.block_on(async {
        let mut supervisor = Supervisor::new(program.clone(), arguments.clone(), listeners)?;
        let outcome = supervisor.supervise().await?;
        Ok::<_, CommandError>((outcome, supervisor.listeners))
    })?;
    match outcome {
        Outcome::Ended(code) => Ok(ExitCode::from(code)),
        Outcome::Replace => {
            tracing::info!(program = %program.display(), "starting again from the program on disk");
            let listeners = listeners.ok_or("there are no listeners to hand over")?;
            Err(child::succeed(&program, &arguments, &listeners).into())
        }
    }
}

/// Closes this process to the others, as far as the system can.
pub(super) fn harden() {
    if let Err(error) = seal::harden() {
        tracing::warn!(%error, "this process's memory is open to others of the same user");
    }
}

/// News that nobody has looked at: two children say two things each.
const NEWS_MAX: usize = 16;

/// How supervising ends.
enum Outcome {
    Ended(u8),
    /// The program on disk takes over.
    Replace,
}

/// What is happening to the whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A child that ends is started again.
    Running,
    /// The gateway is finishing its calls.
    Draining,
    /// The gateway has ended, with this code; the broker is writing its last records.
    Closing(u8),
}

struct Supervisor {
    nursery: Nursery,
    news: mpsc::Receiver<News>,
    /// Closed when the program ends for good, so that nobody waits in their queues for a gateway that does not come.
    listeners: Option<Listeners>,
    /// The two ends of the line between gateway and broker; given up when the gateway has ended for good, which ends the
    /// broker.
    line: Option<(OwnedFd, OwnedFd)>,
    broker: Place,
    gateway: Place,
    phase: Phase,
    is_replaced: bool,
}

/// Where a child runs, or will run again.
struct Place {
    role: Role,
    child: Option<Child>,
    /// Whether one was ever ready: before that, its end is the program's.
    was_ready: bool,
    ready_since: Option<Instant>,
    pause: Duration,
    again_at: Option<Instant>,
}

impl Place {
    fn new(role: Role) -> Self {
        Self { role, child: None, was_ready: false, ready_since: None, pause: PAUSE, again_at: None }
    }

    fn ready(&mut self) {
        self.was_ready = true;
        self.ready_since = Some(Instant::now());
    }

    /// Notes that the child has ended, and when there will be another.
    fn ended(&mut self) {
        if self.ready_since.take().is_some_and(|since| since.elapsed() >= STEADY) {
            self.pause = PAUSE;
        }
        self.child = None;
        self.again_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

impl Supervisor {
    fn new(program: PathBuf, arguments: Vec<OsString>, listeners: Listeners) -> Result<Self, CommandError> {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        Ok(Self {
            nursery: Nursery { program, arguments, news: sender },
            news,
            listeners: Some(listeners),
            line: Some(line::pair()?),
            broker: Place::new(Role::Broker),
            gateway: Place::new(Role::Gateway),
            phase: Phase::Running,
            is_replaced: false,
        })
    }

    async fn supervise(&mut self) -> Result<Outcome, CommandError> {
        let mut signals = Signals::new()?;
        // The gateway follows when the broker is ready: a call that it takes can be sent on.
        self.start(Role::Broker)?;
        let mut closing_by: Option<Instant> = None;
        loop {
            let due = self.due();
            tokio::select! {
                news = self.news.recv() => {
                    let Some(news) = news else { continue };
                    if let Some(code) = self.take(&news)? {
                        return Ok(self.outcome(code));
                    }
                    if matches!(self.phase, Phase::Closing(_)) && closing_by.is_none() {
                        closing_by = Some(Instant::now() + BROKER_WAIT_MAX);
                    }
                }
                order = signals.next() => self.obey(order),
                () = until(due.map(|(at, _)| at)) => {
                    if let Some((_, role)) = due {
                        self.start(role)?;
                    }
                }
                () = until(closing_by) => {
                    tracing::error!("the broker does not end; it is killed");
                    closing_by = None;
                    self.broker.child.iter().for_each(|broker| broker.signal(Kind::KILL));
                }
            }
        }
    }

    fn outcome(&self, code: u8) -> Outcome {
        if self.is_replaced && code == 0 { Outcome::Replace } else { Outcome::Ended(code) }
    }

    fn start(&mut self, role: Role) -> Result<(), CommandError> {
        let (Some(listeners), Some((near, far))) = (&self.listeners, &self.line) else { return Ok(()) };
        let end = if role == Role::Broker { far } else { near };
        let child = self.nursery.start(role, listeners, end)?;
        let place = self.place(role);
        (place.child, place.again_at) = (Some(child), None);
        Ok(())
    }

    fn place(&mut self, role: Role) -> &mut Place {
        if role == Role::Broker { &mut self.broker } else { &mut self.gateway }
    }

    /// Returns which child is to be started again next, and when.
    fn due(&self) -> Option<(Instant, Role)> {
        let places = [&self.broker, &self.gateway].into_iter().filter(|_| self.phase == Phase::Running);
        places.filter_map(|place| Some((place.again_at?, place.role))).min_by_key(|(at, _)| *at)
    }

    /// Takes news of a child. Returns the program's exit code if it is over.
    fn take(&mut self, news: &News) -> Result<Option<u8>, CommandError> {
        match *news {
            News::Ready(role) => {
                self.place(role).ready();
                let is_first =
                    role == Role::Broker && !self.gateway.was_ready && self.gateway.child.is_none();
                if is_first && self.phase == Phase::Running {
                    self.start(Role::Gateway)?;
                }
                Ok(None)
            }
            News::Ended(role, status) => Ok(self.ended(role, status)),
        }
    }

    fn ended(&mut self, role: Role, status: ExitStatus) -> Option<u8> {
        let code = exit_code(status);
        let was_ready = self.place(role).was_ready;
        self.place(role).ended();
        match (self.phase, role) {
            (Phase::Closing(code), Role::Broker) => Some(code),
            (Phase::Draining, Role::Broker) => None,
            (Phase::Running, _) if was_ready => {
                tracing::error!(role = role.as_str(), %status, "a process has ended; another one is started");
                None
            }
            // What it had to say, it has said. Without a gateway there is nothing to go on with.
            _ => self.close(code),
        }
    }

    /// Lets the broker end. Returns the exit code if there is none.
    fn close(&mut self, code: u8) -> Option<u8> {
        self.phase = Phase::Closing(code);
        self.line = None;
        if self.broker.child.is_some() { None } else { Some(code) }
    }

    fn obey(&mut self, order: Order) {
        match order {
            // The broker is told by the gateway, when its turn has come.
            Order::Reload => self.signal_gateway(Kind::HUP),
            Order::Stop | Order::Replace if self.phase == Phase::Running => {
                self.is_replaced = order == Order::Replace;
                if !self.is_replaced {
                    self.listeners = None;
                }
                self.phase = Phase::Draining;
                match &self.gateway.child {
                    Some(gateway) => gateway.signal(Kind::TERM),
                    None => self.end_without_gateway(),
                }
            }
            Order::Stop | Order::Replace => self.signal_gateway(Kind::TERM),
        }
    }

    fn end_without_gateway(&mut self) {
        if self.close(0).is_some() {
            // Nobody is left whose end could be news.
            drop(self.nursery.news.try_send(News::Ended(Role::Broker, ExitStatus::default())));
        }
    }

    fn signal_gateway(&self, kind: Kind) {
        self.gateway.child.iter().for_each(|gateway| gateway.signal(kind));
    }
}

/// What the operator wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Stop,
    Reload,
    Replace,
}

/// The signals by which an operator says so.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    replace: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            replace: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.hangup.recv() => Order::Reload,
            _ = self.replace.recv() => Order::Replace,
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A child that was killed failed.
fn exit_code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}
