//! From a folder to an engine that answers. Blocks.
//!
//! ```text
//! within reach -> the files that are meant -> what it needs is left -> loaded -> answers a canary
//! ```
//!
//! One model is loaded at a time: what the system has left is only true while nobody else takes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use engine::{Engine, EngineConfig, Need};
use policy::{Digest, EngineTarget, ModelName};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Fleet;
use super::instance::Instance;
use super::memory::Short;
use crate::checkpoint;
use crate::error::with_causes;
use crate::progress::Progress;

/// Everything that makes one loaded model another than the next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recipe {
    pub(crate) name: ModelName,
    /// A folder or a GGUF file.
    pub(crate) path: PathBuf,
    pub(crate) target: EngineTarget,
    pub(crate) digest: Option<Digest>,
    pub(crate) context_max: Option<usize>,
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadFailure {
    #[error("{0}")]
    OutOfReach(String),
    #[error("{0}")]
    Altered(String),
    #[error(transparent)]
    Memory(#[from] Short),
    #[error(transparent)]
    Engine(#[from] engine::LoadError),
    #[error("it was loaded and does not answer: {0}")]
    Mute(String),
    #[error("loading it panicked")]
    Panicked,
}

impl Fleet {
    /// Loads a model and lets nobody in yet.
    ///
    /// # Errors
    /// Returns [`LoadFailure`]; what was loaded until then is let go.
    ///
    /// # Panics
    /// Panics outside of a runtime's thread for blocking work.
    pub(super) fn load(&self, recipe: &Recipe) -> Result<Instance, LoadFailure> {
        self.within_reach(&recipe.path)?;
        if let Some(digest) = &recipe.digest {
            checkpoint::check(&recipe.path, digest)
                .map_err(|error| LoadFailure::Altered(with_causes(&error)))?;
        }
        let config = EngineConfig {
            kv_cache_bytes: self.kv_cache_bytes,
            context_max: recipe.context_max,
            weights: kept(recipe.target.weights()),
            ..EngineConfig::default()
        };
        let need = engine::need(&recipe.path, &config)?;
        let held = self.memory.take(recipe.name.as_ref(), need.total_bytes())?;
        let _turn = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        tracing::info!(model = %recipe.name, path = %recipe.path.display(), %need, "loading");
        let engine = engine::open(&recipe.path, config, loading())?;
        let instance = Instance::new(engine, need, held);
        self.try_canary(instance.engine())?;
        let (blocks, tokens) =
            (instance.engine().stats().kv_blocks_total, instance.engine().capacity_tokens());
        tracing::info!(model = %recipe.name, kv_blocks = blocks, tokens_per_sequence = tokens, "ready");
        Ok(instance.loaded_in(started.elapsed()))
    }

    /// A model whose engine cannot give one token is not ready, however well it was loaded.
    fn try_canary(&self, engine: &Engine) -> Result<(), LoadFailure> {
        // The first step reads all weights from the disk, perhaps.
        let limit: Duration = self.times.stall;
        let mute = |reason: String| LoadFailure::Mute(reason);
        match Handle::current().block_on(async { timeout(limit, engine.canary()).await }) {
            Ok(answered) => answered.map_err(|error| mute(with_causes(&error))),
            Err(_) => Err(mute(format!("no token within {} s", limit.as_secs()))),
        }
    }

    /// What the kernel keeps from a confined process cannot be granted later, and looks like any file of somebody else.
    fn within_reach(&self, path: &Path) -> Result<(), LoadFailure> {
        let opened = if path.is_dir() { fs::read_dir(path).map(drop) } else { File::open(path).map(drop) };
        match opened {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.is_confined => {
                let path = path.display();
                Err(LoadFailure::OutOfReach(format!(
                    "{path} is out of reach: this process may read what settings and policy named when it started; restart \
                     it, or start it with --confine-read and the folder"
                )))
            }
            // Whatever else is wrong with it, the loader says better.
            _ => Ok(()),
        }
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
    std::sync::Arc::new(move |done, total| {
        let progress = progress.get_or_init(|| Progress::begin("loading", total));
        progress.advance(done.saturating_sub(seen.fetch_max(done, Relaxed)));
    })
}

/// What a model takes, by what it takes it for.
pub(crate) fn parts(need: &Need) -> [(&'static str, u64); 3] {
    [
        ("weights", need.weights_bytes),
        ("kv_cache", need.kv_cache_bytes),
        ("activations", need.activation_bytes),
    ]
}
