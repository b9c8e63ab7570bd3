//! `portcullis serve`: what each of its processes does first; then, for the one that answers calls: builds the parts,
//! listens, and drains on SIGTERM or SIGINT.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use egress::{CloseReason, Direct, Way};
use policy::{Digest, Policy, Revocations};
use seal::escapes::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::field::display;

use super::CommandError;
use crate::active::Builder;
use crate::admin::{self, Desk, Token};
use crate::app::App;
use crate::cli::Serve;
use crate::doorway::{ACCEPTED_GRACE, Doorway, last_answers};
use crate::overlay::{self, Overlay};
use crate::processes::lifeline::{self, Inheritance, Lifeline};
use crate::processes::listeners::{Addresses, Listeners};
use crate::processes::{Role, broker, confinement, supervisor, way};
use crate::reload::{self, Origin, Pace, Reloader};
use crate::seal_check::SealCheck;
use crate::witness::Trail;
use crate::{http, log, probes, signed};

/// How long a cut reply may take to notice.
const CUT_WAIT_MAX: Duration = Duration::from_secs(2);

/// Reloads that may be asked for while one runs; they all get its successor's outcome.
const ASKED_MAX: usize = 64;

/// How long the last records may take to become durable.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

pub(super) fn run(settings: &Serve) -> Result<ExitCode, CommandError> {
    match settings.process {
        Some(Role::Broker) => {
            log::begin(&settings.log, Some(Role::Broker))?;
            let (inheritance, lifeline) = lifeline::inherit()?;
            broker::run(settings, inheritance, lifeline)
        }
        Some(Role::Gateway) => {
            log::begin(&settings.log, Some(Role::Gateway))?;
            let (Inheritance { listeners, line }, lifeline) = lifeline::inherit()?;
            let line = line.ok_or("a gateway needs a line to the broker")?;
            answer(settings, listeners, Outside::Broker { line, lifeline })
        }
        _ if settings.is_confined() => {
            log::begin(&settings.log, Some(Role::Supervisor))?;
            supervisor::run(settings)
        }
        _ => {
            log::begin(&settings.log, None)?;
            tracing::warn!(
                "confinement: none; this process may open connections, and only its own code keeps it from it"
            );
            answer(settings, Listeners::bind(settings)?, Outside::Own)
        }
    }
}

/// Who opens the connections of the process that answers calls.
enum Outside {
    /// The broker at the other end of a line, for as long as the supervisor holds the lifeline.
    Broker { line: OwnedFd, lifeline: OwnedFd },
    /// The process itself.
    Own,
}

/// Answers calls until a signal comes, and drains.
fn answer(settings: &Serve, listeners: Listeners, outside: Outside) -> Result<ExitCode, CommandError> {
    // All of it once before anything is opened, so that a mistake is the only thing that is said.
    let (policy, _) = signed::read_policy(settings)?;
    announce(&policy, &settings.routes);
    let target = match &outside {
        Outside::Broker { .. } => Some(confinement::begin(settings, &policy)?),
        Outside::Own => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let trails = runtime.block_on(serve(settings, policy, listeners, (outside, target)))?;
    // Cuts the replies that outlasted the drain; dropping them closes their records as aborted. Only then can
    // the trails be closed, which waits for every open record.
    runtime.shutdown_timeout(CUT_WAIT_MAX);
    let closing = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    closing.block_on(async { tokio::time::timeout(CLOSE_WAIT_MAX, trails.close()).await })??;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// What has to be closed when everything else is.
struct Trails {
    calls: audit::Log,
    /// If this process opens its connections itself.
    connections: Option<(Arc<Direct>, Trail)>,
}

impl Trails {
    async fn close(&self) -> Result<(), audit::AuditError> {
        if let Some((direct, trail)) = &self.connections {
            direct.end_all(CloseReason::Shutdown);
            trail.close().await?;
        }
        self.calls.close().await
    }
}

/// Serves until a signal comes and what runs is done, and hands back the trails to be closed.
async fn serve(
    settings: &Serve,
    policy: Policy,
    listeners: Listeners,
    (outside, target): (Outside, Option<Context>),
) -> Result<Trails, CommandError> {
    let (audit, recovery) = audit::Log::open(&settings.data_dir.join("audit"), audit::Options::STANDARD)?;
    report_recovery(&recovery);
    // Listened for before the first call can come: a signal that nobody waits for ends the process at once.
    let (signals, hangups) = (stop_signals()?, [hangup()?, hangup()?]);
    let mut list = overlay::File::of(settings);
    let revocations = overlay::publish(list.first()?);
    let addresses = listeners.addresses()?;
    let (way, connections, lifeline): (Arc<dyn Way>, _, _) = match outside {
        Outside::Broker { line, lifeline } => (way::brokered(line)?, None, Some(Lifeline::new(lifeline)?)),
        Outside::Own => {
            let (direct, trail) = way::direct(settings, addresses.all(), Arc::new(policy), &revocations)?;
            (Arc::clone(&direct) as Arc<dyn Way>, Some((direct, trail)), None)
        }
    };
    let seal = SealCheck::new(target, Arc::clone(&way));
    let builder = Builder::new(settings, way, revocations.subscribe(), audit.clone())?;
    // The tasks that reload go on as long as the desk is there, whether or not anybody can come to it.
    let watched = Watched { list, revocations, hangups };
    let (app, desk) = start(settings, (builder, seal), &audit, watched).await?;
    let (shut, is_shut) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let servers = Doors::new(settings, listeners)?.serve(&app, &desk, &(is_shut, stopped));
    report_ready(addresses, app.active().policy.digest());
    if let Some(lifeline) = &lifeline {
        lifeline.ready().await?;
    }

    first_of(signals, lifeline.as_ref()).await;
    tracing::info!(limit_seconds = settings.drain_seconds, "draining: no new calls, running ones go on");
    shut.send_replace(true);
    tokio::time::sleep(ACCEPTED_GRACE).await;
    app.draining.store(true, Release);
    stop.send_replace(true);
    drain(servers, settings.drain_limit()).await;
    Ok(Trails { calls: audit, connections })
}

/// Says where agents, scrapers and operators find it.
fn report_ready(Addresses { agents, metrics, admin }: Addresses, digest: &Digest) {
    let (metrics, admin) = (metrics.map(display), admin.map(display));
    tracing::info!(address = %agents, metrics, admin, %digest, "serving; point an agent's base URL at http://{agents}/v1");
}

/// What changes while the process runs, besides the policy.
struct Watched {
    list: overlay::File,
    revocations: watch::Sender<Arc<Revocations>>,
    hangups: [Signal; 2],
}

/// Puts the first policy in force, and starts the tasks that keep it and the list of revocations up to date.
async fn start(
    settings: &Serve,
    (builder, seal): (Builder, SealCheck),
    audit: &audit::Log,
    Watched { list, revocations, hangups: [policy_hangup, list_hangup] }: Watched,
) -> Result<(Arc<App>, Desk), CommandError> {
    let origin = Arc::new(Origin { settings: settings.clone(), builder });
    let (first, state) = reload::first(&origin, audit).await.map_err(|failure| failure.message)?;
    let app = Arc::new(App::new(first, revocations, audit.clone(), seal));
    let report = app.try_seal().await?;
    if !report.holds() {
        return Err(format!("the walls of this process do not hold: {}", report.escapes().join("; ")).into());
    }
    tokio::spawn(probes::run(Arc::clone(&app)));
    let (policy_desk, policy_asked) = mpsc::channel(ASKED_MAX);
    let (list_desk, list_asked) = mpsc::channel(ASKED_MAX);
    let pace = Pace { poll: settings.policy_poll, spacing: settings.policy_spacing };
    tokio::spawn(Reloader::new(Arc::clone(&app), origin, pace, state).run(policy_asked, policy_hangup));
    let overlay = Overlay { app: Arc::clone(&app), file: list, poll: settings.policy_poll };
    tokio::spawn(overlay.run(list_asked, list_hangup));
    Ok((app, Desk { policy: policy_desk, revocations: list_desk }))
}

/// The listeners, each with the credential that it asks for.
struct Doors {
    agents: TcpListener,
    metrics: Option<TcpListener>,
    metrics_token: Option<Token>,
    admin: Option<(TcpListener, Token)>,
}

impl Doors {
    fn new(settings: &Serve, listeners: Listeners) -> Result<Self, CommandError> {
        let metrics_token = settings.metrics_token_file.as_deref().map(Token::read).transpose()?;
        let admin_token = settings.admin_token_file.as_deref().map(Token::read).transpose()?;
        let Listeners { agents, metrics, admin } = listeners;
        let admin = admin.map(listen).transpose()?;
        Ok(Self {
            agents: listen(agents)?,
            metrics: metrics.map(listen).transpose()?,
            metrics_token,
            admin: admin.zip(admin_token),
        })
    }

    fn serve(self, app: &Arc<App>, desk: &Desk, end: &End) -> Vec<Server> {
        let mut servers = Vec::new();
        let mut serve = |listener, router| servers.push(spawn(listener, router, end.clone()));
        let metrics = http::metrics_routes(self.metrics_token);
        match self.metrics {
            Some(listener) => {
                serve(self.agents, http::router(app, Router::new()));
                serve(listener, http::finish(metrics, app));
            }
            None => serve(self.agents, http::router(app, metrics)),
        }
        if let Some((listener, token)) = self.admin {
            serve(listener, http::finish(admin::routes(desk.clone(), token), app));
        }
        servers
    }
}

/// Takes a bound listener for tasks.
fn listen(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

type Server = tokio::task::JoinHandle<std::io::Result<()>>;

/// Whether connections are still accepted, and whether those that are there have to end.
type End = (watch::Receiver<bool>, watch::Receiver<bool>);

fn spawn(listener: TcpListener, router: Router, (is_shut, mut stopped): End) -> Server {
    let router = last_answers(router, is_shut.clone());
    // Small events must not wait for a full segment.
    let listener = Doorway { listener, is_shut }.tap_io(|stream| drop(stream.set_nodelay(true)));
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    tokio::spawn(server.into_future())
}

/// Waits until the servers' connections are done, at most `limit`; what still runs then is cut.
async fn drain(servers: Vec<Server>, limit: Duration) {
    let all = async {
        for server in servers {
            if let Ok(Err(error)) = server.await {
                tracing::error!(%error, "a listener failed");
            }
        }
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!("the limit for draining is over; replies that still run are cut");
    }
}

/// What asks the process to read its files again.
fn hangup() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// What asks the process to end: an orchestrator, and a person at a terminal.
fn stop_signals() -> std::io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?])
}

/// Waits for a signal, or for the end of the supervisor.
async fn first_of([mut terminate, mut interrupt]: [Signal; 2], lifeline: Option<&Lifeline>) {
    let orphaned = async {
        match lifeline {
            Some(lifeline) => lifeline.cut().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = orphaned => tracing::warn!("the supervisor is gone"),
    }
}

fn announce(policy: &Policy, file: &Path) {
    tracing::info!(file = %file.display(), digest = %policy.digest(), "policy loaded");
    for workflow in policy.workflows() {
        let models: Vec<&str> = workflow.reachable_models().map(|model| model.name().as_ref()).collect();
        let (mode, models) = (workflow.egress_mode().as_str(), models.join(","));
        tracing::info!(workflow = %workflow.name(), owner = workflow.owner(), mode, models, "workflow");
        if workflow.admits_loopback() {
            tracing::warn!(workflow = %workflow.name(), "every process on this machine may call without a key");
        }
    }
}

fn report_recovery(recovery: &audit::Recovery) {
    if recovery.previous == audit::Previous::Unclean {
        let torn_bytes: u64 = recovery.torn_tails.iter().map(|tail| tail.bytes).sum();
        let orphans = recovery.orphan_intents;
        tracing::warn!(
            calls_without_result = orphans,
            torn_bytes,
            "the last run did not end cleanly; recorded as gaps"
        );
    }
}
