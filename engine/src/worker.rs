//! The thread that owns the device: takes requests, steps, publishes.
//!
//! It never awaits and never waits for a reader: every channel out of it has room for all that can be sent. It
//! sleeps only in [`Worker::receive`], when no sequence is live.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kernels::KvCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::batch::Batch;
use crate::events::Progress;
use crate::handle::{Codec, Handle, Submission};
use crate::model::{Decoder, ModelError};
use crate::sampler::Sampler;
use crate::schedule::block::BlockManager;
use crate::schedule::sequence::{SeqId, Sequence};
use crate::schedule::{Item, Plan, Scheduler, StepLimits};
use crate::stats::Counters;
use crate::{EngineConfig, LoadError, thread};

/// Requests on their way to the thread; more wait in [`Handle::submit`].
const MAILBOX_REQUESTS: usize = 64;

/// How many blocks and how long a sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    blocks: u32,
    capacity_tokens: usize,
}

impl Size {
    /// What the configured memory gives this model.
    pub(crate) fn of(decoder: &Decoder, config: &EngineConfig) -> Result<Self, LoadError> {
        let block_bytes = (config.block_size_tokens * decoder.kv_bytes_per_token()) as u64;
        let context = config.context_max.map_or(decoder.context(), |max| max.min(decoder.context()));
        let useful = (config.sequences_max * context.div_ceil(config.block_size_tokens)) as u64;
        let blocks = (config.kv_cache_bytes / block_bytes).min(useful);
        if blocks == 0 {
            return Err(LoadError::CacheTooSmall {
                given_bytes: config.kv_cache_bytes,
                needed_bytes: block_bytes,
            });
        }
        // The last token of a sequence is never put through the model, so it needs no slot.
        let capacity_tokens = context.min(blocks as usize * config.block_size_tokens + 1);
        Ok(Self { blocks: u32::try_from(blocks).unwrap_or(u32::MAX), capacity_tokens })
    }
}

/// Starts the thread and returns the way to it.
pub(crate) fn start(
    decoder: Decoder,
    codec: Arc<Codec>,
    config: EngineConfig,
    size: Size,
) -> Result<Handle, LoadError> {
    let (mailbox, receiver) = mpsc::channel(MAILBOX_REQUESTS);
    let counters = Arc::new(Counters::default());
    counters.kv_blocks_total.store(u64::from(size.blocks), Relaxed);
    let caches = decoder.new_caches(size.blocks as usize * config.block_size_tokens)?;
    let limits = StepLimits { tokens_max: config.step_tokens_max, sequences_max: config.sequences_max };
    let vocabulary = decoder.vocabulary();
    let worker = Worker {
        decoder,
        caches,
        codec: Arc::clone(&codec),
        scheduler: Scheduler::new(limits),
        blocks: BlockManager::new(size.blocks, config.block_size_tokens),
        live: HashMap::new(),
        next_id: 0,
        mailbox: receiver,
        counters: Arc::clone(&counters),
    };
    thread::spawn(Arc::clone(&counters), move || worker.run())?;
    let places = Arc::new(Semaphore::new(config.requests_max));
    Ok(Handle { codec, mailbox, places, counters, capacity_tokens: size.capacity_tokens, vocabulary })
}

/// The outside of a live sequence.
struct Live {
    sampler: Sampler,
    progress: mpsc::Sender<Progress>,
    _place: OwnedSemaphorePermit,
}

struct Worker {
    decoder: Decoder,
    caches: Vec<KvCache>,
    codec: Arc<Codec>,
    scheduler: Scheduler,
    blocks: BlockManager,
    live: HashMap<SeqId, Live>,
    next_id: u64,
    mailbox: mpsc::Receiver<Submission>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(mut self) {
        while self.receive() {
            self.step();
        }
    }

    /// Takes what is in the mailbox and waits for it only if there is nothing else to do. False when no handle
    /// and no work is left.
    fn receive(&mut self) -> bool {
        self.drop_abandoned();
        self.publish();
        if self.scheduler.is_idle() {
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

    fn add(&mut self, Submission { prompt, new_max, sampler, progress, place }: Submission) {
        let id = SeqId(self.next_id);
        self.next_id += 1;
        self.scheduler.add(Sequence::new(id, prompt, new_max));
        self.live.insert(id, Live { sampler, progress, _place: place });
    }

    /// Ends the sequences whose readers have gone.
    fn drop_abandoned(&mut self) {
        let gone: Vec<SeqId> =
            self.live.iter().filter(|(_, live)| live.progress.is_closed()).map(|(id, _)| *id).collect();
        for id in gone {
            self.finish(id, None);
        }
    }

    fn step(&mut self) {
        let plan = self.scheduler.plan(&mut self.blocks);
        self.counters.preemptions.fetch_add(plan.preempted as u64, Relaxed);
        let batch = Batch::new(&plan, &self.scheduler, &self.blocks);
        match self.decoder.forward(&batch, &self.caches).and_then(|logits| Ok(logits.to_vec2::<f32>()?)) {
            Ok(logits) => self.commit(&plan, &logits),
            Err(error) => self.fail(&plan, &error),
        }
        self.counters.steps.fetch_add(1, Relaxed);
    }

    fn commit(&mut self, plan: &Plan, logits: &[Vec<f32>]) {
        let mut rows = logits.iter();
        for &item in &plan.items {
            let row = item.samples.then(|| rows.next().expect("a row of logits per sampling item"));
            self.commit_item(item, row.map(Vec::as_slice));
        }
    }

    fn commit_item(&mut self, item: Item, logits: Option<&[f32]>) {
        let Some(logits) = logits else {
            self.scheduler.commit(item, None);
            return;
        };
        // Damaged weights or an overflow: this sequence has no next token, its neighbours have theirs.
        if logits.iter().any(|logit| logit.is_nan()) {
            tracing::error!("the model gave NaN for a sequence, which ends");
            self.finish(item.id, Some(Progress::Failed));
            return;
        }
        let live = &self.live[&item.id];
        let token = live.sampler.sample(logits, item.start + item.len);
        if self.codec.tokenizer.is_eos(token) {
            self.finish(item.id, Some(Progress::TurnEnd));
            return;
        }
        // A full channel cannot be; a closed one is a reader that left, noticed before the next step.
        let _ = live.progress.try_send(Progress::Token(token));
        if self.scheduler.commit(item, Some(token)) {
            self.finish(item.id, Some(Progress::LengthReached));
        }
    }

    /// The only way out for a sequence: frees its blocks and tells its reader.
    fn finish(&mut self, id: SeqId, last: Option<Progress>) {
        self.scheduler.finish(id, &mut self.blocks);
        if let (Some(live), Some(last)) = (self.live.remove(&id), last) {
            let _ = live.progress.try_send(last);
        }
    }

    fn fail(&mut self, plan: &Plan, error: &ModelError) {
        tracing::error!(%error, sequences = plan.items.len(), "a step failed; its sequences end");
        for item in &plan.items {
            self.finish(item.id, Some(Progress::Failed));
        }
    }

    fn publish(&self) {
        let set = |counter: &std::sync::atomic::AtomicU64, value: usize| counter.store(value as u64, Relaxed);
        set(&self.counters.waiting_sequences, self.scheduler.waiting());
        set(&self.counters.running_sequences, self.scheduler.running());
        set(&self.counters.kv_blocks_used, self.blocks.used());
    }
}
