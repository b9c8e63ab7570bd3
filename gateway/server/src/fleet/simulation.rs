//! Random lives of several models that share a memory, over a world in which everything can happen at any time.
//!
//! The world does what orders say: it loads, drains and discards engines of which nothing but their memory is known.
//! After every event it is checked that engines have no more memory than there is; at the end of every life, that each
//! model can be loaded when there is room for it.

use std::time::Duration;

use proptest::prelude::*;

use super::memory::Book;
use super::state::{Cause, Event, Machine, Order, Phase, Rest};

const BUDGET_BYTES: u64 = 100;
const MODELS: usize = 3;

/// What a model's engine is about to do, and what it has.
#[derive(Default)]
struct Engine {
    /// Set aside for a load that runs.
    loading: Option<u64>,
    /// In memory, and taking calls or draining.
    running: Option<u64>,
    /// Given up, and not yet gone.
    leaving: Vec<u64>,
}

struct World {
    book: Book,
    now: Duration,
    models: Vec<(Machine, Engine, u64)>,
}

/// Something that happens to a model.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Ask(Event),
    /// The load that runs ends, well or not.
    LoadEnds {
        well: bool,
    },
    /// An engine breaks.
    Breaks,
    /// An engine that was to go is gone.
    Goes,
    Passes(u64),
}

impl World {
    fn new(sizes: &[u64]) -> Self {
        let model = |size: &u64| (Machine::new(Phase::Unloaded), Engine::default(), *size);
        Self {
            book: Book::new(Some(BUDGET_BYTES)),
            now: Duration::ZERO,
            models: sizes.iter().map(model).collect(),
        }
    }

    fn on(&mut self, model: usize, event: Event) {
        let (machine, engine, size) = &mut self.models[model];
        let Ok(order) = machine.on(event, self.now) else {
            assert!(matches!(machine.phase(), Phase::Draining(_)), "only who drains is busy");
            return;
        };
        match order {
            Order::Open => match self.book.take("model", *size) {
                Ok(number) => assert!(engine.loading.replace(number).is_none(), "two loads at once"),
                Err(_) => self.on(model, Event::NotLoaded),
            },
            Order::Discard => engine.leaving.extend(engine.running.take()),
            Order::Nothing | Order::Admit | Order::Drain => {}
        }
    }

    fn happens(&mut self, model: usize, happening: Happening) {
        let (machine, engine, _) = &mut self.models[model];
        match happening {
            Happening::Ask(event) => self.on(model, event),
            Happening::LoadEnds { well } => {
                let Some(number) = engine.loading.take() else { return };
                if well {
                    assert!(engine.running.replace(number).is_none(), "two engines of one model");
                    self.on(model, Event::Loaded);
                } else {
                    self.book.give_back(number);
                    self.on(model, Event::NotLoaded);
                }
            }
            Happening::Breaks => {
                if machine.phase() == Phase::Ready {
                    self.on(model, Event::Broke);
                }
            }
            Happening::Goes => {
                if let Some(number) = engine.leaving.pop() {
                    self.book.give_back(number);
                } else if matches!(machine.phase(), Phase::Draining(_)) && engine.loading.is_none() {
                    engine.running.take().into_iter().for_each(|number| self.book.give_back(number));
                    self.on(model, Event::Ended);
                }
            }
            Happening::Passes(seconds) => {
                self.now += Duration::from_secs(seconds);
                for model in 0..self.models.len() {
                    self.on(model, Event::Due);
                }
            }
        }
    }

    fn check(&self) {
        assert!(self.book.held_bytes() <= BUDGET_BYTES, "more memory than there is");
        for (machine, engine, _) in &self.models {
            let (is_loading, is_running) = (engine.loading.is_some(), engine.running.is_some());
            match machine.phase() {
                Phase::Ready => assert!(is_running && !is_loading),
                Phase::Loading(_) => assert!(is_loading && !is_running),
                Phase::Draining(_) => assert!(is_loading != is_running, "nothing drains for nothing"),
                Phase::Unloaded | Phase::Asleep | Phase::Failed => assert!(!is_running && !is_loading),
            }
            if machine.retry_at().is_some() {
                assert_eq!(machine.phase(), Phase::Failed, "only who failed tries by itself");
            }
        }
    }

    /// Ends what runs, unloads everything else, and loads `model`.
    fn load_alone(&mut self, model: usize) {
        for other in 0..self.models.len() {
            self.happens(other, Happening::LoadEnds { well: true });
            if other != model {
                self.on(other, Event::Rest(Rest::Unloaded));
            }
            for _ in 0..100 {
                self.happens(other, Happening::Goes);
            }
        }
        self.on(model, Event::Load);
        self.happens(model, Happening::LoadEnds { well: true });
        self.check();
        assert_eq!(self.models[model].0.phase(), Phase::Ready);
    }
}

fn happenings() -> impl Strategy<Value = Happening> {
    let asked = prop_oneof![
        4 => Just(Event::Load),
        2 => Just(Event::Called),
        1 => Just(Event::Rest(Rest::Unloaded)),
        2 => Just(Event::Rest(Rest::Asleep)),
    ];
    prop_oneof![
        6 => asked.prop_map(Happening::Ask),
        4 => any::<bool>().prop_map(|well| Happening::LoadEnds { well }),
        3 => Just(Happening::Breaks),
        3 => Just(Happening::Goes),
        2 => (0..90_u64).prop_map(Happening::Passes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn engines_never_have_more_memory_than_there_is_and_every_model_can_be_loaded_again(
        sizes in prop::collection::vec(1..=BUDGET_BYTES, MODELS),
        life in prop::collection::vec((0..MODELS, happenings()), 0..200),
        last in 0..MODELS,
    ) {
        let mut world = World::new(&sizes);
        for (model, happening) in life {
            world.happens(model, happening);
            world.check();
        }
        world.load_alone(last);
    }
}

#[test]
fn who_breaks_comes_back_by_itself_and_who_breaks_too_often_waits_to_be_asked() {
    let mut world = World::new(&[10]);
    world.happens(0, Happening::Ask(Event::Load));
    world.happens(0, Happening::LoadEnds { well: true });
    let mut tries = 0;
    while world.models[0].0.phase() == Phase::Ready {
        world.happens(0, Happening::Breaks);
        world.happens(0, Happening::Goes);
        let Some(at) = world.models[0].0.retry_at() else { break };
        world.now = at;
        world.on(0, Event::Due);
        assert_eq!(world.models[0].0.phase(), Phase::Loading(Cause::Restart));
        world.happens(0, Happening::LoadEnds { well: true });
        tries += 1;
    }
    assert_eq!((tries, world.models[0].0.phase()), (8, Phase::Failed));
    world.happens(0, Happening::Passes(100_000));
    assert_eq!(world.models[0].0.phase(), Phase::Failed, "it stays down");
    world.load_alone(0);
}

#[test]
fn a_call_wakes_who_sleeps_and_nobody_else() {
    for (phase, next) in [
        (Phase::Asleep, Phase::Loading(Cause::Asked)),
        (Phase::Unloaded, Phase::Unloaded),
        (Phase::Failed, Phase::Failed),
        (Phase::Ready, Phase::Ready),
        (Phase::Draining(Rest::Asleep), Phase::Draining(Rest::Asleep)),
    ] {
        let mut machine = Machine::new(phase);
        machine.on(Event::Called, Duration::ZERO).unwrap();
        assert_eq!(machine.phase(), next);
    }
}
