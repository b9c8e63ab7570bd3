//! How an entry chooses among its hops, and what the policy says of prices and of upstreams that fail.

use std::time::Duration;

use policy::{
    Admitted, Balance, BreakerRule, Decision, Destination, Facts, Order, Policy, Price, Probe, Provider,
    Retry, Source,
};

const ROUTING: &str = include_str!("good/routing.yaml");

fn compile(text: &str) -> Policy {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"))
}

fn admit(policy: &Policy, model: &str) -> Admitted {
    let workflow = policy.workflows().next().expect("the file has one workflow");
    let facts = Facts { model: model.to_owned(), ..Facts::default() };
    match policy.decide(workflow, &facts) {
        Decision::Allow(admitted) => admitted,
        Decision::Deny(denial) => panic!("denied: {denial}"),
    }
}

fn models(admitted: &Admitted) -> Vec<&str> {
    admitted.hops().iter().map(|hop| hop.model().as_str()).collect()
}

fn destination<'p>(policy: &'p Policy, name: &str) -> &'p Destination {
    let provider = policy.providers().find(|provider| provider.name().as_str() == name);
    match provider.expect("a provider of the test") {
        Provider::Http(destination) => destination,
        Provider::Engine { .. } => panic!("{name} is in this process"),
    }
}

#[test]
fn an_entry_says_how_to_choose_among_its_hops() {
    let policy = compile(ROUTING);
    let listed = admit(&policy, "listed");
    assert_eq!((models(&listed), listed.order()), (vec!["opus", "flash", "coder-a"], &Order::Listed));
    for (model, balance) in [
        ("busy", Balance::LeastInflight),
        ("slow", Balance::Latency),
        ("cheap", Balance::Cost),
        ("auto", Balance::Prefix),
    ] {
        let admitted = admit(&policy, model);
        assert_eq!((admitted.hops().len(), admitted.order()), (2, &Order::Balance(balance)), "{model}");
    }
}

#[test]
fn the_weights_of_a_split_belong_to_its_hops_whatever_the_order_of_the_keys() {
    for text in [ROUTING.to_owned(), ROUTING.replace("flash: 5, opus: 95", "opus: 95, flash: 5")] {
        let policy = compile(&text);
        let split = admit(&policy, "split");
        let Order::Split(weights) = split.order() else { panic!("{:?}", split.order()) };
        let parts: Vec<_> = models(&split).into_iter().zip(weights.iter().copied()).collect();
        assert_eq!(parts, [("opus", 95), ("flash", 5)], "the heaviest comes first");
    }
}

#[test]
fn a_second_try_is_made_only_where_the_entry_says_so() {
    let policy = compile(ROUTING);
    let retry = |model| admit(&policy, model).retry();
    assert_eq!(retry("listed"), Retry { attempts: 2, budget_percent: 10 });
    assert_eq!(retry("slow"), Retry { attempts: 3, budget_percent: 20 });
    assert_eq!(retry("busy"), Retry { attempts: 1, budget_percent: 20 });
}

#[test]
fn a_shadow_is_no_hop_and_no_model_that_agents_may_ask_for() {
    let policy = compile(ROUTING);
    let shadow = |model| admit(&policy, model).shadow().map(|hop| hop.model().to_string());
    assert_eq!(shadow("split"), Some("coder-a".to_owned()));
    assert_eq!(shadow("cheap"), Some("demo".to_owned()));
    assert_eq!(shadow("listed"), None);
    let workflow = policy.workflows().next().expect("the file has one workflow");
    assert!(workflow.reachable_models().all(|model| model.name().as_str() != "demo"));
}

#[test]
fn prices_are_counted_in_millionths() {
    let policy = compile(ROUTING);
    let price = |name: &str| policy.models().find(|model| model.name().as_str() == name).unwrap().price();
    let opus = Price { input: 5_000_000, cached_input: 500_000, output: 25_000_000 };
    assert_eq!(price("opus"), Some(opus));
    let flash = Price { input: 75_000, cached_input: 75_000, output: 300_000 };
    assert_eq!(price("flash"), Some(flash), "what is not cheaper costs the same");
    assert_eq!(price("coder-a"), Some(Price { input: 0, cached_input: 0, output: 0 }));
    assert_eq!(price("coder-b"), None);
}

#[test]
fn a_destination_says_how_to_tell_that_it_does_not_work() {
    let policy = compile(ROUTING);
    let (a, b) = (destination(&policy, "rack-a"), destination(&policy, "rack-b"));
    let probe = |seconds| Probe { path: "/health".to_owned(), interval: Duration::from_secs(seconds) };
    assert_eq!(a.health(), Some(&probe(5)));
    assert_eq!(b.health(), Some(&probe(10)));
    assert_eq!(destination(&policy, "shop-a").health(), None);
    let (window, open_for) = (Duration::from_secs(20), Duration::from_secs(15));
    assert_eq!(a.breaker(), &BreakerRule { failures: 3, window, open_for });
    assert_eq!(b.breaker(), &BreakerRule::default());
}

/// Each changes what `routing.yaml` means.
const CHANGES: &[(&str, &str)] = &[
    ("path: /health, every: 5s", "path: /healthz, every: 5s"),
    ("every: 5s", "every: 6s"),
    ("    health: { path: /health }\n", ""),
    ("failures: 3", "failures: 4"),
    ("window: 20s", "window: 21s"),
    ("open_for: 15s", "open_for: 16s"),
    (", price: { input: 0, output: 0 }", ""),
    ("input: 5.00", "input: 5.01"),
    ("cached_input: 0.50, ", ""),
    ("output: 0.3", "output: 0.31"),
    (", retry: { attempts: 3 }", ""),
    ("attempts: 3", "attempts: 4"),
    ("budget: 10%", "budget: 11%"),
    ("flash: 5, opus: 95", "flash: 6, opus: 95"),
    ("flash: 5, opus: 95", "flash: 95, opus: 5"),
    ("split: { flash: 5, opus: 95 }", "to: [opus, flash]"),
    ("balance: latency", "balance: least_inflight"),
    (", balance: prefix", ""),
    ("shadow: demo", "shadow: coder-b"),
    (", shadow: demo", ""),
];

#[test]
fn every_change_of_meaning_changes_the_digest() {
    let mut digests = vec![compile(ROUTING).digest().to_string()];
    for (from, to) in CHANGES {
        assert!(ROUTING.contains(from), "{from}");
        let digest = compile(&ROUTING.replacen(from, to, 1)).digest().to_string();
        assert!(!digests.contains(&digest), "{from} -> {to} kept the digest or met another one");
        digests.push(digest);
    }
}

#[test]
fn spelling_does_not_change_the_digest() {
    for (from, to) in [
        ("flash: 5, opus: 95", "opus: 95, flash: 5"),
        ("health: { path: /health }", "health: { path: /health, every: 10s }"),
        ("{ path: /health }", "{ path: /health }\n    breaker: { failures: 5, window: 30s, open_for: 30s }"),
        ("attempts: 3", "attempts: 3, budget: 20%"),
        ("balance: least_inflight", "balance: least_inflight, retry: { attempts: 1 }"),
        ("input: 5.00", "input: 5"),
        ("input: 0.075, output: 0.3", "input: 0.075000, cached_input: 0.075, output: 0.30"),
    ] {
        assert!(ROUTING.contains(from), "{from}");
        let same = compile(&ROUTING.replacen(from, to, 1)).digest().to_string();
        assert_eq!(same, compile(ROUTING).digest().to_string(), "{to}");
    }
}

#[test]
fn the_digest_is_the_same_on_every_machine_and_in_every_version() {
    insta::assert_snapshot!("digest_routing", compile(ROUTING).digest());
}
