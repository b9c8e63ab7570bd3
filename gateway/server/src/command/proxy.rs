//! `portcullis proxy`: the way out of a sandbox for an agent's tools, by the policy that the gateway has.
//!
//! A process of its own, which holds no model, no credential of a provider and no word of a call. Like the broker it
//! reads the policy and the list of revocations itself, and keeps a trail that nobody else writes. A policy or a list
//! that is wrong changes nothing: the one before stays in force.
//!
//! Deliberately absent: TLS towards agents.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use clap::Args;
use egress::SystemResolver;
use egress::tunnel::{self, Dialled, InForce, Limits, Parts};
use policy::{Policy, Revocations, Source};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::CommandError;
use crate::cli::Serve;
use crate::error::with_causes;
use crate::overlay::{self, File};
use crate::policy_files::PolicyFiles;
use crate::tunnel_metrics::TunnelMetrics;
use crate::tunnel_trail::TunnelTrail;
use crate::{clock, log, signed};

pub(crate) const HELP: &str = "\
Tools in a sandbox are pointed at it with HTTPS_PROXY=http://WORKFLOW:KEY@HOST:3128, and reach what
`egress.hosts` of the workflow names. docs/egress.md says what is checked, and what cannot be seen.

The policy is read again every 5 s and on SIGHUP, the list of revocations twice a second.";

/// How often the policy's files are looked at.
const POLICY_POLL: Duration = Duration::from_secs(5);

/// How long the last records may take to become durable.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Settings of the proxy.
#[derive(Clone, Debug, Args)]
pub(crate) struct Proxy {
    /// The policy: a file, or a folder of files
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    routes: PathBuf,
    /// Address for agents' tools
    #[arg(long, env = "PORTCULLIS_PROXY_LISTEN", default_value = "127.0.0.1:3128", value_name = "ADDR")]
    listen: SocketAddr,
    /// Address for Prometheus; without it, there are no metrics
    #[arg(long, env = "PORTCULLIS_PROXY_METRICS_LISTEN", value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Callers, keys, workflows and hosts to deny at once [default: revocations.yaml beside the policy, if there is one]
    #[arg(long, env = "PORTCULLIS_REVOCATIONS", value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// Folder for records, which stand in `proxy` below it
    #[arg(long, env = "PORTCULLIS_DATA_DIR", default_value = "data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Keys that sign policies, one on each line; with it, no policy loads that they did not sign
    #[arg(long, env = "PORTCULLIS_POLICY_KEYS", value_name = "FILE")]
    policy_keys: Option<PathBuf>,
    /// How many of those keys must have signed [default: 1]
    #[arg(long, env = "PORTCULLIS_POLICY_THRESHOLD", value_name = "N", requires = "policy_keys")]
    policy_threshold: Option<usize>,
    /// How long open tunnels may go on after SIGTERM, in seconds
    #[arg(long, env = "PORTCULLIS_DRAIN_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    drain_seconds: u64,
    /// What to log, such as info, or warn,portcullis=debug
    #[arg(long, env = "PORTCULLIS_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

impl Proxy {
    /// Returns the same as settings of a server, for the code that reads policies and lists.
    fn as_serve(&self) -> Serve {
        Serve {
            routes: self.routes.clone(),
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            metrics_token_file: None,
            admin_listen: None,
            admin_token_file: None,
            revocations: self.revocations.clone(),
            require_tests: false,
            policy_poll: POLICY_POLL,
            policy_spacing: Duration::ZERO,
            data_dir: self.data_dir.clone(),
            ca_file: None,
            policy_keys: self.policy_keys.clone(),
            policy_threshold: self.policy_threshold,
            allow_rollback: false,
            kv_cache_mib: 0,
            engine_memory_mib: None,
            asleep: Vec::new(),
            drain_seconds: self.drain_seconds,
            confine: None,
            confine_read: Vec::new(),
            process: None,
            successor: false,
            log: self.log.clone(),
        }
    }
}

pub(super) fn run(settings: &Proxy) -> Result<ExitCode, CommandError> {
    log::begin(&settings.log, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&settings.as_serve()))?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn serve(settings: &Serve) -> Result<(), CommandError> {
    let files = Files::read(settings)?;
    let policy = files.compile(settings)?;
    let mut list = File::of(settings);
    let revocations = Arc::new(list.first()?);
    let listener = TcpListener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let (scraped, own) = listen_for_scrapes(settings.metrics_listen, address).await?;
    let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let hangup = signal(SignalKind::hangup())?;
    let trail = TunnelTrail::open(&settings.data_dir)?;
    let metrics = scraped.as_ref().map(|(_, address)| tracing::field::display(address));
    tracing::info!(%address, metrics, digest = %policy.digest(), "agents' proxy; point tools at http://WORKFLOW:KEY@{address}");
    if let Some((listener, _)) = scraped {
        tokio::spawn(axum::serve(listener, scrapes(trail.metrics().clone())).into_future());
    }

    let rules = Arc::new(InForce::new(Arc::new(policy), Arc::clone(&revocations), clock::now));
    let exit = Arc::new(Dialled::new(Arc::new(SystemResolver::new()?), own));
    let parts = Parts {
        rules: rules.clone(),
        exit,
        witness: Arc::new(trail.clone()),
        run: Uuid::now_v7().simple().to_string(),
    };
    let limits = Limits { drain: settings.drain_limit(), ..Limits::STANDARD };
    let watching =
        Watching { settings: settings.clone(), files, list, known: revocations, wrong: None, rules };
    let watching = tokio::spawn(watching.run(hangup));
    let [terminate, interrupt] = &mut signals;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Arc::new(tunnel::Proxy::new(parts, limits)).serve(listener, stop).await;
    watching.abort();
    tokio::time::timeout(CLOSE_WAIT_MAX, trail.close()).await??;
    Ok(())
}

/// Binds the address for Prometheus, if there is one. Returns it, and all addresses that are the program's own.
async fn listen_for_scrapes(
    wanted: Option<SocketAddr>,
    address: SocketAddr,
) -> Result<(Option<(TcpListener, SocketAddr)>, Vec<SocketAddr>), CommandError> {
    let Some(wanted) = wanted else { return Ok((None, vec![address])) };
    let listener = TcpListener::bind(wanted).await?;
    let metrics = listener.local_addr()?;
    Ok((Some((listener, metrics)), vec![address, metrics]))
}

/// The one page for Prometheus.
fn scrapes(metrics: TunnelMetrics) -> Router {
    let page = async move || {
        let text = metrics.render().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok::<_, StatusCode>(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
    };
    Router::new().route("/metrics", get(page))
}

/// The policy's files as they were read last.
struct Files(PolicyFiles);

impl Files {
    fn read(settings: &Serve) -> Result<Self, CommandError> {
        PolicyFiles::read(&settings.routes).map(Self)
    }

    fn compile(&self, settings: &Serve) -> Result<Policy, CommandError> {
        signed::verify_sources(settings, self.0.sources(), clock::now())?;
        self.0.compile().map_err(|errors| format!("the policy is not valid\n{errors}").into())
    }

    fn is_same(&self, other: &Self) -> bool {
        let texts = |files: &Self| files.0.sources().iter().map(text).collect::<Vec<_>>();
        texts(self) == texts(other)
    }
}

fn text(source: &Source) -> (String, String) {
    (source.name.clone(), source.text.clone())
}

/// Keeps policy and list in force up to date with their files.
struct Watching {
    settings: Serve,
    files: Files,
    list: File,
    known: Arc<Revocations>,
    /// What was wrong with the list at the last look; said once.
    wrong: Option<String>,
    rules: Arc<InForce>,
}

impl Watching {
    async fn run(mut self, mut hangup: Signal) {
        let mut list_ticks = interval(overlay::POLL_MAX);
        let mut policy_ticks = interval(POLICY_POLL);
        for ticks in [&mut list_ticks, &mut policy_ticks] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = list_ticks.tick() => self.look_at_list(),
                _ = policy_ticks.tick() => self.look_at_policy(),
                _ = hangup.recv() => {
                    self.look_at_list();
                    self.look_at_policy();
                }
            }
        }
    }

    fn look_at_list(&mut self) {
        let wrong = match self.list.news(&self.known) {
            Ok(Some(list)) => {
                tracing::warn!(entries = list.len(), "another list of revocations is in force");
                self.known = Arc::new(list);
                self.rules.revoke(Arc::clone(&self.known));
                None
            }
            Ok(None) => None,
            Err(failure) => Some(failure.message),
        };
        if let Some(reason) = &wrong
            && wrong != self.wrong
        {
            tracing::error!(reason, "the list of revocations is not taken; the one before stays in force");
        }
        self.wrong = wrong;
    }

    fn look_at_policy(&mut self) {
        let news = match Files::read(&self.settings) {
            Ok(files) if files.is_same(&self.files) => return,
            news => news,
        };
        let taken = news.and_then(|files| {
            // Looked at once, whether it is taken or not: what is wrong is said once.
            self.files = files;
            self.files.compile(&self.settings)
        });
        match taken {
            Ok(policy) => {
                tracing::info!(digest = %policy.digest(), "another policy is in force");
                self.rules.decide_by(Arc::new(policy));
            }
            Err(error) => {
                let reason = with_causes(&*error);
                tracing::error!(reason, "the policy is not taken; the one before stays in force");
            }
        }
    }
}
