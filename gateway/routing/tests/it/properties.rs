//! What holds for every order, every set of hops and every history.

use std::time::Duration;

use proptest::prelude::*;
use routing::{
    Attempt, Balance, BreakerRule, Conversation, Failure, Hop, Order, Plan, Prefix, Question, RetryRule,
    Routes, State, Step, Tokens, WAIT_MAX, retry_after,
};

const RULE: BreakerRule =
    BreakerRule { failures: 3, window: Duration::from_secs(10), open_for: Duration::from_secs(5) };

fn plan(routes: &Routes, hops: usize, order: Order<'_>, attempts: u32, now: Duration) -> Plan {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let hops: Vec<Hop<'_>> = NAMES[..hops]
        .iter()
        .map(|provider| Hop { provider, model: "m", price: None, breaker: RULE })
        .collect();
    routes.begin(
        &Question {
            hops: &hops,
            order,
            conversation: Conversation::named(b"o", &now.as_nanos().to_le_bytes()),
            prefix: &Prefix::of(b"o", &[7; 3000]),
            tokens: Tokens::default(),
            retry: RetryRule { attempts, budget_percent: 50 },
            deadline: now + Duration::from_secs(20),
        },
        now,
    )
}

fn failures() -> impl Strategy<Value = Failure> {
    prop_oneof![
        Just(Failure::Unreached),
        (0_u64..4000).prop_map(|wait| Failure::Pressed(Some(Duration::from_millis(wait)))),
        Just(Failure::Pressed(None)),
        Just(Failure::Broken),
        Just(Failure::Late),
        Just(Failure::Cut),
        Just(Failure::Blameless),
    ]
}

fn orders(weights: &[u32], number: u8) -> Order<'_> {
    match number % 6 {
        0 => Order::Listed,
        1 => Order::Split(weights),
        2 => Order::Balance(Balance::LeastInflight),
        3 => Order::Balance(Balance::Latency),
        4 => Order::Balance(Balance::Cost),
        _ => Order::Balance(Balance::Prefix),
    }
}

proptest! {
    /// Fresh upstreams: each hop is tried once, whatever the order.
    #[test]
    fn every_order_is_of_all_hops(
        weights in prop::collection::vec(0_u32..100, 1..8), number in any::<u8>(), seed in any::<u64>(),
    ) {
        let routes = Routes::new(seed);
        let now = Duration::from_millis(seed % 100_000);
        let mut plan = plan(&routes, weights.len(), orders(&weights, number), 1, now);
        let mut hops = Vec::new();
        while let Step::Try(attempt) = plan.next(now) {
            hops.push(attempt.place().hop);
            plan.failed(attempt, Failure::Blameless, now);
        }
        hops.sort_unstable();
        prop_assert_eq!(hops, (0..weights.len()).collect::<Vec<_>>());
    }

    /// Any history of one upstream: while its breaker is open nothing goes out, and half open one call at a time; what
    /// it asked for is kept by calls that may be tried again, and bars no other; no call waits beyond its deadline or
    /// has more tries than it may.
    #[test]
    fn no_history_breaks_a_promise(
        script in prop::collection::vec((0_u64..3000, 0_u8..4, failures()), 1..120), attempts in 1_u32..4,
    ) {
        let routes = Routes::new(1);
        let mut now = Duration::from_secs(1);
        let mut running: Vec<(Attempt, Plan)> = Vec::new();
        let mut aside = Duration::ZERO;
        let mut trials = 0;
        for (pause, what, failure) in script {
            now += Duration::from_millis(pause);
            let before = routes.snapshot(now).pop();
            match what {
                0 | 1 => {
                    let mut plan = plan(&routes, 1, Order::Listed, attempts, now);
                    let state = before.as_ref().map_or(State::Closed, |before| before.breaker);
                    match plan.next(now) {
                        Step::Try(attempt) => {
                            prop_assert!(!matches!(state, State::Open(_)));
                            if state == State::HalfOpen {
                                trials += 1;
                                prop_assert_eq!(trials, 1);
                            }
                            prop_assert!(now >= aside || attempts == 1);
                            running.push((attempt, plan));
                        }
                        Step::Barred(until) => {
                            prop_assert!(until >= now);
                            prop_assert!(attempts > 1 || state != State::Closed, "it speaks for itself");
                        }
                        step => prop_assert!(false, "{:?}", step),
                    }
                }
                2 => if let Some((mut attempt, _)) = running.pop() {
                    attempt.answered(now);
                    trials = 0;
                },
                _ => if let Some((attempt, mut plan)) = running.pop() {
                    let tries = attempt.place().tries;
                    if let Failure::Pressed(Some(wait)) = failure {
                        aside = aside.max(now + wait);
                    }
                    plan.failed(attempt, failure, now);
                    trials = 0;
                    if let Step::Wait(until) = plan.next(now) {
                        prop_assert!(until > now && until < now + Duration::from_secs(21));
                        prop_assert!(tries < attempts && failure.is_unaccepted());
                    }
                },
            }
        }
        let inflight = routes.snapshot(now).first().map_or(0, |seen| seen.inflight);
        prop_assert_eq!(inflight as usize, running.len());
    }

    /// Whatever a header says, the wait is no longer than believed, and never a panic.
    #[test]
    fn any_header_is_a_bounded_wait(text in "\\PC{0,40}", now in any::<u64>()) {
        prop_assert!(retry_after(&text, now).is_none_or(|wait| wait <= WAIT_MAX));
    }

    #[test]
    fn any_date_is_a_bounded_wait(
        day in 0_u32..40, year in 1900_u32..9999, hour in 0_u32..30, now in 0_u64..4_000_000_000,
    ) {
        let text = format!("Sun, {day:02} Nov {year:04} {hour:02}:00:00 GMT");
        prop_assert!(retry_after(&text, now).is_none_or(|wait| wait <= WAIT_MAX));
    }
}
