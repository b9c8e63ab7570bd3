//! The thread that owns an encoder: takes requests, puts their texts through in batches, answers.
//!
//! Like the generator's, it never awaits and never waits for a reader. A request whose reader has gone loses its
//! texts before the next batch. One that fills a batch on its own goes behind the others, so a client that embeds a
//! library does not hold up one that asks a question.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::batch::Limits;
use super::model::Model;
use crate::stats::Counters;
use crate::{LoadError, thread};

/// Requests on their way to the thread; more wait in the handle.
const MAILBOX_REQUESTS: usize = 64;

/// A request on its way to the thread.
pub(super) struct Submission {
    /// Token ids, each with its place in the request, sorted by length.
    pub(super) texts: Vec<(usize, Vec<u32>)>,
    /// Has room for an answer to each text.
    pub(super) answers: mpsc::Sender<Answer>,
    /// Held until the last answer: the bound on requests in the engine.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What became of one text.
pub(super) struct Answer {
    /// Its place in the request.
    pub(super) place: usize,
    /// Nothing if the model could not do it.
    pub(super) values: Option<Vec<f32>>,
}

/// Starts the thread and returns the way to it.
pub(super) fn start(
    model: Model,
    limits: Limits,
    counters: &Arc<Counters>,
) -> Result<mpsc::Sender<Submission>, LoadError> {
    let (mailbox, receiver) = mpsc::channel(MAILBOX_REQUESTS);
    let worker =
        Worker { model, limits, queue: VecDeque::new(), mailbox: receiver, counters: Arc::clone(counters) };
    thread::spawn(Arc::clone(counters), move || worker.run())?;
    Ok(mailbox)
}

/// Where a request's answers go.
struct Reply {
    answers: mpsc::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

/// A text whose turn has not come.
struct Waiting {
    place: usize,
    tokens: Vec<u32>,
    reply: Arc<Reply>,
}

struct Worker {
    model: Model,
    limits: Limits,
    /// The texts of one request stand beside each other.
    queue: VecDeque<Waiting>,
    mailbox: mpsc::Receiver<Submission>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(mut self) {
        while self.receive() {
            self.step();
        }
    }

    /// Takes what is in the mailbox and waits for it only if there is nothing else to do. False when no handle and no
    /// work is left.
    fn receive(&mut self) -> bool {
        self.queue.retain(|waiting| !waiting.reply.answers.is_closed());
        self.publish(0);
        if self.queue.is_empty() {
            match self.mailbox.blocking_recv() {
                Some(submission) => self.add(submission),
                None => return false,
            }
        }
        while let Ok(submission) = self.mailbox.try_recv() {
            self.add(submission);
        }
        true
    }

    fn add(&mut self, Submission { texts, answers, permit }: Submission) {
        let reply = Arc::new(Reply { answers, _permit: permit });
        let waiting =
            texts.into_iter().map(|(place, tokens)| Waiting { place, tokens, reply: Arc::clone(&reply) });
        self.queue.extend(waiting);
    }

    fn step(&mut self) {
        let batch = self.limits.take(&mut self.queue, |waiting| waiting.tokens.len());
        self.rotate(batch.last());
        self.publish(batch.len());
        let texts: Vec<&[u32]> = batch.iter().map(|waiting| waiting.tokens.as_slice()).collect();
        let values = match self.model.run(&texts) {
            Ok(values) => {
                self.counters.stepped();
                values.into_iter().map(Some).collect()
            }
            Err(error) => {
                tracing::error!(%error, texts = texts.len(), "a batch failed; its texts have no answer");
                self.counters.failed_step();
                vec![None; texts.len()]
            }
        };
        for (Waiting { place, reply, .. }, values) in batch.into_iter().zip(values) {
            let values = values.filter(|values| !has_nan(values));
            // A full channel cannot be; a closed one is a reader that left.
            let _ = reply.answers.try_send(Answer { place, values });
        }
    }

    /// Puts what is left of the request that `last` belongs to behind the others.
    fn rotate(&mut self, last: Option<&Waiting>) {
        let Some(last) = last else { return };
        let left = self.queue.iter().take_while(|waiting| Arc::ptr_eq(&waiting.reply, &last.reply)).count();
        self.queue.rotate_left(left);
    }

    fn publish(&self, running: usize) {
        self.counters.waiting_sequences.store(self.queue.len() as u64, Relaxed);
        self.counters.running_sequences.store(running as u64, Relaxed);
    }
}

/// Damaged weights or an overflow: this text has no answer, its neighbours have theirs.
fn has_nan(values: &[f32]) -> bool {
    let has_nan = values.iter().any(|value| value.is_nan());
    if has_nan {
        tracing::error!("the model gave NaN for a text, which has no answer");
    }
    has_nan
}
