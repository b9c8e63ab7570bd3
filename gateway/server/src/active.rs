//! One generation of the policy, with everything that was built for it.
//!
//! A call takes the generation that is in force when it arrives and keeps it to its last byte: what decides, what is
//! asked and what answers always belong together. A generation never changes. The next one is built beside it, takes
//! over what is still the same, and the old one goes when its last call ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use egress::{Roots, Way};
use jiff::Timestamp;
use policy::{EngineTarget, Model, ModelName, Policy, Revocations, Target};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cli::Serve;
use crate::command::CommandError;
use crate::fleet::{Fleet, Memory, Recipe, Resident, Times};
use crate::policy_files;

/// A policy in force.
pub(crate) struct Active {
    pub(crate) policy: Arc<Policy>,
    /// The one way out.
    pub(crate) egress: egress::Client,
    /// Where the policy came from, for people.
    pub(crate) source: String,
    pub(crate) since: Timestamp,
    /// The models that this process serves itself.
    residents: BTreeMap<ModelName, Arc<Resident>>,
    memory: Memory,
}

impl Active {
    /// A model that this process serves itself, in memory or not.
    pub(crate) fn resident(&self, model: &ModelName) -> Option<&Arc<Resident>> {
        self.residents.get(model)
    }

    /// All models that this process serves itself.
    pub(crate) fn residents(&self) -> impl Iterator<Item = &Arc<Resident>> {
        self.residents.values()
    }

    /// The memory of all engines, those of other generations included.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Lets go of the models that the generation after this one serves otherwise, or not at all.
    pub(crate) fn give_way_to(&self, next: &Self) {
        let stays = |name: &ModelName, resident: &Arc<Resident>| {
            next.residents.get(name).is_some_and(|other| Arc::ptr_eq(resident, other))
        };
        let leaving = self.residents.iter().filter(|(name, resident)| !stays(name, resident));
        leaving.for_each(|(_, resident)| resident.leave());
    }
}

/// What every generation is built with, whatever its policy says.
pub(crate) struct Builder {
    /// The folder of the policy: relative paths in it begin there.
    base: PathBuf,
    fleet: Arc<Fleet>,
    way: Arc<dyn Way>,
    options: egress::Options,
}

impl Builder {
    /// Reads the settings that concern what is built.
    pub(crate) fn new(
        settings: &Serve,
        way: Arc<dyn Way>,
        revocations: watch::Receiver<Arc<Revocations>>,
        audit: audit::Log,
    ) -> Result<Self, CommandError> {
        let base = policy_files::folder(&settings.routes).to_owned();
        let roots = match &settings.ca_file {
            Some(file) => Roots::public_and_file(file)?,
            None => Roots::public(),
        };
        let options = egress::Options { secrets_base: base.clone(), roots, revocations };
        let fleet = Arc::new(Fleet {
            memory: Memory::new(settings.engine_memory_mib.map(|mib| mib << 20)),
            times: Times::standard(settings.drain_limit()),
            kv_cache_bytes: settings.kv_cache_mib << 20,
            is_confined: settings.is_confined(),
            asleep: settings.asleep.clone(),
            audit,
            loads: Mutex::new(()),
            origin: Instant::now(),
        });
        Ok(Self { base, fleet, way, options })
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
        let mut residents = BTreeMap::new();
        for model in policy.models() {
            let Target::Engine(target) = model.target() else { continue };
            residents.insert(model.name().clone(), self.resident(model, target, before)?);
        }
        let egress = match before {
            Some(before) => before.egress.succeeded_by(Arc::clone(&policy))?,
            None => egress::Client::new(Arc::clone(&policy), &self.way, &self.options)?,
        };
        let memory = self.fleet.memory.clone();
        Ok(Active { policy, egress, source, since: Timestamp::now(), residents, memory })
    }

    fn resident(
        &self,
        model: &Model,
        target: &EngineTarget,
        before: Option<&Active>,
    ) -> Result<Arc<Resident>, CommandError> {
        let recipe = Recipe {
            name: model.name().clone(),
            path: self.base.join(target.path()),
            target: target.clone(),
            digest: model.weights_digest().copied(),
            context_max: model.context_tokens().map(|tokens| tokens as usize),
        };
        let kept = before.and_then(|before| before.resident(model.name()));
        if let Some(kept) = kept.filter(|kept| *kept.recipe() == recipe) {
            return Ok(Arc::clone(kept));
        }
        let (name, path) = (recipe.name.clone(), recipe.path.clone());
        let loaded = self.fleet.take_in(recipe);
        Ok(loaded.map_err(|error| format!("cannot serve model `{name}` from {}: {error}", path.display()))?)
    }
}
