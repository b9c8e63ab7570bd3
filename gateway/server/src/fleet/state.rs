//! The states of one model, and what leads from each to the next. Pure: the time is an argument, and what is to be done
//! is returned.
//!
//! ```text
//!              load                        unload, sleep                ended
//! unloaded ------------> loading -> ready ---------------> draining -----------> unloaded, asleep
//! asleep   -- called --^    |         |
//!                           v         | broke
//!                        failed <-----+          failed -- load, or by itself after a while --> loading
//! ```
//!
//! A load that runs cannot be stopped. Who is to go while loading drains as well: what was loaded is let go at once.

use std::fmt;
use std::time::Duration;

use super::restarts::Restarts;

/// Where a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not in memory, until an operator or a new policy wants it.
    Unloaded,
    /// Not in memory, until it is called.
    Asleep,
    /// On its way into memory.
    Loading(Cause),
    /// It takes calls.
    Ready,
    /// It takes no calls and finishes those it has; then it rests.
    Draining(Rest),
    /// It could not be loaded, or broke.
    Failed,
}

/// Why it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// By an operator, or a call that woke it.
    Asked,
    /// It had broken.
    Restart,
}

/// How a model is when it is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Unloaded,
    Asleep,
}

/// What happens to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// An operator wants it in memory.
    Load,
    /// A call came for it.
    Called,
    /// An operator wants it out of memory.
    Rest(Rest),
    /// It is in memory and answers.
    Loaded,
    /// It could not be loaded.
    NotLoaded,
    /// Its engine stopped or answers nothing of use.
    Broke,
    /// The engine that drained is gone.
    Ended,
    /// The time for another try has come.
    Due,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    /// Load it.
    Open,
    /// Let calls in to what was loaded.
    Admit,
    /// Let no call in, and wait for the end of those that are there.
    Drain,
    /// Give up the engine and whatever it still does.
    Discard,
}

/// What cannot be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it still finishes the replies that it has; ask again when it is {}", .0.name())]
pub(crate) struct Busy(Phase);

impl Rest {
    fn phase(self) -> Phase {
        match self {
            Self::Unloaded => Phase::Unloaded,
            Self::Asleep => Phase::Asleep,
        }
    }
}

impl Phase {
    /// All names, for who counts by them.
    pub(crate) const NAMES: [&str; 6] = ["unloaded", "asleep", "loading", "ready", "draining", "failed"];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unloaded => "unloaded",
            Self::Asleep => "asleep",
            Self::Loading(_) => "loading",
            Self::Ready => "ready",
            Self::Draining(_) => "draining",
            Self::Failed => "failed",
        }
    }

    /// Whether it stays so until something new happens.
    pub(crate) fn is_settled(self) -> bool {
        !matches!(self, Self::Loading(_) | Self::Draining(_))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One model's state.
#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    restarts: Restarts,
    retry_at: Option<Duration>,
}

impl Machine {
    pub(super) fn new(phase: Phase) -> Self {
        Self { phase, restarts: Restarts::default(), retry_at: None }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// When it tries by itself.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// How often it broke.
    pub(super) fn broken(&self) -> u64 {
        self.restarts.total()
    }

    /// Takes an event in.
    ///
    /// # Errors
    /// Returns [`Busy`] if somebody wants what must wait. An event that means nothing in this state changes nothing.
    pub(super) fn on(&mut self, event: Event, now: Duration) -> Result<Order, Busy> {
        let (next, order) = match (self.phase, event) {
            (Phase::Draining(rest), Event::Load) => return Err(Busy(rest.phase())),
            (Phase::Unloaded | Phase::Asleep | Phase::Failed, Event::Load) => {
                self.restarts.forgive();
                (Phase::Loading(Cause::Asked), Order::Open)
            }
            (Phase::Asleep, Event::Called) => (Phase::Loading(Cause::Asked), Order::Open),
            (Phase::Failed, Event::Due) if self.retry_at.is_some_and(|at| at <= now) => {
                (Phase::Loading(Cause::Restart), Order::Open)
            }
            (Phase::Loading(_), Event::Loaded) => (Phase::Ready, Order::Admit),
            // Nothing of it is in memory, so nothing has to be waited for.
            (Phase::Draining(rest), Event::NotLoaded | Event::Ended | Event::Broke)
            | (Phase::Unloaded | Phase::Asleep | Phase::Failed, Event::Rest(rest)) => {
                (rest.phase(), Order::Nothing)
            }
            (Phase::Draining(_), Event::Loaded) => (self.phase, Order::Drain),
            (Phase::Ready, Event::Rest(rest)) => (Phase::Draining(rest), Order::Drain),
            (Phase::Loading(_) | Phase::Draining(_), Event::Rest(rest)) => {
                (Phase::Draining(rest), Order::Nothing)
            }
            (Phase::Loading(Cause::Asked), Event::NotLoaded) => (Phase::Failed, Order::Nothing),
            (Phase::Loading(Cause::Restart), Event::NotLoaded) => return Ok(self.fail(now, Order::Nothing)),
            (Phase::Ready, Event::Broke) => return Ok(self.fail(now, Order::Discard)),
            _ => return Ok(Order::Nothing),
        };
        (self.phase, self.retry_at) = (next, None);
        Ok(order)
    }

    fn fail(&mut self, now: Duration, order: Order) -> Order {
        self.phase = Phase::Failed;
        self.retry_at = self.restarts.failed(now);
        order
    }
}
