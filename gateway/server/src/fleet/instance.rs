//! An engine in memory, and how it leaves: its memory counts as taken until its thread has ended.
//!
//! Replies hold a [`Lease`]: the engine as long as they ask it something, and then only the word that they may go on. So
//! an engine whose instance is dropped finishes what it has and ends by itself, and one that is given up ends its
//! replies with an error, even if its thread never comes back.

use std::time::Duration;

use engine::{Closing, Engine, Need};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::memory::Held;

/// An engine that takes calls.
pub(super) struct Instance {
    engine: Engine,
    pub(super) need: Need,
    pub(super) took: Duration,
    tail: Tail,
}

/// What is left of it when no call is let in any more.
pub(super) struct Tail {
    ending: Closing,
    given_up: watch::Sender<bool>,
    held: Option<Held>,
}

/// Leave to ask an engine, until it is given up.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) engine: Engine,
    pub(crate) end: LeaseEnd,
}

/// The end of a lease.
#[derive(Clone)]
pub(crate) struct LeaseEnd(watch::Receiver<bool>);

impl LeaseEnd {
    /// Waits until the engine is given up. Cancel safe; never comes for an engine that ends in order.
    pub(crate) async fn come(&mut self) {
        if self.0.wait_for(|given_up| *given_up).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Instance {
    pub(super) fn new(engine: Engine, need: Need, held: Held) -> Self {
        let tail = Tail { ending: engine.ending(), given_up: watch::Sender::new(false), held: Some(held) };
        Self { engine, need, took: Duration::ZERO, tail }
    }

    pub(super) fn loaded_in(self, took: Duration) -> Self {
        Self { took, ..self }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn lease(&self) -> Lease {
        Lease { engine: self.engine.clone(), end: LeaseEnd(self.tail.given_up.subscribe()) }
    }

    /// Lets nobody in any more.
    pub(super) fn drain(self) -> Tail {
        self.tail
    }

    /// Waits until the thread has ended.
    pub(super) async fn ended(&mut self) {
        self.tail.ended().await;
    }
}

impl Tail {
    /// Waits until the thread has ended.
    pub(super) async fn ended(&mut self) {
        self.ending.come().await;
    }

    /// Ends the replies that it still has.
    pub(super) fn give_up(&self) {
        self.given_up.send_replace(true);
    }
}

impl Drop for Tail {
    /// The memory goes back when the thread has ended.
    fn drop(&mut self) {
        let (Some(held), Ok(runtime)) = (self.held.take(), Handle::try_current()) else { return };
        if self.ending.has_come() {
            return;
        }
        let mut ending = self.ending.clone();
        runtime.spawn(async move {
            ending.come().await;
            drop(held);
        });
    }
}
