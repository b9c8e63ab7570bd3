//! One generation of the policy, with everything that was built for it.
//!
//! A call takes the generation that is in force when it arrives and keeps it to its last byte: what decides, what is
//! asked and what answers always belong together. A generation never changes. The next one is built beside it, takes
//! over what is still the same, and the old one goes when its last call ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use egress::{Roots, Way};
use engine::{Engine, EngineConfig};
use jiff::Timestamp;
use policy::{Digest, EngineTarget, Model, ModelName, Policy, Revocations, Target};
use tokio::sync::watch;

use crate::checkpoint;
use crate::cli::Serve;
use crate::command::CommandError;
use crate::error::with_causes;
use crate::policy_files;
use crate::progress::Progress;

/// A policy in force.
pub(crate) struct Active {
    pub(crate) policy: Arc<Policy>,
    /// The one way out.
    pub(crate) egress: egress::Client,
    /// Where the policy came from, for people.
    pub(crate) source: String,
    pub(crate) since: Timestamp,
    /// The models that this process serves itself.
    engines: BTreeMap<ModelName, Loaded>,
}

/// A model in memory, and what it was loaded from.
struct Loaded {
    engine: Engine,
    from: Origin,
}

/// Everything that makes one loaded model another than the next.
#[derive(PartialEq)]
struct Origin {
    target: EngineTarget,
    digest: Option<Digest>,
    context_max: Option<usize>,
}

impl Active {
    /// The engine of a model.
    pub(crate) fn engine(&self, model: &ModelName) -> Option<&Engine> {
        self.engines.get(model).map(|loaded| &loaded.engine)
    }

    /// All models that this process serves itself.
    pub(crate) fn engines(&self) -> impl Iterator<Item = (&ModelName, &Engine)> {
        self.engines.iter().map(|(model, loaded)| (model, &loaded.engine))
    }
}

/// What every generation is built with, whatever its policy says.
pub(crate) struct Builder {
    /// The folder of the policy: relative paths in it begin there.
    base: PathBuf,
    kv_cache_bytes: u64,
    way: Arc<dyn Way>,
    options: egress::Options,
}

impl Builder {
    /// Reads the settings that concern what is built.
    pub(crate) fn new(
        settings: &Serve,
        way: Arc<dyn Way>,
        revocations: watch::Receiver<Arc<Revocations>>,
    ) -> Result<Self, CommandError> {
        let base = policy_files::folder(&settings.routes).to_owned();
        let roots = match &settings.ca_file {
            Some(file) => Roots::public_and_file(file)?,
            None => Roots::public(),
        };
        let options = egress::Options { secrets_base: base.clone(), roots, revocations };
        Ok(Self { base, kv_cache_bytes: settings.kv_cache_mib << 20, way, options })
    }

    /// Who opens the connections of every generation.
    pub(crate) fn way(&self) -> &Arc<dyn Way> {
        &self.way
    }

    /// Builds a generation; `before` is the one in force, from which everything is taken that is still the same.
    ///
    /// Blocks while models are loaded.
    pub(crate) fn build(
        &self,
        policy: Policy,
        source: String,
        before: Option<&Active>,
    ) -> Result<Active, CommandError> {
        let policy = Arc::new(policy);
        let mut engines = BTreeMap::new();
        for model in policy.models() {
            let Target::Engine(target) = model.target() else { continue };
            engines.insert(model.name().clone(), self.engine(model, target, before)?);
        }
        let egress = match before {
            Some(before) => before.egress.succeeded_by(Arc::clone(&policy))?,
            None => egress::Client::new(Arc::clone(&policy), &self.way, &self.options)?,
        };
        Ok(Active { policy, egress, source, since: Timestamp::now(), engines })
    }

    fn engine(
        &self,
        model: &Model,
        target: &EngineTarget,
        before: Option<&Active>,
    ) -> Result<Loaded, CommandError> {
        let from = Origin {
            target: target.clone(),
            digest: model.weights_digest().copied(),
            context_max: model.context_tokens().map(|tokens| tokens as usize),
        };
        let kept = before.and_then(|before| before.engines.get(model.name()));
        let kept = kept.filter(|loaded| loaded.from == from && loaded.engine.stats().healthy);
        let engine = match kept {
            Some(loaded) => loaded.engine.clone(),
            None => self.load(model, &from)?,
        };
        Ok(Loaded { engine, from })
    }

    /// Loads a model, once its files are known to be the ones that are meant.
    fn load(&self, model: &Model, from: &Origin) -> Result<Engine, CommandError> {
        let folder = self.base.join(from.target.path());
        if let Some(digest) = &from.digest {
            checkpoint::check(&folder, digest)
                .map_err(|error| format!("model `{}`: {}", model.name(), with_causes(&error)))?;
        }
        let config = EngineConfig {
            kv_cache_bytes: self.kv_cache_bytes,
            context_max: from.context_max,
            weights: kept(from.target.weights()),
            ..EngineConfig::default()
        };
        tracing::info!(model = %model.name(), folder = %folder.display(), "loading");
        let engine = engine::open(&folder, config, loading()).map_err(|error| {
            format!("cannot serve model `{}` from {}: {error}", model.name(), folder.display())
        })?;
        let (blocks, tokens) = (engine.stats().kv_blocks_total, engine.capacity_tokens());
        tracing::info!(model = %model.name(), kv_blocks = blocks, tokens_per_sequence = tokens, "ready");
        Ok(engine)
    }
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
