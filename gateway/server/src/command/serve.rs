//! `portcullis serve`: builds the parts, listens, and drains on SIGTERM or SIGINT.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use egress::{Direct, Surroundings, SystemResolver, Unwitnessed, Way};
use policy::{Policy, Revocations};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use super::{CommandError, read_source};
use crate::active::Builder;
use crate::admin::{self, Desk, Token};
use crate::app::App;
use crate::cli::Serve;
use crate::http;
use crate::overlay::{self, Overlay};
use crate::reload::{self, Origin, Pace, Reloader};
use crate::{clock, probes, signed};

/// How long a cut reply may take to notice.
const CUT_WAIT_MAX: Duration = Duration::from_secs(2);

/// Reloads that may be asked for while one runs; they all get its successor's outcome.
const ASKED_MAX: usize = 64;

/// How long the last records may take to become durable.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

pub(super) fn run(settings: &Serve) -> Result<ExitCode, CommandError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|error| format!("--log {}: {error}", settings.log))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    // All of it once before anything is opened, so that a mistake is the only thing that is said.
    let source = read_source(&settings.routes)?;
    signed::verify_sources(settings, std::slice::from_ref(&source), clock::now())?;
    let policy = Policy::compile(&source).map_err(|errors| format!("the policy is not valid\n{errors}"))?;
    announce(&policy, &settings.routes);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let audit = runtime.block_on(serve(settings, policy))?;
    // Cuts the replies that outlasted the drain; dropping them closes their records as aborted. Only then can
    // the trail be closed, which waits for every open record.
    runtime.shutdown_timeout(CUT_WAIT_MAX);
    let closing = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    closing.block_on(async { tokio::time::timeout(CLOSE_WAIT_MAX, audit.close()).await })??;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Serves until a signal comes and what runs is done, and hands back the trail to be closed.
async fn serve(settings: &Serve, policy: Policy) -> Result<audit::Log, CommandError> {
    // Bound first: a taken port is said before a model is loaded for minutes.
    let listeners = Listeners::bind(settings).await?;
    let (audit, recovery) = audit::Log::open(&settings.data_dir.join("audit"), audit::Options::STANDARD)?;
    report_recovery(&recovery);
    // Listened for before the first call can come: a signal that nobody waits for ends the process at once.
    let (signals, hangups) = (stop_signals()?, [hangup()?, hangup()?]);
    // The tasks that reload go on as long as the desk is there, whether or not anybody can come to it.
    let (app, desk) = start(settings, policy, &audit, hangups).await?;
    let (stop, stopped) = watch::channel(false);
    let servers = listeners.serve(&app, &desk, &stopped);
    let digest = app.active().policy.digest().to_string();
    tracing::info!(address = %settings.listen, digest, "serving; point an agent's base URL at http://{}/v1", settings.listen);

    first_of(signals).await;
    tracing::info!(limit_seconds = settings.drain_seconds, "draining: no new calls, running ones go on");
    app.draining.store(true, Release);
    stop.send_replace(true);
    drain(servers, settings.drain_limit()).await;
    Ok(audit)
}

/// Puts the first policy and the first list of revocations in force, and starts the tasks that keep them up to date.
async fn start(
    settings: &Serve,
    policy: Policy,
    audit: &audit::Log,
    [policy_hangup, list_hangup]: [Signal; 2],
) -> Result<(Arc<App>, Desk), CommandError> {
    let mut file = overlay::File::of(settings);
    let revocations = overlay::publish(file.first()?);
    let way = own_way(settings, policy, &revocations)?;
    let builder = Builder::new(settings, way, revocations.subscribe())?;
    let origin = Arc::new(Origin { settings: settings.clone(), builder });
    let (first, state) = reload::first(&origin, audit).await.map_err(|failure| failure.message)?;
    let app = Arc::new(App::new(first, revocations, audit.clone()));
    tokio::spawn(probes::run(Arc::clone(&app)));
    let (policy_desk, policy_asked) = mpsc::channel(ASKED_MAX);
    let (list_desk, list_asked) = mpsc::channel(ASKED_MAX);
    let pace = Pace { poll: settings.policy_poll, spacing: settings.policy_spacing };
    tokio::spawn(Reloader::new(Arc::clone(&app), origin, pace, state).run(policy_asked, policy_hangup));
    let overlay = Overlay { app: Arc::clone(&app), file, poll: settings.policy_poll };
    tokio::spawn(overlay.run(list_asked, list_hangup));
    Ok((app, Desk { policy: policy_desk, revocations: list_desk }))
}

/// Has this process open its connections itself.
fn own_way(
    settings: &Serve,
    policy: Policy,
    revocations: &watch::Sender<Arc<Revocations>>,
) -> Result<Arc<dyn Way>, CommandError> {
    let direct = Direct::new(
        Arc::new(policy),
        Surroundings {
            resolver: Arc::new(SystemResolver::new()?),
            own_addresses: settings.own_addresses(),
            revocations: revocations.subscribe(),
            witness: Arc::new(Unwitnessed),
            run: Uuid::now_v7().simple().to_string(),
        },
    );
    let (mut changes, rechecked) = (revocations.subscribe(), Arc::downgrade(&direct));
    tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            let Some(direct) = rechecked.upgrade() else { return };
            direct.recheck();
        }
    });
    Ok(direct)
}

/// The addresses, each for people and credentials of its own.
struct Listeners {
    agents: TcpListener,
    metrics: Option<TcpListener>,
    metrics_token: Option<Token>,
    admin: Option<(TcpListener, Token)>,
}

impl Listeners {
    async fn bind(settings: &Serve) -> Result<Self, CommandError> {
        let metrics_token = settings.metrics_token_file.as_deref().map(Token::read).transpose()?;
        let admin_token = settings.admin_token_file.as_deref().map(Token::read).transpose()?;
        let agents = bind(settings.listen).await?;
        let metrics = match settings.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let admin = match settings.admin_listen.zip(admin_token) {
            Some((address, token)) => Some((bind(address).await?, token)),
            None => None,
        };
        Ok(Self { agents, metrics, metrics_token, admin })
    }

    fn serve(self, app: &Arc<App>, desk: &Desk, stopped: &watch::Receiver<bool>) -> Vec<Server> {
        let mut servers = Vec::new();
        let mut serve = |listener, router| servers.push(spawn(listener, router, stopped.clone()));
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

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, CommandError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("cannot listen on {address}: {error}").into())
}

type Server = tokio::task::JoinHandle<std::io::Result<()>>;

fn spawn(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) -> Server {
    // Small events must not wait for a full segment.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
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

async fn first_of([mut terminate, mut interrupt]: [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
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
