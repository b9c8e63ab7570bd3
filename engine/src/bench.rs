//! What a step costs before and after the model, for benchmarks alone: nothing of it is a part of the engine.

use kernels::Reach;

use crate::batch::Batch;
use crate::schedule::block::{BlockManager, PoolSize};
use crate::schedule::queue::{Lane, Priority};
use crate::schedule::sequence::{SeqId, Sequence};
use crate::schedule::{Scheduler, StepLimits};

/// Tokens of a block.
const BLOCK_SIZE: usize = 16;

/// Sequences that decode without a model and never end.
#[derive(Debug)]
pub struct Steps {
    scheduler: Scheduler,
    blocks: BlockManager,
}

impl Steps {
    /// `sequences` of them, of eight tenants, `context` tokens long each, of which nobody has the same.
    pub fn decoding(sequences: usize, context: usize) -> Self {
        let limits = StepLimits { tokens_max: sequences.max(512), sequences_max: sequences };
        // Room for as many tokens again.
        let blocks = (sequences * (2 * context).div_ceil(BLOCK_SIZE)) as u32;
        let mut steps = Self {
            scheduler: Scheduler::new(limits),
            blocks: BlockManager::new(&[PoolSize { reach: Reach::All, blocks }], BLOCK_SIZE),
        };
        for id in 0..sequences {
            let lane = Lane { priority: Priority::Interactive, tenant: format!("team-{}", id % 8).into() };
            let prompt = (0..context).map(|position| (id * context + position) as u32).collect();
            steps.scheduler.add(Sequence::new(SeqId(id as u64), lane, prompt, context));
        }
        while steps.step() < sequences {}
        steps
    }

    /// Plans a step, lays it out as a batch and records its tokens. Returns the number of sequences in it.
    ///
    /// # Panics
    /// Panics if the sequences have come to their end.
    pub fn step(&mut self) -> usize {
        let plan = self.scheduler.plan(&mut self.blocks);
        let batch = Batch::new(&plan, &self.scheduler, &self.blocks);
        std::hint::black_box(&batch);
        for item in &plan.items {
            let token = [batch.tokens.len() as u32];
            let sampled = if item.samples { &token[..] } else { &[] };
            let is_full = self.scheduler.commit(*item, sampled, &mut self.blocks);
            assert!(!is_full, "the sequences have come to their end");
        }
        plan.items.len()
    }
}
