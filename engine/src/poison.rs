//! Ways to break a running engine, for tests of whoever has to cope with that. Builds without debug assertions have
//! none of it.
//!
//! What the door refuses is put into the mailbox past it. So nothing in the worker knows of this, and it breaks as it
//! would on a mistake of ours.

use tokio::sync::mpsc;

use crate::handle::Submission;
use crate::request::{Ending, Report};
use crate::sampler::{Sampler, Sampling};
use crate::schedule::queue::{Lane, Priority};
use crate::{Engine, Handle};

/// How to break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// The thread panics.
    Panic,
    /// The next step fails.
    FailedStep,
}

impl Engine {
    /// Breaks the engine. Returns when the poison is on its way.
    ///
    /// # Panics
    /// Panics if the engine is an encoder, full or gone.
    pub async fn poison(&self, poison: Poison) {
        let Self::Generator(handle) = self else { panic!("encoders have no poison") };
        handle.poison(poison).await;
    }
}

impl Handle {
    async fn poison(&self, poison: Poison) {
        // A sequence without a prompt is one of our own mistakes; a token beyond the vocabulary has no embedding.
        let prompt = match poison {
            Poison::Panic => Vec::new(),
            Poison::FailedStep => vec![u32::MAX],
        };
        let place = std::sync::Arc::clone(&self.places).try_acquire_owned().expect("the engine is full");
        let (progress, mut answer) = mpsc::channel(3);
        let sampler = Sampler::new(Sampling::GREEDY, 0, &prompt);
        let lane = Lane { priority: Priority::Interactive, tenant: "".into() };
        let submission = Submission {
            lane,
            prompt,
            new_max: 1,
            sampler,
            ending: Ending::default(),
            report: Report::default(),
            matcher: None,
            progress,
            place,
        };
        self.mailbox.send(submission).await.expect("the engine has stopped");
        // Held until it has worked, or the worker would drop what nobody waits for.
        while answer.recv().await.is_some() {}
    }
}
