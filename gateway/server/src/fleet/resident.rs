//! A model as everybody but its keeper sees it: its state, leave to ask it, and a way to want it otherwise.

use std::sync::Arc;
use std::time::Duration;

use engine::{Need, Stats};
use jiff::Timestamp;
use routing::Failure;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::Fleet;
use super::health::Health;
use super::instance::{Instance, Lease};
use super::keeper::{Command, Keeper};
use super::loading::Recipe;
use super::state::{Busy, Cause, Event, Phase};
use crate::error::ApiError;

/// Wishes that wait for the keeper.
const WISHES_MAX: usize = 64;

/// How long a call waits for a model that is on its way; a small one is there by then.
const LOADING_WAIT_MAX: Duration = Duration::from_secs(10);

/// How a model is.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) phase: Phase,
    pub(crate) since: Timestamp,
    /// Why it failed, or what is wrong with it.
    pub(crate) reason: Option<Arc<str>>,
    /// When it is started again by itself.
    pub(crate) retry_at: Option<Instant>,
    pub(crate) health: Health,
    /// How often its engine broke.
    pub(crate) broken: u64,
    /// What it takes in memory; of an engine that was there before, if there is none now.
    pub(crate) need: Option<Need>,
    /// How long it took to load, the last time.
    pub(crate) took: Option<Duration>,
    /// While it takes calls.
    pub(super) lease: Option<Lease>,
}

impl Standing {
    /// A reading of the engine's counters, while it takes calls.
    pub(crate) fn stats(&self) -> Option<Stats> {
        self.lease.as_ref().map(|lease| lease.engine.stats())
    }

    /// Whether something is wrong with it that nobody asked for.
    pub(crate) fn is_troubled(&self) -> bool {
        let is_down = matches!(self.phase, Phase::Failed | Phase::Loading(Cause::Restart));
        let is_dead = self.stats().is_some_and(|stats| !stats.healthy);
        is_down || is_dead || self.health != Health::Well
    }
}

/// A model of the process.
pub(crate) struct Resident {
    recipe: Arc<Recipe>,
    commands: mpsc::Sender<Command>,
    standing: watch::Receiver<Standing>,
}

impl Resident {
    /// Hands a model to a task that keeps it until the last of its residents is dropped.
    pub(super) fn start(fleet: &Arc<Fleet>, recipe: Recipe, instance: Option<Instance>) -> Arc<Self> {
        let recipe = Arc::new(recipe);
        let (commands, wishes) = mpsc::channel(WISHES_MAX);
        let (keeper, standing) = Keeper::new(Arc::clone(fleet), Arc::clone(&recipe), instance);
        tokio::spawn(keeper.run(wishes));
        Arc::new(Self { recipe, commands, standing })
    }

    pub(crate) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Leave to ask the model. A model that sleeps is woken; one that is on its way is waited for, for a while.
    ///
    /// # Errors
    /// Returns a 503 that says why there is none, and when to try again.
    pub(crate) async fn lease(&self, deadline: Instant) -> Result<Lease, ApiError> {
        let deadline = deadline.min(Instant::now() + LOADING_WAIT_MAX);
        let mut standing = self.standing.clone();
        let now = standing.borrow_and_update().clone();
        if now.phase == Phase::Asleep {
            // A queue that is full has one of these in it.
            let _ = self.commands.try_send(Command::Called);
            let _ = timeout_at(deadline, standing.wait_for(|now| now.phase != Phase::Asleep)).await;
        }
        let _ = timeout_at(deadline, standing.wait_for(|now| !matches!(now.phase, Phase::Loading(_)))).await;
        let now = standing.borrow().clone();
        match now.lease {
            Some(lease) if now.health == Health::Well => Ok(lease),
            _ => Err(self.absent(&now)),
        }
    }

    fn absent(&self, now: &Standing) -> ApiError {
        let name = &self.recipe.name;
        let (code, state, retry_after_s) = match now.phase {
            Phase::Ready => ("model_unwell", "does not answer at the moment", 10),
            Phase::Loading(_) | Phase::Asleep => ("model_loading", "is being loaded", 2),
            Phase::Draining(_) => ("model_not_loaded", "is being unloaded", 30),
            Phase::Unloaded => ("model_not_loaded", "is not loaded", 30),
            Phase::Failed => {
                let wait = now.retry_at.map(|at| at.saturating_duration_since(Instant::now()).as_secs() + 1);
                ("model_failed", "has failed", wait.unwrap_or(60))
            }
        };
        let text = format!("the model `{name}` {state}; try again later, or name another model");
        // It took nothing of the request, and the next hop may be asked at once.
        ApiError::unavailable(code, text).with_retry_after(retry_after_s).meaning(Failure::Pressed(None))
    }

    /// Wants the model in another state, and waits until it stays in one.
    ///
    /// # Errors
    /// Returns [`Busy`] if that has to wait.
    pub(super) async fn wish(&self, event: Event) -> Result<Standing, Busy> {
        let mut standing = self.standing.clone();
        let (told, answer) = oneshot::channel();
        // A keeper that is gone goes with the process.
        let _ = self.commands.send(Command::Wish(event, told)).await;
        answer.await.unwrap_or(Ok(()))?;
        let _ = standing.wait_for(|now| now.phase.is_settled()).await;
        let now = standing.borrow().clone();
        Ok(now)
    }

    /// Says that another generation serves the model otherwise, or not at all. Calls of the one before are let in for
    /// as long as a drain takes, and then the engine goes with the last of them.
    pub(crate) fn leave(&self) {
        let _ = self.commands.try_send(Command::Leave);
    }
}
