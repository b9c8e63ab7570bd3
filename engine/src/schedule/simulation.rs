//! The scheduler under random life: arrivals, aborts, tiny pools, tiny budgets, 100,000 steps.
//!
//! The model is a hash of all tokens so far, so a sequence's text is known in advance and any mistake in what
//! was computed (a chunk lost, a position twice, a recompute that starts wrong) shows as another text.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use kernels::Reach;

use super::block::{BlockManager, PoolSize};
use super::sequence::{SeqId, Sequence};
use super::{Plan, Scheduler, StepLimits, reach_blocks_max};

/// The token after `tokens`.
fn next_token(tokens: &[u32]) -> u32 {
    tokens.iter().fold(17u32, |hash, token| (hash ^ token).wrapping_mul(16_777_619)) % 1000
}

#[derive(Clone, Debug)]
struct World {
    pool_blocks: u32,
    /// A second group of layers that sees less.
    narrow: Option<Reach>,
    block_size: usize,
    tokens_max: usize,
    sequences_max: usize,
    /// Per step: an arrival's prompt length and new tokens, or an abort of one of the live.
    events: Vec<Event>,
}

#[derive(Clone, Debug)]
enum Event {
    Arrive { prompt: usize, new: usize },
    Abort { which: usize },
    Nothing,
}

fn world() -> impl Strategy<Value = World> {
    let event = prop_oneof![
        4 => (1usize..40, 1usize..30).prop_map(|(prompt, new)| Event::Arrive { prompt, new }),
        1 => any::<usize>().prop_map(|which| Event::Abort { which }),
        3 => Just(Event::Nothing),
    ];
    let narrow = prop_oneof![
        Just(None),
        (1u32..20).prop_map(|keys| Some(Reach::Window(keys))),
        (1u32..20).prop_map(|keys| Some(Reach::Chunk(keys))),
    ];
    (1u32..24, narrow, 1usize..9, 1usize..40, 1usize..9, proptest::collection::vec(event, 150)).prop_map(
        |(pool_blocks, narrow, block_size, tokens_max, sequences_max, events)| World {
            pool_blocks,
            narrow,
            block_size,
            tokens_max,
            sequences_max,
            events,
        },
    )
}

/// Pools as an engine sizes them: the narrow group has what all sequences can hold at once, or as much as the other.
fn pools(world: &World, limits: StepLimits) -> Vec<PoolSize> {
    let full = PoolSize { reach: Reach::All, blocks: world.pool_blocks };
    let narrow = world.narrow.map(|reach| {
        let each = reach_blocks_max(reach, limits, world.block_size).expect("a narrow reach has a limit");
        let blocks = world.pool_blocks.min((each * limits.sequences_max) as u32);
        PoolSize { reach, blocks }
    });
    std::iter::once(full).chain(narrow).collect()
}

struct Simulation {
    scheduler: Scheduler,
    blocks: BlockManager,
    prompts: BTreeMap<SeqId, Vec<u32>>,
    /// What the cache holds: per live sequence, the tokens whose keys were computed, in order.
    cached: BTreeMap<SeqId, Vec<u32>>,
    /// Of the group that sees everything.
    pool_blocks: usize,
    steps: u64,
    finished: u64,
    preempted: usize,
}

impl Simulation {
    fn new(world: &World) -> Self {
        let limits = StepLimits { tokens_max: world.tokens_max, sequences_max: world.sequences_max };
        Self {
            scheduler: Scheduler::new(limits),
            blocks: BlockManager::new(&pools(world, limits), world.block_size),
            prompts: BTreeMap::new(),
            cached: BTreeMap::new(),
            pool_blocks: world.pool_blocks as usize,
            steps: 0,
            finished: 0,
            preempted: 0,
        }
    }

    fn apply(&mut self, event: &Event, number: u64) {
        match *event {
            Event::Arrive { prompt, new }
                if (prompt + new - 1).div_ceil(self.blocks.block_size_tokens()) <= self.pool_blocks =>
            {
                let tokens: Vec<u32> = (0..prompt as u32).map(|i| next_token(&[number as u32, i])).collect();
                self.scheduler.add(Sequence::new(SeqId(number), tokens.clone(), new));
                self.prompts.insert(SeqId(number), tokens);
            }
            Event::Abort { which } if !self.prompts.is_empty() => {
                let id = *self
                    .prompts
                    .keys()
                    .nth(which % self.prompts.len())
                    .expect("the index is below the length");
                self.end(id);
            }
            _ => {}
        }
    }

    fn end(&mut self, id: SeqId) {
        self.scheduler.finish(id, &mut self.blocks);
        self.prompts.remove(&id);
        self.cached.remove(&id);
    }

    fn step(&mut self) {
        self.steps += 1;
        let plan = self.scheduler.plan(&mut self.blocks);
        assert!(self.scheduler.is_consistent(&plan, &self.blocks));
        self.preempted += plan.preempted;
        for item in plan.items {
            let cached = self.cached.entry(item.id).or_default();
            // A preempted sequence starts again at zero; whatever its blocks held is lost.
            cached.truncate(item.start);
            assert_eq!(cached.len(), item.start, "a chunk starts where the cache ends");
            cached.extend(&self.scheduler.sequence(item.id).tokens[item.start..item.start + item.len]);
            let sampled = item.samples.then(|| next_token(cached));
            if self.scheduler.commit(item, sampled) {
                self.check_text(item.id);
                self.end(item.id);
                self.finished += 1;
            }
        }
        assert!(self.scheduler.is_idle() || self.scheduler.is_consistent_between_steps(&self.blocks));
    }

    /// The finished text is the one that the sequence would have had alone.
    fn check_text(&self, id: SeqId) {
        let sequence = self.scheduler.sequence(id);
        let mut alone = self.prompts[&id].clone();
        while alone.len() < sequence.len_max {
            alone.push(next_token(&alone));
        }
        assert_eq!(sequence.tokens, alone);
    }
}

impl Scheduler {
    /// [`Scheduler::is_consistent`] without the demand that a plan makes progress.
    fn is_consistent_between_steps(&self, blocks: &BlockManager) -> bool {
        let tables = self.sequences.values().map(|sequence| sequence.tables.as_slice());
        blocks.is_consistent(tables)
    }
}

#[test]
fn a_hundred_thousand_random_steps_hold_every_invariant() {
    let (steps, finished, preempted) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&world(), |world| {
        let mut simulation = Simulation::new(&world);
        for (number, event) in world.events.iter().enumerate() {
            simulation.apply(event, number as u64);
            simulation.step();
        }
        let mut left = 100_000;
        while !simulation.scheduler.is_idle() {
            simulation.step();
            left -= 1;
            assert!(left > 0, "the scheduler stopped making progress");
        }
        assert_eq!(simulation.blocks.used(), 0, "blocks leaked");
        steps.set(steps.get() + simulation.steps);
        finished.set(finished.get() + simulation.finished);
        preempted.set(preempted.get() + simulation.preempted);
        Ok(())
    })
    .expect("every world holds");
    let (steps, finished, preempted) = (steps.get(), finished.get(), preempted.get());
    assert!(steps >= 100_000, "only {steps} steps ran");
    assert!(finished > 10_000 && preempted > 1_000, "too tame: {finished} finished, {preempted} preempted");
}

#[test]
fn the_youngest_gives_way_and_resumes_with_the_same_text() {
    let world = World {
        pool_blocks: 4,
        narrow: None,
        block_size: 4,
        tokens_max: 16,
        sequences_max: 4,
        events: Vec::new(),
    };
    let mut simulation = Simulation::new(&world);
    simulation.apply(&Event::Arrive { prompt: 7, new: 9 }, 0);
    simulation.apply(&Event::Arrive { prompt: 7, new: 9 }, 1);
    while simulation.finished < 2 {
        simulation.step();
        assert!(
            simulation.prompts.contains_key(&SeqId(0)) || simulation.finished > 0,
            "the oldest finishes first"
        );
    }
    assert!(simulation.preempted > 0);
}

#[test]
fn a_long_prompt_is_cut_and_decoding_goes_on_beside_it() {
    let mut blocks = BlockManager::new(&[PoolSize { reach: Reach::All, blocks: 64 }], 4);
    let mut scheduler = Scheduler::new(StepLimits { tokens_max: 8, sequences_max: 4 });
    scheduler.add(Sequence::new(SeqId(0), vec![1, 2], 5));
    let plan: Plan = scheduler.plan(&mut blocks);
    assert!(!scheduler.commit(plan.items[0], Some(3)));
    scheduler.add(Sequence::new(SeqId(1), vec![7; 20], 5));
    let mixed = scheduler.plan(&mut blocks);
    let shape: Vec<_> =
        mixed.items.iter().map(|item| (item.id.0, item.start, item.len, item.samples)).collect();
    assert_eq!(shape, [(0, 2, 1, true), (1, 0, 7, false)]);
}
