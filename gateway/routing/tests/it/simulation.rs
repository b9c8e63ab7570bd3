//! Many calls against upstreams that die, slow down, ask for time and come back. What the crate documents is counted.
//!
//! `ROUTING_CALLS` at compile time sets how many; every run of the same number is the same.

use std::time::Duration;

use routing::{BUDGET_PER_SECOND, BUDGET_SAVED_MAX, Balance, Failure, Order, RetryRule, Routes, State};

use crate::world::{BREAKER, Does, Load, Seen, random, secs, simulate};

const FINE: Does = Does::Answer { begins: 0.02, lasts: 0.05 };
const DEAD: Does = Does::Fail { after: 0.001, failure: Failure::Unreached };
const ONCE: RetryRule = RetryRule { attempts: 1, budget_percent: 20 };
const THRICE: RetryRule = RetryRule { attempts: 3, budget_percent: 10 };

fn calls() -> u64 {
    option_env!("ROUTING_CALLS").map_or(300_000, |count| count.parse().unwrap())
}

fn listed(_: u64) -> Order<'static> {
    Order::Listed
}

/// How long the calls of a load come.
fn length(load: &Load<'_>) -> f64 {
    load.calls as f64 / load.per_second
}

/// The most that may be sent to an upstream that is dead for `dead_for` seconds.
fn most_for_a_dead_one(seen: &Seen, upstream: usize, dead_for: f64) -> u64 {
    let trials = (dead_for / BREAKER.open_for.as_secs_f64()) as u64 + 1;
    u64::from(BREAKER.failures) + u64::from(seen.most_inflight[&upstream]) + trials
}

#[test]
fn a_dead_upstream_costs_no_more_than_the_breakers_trials() {
    let load = Load { calls: calls(), per_second: 1000.0, hops: 2, order: &listed, retry: ONCE, prices: &[] };
    let routes = Routes::new(1);
    let seen = simulate(&routes, &load, &|upstream, _, _| if upstream == 0 { DEAD } else { FINE });
    let sent = seen.tries_at(0, 0.0, f64::MAX);
    let most = most_for_a_dead_one(&seen, 0, length(&load));
    assert!(sent <= most, "{sent} calls, {most} are the limit");
    assert!(sent >= (length(&load) / 15.0) as u64, "it is tried again every 15 s: {sent}");
    assert_eq!(seen.answered.len() as u64, load.calls, "the second hop answers everything");
}

#[test]
fn an_upstream_that_comes_back_is_used_again_within_one_wait() {
    let load = Load { calls: 100_000, per_second: 1000.0, hops: 2, order: &listed, retry: ONCE, prices: &[] };
    let routes = Routes::new(2);
    let seen = simulate(&routes, &load, &|upstream, when, _| {
        if upstream == 0 && (20.0..60.0).contains(&when) { DEAD } else { FINE }
    });
    let back = seen.answered.iter().find(|(at, when)| *at == 0 && *when > 60.0).unwrap().1;
    assert!(back < 60.0 + 15.0 + 1.0, "{back}");
    let after = seen.tries_at(1, back + 0.1, f64::MAX);
    assert_eq!(after, 0, "then the first hop has everything again");
    assert_eq!(seen.tries_at(0, 0.0, 20.0), 20_000, "and it had everything before");
    let during = seen.tries_at(0, 20.0, 60.0);
    assert!(during <= most_for_a_dead_one(&seen, 0, 40.0), "{during} calls went to the dead one");
}

#[test]
fn second_tries_stay_within_the_budget() {
    let load =
        Load { calls: calls(), per_second: 100.0, hops: 1, order: &listed, retry: THRICE, prices: &[] };
    let routes = Routes::new(3);
    // Every third call finds no connection: too few for the breaker, many for the budget.
    let fails = |when: f64| ((when * 100.0).round() as u64).is_multiple_of(3);
    let seen = simulate(&routes, &load, &|_, when, _| if fails(when) { DEAD } else { FINE });
    let seconds = length(&load) as u64 + 1;
    let most = load.calls / 10 + seconds * u64::from(BUDGET_PER_SECOND) + u64::from(BUDGET_SAVED_MAX);
    let again = seen.second_tries_at(0);
    assert!(again <= most, "{again} second tries, {most} are the limit");
    assert!(again > most * 9 / 10, "and the budget is used: {again} of {most}");
    assert!(seen.most_tries_at_a_hop <= 3);
    assert_eq!(again, routes.snapshot(Duration::ZERO)[0].retries);
}

#[test]
fn an_upstream_that_asks_for_time_gets_it_and_its_breaker_stays_closed() {
    let load =
        Load { calls: 100_000, per_second: 500.0, hops: 2, order: &listed, retry: THRICE, prices: &[] };
    let routes = Routes::new(4);
    let pressed = Failure::Pressed(Some(secs(2.0)));
    let seen = simulate(&routes, &load, &|upstream, when, _| match upstream {
        0 if (when % 20.0) < 10.0 => Does::Fail { after: 0.01, failure: pressed },
        _ => FINE,
    });
    assert_eq!(seen.impatient, 0);
    assert_eq!(routes.snapshot(Duration::ZERO)[0].opened, 0);
    assert_eq!(seen.answered.len() as u64, load.calls);
    // Ten periods of ten seconds, with a try every two seconds and those that were on their way.
    let during: u64 =
        (0..10).map(|n| seen.tries_at(0, f64::from(n) * 20.0, f64::from(n) * 20.0 + 10.0)).sum();
    assert!(during <= 10 * 6 * u64::from(seen.most_inflight[&0]), "{during}");
}

#[test]
fn one_hop_alone_is_waited_for() {
    let load = Load { calls: 200, per_second: 1.0, hops: 1, order: &listed, retry: THRICE, prices: &[] };
    let routes = Routes::new(5);
    let pressed = Failure::Pressed(Some(secs(0.5)));
    let seen = simulate(&routes, &load, &|_, when, _| {
        if when.fract() < 0.3 { Does::Fail { after: 0.001, failure: pressed } } else { FINE }
    });
    assert_eq!(seen.answered.len(), 200, "each second try falls into the good half of the second");
    assert_eq!(seen.second_tries_at(0), 200);
}

/// A day in the life: every order at once, every kind of trouble in turn.
fn trouble(upstream: usize, when: f64, chance: u64) -> Does {
    let phase = (when / 25.0 + upstream as f64) as u64 % 6;
    let quick = 0.01 + (chance % 100) as f64 / 5000.0;
    let fails = |after, failure| Does::Fail { after, failure };
    match (phase, chance % 10) {
        (1, _) => DEAD,
        (2, _) => Does::Answer { begins: quick * 40.0, lasts: 0.2 },
        (3, 0..7) => fails(0.01, Failure::Pressed(Some(secs(1.5)))),
        (4, 0..5) => fails(0.02, Failure::Broken),
        (4, 5) => fails(2.0, Failure::Late),
        (_, 9) => fails(0.01, Failure::Blameless),
        _ => Does::Answer { begins: quick, lasts: 0.1 },
    }
}

fn any_order(call: u64) -> Order<'static> {
    match random(call) % 6 {
        0 => Order::Listed,
        1 => Order::Split(&[50, 30, 15, 5]),
        2 => Order::Balance(Balance::LeastInflight),
        3 => Order::Balance(Balance::Latency),
        4 => Order::Balance(Balance::Cost),
        _ => Order::Balance(Balance::Prefix),
    }
}

#[test]
fn nothing_that_is_promised_breaks_in_a_day_of_trouble() {
    let load = Load {
        calls: calls(),
        per_second: 1000.0,
        hops: 4,
        order: &any_order,
        retry: THRICE,
        prices: &[3, 1, 2, 4],
    };
    let routes = Routes::new(6);
    let seen = simulate(&routes, &load, &trouble);
    let ended = seen.answered.len() as u64 + seen.spent + seen.barred;
    assert_eq!(ended, load.calls, "every call ends once");
    assert_eq!(seen.impatient, 0, "nobody is asked in the time that he wanted");
    assert!(seen.most_tries_at_a_hop <= THRICE.attempts);
    let seconds = length(&load) as u64 + 60;
    for upstream in 0..load.hops {
        let all = seen.tries_at(upstream, 0.0, f64::MAX);
        let most = all / 10 + seconds * u64::from(BUDGET_PER_SECOND) + u64::from(BUDGET_SAVED_MAX);
        assert!(seen.second_tries_at(upstream) <= most);
        // Phase 1 is the dead one.
        let mut from = (7 - upstream % 6) as f64 % 6.0 * 25.0;
        while from + 25.0 < length(&load) {
            let sent = seen.tries_at(upstream, from, from + 25.0);
            let most = most_for_a_dead_one(&seen, upstream, 25.0);
            assert!(sent <= most, "upstream {upstream} from {from}: {sent} calls, {most} are the limit");
            // Once the answers from before have come, little is sent at all.
            let sent = seen.tries_at(upstream, from + 0.1, from + 25.0);
            assert!(sent <= u64::from(BREAKER.failures) + 2, "upstream {upstream} from {from}: {sent} calls");
            let later = seen.answers_of(upstream, from + 25.0, from + 50.0 + 75.0);
            assert!(later > 0 || from + 125.0 > length(&load), "{upstream} starves after {from}");
            from += 150.0;
        }
    }
    let answered = seen.answered.len() as f64 / load.calls as f64;
    assert!(answered > 0.85, "most calls are answered all the same: {answered}");
    for upstream in routes.snapshot(secs(1e6)) {
        assert_eq!(upstream.inflight, 0, "{upstream:?}");
        assert!(upstream.opened > 0, "all of them died at times");
    }
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let load =
        Load { calls: 20_000, per_second: 300.0, hops: 4, order: &any_order, retry: THRICE, prices: &[] };
    let run = |seed| simulate(&Routes::new(seed), &load, &trouble);
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8), "and another seed another way");
}

#[test]
fn when_all_are_dead_callers_hear_so_at_once_and_upstreams_are_spared() {
    let load =
        Load { calls: 100_000, per_second: 1000.0, hops: 3, order: &listed, retry: THRICE, prices: &[] };
    let routes = Routes::new(9);
    let seen = simulate(&routes, &load, &|_, _, _| DEAD);
    assert_eq!(seen.spent + seen.barred, load.calls);
    assert!(seen.tries.len() < 300, "{} tries for {} calls", seen.tries.len(), load.calls);
    let states = routes.snapshot(secs(100.0));
    assert!(states.iter().all(|upstream| upstream.breaker != State::Closed), "{states:?}");
}
