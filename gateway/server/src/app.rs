//! The parts of a serving process. A list, and how it is built; what happens to a call is in `pipeline`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use egress::{Resolver, Roots, SystemResolver};
use engine::{Engine, EngineConfig};
use policy::{ModelName, Policy, Target};
use tokio::sync::Semaphore;

use crate::checkpoint;
use crate::cli::Serve;
use crate::command::CommandError;
use crate::error::with_causes;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::stored::Stored;

/// Calls in the process at once, streams included; the next one is told to come back.
const CALLS_MAX: usize = 4096;

/// Everything that a call needs.
pub(crate) struct App {
    pub(crate) policy: Arc<Policy>,
    /// The models that this process serves itself.
    pub(crate) engines: Arc<BTreeMap<ModelName, Engine>>,
    /// The one way out.
    pub(crate) egress: egress::Client,
    pub(crate) audit: audit::Log,
    pub(crate) metrics: Metrics,
    pub(crate) places: Arc<Semaphore>,
    /// Answers that a client may continue by their id.
    pub(crate) stored: Arc<Stored>,
    /// When this process started, in seconds since the Unix epoch.
    pub(crate) started_s: u64,
    /// Set once on SIGTERM: running calls go on, new ones are refused.
    pub(crate) draining: AtomicBool,
}

impl App {
    /// Builds the parts: loads the models and opens the audit trail.
    pub(crate) fn build(policy: Policy, settings: &Serve, audit: audit::Log) -> Result<Self, CommandError> {
        let policy = Arc::new(policy);
        let base = settings.routes.parent().unwrap_or(Path::new("")).to_owned();
        let engines = Arc::new(start_engines(&policy, &base, settings)?);
        let roots = match &settings.ca_file {
            Some(file) => Roots::public_and_file(file)?,
            None => Roots::public(),
        };
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver::new()?);
        let own_addresses = std::iter::once(settings.listen).chain(settings.metrics_listen).collect();
        let options = egress::Options { own_addresses, secrets_base: base, roots };
        Ok(Self {
            egress: egress::Client::new(Arc::clone(&policy), &resolver, &options),
            policy,
            engines,
            audit,
            metrics: Metrics::new(),
            places: Arc::new(Semaphore::new(CALLS_MAX)),
            stored: Arc::default(),
            started_s: jiff::Timestamp::now().as_second().unsigned_abs(),
            draining: AtomicBool::new(false),
        })
    }
}

/// Loads every model that the policy serves from a folder, once its files are known to be the ones that are meant.
fn start_engines(
    policy: &Policy,
    base: &Path,
    settings: &Serve,
) -> Result<BTreeMap<ModelName, Engine>, CommandError> {
    let mut engines = BTreeMap::new();
    for model in policy.models() {
        let Target::Engine(target) = model.target() else { continue };
        let folder: PathBuf = base.join(target.path());
        if let Some(digest) = model.weights_digest() {
            checkpoint::check(&folder, digest)
                .map_err(|error| format!("model `{}`: {}", model.name(), with_causes(&error)))?;
        }
        let config = EngineConfig {
            kv_cache_bytes: settings.kv_cache_mib << 20,
            context_max: model.context_tokens().map(|tokens| tokens as usize),
            weights: kept(target.weights()),
            ..EngineConfig::default()
        };
        tracing::info!(model = %model.name(), folder = %folder.display(), "loading");
        let engine = engine::open(&folder, config, loading()).map_err(|error| {
            format!("cannot serve model `{}` from {}: {error}", model.name(), folder.display())
        })?;
        let (blocks, tokens) = (engine.stats().kv_blocks_total, engine.capacity_tokens());
        tracing::info!(model = %model.name(), kv_blocks = blocks, tokens_per_sequence = tokens, "ready");
        engines.insert(model.name().clone(), engine);
    }
    Ok(engines)
}

/// What the policy says about weights, in the engine's terms.
fn kept(weights: policy::WeightFormat) -> engine::WeightFormat {
    match weights {
        policy::WeightFormat::AsStored => engine::WeightFormat::AsStored,
        policy::WeightFormat::F32 => engine::WeightFormat::F32,
        policy::WeightFormat::Q8_0 => engine::WeightFormat::Q8_0,
        policy::WeightFormat::Q4K => engine::WeightFormat::Q4K,
    }
}

/// Shows how far a model is loaded, from when its size is known.
fn loading() -> engine::Watch {
    let (progress, seen) = (OnceLock::new(), AtomicU64::new(0));
    Arc::new(move |done, total| {
        let progress = progress.get_or_init(|| Progress::begin("loading", total));
        progress.advance(done.saturating_sub(seen.fetch_max(done, Relaxed)));
    })
}
