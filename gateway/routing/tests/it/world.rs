//! Upstreams that behave as a test says, calls that arrive evenly, and a clock that jumps from one event to the next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use routing::{
    Attempt, BreakerRule, Conversation, Failure, Hop, Order, Plan, Prefix, Price, Question, RetryRule,
    Routes, Step, Tokens,
};

pub(crate) const BREAKER: BreakerRule =
    BreakerRule { failures: 5, window: Duration::from_secs(30), open_for: Duration::from_secs(15) };

pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// What an upstream does with a call: how long it takes to begin, and to end, or how it fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    Answer { begins: f64, lasts: f64 },
    Fail { after: f64, failure: Failure },
}

/// Behaviour by upstream, time in seconds and a number that looks random.
pub(crate) type Behaviour<'a> = &'a dyn Fn(usize, f64, u64) -> Does;

/// Which calls come.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) calls: u64,
    pub(crate) per_second: f64,
    pub(crate) hops: usize,
    /// The order of the numbered call.
    pub(crate) order: &'a dyn Fn(u64) -> Order<'a>,
    pub(crate) retry: RetryRule,
    pub(crate) prices: &'a [u64],
}

/// What happened.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Seen {
    /// Each try: which upstream, when, which try there.
    pub(crate) tries: Vec<(usize, f64, u32)>,
    pub(crate) answered: Vec<(usize, f64)>,
    pub(crate) spent: u64,
    pub(crate) barred: u64,
    /// Tries that were sent although the upstream had asked for time, or failed to be.
    pub(crate) impatient: u64,
    pub(crate) most_tries_at_a_hop: u32,
    pub(crate) most_inflight: BTreeMap<usize, u32>,
}

impl Seen {
    /// Tries at `upstream` between two times.
    pub(crate) fn tries_at(&self, upstream: usize, from: f64, to: f64) -> u64 {
        self.tries.iter().filter(|(at, when, _)| *at == upstream && (from..to).contains(when)).count() as u64
    }

    /// Answers of `upstream` between two times.
    pub(crate) fn answers_of(&self, upstream: usize, from: f64, to: f64) -> u64 {
        self.answered.iter().filter(|(at, when)| *at == upstream && (from..to).contains(when)).count() as u64
    }

    pub(crate) fn second_tries_at(&self, upstream: usize) -> u64 {
        self.tries.iter().filter(|(at, _, tries)| *at == upstream && *tries > 1).count() as u64
    }
}

pub(crate) fn random(x: u64) -> u64 {
    let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 29)
}

enum Event {
    Goes(Plan),
    Begins(Attempt, f64),
    Fails(Plan, Attempt, Failure),
    Ends(#[expect(dead_code, reason = "dropping it is the end")] Attempt),
}

struct Run<'a> {
    behaviour: Behaviour<'a>,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    waiting: BTreeMap<u64, Event>,
    count: u64,
    seen: Seen,
    /// Until when each upstream asked to be left alone.
    aside: BTreeMap<usize, Duration>,
    inflight: BTreeMap<usize, u32>,
}

impl Run<'_> {
    fn at(&mut self, when: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((when, self.count)));
        self.waiting.insert(self.count, event);
    }

    fn goes(&mut self, mut plan: Plan, now: Duration) {
        match plan.next(now) {
            Step::Wait(until) => self.at(until, Event::Goes(plan)),
            Step::Spent => self.seen.spent += 1,
            Step::Barred(until) => {
                assert!(until >= now);
                self.seen.barred += 1;
            }
            Step::Try(attempt) => {
                let (place, when) = (attempt.place(), now.as_secs_f64());
                let hop = place.hop;
                self.seen.tries.push((hop, when, place.tries));
                self.seen.most_tries_at_a_hop = self.seen.most_tries_at_a_hop.max(place.tries);
                self.seen.impatient += u64::from(self.aside.get(&hop).is_some_and(|until| *until > now));
                let inflight = self.inflight.entry(hop).or_default();
                *inflight += 1;
                let most = self.seen.most_inflight.entry(hop).or_default();
                *most = (*most).max(*inflight);
                match (self.behaviour)(hop, when, random(self.count)) {
                    Does::Answer { begins, lasts } => {
                        self.at(now + secs(begins), Event::Begins(attempt, lasts));
                    }
                    Does::Fail { after, failure } => {
                        self.at(now + secs(after), Event::Fails(plan, attempt, failure));
                    }
                }
            }
        }
    }

    fn happens(&mut self, event: Event, now: Duration) {
        match event {
            Event::Goes(plan) => self.goes(plan, now),
            Event::Begins(mut attempt, lasts) => {
                attempt.answered(now);
                self.seen.answered.push((attempt.place().hop, now.as_secs_f64()));
                *self.inflight.get_mut(&attempt.place().hop).unwrap() -= 1;
                self.at(now + secs(lasts), Event::Ends(attempt));
            }
            Event::Fails(mut plan, attempt, failure) => {
                let hop = attempt.place().hop;
                *self.inflight.get_mut(&hop).unwrap() -= 1;
                if let Failure::Pressed(Some(wait)) = failure {
                    let until = self.aside.entry(hop).or_default();
                    *until = (*until).max(now + wait);
                }
                plan.failed(attempt, failure, now);
                self.goes(plan, now);
            }
            Event::Ends(_) => {}
        }
    }
}

pub(crate) fn name(upstream: usize) -> String {
    format!("p{upstream}")
}

/// Lets all calls come and waits for the last to end.
pub(crate) fn simulate(routes: &Routes, load: &Load<'_>, behaviour: Behaviour<'_>) -> Seen {
    let names: Vec<String> = (0..load.hops).map(name).collect();
    let price =
        |upstream: usize| load.prices.get(upstream).map(|price| Price { input: *price, output: *price });
    let hops: Vec<Hop<'_>> = names
        .iter()
        .enumerate()
        .map(|(number, provider)| Hop { provider, model: "m", price: price(number), breaker: BREAKER })
        .collect();
    let mut run = Run {
        behaviour,
        events: BinaryHeap::new(),
        waiting: BTreeMap::new(),
        count: 0,
        seen: Seen::default(),
        aside: BTreeMap::new(),
        inflight: BTreeMap::new(),
    };
    let prefix = Prefix::default();
    for call in 0..=load.calls {
        let arrives = secs(call as f64 / load.per_second);
        while let Some(Reverse((when, number))) = run.events.peek().copied() {
            if when > arrives && call < load.calls {
                break;
            }
            run.events.pop();
            let event = run.waiting.remove(&number).unwrap();
            run.happens(event, when);
        }
        if call == load.calls {
            break;
        }
        let question = Question {
            hops: &hops,
            order: (load.order)(call),
            conversation: Conversation::named(b"owner", &random(call % 1000).to_le_bytes()),
            prefix: &prefix,
            tokens: Tokens { input: 1000, output: 100 },
            retry: load.retry,
            deadline: arrives + secs(60.0),
        };
        let plan = routes.begin(&question, arrives);
        run.goes(plan, arrives);
    }
    assert!(run.waiting.is_empty());
    run.seen
}
