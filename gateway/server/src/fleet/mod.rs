//! The models of this process: which are in memory, what each may take, and whether it is of use.
//!
//! | module | holds |
//! |---|---|
//! | `state` | the states of a model, and what leads from each to the next. Pure |
//! | `restarts` | when one that broke is started again. Pure |
//! | `health` | whether one that takes calls is of use. Pure |
//! | `memory` | how much all may take, and who has it |
//! | `loading` | from a folder to an engine that answers |
//! | `instance` | an engine in memory, and how it leaves |
//! | `keeper` | the task that does what state and health say |
//! | `resident` | a model as everybody else sees it |
//! | `desk` | the operators' address |
//!
//! A generation of the policy holds the residents of its models; one whose entry did not change goes on to the next
//! generation, in whatever state it is. A changed entry is another resident: it is loaded beside the one before, which
//! serves until the new generation is in force.
//!
//! Deliberately absent: making room by itself. Who asks for more memory than there is hears who has it.

pub(crate) mod desk;
mod health;
mod instance;
mod keeper;
mod loading;
mod memory;
mod resident;
mod restarts;
#[cfg(test)]
mod simulation;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit::ControlEvent;
use tokio::time::Instant;

pub(crate) use health::Times;
pub(crate) use instance::{Lease, LeaseEnd};
pub(crate) use loading::{LoadFailure, Recipe, parts};
pub(crate) use memory::Memory;
pub(crate) use resident::{Resident, Standing};
pub(crate) use state::Phase;

/// How long a change of state may take to be on record before it only stands in the log.
const AUDIT_WAIT_MAX: Duration = Duration::from_secs(10);

/// What all models have in common.
pub(crate) struct Fleet {
    pub(crate) memory: Memory,
    pub(crate) times: Times,
    pub(crate) kv_cache_bytes: u64,
    /// Whether the kernel keeps files from this process that nobody named at its start.
    pub(crate) is_confined: bool,
    /// Models that begin asleep.
    pub(crate) asleep: Vec<String>,
    pub(crate) audit: audit::Log,
    /// Taken for a whole load, by threads for blocking work only.
    pub(crate) loads: Mutex<()>,
    pub(crate) origin: Instant,
}

impl Fleet {
    /// Takes a model in: loads it, or leaves it asleep if that was asked for. Blocks.
    ///
    /// # Errors
    /// Returns [`LoadFailure`] if it cannot be loaded.
    ///
    /// # Panics
    /// Panics outside of a runtime's thread for blocking work.
    pub(crate) fn take_in(self: &Arc<Self>, recipe: Recipe) -> Result<Arc<Resident>, LoadFailure> {
        let is_asleep = self.asleep.iter().any(|name| name == recipe.name.as_ref());
        let instance = if is_asleep { None } else { Some(self.load(&recipe)?) };
        Ok(Resident::start(self, recipe, instance))
    }

    /// The time, as the pure parts count it.
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Puts a change of state on record.
    async fn record(&self, event: ControlEvent) {
        match tokio::time::timeout(AUDIT_WAIT_MAX, self.audit.note(event)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "a change of a model's state is not on record"),
            Err(_) => tracing::error!("a change of a model's state is not on record in time"),
        }
    }
}
