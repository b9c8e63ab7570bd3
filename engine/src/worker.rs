//! The thread that owns the device: takes requests, steps, publishes.
//!
//! It never awaits and never waits for a reader: every channel out of it has room for all that can be sent. It
//! sleeps only in [`Worker::receive`], when no sequence is live.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use kernels::KvCache;
use tokio::sync::{Semaphore, mpsc};

use crate::batch::{Batch, ScoredRow};
use crate::codec::Codec;
use crate::constrain::Compiler;
use crate::events::Progress;
use crate::handle::{Handle, Submission};
use crate::live::Live;
use crate::model::{Decoder, KvGroup, ModelError};
use crate::pace::Pace;
use crate::schedule::block::{BlockManager, PoolSize};
use crate::schedule::sequence::SeqId;
use crate::schedule::{Item, Plan, Scheduler, StepLimits, reach_blocks_max};
use crate::stats::Counters;
use crate::{EngineConfig, LoadError, thread};

/// Requests on their way to the thread; more wait in [`Handle::submit`].
const MAILBOX_REQUESTS: usize = 64;

/// How many blocks for each group of layers, and how long a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pools: Vec<PoolSize>,
    capacity_tokens: usize,
}

impl Size {
    /// What the configured memory gives layers of these groups, which can hold `context` tokens of a sequence.
    pub(crate) fn of(groups: &[KvGroup], context: usize, config: &EngineConfig) -> Result<Self, LoadError> {
        let context = config.context_max.map_or(context, |max| max.min(context));
        let limits = StepLimits { tokens_max: config.step_tokens_max, sequences_max: config.sequences_max };
        let block_size = config.block_size_tokens;
        let whole = context.div_ceil(block_size);
        let each = |group: &KvGroup| reach_blocks_max(group.reach, limits, block_size);
        // A pool is of use up to what all sequences can hold of its group.
        let useful = |group: &KvGroup| each(group).unwrap_or(whole).min(whole) * config.sequences_max;
        let block_bytes = |group: &KvGroup| (group.bytes_per_token * block_size) as u64;
        let bytes = |n: usize| {
            groups.iter().map(|group| n.min(useful(group)) as u64 * block_bytes(group)).sum::<u64>()
        };
        // The same number for every group, as far as it is of use: no sequence holds more blocks of a group that
        // sees less than of one that sees more, so none of the pools runs out before the largest.
        let most = whole * config.sequences_max;
        let (mut blocks, mut too_many) = (0, most + 1);
        while blocks + 1 < too_many {
            let middle = blocks.midpoint(too_many);
            if bytes(middle) <= config.kv_cache_bytes { blocks = middle } else { too_many = middle }
        }
        if blocks == 0 {
            return Err(LoadError::CacheTooSmall {
                given_bytes: config.kv_cache_bytes,
                needed_bytes: bytes(1),
            });
        }
        let pool = |group: &KvGroup| PoolSize {
            reach: group.reach,
            blocks: u32::try_from(blocks.min(useful(group))).unwrap_or(u32::MAX),
        };
        // The last token of a sequence is never put through the model, so it needs no slot.
        let limit = |group: &KvGroup| match each(group) {
            Some(each) if blocks >= each => usize::MAX,
            _ => blocks * block_size + 1,
        };
        let capacity_tokens = groups.iter().map(limit).fold(context, usize::min);
        Ok(Self { pools: groups.iter().map(pool).collect(), capacity_tokens })
    }

    /// Bytes that the caches of the groups take.
    pub(crate) fn bytes(&self, groups: &[KvGroup], block_size: usize) -> u64 {
        let pool = |(pool, group): (&PoolSize, &KvGroup)| {
            u64::from(pool.blocks) * (group.bytes_per_token * block_size) as u64
        };
        self.pools.iter().zip(groups).map(pool).sum()
    }
}

/// Starts the thread and returns the way to it.
pub(crate) fn start(
    decoder: Decoder,
    codec: Arc<Codec>,
    config: EngineConfig,
    size: &Size,
) -> Result<Handle, LoadError> {
    let (mailbox, receiver) = mpsc::channel(MAILBOX_REQUESTS);
    let counters = Arc::new(Counters::default());
    let blocks = BlockManager::new(&size.pools, config.block_size_tokens);
    counters.kv_blocks_total.store(blocks.total() as u64, Relaxed);
    counters.requests_max.store(config.requests_max as u64, Relaxed);
    let slots = |pool: &PoolSize| pool.blocks as usize * config.block_size_tokens;
    let caches = decoder.new_caches(&size.pools.iter().map(slots).collect::<Vec<_>>())?;
    let limits = StepLimits { tokens_max: config.step_tokens_max, sequences_max: config.sequences_max };
    let vocabulary = decoder.vocabulary();
    let pace = Arc::new(Pace::default());
    let compiler =
        Arc::new(Compiler::new(Arc::clone(&codec.tokenizer), vocabulary, codec.template.tool_form()));
    let worker = Worker {
        decoder,
        caches,
        codec: Arc::clone(&codec),
        scheduler: Scheduler::new(limits),
        blocks,
        live: HashMap::new(),
        next_id: 0,
        logit_rows_max: config.sequences_max.min(config.step_tokens_max),
        mailbox: receiver,
        counters: Arc::clone(&counters),
        pace: Arc::clone(&pace),
        draft_sequences_max: config.draft_sequences_max,
    };
    thread::spawn(Arc::clone(&counters), move || worker.run())?;
    let places = Arc::new(Semaphore::new(config.requests_max));
    let capacity_tokens = size.capacity_tokens;
    let requests_max = config.requests_max;
    Ok(Handle { codec, compiler, mailbox, places, requests_max, counters, pace, capacity_tokens, vocabulary })
}

struct Worker {
    decoder: Decoder,
    caches: Vec<KvCache>,
    codec: Arc<Codec>,
    scheduler: Scheduler,
    blocks: BlockManager,
    live: HashMap<SeqId, Live>,
    next_id: u64,
    /// Rows of logits of prompts that are there at once, the bound on their memory.
    logit_rows_max: usize,
    mailbox: mpsc::Receiver<Submission>,
    counters: Arc<Counters>,
    pace: Arc<Pace>,
    draft_sequences_max: usize,
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

    fn add(&mut self, submission: Submission) {
        let id = SeqId(self.next_id);
        self.next_id += 1;
        let (sequence, live) = Live::begin(id, submission);
        self.scheduler.add(sequence);
        self.live.insert(id, live);
    }

    /// Ends the sequences whose readers have gone.
    fn drop_abandoned(&mut self) {
        let gone: Vec<SeqId> =
            self.live.iter().filter(|(_, live)| live.progress.is_closed()).map(|(id, _)| *id).collect();
        for id in gone {
            self.finish(id, None);
        }
    }

    /// Guesses what the sequences say next, while few enough run that a step has room to find out.
    fn draft(&mut self) {
        if self.scheduler.running() > self.draft_sequences_max {
            return;
        }
        for (id, live) in &mut self.live {
            self.scheduler.propose(*id, |tokens, max| live.lookup.draft(tokens, max));
        }
    }

    fn step(&mut self) {
        self.draft();
        let plan = self.scheduler.plan(&mut self.blocks);
        self.counters.preemptions.fetch_add(plan.preempted as u64, Relaxed);
        let batch = Batch::new(&plan, &self.scheduler, &self.blocks);
        let began = Instant::now();
        match self.forward(&batch) {
            Ok(logits) => self.commit(&plan, logits),
            Err(error) => self.fail(&plan, &error),
        }
        self.pace.record(plan.prompt_tokens(), began.elapsed());
    }

    /// Puts the batch through the model and returns the logits from which tokens are drawn.
    fn forward(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, ModelError> {
        let normed = self.decoder.forward(batch, &self.caches)?;
        for rows in batch.scored_rows.chunks(self.logit_rows_max) {
            let numbers: Vec<u32> = rows.iter().map(|row| row.row).collect();
            let logits = self.decoder.logits(&normed, &numbers)?.to_vec2::<f32>()?;
            rows.iter().zip(&logits).for_each(|(row, logits)| self.score(row, logits));
        }
        if batch.logit_rows.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.decoder.logits(&normed, &batch.logit_rows)?.to_vec2()?)
    }

    /// Keeps the log-probabilities of a prompt's token.
    fn score(&mut self, row: &ScoredRow, logits: &[f32]) {
        if let Some(live) = self.live.get_mut(&row.id) {
            live.score(logits, row.next);
        }
    }

    fn commit(&mut self, plan: &Plan, mut logits: Vec<Vec<f32>>) {
        self.counters.stepped();
        let mut rest = logits.as_mut_slice();
        for &item in &plan.items {
            let (rows, others) = rest.split_at_mut(item.rows);
            rest = others;
            self.commit_item(item, rows);
        }
    }

    fn commit_item(&mut self, item: Item, rows: &mut [Vec<f32>]) {
        if !item.samples {
            self.scheduler.commit(item, &[], &mut self.blocks);
            return;
        }
        let sequence = self.scheduler.sequence(item.id);
        let live = self.live.get_mut(&item.id).expect("a planned sequence has a reader's side");
        live.tell_begin(sequence, &self.counters);
        let (sampled, end) = live.next_tokens(sequence, rows, &self.codec.tokenizer);
        let right = sampled.len().saturating_sub(1);
        live.lookup.learn(item.drafted, right);
        self.counters.drafted_tokens.fetch_add(item.drafted as u64, Relaxed);
        self.counters.accepted_tokens.fetch_add(right as u64, Relaxed);
        self.scheduler.commit(item, &sampled, &mut self.blocks);
        if let Some(end) = end {
            self.finish(item.id, Some(end));
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
        self.counters.failed_step();
        for item in &plan.items {
            self.finish(item.id, Some(Progress::Failed));
        }
    }

    fn publish(&self) {
        let set = |counter: &std::sync::atomic::AtomicU64, value: usize| counter.store(value as u64, Relaxed);
        set(&self.counters.waiting_sequences, self.scheduler.waiting());
        set(&self.counters.running_sequences, self.scheduler.running());
        set(&self.counters.kv_blocks_used, self.blocks.used());
        set(&self.counters.kv_blocks_kept, self.blocks.kept());
        let (interactive, all) = self.scheduler.unread_tokens();
        self.pace.set_backlog(interactive, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Reach;

    const CONFIG: EngineConfig = EngineConfig {
        block_size_tokens: 16,
        kv_cache_bytes: 0,
        step_tokens_max: 64,
        sequences_max: 4,
        requests_max: 8,
        context_max: None,
        weights: crate::WeightFormat::AsStored,
        memory_bytes: None,
        draft_sequences_max: 0,
        tool_form: None,
    };

    fn group(reach: Reach) -> KvGroup {
        KvGroup { reach, layers: 1, bytes_per_token: 10 }
    }

    fn size(groups: &[KvGroup], kv_cache_bytes: u64) -> (Vec<u32>, usize) {
        let size = Size::of(groups, 4096, &EngineConfig { kv_cache_bytes, ..CONFIG }).unwrap();
        (size.pools.iter().map(|pool| pool.blocks).collect(), size.capacity_tokens)
    }

    #[test]
    fn a_group_that_sees_little_takes_little_and_the_rest_goes_to_the_others() {
        // A sequence holds at most (31 + 64) / 16 + 1 = 7 blocks of the window, four sequences 28.
        let groups = [group(Reach::All), group(Reach::Window(32))];
        assert_eq!(size(&groups, 160 * (20 + 20)), (vec![20, 20], 321));
        assert_eq!(size(&groups, 160 * (100 + 28)), (vec![100, 28], 1601));
        assert_eq!(size(&groups, u64::MAX), (vec![1024, 28], 4096));
    }

    #[test]
    fn a_model_of_windows_alone_has_room_for_any_length() {
        assert_eq!(size(&[group(Reach::Window(32))], 160 * 7), (vec![7], 4096));
        assert_eq!(size(&[group(Reach::Window(32))], 160 * 6), (vec![6], 97));
    }

    #[test]
    fn a_cache_without_room_for_a_block_of_each_is_refused() {
        let groups = [group(Reach::All), group(Reach::Chunk(8))];
        let config = EngineConfig { kv_cache_bytes: 319, ..CONFIG };
        let error = Size::of(&groups, 4096, &config).unwrap_err();
        assert_eq!(error.to_string(), "a KV cache of 319 bytes holds no block; one takes 320 bytes");
    }
}
