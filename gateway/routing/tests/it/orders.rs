//! Each order against what its table says.

use std::time::Duration;

use routing::{
    Attempt, Balance, Conversation, Failure, Hop, Order, Plan, Prefix, Price, Probed, Question, RetryRule,
    Routes, SHADOWS_MAX, State, Step, Tokens,
};

use crate::world::{BREAKER, Does, Load, name, secs, simulate};

const NOW: Duration = Duration::from_secs(1);

/// What a test asks about; everything else is as usual.
struct Ask<'a> {
    order: Order<'a>,
    conversation: u64,
    prefix: Prefix,
    prices: &'a [Option<u64>],
}

const USUAL: Ask<'static> = Ask { order: Order::Listed, conversation: 0, prefix: NOTHING, prices: &[] };
const NOTHING: Prefix = Prefix::EMPTY;

fn plan_of(routes: &Routes, hops: usize, ask: &Ask<'_>) -> Plan {
    plan_with(routes, hops, ask, RetryRule::default())
}

fn plan_with(routes: &Routes, hops: usize, ask: &Ask<'_>, retry: RetryRule) -> Plan {
    let names: Vec<String> = (0..hops).map(name).collect();
    let price = |number: usize| ask.prices.get(number).copied().flatten();
    let price = |number| price(number).map(|price| Price { input: price, output: price });
    let breaker = BREAKER;
    let hops: Vec<Hop<'_>> = names
        .iter()
        .enumerate()
        .map(|(number, provider)| Hop { provider, model: "m", price: price(number), breaker })
        .collect();
    let question = Question {
        hops: &hops,
        order: ask.order,
        conversation: Conversation::named(b"o", &ask.conversation.to_le_bytes()),
        prefix: &ask.prefix,
        tokens: Tokens { input: 100, output: 100 },
        retry,
        deadline: secs(600.0),
    };
    routes.begin(&question, NOW)
}

/// The order of the hops, found by letting each of them fail without blame.
fn order_of(routes: &Routes, hops: usize, ask: &Ask<'_>) -> Vec<usize> {
    let mut plan = plan_of(routes, hops, ask);
    let mut order = Vec::new();
    while let Step::Try(attempt) = plan.next(NOW) {
        order.push(attempt.place().hop);
        plan.failed(attempt, Failure::Blameless, NOW);
    }
    order
}

fn first(routes: &Routes, hops: usize, ask: &Ask<'_>) -> Attempt {
    match plan_of(routes, hops, ask).next(NOW) {
        Step::Try(attempt) => attempt,
        step => panic!("{step:?}"),
    }
}

/// A call to the hop `wanted` of a listed entry.
fn call_to(routes: &Routes, hops: usize, wanted: usize) -> Attempt {
    let mut plan = plan_of(routes, hops, &USUAL);
    loop {
        let Step::Try(attempt) = plan.next(NOW) else { panic!("hop {wanted} is barred") };
        if attempt.place().hop == wanted {
            return attempt;
        }
        plan.failed(attempt, Failure::Blameless, NOW);
    }
}

fn split_of(weights: &[u32], conversation: u64) -> usize {
    let routes = Routes::new(conversation);
    let ask = Ask { order: Order::Split(weights), conversation, ..USUAL };
    order_of(&routes, weights.len(), &ask)[0]
}

#[test]
fn a_list_is_taken_in_its_order() {
    assert_eq!(order_of(&Routes::new(1), 5, &USUAL), [0, 1, 2, 3, 4]);
}

#[test]
fn a_split_gives_each_its_share() {
    let weights = [70, 20, 9, 1];
    let count = 40_000;
    let mut shares = [0_u32; 4];
    (0..count).for_each(|conversation| shares[split_of(&weights, conversation)] += 1);
    for (share, weight) in shares.iter().zip(weights) {
        let p = f64::from(weight) / 100.0;
        let expected = p * count as f64;
        let deviation = (expected * (1.0 - p)).sqrt();
        let off = (f64::from(*share) - expected).abs();
        assert!(off < 4.5 * deviation, "weight {weight}: {share} of {count}, expected {expected}");
    }
}

#[test]
fn a_split_depends_on_the_conversation_alone() {
    let ask = Ask { order: Order::Split(&[1, 1, 1]), conversation: 42, ..USUAL };
    let routes = Routes::new(1);
    let busy = Routes::new(99);
    let _held: Vec<Attempt> = (0..20).map(|_| call_to(&busy, 3, 1)).collect();
    let orders: Vec<_> = (0..5).map(|_| order_of(&routes, 3, &ask)).collect();
    assert!(orders.iter().all(|order| *order == order_of(&busy, 3, &ask)), "{orders:?}");
}

#[test]
fn a_changed_weight_moves_its_own_share_and_no_other() {
    let (before, after) = ([40, 40, 20], [40, 40, 60]);
    let moved = (0..20_000)
        .map(|conversation| (split_of(&before, conversation), split_of(&after, conversation)))
        .filter(|(from, to)| from != to)
        .inspect(|(from, to)| assert_eq!(*to, 2, "{from} -> {to}: only the third may gain"))
        .count();
    let expected = 20_000.0 * (60.0 / 140.0 - 20.0 / 100.0);
    assert!((moved as f64 - expected).abs() < 4.5 * expected.sqrt(), "{moved}, expected {expected}");
}

#[test]
fn a_weight_of_zero_is_a_fallback_and_fallbacks_come_by_weight() {
    for conversation in 0..300 {
        let ask = Ask { order: Order::Split(&[0, 5, 30, 10]), conversation, ..USUAL };
        let order = order_of(&Routes::new(1), 4, &ask);
        assert_eq!(order[3], 0);
        let rest: Vec<usize> = [2, 3, 1].into_iter().filter(|hop| *hop != order[0]).collect();
        assert_eq!(order[1..3], rest[..], "{order:?}");
    }
}

#[test]
fn the_least_busy_comes_first() {
    let routes = Routes::new(1);
    let mut held = vec![call_to(&routes, 3, 0), call_to(&routes, 3, 0), call_to(&routes, 3, 2)];
    let ask = Ask { order: Order::Balance(Balance::LeastInflight), ..USUAL };
    assert_eq!(order_of(&routes, 3, &ask), [1, 2, 0]);
    held.clear();
    let firsts: Vec<usize> = (0..300).map(|_| order_of(&routes, 3, &ask)[0]).collect();
    for hop in 0..3 {
        let count = firsts.iter().filter(|first| **first == hop).count();
        assert!((60..140).contains(&count), "ties are broken evenly: {count} of 300 for {hop}");
    }
}

#[test]
fn the_quickest_gets_most_and_a_slow_one_is_not_forgotten() {
    let load = Load {
        calls: 30_000,
        per_second: 300.0,
        hops: 3,
        order: &|_| Order::Balance(Balance::Latency),
        retry: RetryRule::default(),
        prices: &[],
    };
    let seen = simulate(&Routes::new(1), &load, &|upstream, when, _| {
        let begins = if upstream == 0 && when < 50.0 { 1.0 } else { 0.05 };
        Does::Answer { begins, lasts: 0.01 }
    });
    let (slow, quick) = (seen.answers_of(0, 5.0, 50.0), seen.answers_of(1, 5.0, 50.0));
    assert!(slow * 10 < quick, "{slow} at the slow one, {quick} at a quick one");
    assert!(slow > 0);
    let (healed, quick) = (seen.answers_of(0, 80.0, 100.0), seen.answers_of(1, 80.0, 100.0));
    assert!(healed * 2 > quick, "half a minute after it is quick again it has its share: {healed}, {quick}");
}

#[test]
fn the_cheapest_comes_first_and_one_without_a_price_last() {
    let ask =
        Ask { order: Order::Balance(Balance::Cost), prices: &[Some(5), None, Some(1), Some(3)], ..USUAL };
    let routes = Routes::new(1);
    assert_eq!(order_of(&routes, 4, &ask), [2, 3, 0, 1]);
    for _ in 0..5 {
        call_to(&routes, 4, 2).failed(Failure::Broken, NOW);
    }
    assert_eq!(order_of(&routes, 4, &ask), [3, 0, 1], "the cheapest that is well");
}

#[test]
fn a_conversation_goes_where_its_beginning_was_read_until_that_is_too_busy() {
    let routes = Routes::new(1);
    let text: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
    let ask = |bytes: usize| Ask {
        order: Order::Balance(Balance::Prefix),
        prefix: Prefix::of(b"w", &text[..bytes]),
        ..USUAL
    };
    let mut turn = first(&routes, 4, &ask(5_000));
    let home = turn.place().hop;
    turn.answered(NOW);
    drop(turn);
    let mut held = Vec::new();
    for bytes in [6_000, 9_000, 20_000, 40_000] {
        for _ in 0..2 {
            let mut turn = first(&routes, 4, &ask(bytes));
            assert_eq!(turn.place().hop, home, "{bytes} bytes");
            turn.answered(NOW);
            held.push(turn);
        }
    }
    held.push(call_to(&routes, 4, home));
    let other = first(&routes, 4, &ask(40_000));
    assert_ne!(other.place().hop, home, "nine calls are more than 1.5 x 0 + 8");
    held.pop();
    assert_eq!(first(&routes, 4, &ask(40_000)).place().hop, home, "eight are not");
}

#[test]
fn a_copy_counts_for_nothing_and_their_number_is_limited() {
    let routes = Routes::new(1);
    let hop = Hop { provider: "p", model: "m", price: None, breaker: BREAKER };
    let first = routes.shadow(&hop, NOW);
    assert!(first.is_some());
    let before = routes.snapshot(NOW);
    let mut copies: Vec<_> = (1..SHADOWS_MAX).map(|_| routes.shadow(&hop, NOW).unwrap()).collect();
    assert!(routes.shadow(&hop, NOW).is_none());
    assert_eq!(routes.snapshot(NOW), before);
    assert_eq!(before[0].inflight, 0);
    copies.pop();
    assert!(routes.shadow(&hop, NOW).is_some());
}

#[test]
fn no_copy_goes_to_an_upstream_that_is_not_well() {
    let routes = Routes::new(1);
    let name = name(0);
    let hop = Hop { provider: &name, model: "m", price: None, breaker: BREAKER };
    for _ in 0..5 {
        call_to(&routes, 1, 0).failed(Failure::Cut, NOW);
    }
    assert!(routes.shadow(&hop, NOW).is_none());
    let later = NOW + BREAKER.open_for;
    assert_eq!(routes.snapshot(later)[0].breaker, State::HalfOpen);
    assert!(routes.shadow(&hop, later).is_none(), "the trial is a real call's");
}

#[test]
fn probes_bar_a_provider_and_bring_it_back_before_its_breaker_would() {
    let routes = Routes::new(1);
    for _ in 0..5 {
        call_to(&routes, 2, 0).failed(Failure::Unreached, NOW);
    }
    routes.watch([("p0", secs(0.5))], NOW);
    let probe = |probed| {
        let due = routes.next_due().unwrap();
        assert_eq!(routes.take_due(due).len(), 1);
        routes.probed("p0", probed, due);
    };
    probe(Probed::Failed);
    probe(Probed::Failed);
    assert!(!routes.snapshot(NOW)[0].is_healthy);
    assert_eq!(order_of(&routes, 2, &USUAL), [1]);
    probe(Probed::Passed);
    assert!(matches!(routes.snapshot(secs(4.0))[0].breaker, State::Open(_)));
    probe(Probed::Passed);
    let seen = &routes.snapshot(secs(4.0))[0];
    assert!(seen.is_healthy);
    assert_eq!(seen.breaker, State::HalfOpen, "ten seconds early");
}

#[test]
fn who_is_not_to_blame_opens_nothing() {
    let routes = Routes::new(1);
    for _ in 0..100 {
        call_to(&routes, 1, 0).failed(Failure::Blameless, NOW);
        call_to(&routes, 1, 0).failed(Failure::Pressed(None), NOW);
        drop(call_to(&routes, 1, 0));
    }
    assert_eq!(routes.snapshot(NOW)[0].opened, 0);
    assert_eq!(routes.snapshot(NOW)[0].inflight, 0);
}

/// What an upstream asks for is known of it, whoever hears it; only a call that has nobody else goes all the same.
#[test]
fn an_upstream_without_a_stand_in_speaks_for_itself() {
    let routes = Routes::new(1);
    call_to(&routes, 1, 0).failed(Failure::Pressed(Some(secs(60.0))), NOW);
    assert_eq!(routes.snapshot(NOW)[0].aside, Some(NOW + secs(60.0)));
    assert_eq!(order_of(&routes, 1, &USUAL), [0], "there is nobody else");
    assert_eq!(order_of(&routes, 2, &USUAL), [1], "somebody else can be asked");
    let patient = RetryRule { attempts: 2, ..RetryRule::default() };
    let step = plan_with(&routes, 1, &USUAL, patient).next(NOW);
    assert!(matches!(step, Step::Barred(until) if until == NOW + secs(60.0)), "{step:?}");
    // A breaker that is open bars all: what it protects is an upstream that does not answer.
    for _ in 0..BREAKER.failures {
        call_to(&routes, 1, 0).failed(Failure::Broken, NOW);
    }
    let step = plan_of(&routes, 1, &USUAL).next(NOW);
    assert!(matches!(step, Step::Barred(until) if until == NOW + BREAKER.open_for), "{step:?}");
}

#[test]
fn answers_that_are_always_cut_open_the_breaker() {
    let routes = Routes::new(1);
    for _ in 0..5 {
        let mut attempt = call_to(&routes, 1, 0);
        attempt.answered(NOW);
        attempt.failed(Failure::Cut, NOW);
        attempt.failed(Failure::Cut, NOW);
    }
    assert_eq!(routes.snapshot(NOW)[0].opened, 1);
}

#[test]
fn what_no_policy_names_any_more_is_forgotten() {
    let routes = Routes::new(1);
    drop((call_to(&routes, 2, 0), call_to(&routes, 2, 1)));
    routes.retain(|provider, _| provider == "p1");
    let left: Vec<_> = routes.snapshot(NOW).into_iter().map(|upstream| upstream.provider).collect();
    assert_eq!(left, ["p1".into()]);
}
