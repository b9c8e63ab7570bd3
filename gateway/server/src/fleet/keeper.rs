//! The task that keeps one model: takes in what happens to it, and does what its state and its health say.
//!
//! It never waits for an engine. A load runs on a thread of its own, canaries and ends are waited for beside everything
//! else, and an engine that never comes back keeps nobody from being told so.

use std::future::pending;
use std::sync::Arc;

use audit::{ControlEvent, ModelState};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::Fleet;
use super::health::{Canary, Finding, Health, Seen, Watchdog};
use super::instance::{Instance, Tail};
use super::loading::{LoadFailure, Recipe};
use super::resident::Standing;
use super::state::{Busy, Event, Machine, Order, Phase, Rest};
use crate::error::with_causes;

/// What somebody wants of a model.
pub(super) enum Command {
    /// An operator wants it otherwise, and to know whether that is taken.
    Wish(Event, oneshot::Sender<Result<(), Busy>>),
    /// A call came while it sleeps.
    Called,
    /// It has a successor, or no place any more.
    Leave,
}

pub(super) struct Keeper {
    fleet: Arc<Fleet>,
    recipe: Arc<Recipe>,
    machine: Machine,
    dog: Watchdog,
    /// While it takes calls.
    instance: Option<Instance>,
    /// While it drains.
    tail: Option<Tail>,
    loading: Option<JoinHandle<Result<Instance, LoadFailure>>>,
    canary: Option<JoinHandle<Canary>>,
    /// When replies that still run are cut.
    cut_at: Option<Instant>,
    /// When one that has a successor lets nobody in any more.
    leave_at: Option<Instant>,
    reason: Option<Arc<str>>,
    standing: watch::Sender<Standing>,
}

impl Keeper {
    /// Makes the keeper of a model that is loaded, or asleep.
    pub(super) fn new(
        fleet: Arc<Fleet>,
        recipe: Arc<Recipe>,
        instance: Option<Instance>,
    ) -> (Self, watch::Receiver<Standing>) {
        let phase = if instance.is_some() { Phase::Ready } else { Phase::Asleep };
        let first = Standing {
            phase,
            since: Timestamp::now(),
            reason: None,
            retry_at: None,
            health: Health::Well,
            broken: 0,
            need: None,
            took: None,
            lease: None,
        };
        let (standing, seen) = watch::channel(first);
        let keeper = Self {
            machine: Machine::new(phase),
            dog: Watchdog::new(fleet.times, fleet.now()),
            fleet,
            recipe,
            instance,
            tail: None,
            loading: None,
            canary: None,
            cut_at: None,
            leave_at: None,
            reason: None,
            standing,
        };
        keeper.publish();
        (keeper, seen)
    }

    /// Keeps the model until nobody has it any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut looks = interval(self.fleet.times.look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
                loaded = finished(&mut self.loading) => self.loaded(loaded).await,
                canary = finished(&mut self.canary) => {
                    let finding = self.dog.canary(canary.unwrap_or(Canary::Failed), self.fleet.now());
                    self.found(finding).await;
                }
                () = ended(&mut self.instance, &mut self.tail) => self.ended().await,
                () = at(due) => self.time_has_come().await,
                _ = looks.tick(), if self.instance.is_some() => self.look().await,
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Wish(event, told) => {
                let taken = self.on(event, None).await;
                // Whoever asked may have gone.
                let _ = told.send(taken);
            }
            Command::Called => self.on_own(Event::Called, None).await,
            Command::Leave => self.leave_at = Some(Instant::now() + self.fleet.times.drain),
        }
    }

    async fn loaded(&mut self, loaded: Option<Result<Instance, LoadFailure>>) {
        match loaded.unwrap_or(Err(LoadFailure::Panicked)) {
            Ok(instance) => {
                self.instance = Some(instance);
                self.on_own(Event::Loaded, None).await;
            }
            Err(failure) => self.on_own(Event::NotLoaded, Some(with_causes(&failure))).await,
        }
    }

    async fn ended(&mut self) {
        if self.tail.take().is_some() {
            self.cut_at = None;
            return self.on_own(Event::Ended, None).await;
        }
        self.on_own(Event::Broke, Some("its engine stopped; the log says why".to_owned())).await;
    }

    async fn look(&mut self) {
        let Some(instance) = &self.instance else { return };
        let stats = instance.engine().stats();
        let seen = Seen { requests: stats.requests, steps: stats.steps, failed_steps: stats.failed_steps };
        let finding = self.dog.look(seen, self.fleet.now());
        self.found(finding).await;
    }

    async fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Broken(why) => return self.on_own(Event::Broke, Some(why.to_owned())).await,
            Finding::AskCanary => self.ask_canary(),
            Finding::Same => {}
        }
        let (before, now) = (self.standing.borrow().health, self.dog.health());
        if before != now && self.instance.is_some() {
            let (model, health) = (&self.recipe.name, now.as_str());
            match now {
                Health::Well => tracing::info!(%model, health, "a model answers again"),
                Health::Stuck | Health::Mute => tracing::error!(%model, health, "a model does not answer"),
            }
            self.publish();
        }
    }

    fn ask_canary(&mut self) {
        let Some(instance) = &self.instance else { return };
        let (engine, limit, model) =
            (instance.engine().clone(), self.fleet.times.canary_limit, self.recipe.name.clone());
        self.canary = Some(tokio::spawn(async move {
            match timeout(limit, engine.canary()).await {
                Ok(Ok(())) => Canary::Answered,
                Ok(Err(error)) => {
                    tracing::warn!(%model, error = with_causes(&error), "a canary failed");
                    Canary::Failed
                }
                Err(_) => Canary::Late,
            }
        }));
    }

    /// When something has to be done by itself.
    fn due(&self) -> Option<Instant> {
        let retry_at = self.machine.retry_at().map(|at| self.fleet.origin + at);
        [retry_at, self.cut_at, self.leave_at].into_iter().flatten().min()
    }

    async fn time_has_come(&mut self) {
        let now = Instant::now();
        if self.cut_at.is_some_and(|at| at <= now) {
            self.cut_at = None;
            if let Some(tail) = &self.tail {
                tracing::warn!(model = %self.recipe.name, "the limit for draining is over; replies that still run are cut");
                tail.give_up();
            }
        }
        if self.leave_at.is_some_and(|at| at <= now) {
            self.leave_at = None;
            self.on_own(Event::Rest(Rest::Unloaded), None).await;
            // Replies that began under another policy end by the limits of that one.
            self.cut_at = None;
        }
        self.on_own(Event::Due, None).await;
    }

    /// Takes in what nobody asked for and nobody can be told of.
    async fn on_own(&mut self, event: Event, reason: Option<String>) {
        // Only wishes are refused.
        let _ = self.on(event, reason).await;
    }

    async fn on(&mut self, event: Event, reason: Option<String>) -> Result<(), Busy> {
        let before = self.machine.phase();
        let order = self.machine.on(event, self.fleet.now())?;
        self.obey(order);
        let phase = self.machine.phase();
        if phase == before {
            return Ok(());
        }
        self.reason = reason.map(Arc::from);
        self.publish();
        self.tell(before, phase).await;
        Ok(())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Nothing => {}
            Order::Open => {
                let (fleet, recipe) = (Arc::clone(&self.fleet), Arc::clone(&self.recipe));
                self.loading = Some(tokio::task::spawn_blocking(move || fleet.load(&recipe)));
            }
            Order::Admit => self.dog = Watchdog::new(self.fleet.times, self.fleet.now()),
            Order::Drain => {
                self.end_canary();
                self.tail = self.instance.take().map(Instance::drain);
                self.cut_at = Some(Instant::now() + self.fleet.times.drain);
            }
            Order::Discard => {
                self.end_canary();
                self.instance.take().map(Instance::drain).iter().for_each(Tail::give_up);
            }
        }
    }

    /// A canary under way would keep its engine alive.
    fn end_canary(&mut self) {
        self.canary.take().into_iter().for_each(|canary| canary.abort());
    }

    fn publish(&self) {
        let phase = self.machine.phase();
        self.standing.send_modify(|standing| {
            if standing.phase != phase {
                (standing.phase, standing.since) = (phase, Timestamp::now());
            }
            standing.reason.clone_from(&self.reason);
            standing.retry_at = self.machine.retry_at().map(|at| self.fleet.origin + at);
            standing.broken = self.machine.broken();
            standing.health = self.instance.as_ref().map_or(Health::Well, |_| self.dog.health());
            if let Some(instance) = &self.instance {
                (standing.need, standing.took) = (Some(instance.need), Some(instance.took));
            }
            // Whoever drains keeps no engine, or it would never end.
            standing.lease = self.instance.as_ref().map(Instance::lease);
        });
    }

    /// Puts a change of state in the log and on record.
    async fn tell(&self, before: Phase, now: Phase) {
        let (model, reason) = (&self.recipe.name, self.reason.as_deref());
        if now == Phase::Failed {
            tracing::error!(%model, from = %before, reason, "a model failed");
        } else {
            tracing::info!(%model, from = %before, to = %now, "a model's state");
        }
        let event = ControlEvent::ModelState(ModelState {
            model: model.as_ref().into(),
            from: before.name().into(),
            to: now.name().into(),
            reason: reason.map(Into::into),
        });
        self.fleet.record(event).await;
    }
}

/// Waits for a task, if there is one; nothing if it panicked.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    let Some(handle) = task else { return pending().await };
    let outcome = handle.await;
    *task = None;
    outcome.ok()
}

/// Waits for the end of the engine that drains, or else of the one that takes calls.
async fn ended(instance: &mut Option<Instance>, tail: &mut Option<Tail>) {
    match (tail, instance) {
        (Some(tail), _) => tail.ended().await,
        (None, Some(instance)) => instance.ended().await,
        (None, None) => pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
