//! `portcullis serve`: builds the parts, listens, and drains on SIGTERM or SIGINT.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use audit::ControlEvent;
use axum::Router;
use axum::serve::ListenerExt;
use policy::Policy;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::{CommandError, read_source};
use crate::active::Builder;
use crate::app::App;
use crate::cli::Serve;
use crate::signed::SignedBy;
use crate::{clock, http, probes, signed};

/// How long a cut reply may take to notice.
const CUT_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long the last records may take to become durable.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

pub(super) fn run(settings: &Serve) -> Result<ExitCode, CommandError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|error| format!("--log {}: {error}", settings.log))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let source = read_source(&settings.routes)?;
    let signed = signed::verify_sources(settings, std::slice::from_ref(&source), clock::now())?;
    let policy = Policy::compile(&source).map_err(|errors| format!("the policy is not valid\n{errors}"))?;
    policy.warnings().iter().for_each(|warning| tracing::warn!("{}", warning.render(&source.name)));
    announce(&policy, &settings.routes);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let audit = runtime.block_on(serve(policy, signed, settings))?;
    // Cuts the replies that outlasted the drain; dropping them closes their records as aborted. Only then can
    // the trail be closed, which waits for every open record.
    runtime.shutdown_timeout(CUT_WAIT_MAX);
    let closing = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    closing.block_on(async { tokio::time::timeout(CLOSE_WAIT_MAX, audit.close()).await })??;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Serves until a signal comes and what runs is done, and hands back the trail to be closed.
async fn serve(
    policy: Policy,
    signed: Option<SignedBy>,
    settings: &Serve,
) -> Result<audit::Log, CommandError> {
    // Bound first: a taken port is said before a model is loaded for minutes.
    let listener = bind(settings.listen).await?;
    let metrics_listener = match settings.metrics_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let (audit, recovery) = audit::Log::open(&settings.data_dir.join("audit"), audit::Options::STANDARD)?;
    report_recovery(&recovery);
    let digest = policy.digest().to_string();
    let app = {
        let (settings, audit) = (settings.clone(), audit.clone());
        tokio::task::spawn_blocking(move || -> Result<App, CommandError> {
            let source = settings.routes.display().to_string();
            let first = Builder::new(&settings)?.build(policy, source, None)?;
            Ok(App::new(first, audit))
        })
        .await??
    };
    audit.note(ControlEvent::PolicyActivate { digest: digest.as_str().into() }).await?;
    if let Some(signed) = &signed {
        signed::remember(settings, signed)?;
    }
    let app = Arc::new(app);
    tokio::spawn(probes::run(Arc::clone(&app)));
    // Listened for before the first call can come: a signal that nobody waits for ends the process at once.
    let signals = stop_signals()?;
    let (stop, stopped) = watch::channel(false);
    let mut servers = vec![spawn(listener, http::router(&app, metrics_listener.is_none()), stopped.clone())];
    if let Some(listener) = metrics_listener {
        servers.push(spawn(listener, http::metrics_router(&app), stopped));
    }
    tracing::info!(address = %settings.listen, digest, "serving; point an agent's base URL at http://{}/v1", settings.listen);

    first_of(signals).await;
    tracing::info!(limit_seconds = settings.drain_seconds, "draining: no new calls, running ones go on");
    app.draining.store(true, Release);
    stop.send_replace(true);
    drain(servers, settings.drain_limit()).await;
    Ok(audit)
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
