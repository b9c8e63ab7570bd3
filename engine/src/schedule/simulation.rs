//! The scheduler under random life: arrivals of two tenants and both priorities, equal beginnings, aborts, tiny pools,
//! tiny budgets.
//!
//! The model is a hash of all tokens so far, so a sequence's text is known in advance and any mistake in what
//! was computed (a chunk lost, a position twice, a recompute that starts wrong) shows as another text. The cache is an
//! array of such hashes: whoever reads a slot that another tenant, another text or nobody wrote is found out at once.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use kernels::Reach;

use super::block::{BlockManager, PoolSize};
use super::queue::{Lane, PASSES_MAX, Priority};
use super::sequence::{SeqId, Sequence};
use super::{Plan, Scheduler, StepLimits, reach_blocks_max};

/// How many worlds are simulated, of some 200 steps each.
const WORLDS: u32 = 5000;

/// What a slot holds after `token`, where what is before it gave `hash`.
fn mixed(hash: u64, token: u32) -> u64 {
    (hash ^ u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// The token that the model gives after what a slot holds.
fn drawn(hash: u64) -> u32 {
    (mixed(hash, 17) >> 40) as u32 % 1000
}

#[derive(Clone, Debug)]
struct World {
    pool_blocks: u32,
    /// A second group of layers that sees less.
    narrow: Option<Reach>,
    block_size: usize,
    tokens_max: usize,
    sequences_max: usize,
    /// One for each step.
    events: Vec<Event>,
}

#[derive(Clone, Debug)]
enum Event {
    Arrive(Arrival),
    Abort {
        which: usize,
    },
    /// A draft for each that decodes, right up to some token.
    Draft {
        len: usize,
        right: usize,
    },
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    tenant: &'static str,
    priority: Priority,
    /// Prompts of the same family begin with the same tokens.
    family: u32,
    prompt: usize,
    new: usize,
}

const PLAIN: Arrival =
    Arrival { tenant: "one", priority: Priority::Interactive, family: 0, prompt: 7, new: 9 };

fn arrival() -> impl Strategy<Value = Arrival> {
    let tenant = prop_oneof![Just("one"), Just("two")];
    let priority = prop_oneof![2 => Just(Priority::Interactive), 1 => Just(Priority::Batch)];
    (tenant, priority, 0u32..3, 1usize..40, 1usize..30)
        .prop_map(|(tenant, priority, family, prompt, new)| Arrival { tenant, priority, family, prompt, new })
}

fn world() -> impl Strategy<Value = World> {
    let event = prop_oneof![
        4 => arrival().prop_map(Event::Arrive),
        1 => any::<usize>().prop_map(|which| Event::Abort { which }),
        2 => (1usize..6, 0usize..6).prop_map(|(len, right)| Event::Draft { len, right }),
        2 => Just(Event::Nothing),
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
    pools: Vec<PoolSize>,
    /// The live sequences, and how long their prompts are.
    prompts: BTreeMap<SeqId, usize>,
    /// What each slot of each group holds, by block and place in it.
    cache: HashMap<(usize, u32, usize), u64>,
    steps: u64,
    finished: u64,
    preempted: usize,
    found: usize,
    /// Drafted tokens that were right.
    right: usize,
}

impl Simulation {
    fn new(world: &World) -> Self {
        let limits = StepLimits { tokens_max: world.tokens_max, sequences_max: world.sequences_max };
        let pools = pools(world, limits);
        Self {
            scheduler: Scheduler::new(limits),
            blocks: BlockManager::new(&pools, world.block_size),
            pools,
            prompts: BTreeMap::new(),
            cache: HashMap::new(),
            steps: 0,
            finished: 0,
            preempted: 0,
            found: 0,
            right: 0,
        }
    }

    fn apply(&mut self, event: &Event, number: u64) {
        match *event {
            Event::Arrive(arrival) => self.arrive(arrival, number),
            Event::Abort { which } if !self.prompts.is_empty() => {
                let id = *self
                    .prompts
                    .keys()
                    .nth(which % self.prompts.len())
                    .expect("the index is below the length");
                self.end(id);
            }
            Event::Draft { len, right } => {
                let tenant = |id| self.scheduler.sequence(id).lane.tenant.as_bytes()[0];
                let live: Vec<_> = self.prompts.keys().map(|id| (*id, tenant(*id))).collect();
                for (id, tenant) in live {
                    self.scheduler.propose(id, |tokens, max| draft(tenant, tokens, len.min(max), right));
                }
            }
            _ => {}
        }
    }

    /// A request joins the queue if it can ever fit.
    fn arrive(&mut self, Arrival { tenant, priority, family, prompt, new }: Arrival, number: u64) {
        if (prompt + new - 1).div_ceil(self.blocks.block_size_tokens()) > self.pools[0].blocks as usize {
            return;
        }
        let tokens = (0..prompt as u32).map(|i| family * 1000 + i).collect();
        let lane = Lane { priority, tenant: tenant.into() };
        self.scheduler.add(Sequence::new(SeqId(number), lane, tokens, new));
        self.prompts.insert(SeqId(number), prompt);
    }

    fn end(&mut self, id: SeqId) {
        self.scheduler.finish(id, &mut self.blocks);
        self.prompts.remove(&id);
    }

    fn step(&mut self) -> Plan {
        self.steps += 1;
        let plan = self.scheduler.plan(&mut self.blocks);
        assert!(self.scheduler.is_consistent(&plan, &self.blocks));
        self.preempted += plan.preempted;
        for &item in &plan.items {
            let sequence = self.scheduler.sequence(item.id);
            self.found += sequence.cached.filter(|_| sequence.computed == item.start).unwrap_or(0);
            let hashes =
                hashes(sequence.lane.tenant.as_bytes()[0], sequence.tokens.iter().chain(sequence.draft()));
            let draft = sequence.draft().to_vec();
            let end = item.start + item.len;
            for group in 0..self.pools.len() {
                self.read_and_write(item.id, group, item.start..end, &hashes);
            }
            let mut sampled = Vec::new();
            if item.samples {
                for (index, hash) in hashes[end - item.drafted..=end].iter().enumerate() {
                    sampled.push(drawn(*hash));
                    if draft.get(index) != sampled.last() {
                        break;
                    }
                }
                self.right += sampled.len() - 1;
            }
            if self.scheduler.commit(item, &sampled, &mut self.blocks) {
                self.check_text(item.id);
                self.end(item.id);
                self.finished += 1;
            }
        }
        assert!(self.scheduler.is_idle() || self.scheduler.is_consistent_between_steps(&self.blocks));
        plan
    }

    /// What one group does in a forward pass over the positions of a chunk.
    fn read_and_write(&mut self, id: SeqId, group: usize, chunk: std::ops::Range<usize>, hashes: &[u64]) {
        let block_size = self.blocks.block_size_tokens();
        let table = &self.scheduler.sequence(id).tables[group];
        let slot = |position: usize| (group, table.block_at(position / block_size).0, position % block_size);
        for position in chunk.clone() {
            self.cache.insert(slot(position), hashes[position + 1]);
        }
        for position in self.pools[group].reach.first(chunk.start)..chunk.end {
            let held = self.cache.get(&slot(position));
            assert_eq!(held, Some(&hashes[position + 1]), "{id:?} reads what is not its own at {position}");
        }
    }

    /// The finished text is the one that the sequence would have had alone.
    fn check_text(&self, id: SeqId) {
        let sequence = self.scheduler.sequence(id);
        let hashes = hashes(sequence.lane.tenant.as_bytes()[0], sequence.tokens.iter());
        assert_eq!(sequence.tokens.len(), sequence.len_max);
        for (token, hash) in sequence.tokens.iter().zip(&hashes).skip(self.prompts[&id]) {
            assert_eq!(*token, drawn(*hash));
        }
    }
}

/// What the slots after each number of tokens hold; a tenant's are its own.
fn hashes<'a>(tenant: u8, tokens: impl Iterator<Item = &'a u32>) -> Vec<u64> {
    let mut hash = u64::from(tenant);
    let after = tokens.map(|token| {
        hash = mixed(hash, *token);
        hash
    });
    std::iter::once(0).chain(after).collect()
}

/// What the model says after `tokens`, wrong from some token on.
fn draft(tenant: u8, tokens: &[u32], len: usize, right: usize) -> Vec<u32> {
    let mut text = tokens.to_vec();
    for index in 0..len {
        let next = drawn(hashes(tenant, text.iter())[text.len()]);
        text.push(if index < right { next } else { next + 1 });
    }
    text.split_off(tokens.len())
}

impl Scheduler {
    /// [`Scheduler::is_consistent`] without the demand that a plan makes progress.
    fn is_consistent_between_steps(&self, blocks: &BlockManager) -> bool {
        let tables = self.sequences.values().map(|sequence| sequence.tables.as_slice());
        blocks.is_consistent(tables)
    }
}

#[test]
fn a_million_random_steps_hold_every_invariant() {
    let (steps, finished, preempted, found) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let right = Cell::new(0);
    let config = Config { cases: WORLDS, failure_persistence: None, ..Config::default() };
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
        found.set(found.get() + simulation.found);
        right.set(right.get() + simulation.right);
        Ok(())
    })
    .expect("every world holds");
    let (steps, finished, preempted, found) = (steps.get(), finished.get(), preempted.get(), found.get());
    assert!(steps >= 1_000_000, "only {steps} steps ran");
    assert!(finished > 100_000 && preempted > 10_000, "too tame: {finished} finished, {preempted} preempted");
    assert!(found > 100_000, "only {found} tokens were found in the cache");
    assert!(right.get() > 10_000, "only {} drafted tokens were right", right.get());
}

/// Room for two sequences of [`PLAIN`] at a time, without memory pressure.
const NARROW: World = World {
    pool_blocks: 64,
    narrow: None,
    block_size: 4,
    tokens_max: 16,
    sequences_max: 2,
    events: Vec::new(),
};

#[test]
fn the_youngest_gives_way_and_resumes_with_the_same_text() {
    let mut simulation = Simulation::new(&World { pool_blocks: 4, ..NARROW });
    simulation.arrive(PLAIN, 0);
    simulation.arrive(Arrival { family: 1, ..PLAIN }, 1);
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
    let mut simulation = Simulation::new(&World { tokens_max: 8, ..NARROW });
    simulation.arrive(Arrival { prompt: 2, ..PLAIN }, 0);
    simulation.step();
    simulation.arrive(Arrival { family: 1, prompt: 20, ..PLAIN }, 1);
    assert_eq!(shape(&simulation.step()), [(0, 2, 1, true), (1, 0, 7, false)]);
}

/// Sequence, first position, length and whether it samples, for each item.
fn shape(plan: &Plan) -> Vec<(u64, usize, usize, bool)> {
    plan.items.iter().map(|item| (item.id.0, item.start, item.len, item.samples)).collect()
}

#[test]
fn a_short_prompt_begins_beside_a_long_one_and_no_budget_is_lost() {
    let world = World { sequences_max: 3, ..NARROW };
    let mut simulation = Simulation::new(&world);
    simulation.arrive(Arrival { prompt: 60, ..PLAIN }, 0);
    simulation.arrive(Arrival { family: 1, prompt: 5, ..PLAIN }, 1);
    // Half of the budget for the first, as long as somebody else may begin, and the rest again when nobody does.
    assert_eq!(shape(&simulation.step()), [(0, 0, 11, false), (1, 0, 5, true)]);
    simulation.arrive(Arrival { family: 2, prompt: 60, ..PLAIN }, 2);
    simulation.arrive(Arrival { family: 2, prompt: 60, ..PLAIN }, 3);
    assert_eq!(shape(&simulation.step()), [(0, 11, 11, false), (1, 5, 1, true), (2, 0, 4, false)]);
    // All places are taken: a token for each that runs, and the rest for the first.
    assert_eq!(shape(&simulation.step()), [(0, 22, 14, false), (1, 6, 1, true), (2, 4, 1, false)]);
}

#[test]
fn a_beginning_is_found_by_its_tenant_and_by_no_other() {
    let mut simulation = Simulation::new(&NARROW);
    simulation.arrive(Arrival { prompt: 12, ..PLAIN }, 0);
    while !simulation.scheduler.is_idle() {
        simulation.step();
    }
    simulation.arrive(Arrival { prompt: 12, ..PLAIN }, 1);
    simulation.arrive(Arrival { prompt: 12, tenant: "two", ..PLAIN }, 2);
    // Three full blocks are there; of the last one the last token is left, so it is not of use.
    assert_eq!(shape(&simulation.step()), [(1, 8, 4, true), (2, 0, 12, true)]);
}

#[test]
fn what_was_computed_for_an_aborted_request_is_found_again() {
    let mut simulation = Simulation::new(&NARROW);
    simulation.arrive(Arrival { prompt: 40, ..PLAIN }, 0);
    simulation.step();
    simulation.end(SeqId(0));
    assert_eq!(simulation.blocks.used(), 0);
    simulation.arrive(Arrival { prompt: 40, ..PLAIN }, 1);
    assert_eq!(shape(&simulation.step()), [(1, 16, 16, false)]);
}

#[test]
fn equal_prompts_in_one_step_do_not_read_what_is_not_written() {
    let mut simulation = Simulation::new(&NARROW);
    simulation.arrive(Arrival { prompt: 8, ..PLAIN }, 0);
    simulation.arrive(Arrival { prompt: 8, ..PLAIN }, 1);
    assert_eq!(shape(&simulation.step()), [(0, 0, 8, true), (1, 0, 8, true)]);
}

#[test]
fn interactive_work_takes_the_place_of_batch_work_once() {
    let mut simulation = Simulation::new(&NARROW);
    let batch = |family| Arrival { priority: Priority::Batch, family, ..PLAIN };
    simulation.arrive(batch(1), 0);
    simulation.arrive(batch(2), 1);
    simulation.step();
    simulation.arrive(PLAIN, 2);
    let plan = simulation.step();
    assert_eq!((plan.preempted, plan.items[0].id, plan.items[1].id), (1, SeqId(2), SeqId(0)));
    // The one that gave way is next, and gives way to nobody that came later.
    simulation.arrive(PLAIN, 3);
    while simulation.finished < 2 {
        simulation.step();
    }
    assert!(
        simulation.prompts.contains_key(&SeqId(3))
            && !simulation.scheduler.sequence(SeqId(1)).tables.is_empty()
    );
}

#[test]
fn batch_work_ends_under_a_flood_of_interactive_work() {
    let mut simulation = Simulation::new(&NARROW);
    simulation.arrive(Arrival { priority: Priority::Batch, ..PLAIN }, 0);
    let mut number = 0;
    while simulation.prompts.contains_key(&SeqId(0)) || number == 0 {
        number += 1;
        simulation.arrive(Arrival { family: number as u32, ..PLAIN }, number);
        simulation.step();
        assert!(simulation.finished <= u64::from(PASSES_MAX) + 2, "it was passed by too often");
    }
}

#[test]
fn who_has_much_waiting_gets_no_more_than_who_has_little() {
    let mut simulation = Simulation::new(&NARROW);
    (0..40).for_each(|number| simulation.arrive(Arrival { family: number as u32, ..PLAIN }, number));
    (40..45).for_each(|number| {
        simulation.arrive(Arrival { tenant: "two", family: number as u32, ..PLAIN }, number);
    });
    while (40..45).any(|number| simulation.prompts.contains_key(&SeqId(number))) {
        simulation.step();
    }
    assert!((10..=11).contains(&simulation.finished), "{} are done", simulation.finished);
}
