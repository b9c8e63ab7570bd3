//! What a plan says equals what the two policies decide and dial, enumerated.

use std::collections::{BTreeMap, BTreeSet};

use policy::plan::{Aspect, Change, Effect, Fate, Plan, Replay};
use policy::{
    Ask, Decision, Facts, KeyId, Locality, Outcome, Place, Policy, ProviderName, Target, Who, Workflow,
    WorkflowName,
};
use proptest::prelude::*;
use url::Host;

use crate::compiled;
use crate::stage::{Case, HOSTS, PROVIDERS, case, every_call, neighbours};

type Sets = BTreeMap<Aspect, BTreeSet<String>>;

/// Asks a policy about everything, and keeps what it lets pass.
fn enumerated(case: &Case, policy: &Policy, workflow: &Workflow, calls: &[Facts]) -> Sets {
    let mut sets = Sets::new();
    let mut put = |aspect, item: String| {
        sets.entry(aspect).or_default().insert(item);
    };
    for ((name, locality), declared) in PROVIDERS[1..].iter().zip(&case.declared) {
        for host in HOSTS {
            for port in [80, 443, 8443] {
                let provider = ProviderName::new(name).unwrap();
                if policy.may_dial(workflow.name(), &provider, &Host::parse(host).unwrap(), port).is_ok() {
                    put(Aspect::Hosts, format!("{host}:{port}"));
                    put(Aspect::Providers, (*name).to_owned());
                    put(Aspect::Localities, (*locality).to_owned());
                    put(Aspect::Regions, declared.1.to_owned());
                }
            }
        }
    }
    for facts in calls {
        let Decision::Allow(admitted) = policy.decide(workflow, facts) else { continue };
        for hop in admitted.hops().iter().chain(admitted.shadow()) {
            let (endpoint, region) = match hop.target() {
                Target::Engine(_) => ("in this process".to_owned(), String::new()),
                Target::Http(to) => {
                    (format!("{}:{}", to.host(), to.port()), format!(", region {}", to.region().unwrap()))
                }
            };
            let (model, provider, locality) = (hop.model(), hop.provider(), hop.locality());
            put(Aspect::Targets, format!("{model} at {provider} ({locality}, {endpoint}{region})"));
            put(Aspect::Providers, provider.to_string());
            put(Aspect::Localities, locality.to_string());
        }
    }
    sets
}

/// The sets of each workflow of a policy.
fn all_sets(case: &Case, policy: &Policy, calls: &[Facts]) -> BTreeMap<WorkflowName, Sets> {
    policy
        .workflows()
        .map(|workflow| (workflow.name().clone(), enumerated(case, policy, workflow, calls)))
        .collect()
}

fn told(plan: &Plan, name: &WorkflowName, aspect: Aspect) -> (BTreeSet<String>, BTreeSet<String>) {
    let changes = plan.workflows.iter().filter(|plan| plan.name == *name).flat_map(|plan| &plan.changes);
    let of = changes.filter(|change| change.aspect == aspect);
    let (lost, gained): (Vec<_>, Vec<_>) =
        of.map(|change| (change.before.clone(), change.after.clone())).unzip();
    (lost.into_iter().flatten().collect(), gained.into_iter().flatten().collect())
}

/// The least strict place that a call goes to; nothing if it is refused.
fn widest(policy: &Policy, ask: &Ask) -> Option<Locality> {
    match policy.answer(ask) {
        Outcome::Allow { to, .. } => to.iter().map(|place: &Place| place.locality).max(),
        Outcome::Deny { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_what_both_policies_decide_and_dial((before, after) in prop_oneof![(case(), case()), neighbours()]) {
        let (base, new) = (before.policy(), after.policy());
        let calls = every_call();
        let (was, is) = (all_sets(&before, &base, &calls), all_sets(&after, &new, &calls));
        let plan = Plan::between(&base, &new);
        let names: BTreeSet<&WorkflowName> = was.keys().chain(is.keys()).collect();
        let nothing = BTreeSet::new();
        for name in names {
            for aspect in [Aspect::Hosts, Aspect::Providers, Aspect::Localities, Aspect::Regions, Aspect::Targets] {
                let set = |sets: &BTreeMap<WorkflowName, Sets>| -> BTreeSet<String> {
                    sets.get(name).and_then(|sets| sets.get(&aspect)).unwrap_or(&nothing).clone()
                };
                let (was, is) = (set(&was), set(&is));
                let expected = (was.difference(&is).cloned().collect(), is.difference(&was).cloned().collect());
                prop_assert_eq!(told(&plan, name, aspect), expected, "{} {:?}", name, aspect);
            }
        }
    }

    #[test]
    fn a_plan_that_does_not_widen_lets_no_call_go_further((before, after) in neighbours()) {
        let (base, new) = (before.policy(), after.policy());
        if Plan::between(&base, &new).widens() {
            return Ok(());
        }
        let callers = [Who::Loopback, Who::ApiKey(KeyId::new("ci").unwrap()), Who::ApiKey(KeyId::new("bot").unwrap())];
        for facts in every_call() {
            for who in &callers {
                for workflow in ["alpha", "beta"] {
                    let ask = Ask { who: who.clone(), workflow: Some(workflow.to_owned()), facts: facts.clone() };
                    let (was, is) = (widest(&base, &ask), widest(&new, &ask));
                    prop_assert!(is <= was, "{:?}: {:?}, then {:?}", ask, was, is);
                }
            }
        }
    }

    #[test]
    fn a_policy_does_not_differ_from_itself(case in case()) {
        let (base, new) = (case.policy(), case.policy());
        let plan = Plan::between(&base, &new);
        prop_assert!(plan.common.is_empty() && plan.workflows.is_empty(), "{}", plan);
        prop_assert_eq!(plan.exit_code(), 0);
    }

    #[test]
    fn what_one_direction_opens_the_other_closes(before in case(), after in case()) {
        let (base, new) = (before.policy(), after.policy());
        let (there, back) = (Plan::between(&base, &new), Plan::between(&new, &base));
        let sets = |plan: &Plan, turned: bool| -> BTreeSet<(String, Aspect, Option<String>, Option<String>)> {
            let changes = plan.workflows.iter().flat_map(|plan| plan.changes.iter().map(move |change| (plan, change)));
            changes
                .filter(|(_, change)| !matches!(change.aspect, Aspect::Calls | Aspect::Definition))
                .map(|(plan, change)| {
                    let (before, after) = (change.before.clone(), change.after.clone());
                    let (before, after) = if turned { (after, before) } else { (before, after) };
                    (plan.name.to_string(), change.aspect, before, after)
                })
                .collect()
        };
        prop_assert_eq!(sets(&there, false), sets(&back, true));
    }
}

const BASE: &str = "version: 1
defaults: { deny_hosts: ['*.evil.example'] }
providers:
  local: { kind: engine }
  shop: { kind: openai, base_url: 'https://api.shop.example/v1', locality: hosted, region: eu }
models:
  small: { provider: local, path: m }
  large: { provider: shop, name: large-1 }
workflows:
  one:
    owner: team
    callers: [ { loopback: true } ]
    egress: { mode: hosted, providers: [shop] }
    must_survive: [seed]
    route:
      - { when: { tools: true }, to: [small] }
      - { to: [large, small] }
";

/// Compares the policy with an edited copy of itself.
#[track_caller]
fn edited(edits: &[(&str, &str)]) -> Plan {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "`{from}` does not stand in the policy");
        text = text.replace(from, to);
    }
    Plan::between(&compiled(BASE), &compiled(&text))
}

/// The changes that are about `aspect`, whatever they are part of.
fn about(plan: &Plan, aspect: Aspect) -> Vec<&Change> {
    let of_workflows = plan.workflows.iter().flat_map(|plan| &plan.changes);
    plan.common.iter().chain(of_workflows).filter(|change| change.aspect == aspect).collect()
}

#[test]
fn each_kind_of_loosening_exits_with_3_and_its_reverse_with_2() {
    let hash = "0123456789abcdef".repeat(4);
    let caller = format!("{{ loopback: true }}, {{ api_key: {{ id: ci, sha256: '{hash}' }} }}");
    for (aspect, from, to) in [
        (Aspect::Callers, "{ loopback: true }", caller.as_str()),
        (Aspect::MustSurvive, "    must_survive: [seed]\n", ""),
        (Aspect::DenyHosts, "['*.evil.example']", "[]"),
        (Aspect::Retention, "['*.evil.example'] }", "['*.evil.example'], audit: { retention: 1d } }"),
        (Aspect::Total, "['*.evil.example'] }", "['*.evil.example'], limits: { total: 20m } }"),
        (Aspect::MaxBody, "['*.evil.example'] }", "['*.evil.example'], limits: { max_body: 9MiB } }"),
        (Aspect::StreamIdle, "['*.evil.example'] }", "['*.evil.example'], limits: { stream_idle: 90s } }"),
        (
            Aspect::StoredKeep,
            "    must_survive",
            "    stored_responses: { keep: 1h, max: 1MiB }\n    must_survive",
        ),
        (Aspect::Calls, "tools: true }, to: [small]", "tools: true }, to: [large]"),
    ] {
        let loosened = BASE.replace(from, to);
        let (base, new) = (compiled(BASE), compiled(&loosened));
        for (plan, effect, code) in [
            (Plan::between(&base, &new), Effect::Widening, 3),
            (Plan::between(&new, &base), Effect::Tightening, 2),
        ] {
            let told: Vec<Effect> = about(&plan, aspect).iter().map(|change| change.effect).collect();
            assert!(!told.is_empty() && told.iter().all(|told| *told == effect), "{aspect:?}: {plan}");
            assert_eq!(plan.exit_code(), code, "{aspect:?}: {plan}");
        }
    }
}

#[test]
fn rules_for_tools_are_compared_by_the_tools_that_they_let_pass() {
    let with = |rules: &str| {
        compiled(&BASE.replace("    must_survive", &format!("    tools: {rules}\n    must_survive")))
    };
    for (before, after, code) in [
        ("{ deny: ['shell*'] }", "{ deny: ['shell*', 'shell_network'] }", 2),
        ("{ deny: ['shell*'] }", "{ deny: ['shell_*'] }", 3),
        ("{ deny: ['shell_*'] }", "{ deny: ['shell*'] }", 2),
        ("{ allow: [read] }", "{ allow: [read, write] }", 3),
        ("{ allow: [read, write] }", "{ allow: [read, write], deny: [WRITE] }", 2),
        ("{ allow: ['*'] }", "{ deny: [] }", 3),
    ] {
        let plan = Plan::between(&with(before), &with(after));
        assert_eq!(plan.exit_code(), code, "{before}, then {after}: {plan}");
    }
}

#[test]
fn a_new_owner_is_a_change_and_neither_opens_nor_closes_anything() {
    let plan = edited(&[("owner: team", "owner: others")]);
    assert_eq!(plan.exit_code(), 2);
    assert_eq!(about(&plan, Aspect::Owner)[0].effect, Effect::Neutral);
}

#[test]
fn another_key_under_the_same_id_is_another_caller() {
    let key = |digits: &str| {
        let hash = digits.repeat(32);
        BASE.replace("{ loopback: true }", &format!("{{ api_key: {{ id: ci, sha256: '{hash}' }} }}"))
    };
    let plan = Plan::between(&compiled(&key("ab")), &compiled(&key("cd")));
    assert_eq!(plan.exit_code(), 3, "{plan}");
    assert_eq!(about(&plan, Aspect::Callers).len(), 2);
}

#[test]
fn a_key_that_lasts_longer_widens_and_one_that_ends_earlier_tightens() {
    let until = |expires: &str| {
        let key = format!("{{ api_key: {{ id: ci, sha256: '{}'{expires} }} }}", "ab".repeat(32));
        compiled(&BASE.replace("{ loopback: true }", &key))
    };
    let (soon, late, never) = (until(", expires: 2027-01-31"), until(", expires: 2028-01-31"), until(""));
    for (before, after, code) in
        [(&soon, &late, 3), (&late, &soon, 2), (&soon, &never, 3), (&never, &late, 2)]
    {
        let plan = Plan::between(before, after);
        assert_eq!(plan.exit_code(), code, "{plan}");
        assert!(about(&plan, Aspect::Callers).is_empty(), "{plan}");
    }
}

#[test]
fn a_provider_that_moves_to_another_host_or_region_is_told() {
    let plan = edited(&[("api.shop.example", "api.mall.example")]);
    let hosts: Vec<_> = about(&plan, Aspect::Hosts);
    assert_eq!(hosts[0].before.as_deref(), Some("api.shop.example:443"));
    assert_eq!(hosts[1].after.as_deref(), Some("api.mall.example:443"));
    assert_eq!(plan.exit_code(), 3);
    let plan = edited(&[("region: eu", "region: us")]);
    assert_eq!(about(&plan, Aspect::Regions).len(), 2, "{plan}");
    assert_eq!(plan.exit_code(), 3);
}

#[test]
fn an_entry_that_no_call_reaches_opens_nothing() {
    // `sma*` takes every name that `small*` would, so that `large` is never chosen by the second.
    let base =
        BASE.replace("{ when: { tools: true }, to: [small] }", "{ when: { model: 'sma*' }, to: [small] }");
    let base = base.replace("{ to: [large, small] }", "{ to: [small] }");
    let new = base.replace(
        "      - { to: [small] }",
        "      - { when: { model: 'small*' }, to: [large] }\n      - { to: [small] }",
    );
    let plan = Plan::between(&compiled(&base), &compiled(&new));
    assert!(about(&plan, Aspect::Targets).is_empty(), "{plan}");
    assert!(about(&plan, Aspect::Calls).len() <= 1, "{plan}");
}

#[test]
fn a_workflow_that_is_new_widens_and_one_that_is_gone_tightens() {
    let more = format!("{BASE}{}", &BASE[BASE.find("  one:").unwrap()..].replace("one:", "two:"));
    let plan = Plan::between(&compiled(BASE), &compiled(&more));
    assert_eq!((plan.workflows[0].fate, plan.exit_code()), (Fate::Added, 3), "{plan}");
    let plan = Plan::between(&compiled(&more), &compiled(BASE));
    assert_eq!((plan.workflows[0].fate, plan.exit_code()), (Fate::Removed, 2), "{plan}");
}

#[test]
fn a_plan_in_its_three_forms() {
    let plan = edited(&[
        ("owner: team", "owner: 'team | `two`'"),
        ("tools: true }, to: [small]", "tools: true }, to: [large, small]"),
        ("    must_survive: [seed]\n", "    must_survive: [seed, top_p]\n"),
        ("['*.evil.example'] }", "[], limits: { total: 5m } }"),
    ]);
    insta::assert_snapshot!("plan_text", plan);
    insta::assert_snapshot!("plan_markdown", plan.to_markdown());
    insta::assert_json_snapshot!("plan_json", plan.to_json());
}

#[test]
fn a_replay_counts_calls_whose_outcome_differs() {
    let new = compiled(
        &BASE
            .replace("tools: true }, to: [small]", "tools: true }, to: [large]")
            .replace("[large, small]", "[small]"),
    );
    let base = compiled(BASE);
    let mut replay = Replay::new(&base, &new);
    let ask = |model: &str, tools| Ask {
        who: Who::Loopback,
        workflow: Some("one".to_owned()),
        facts: Facts {
            model: model.to_owned(),
            input_tokens: 10,
            tools: if tools { vec!["shell".to_owned()] } else { vec![] },
            ..Facts::default()
        },
    };
    for _ in 0..3 {
        replay.call(&ask("auto", true), true);
    }
    replay.call(&ask("auto", false), true);
    replay.call(&ask("nobody", false), false);
    replay.call(&ask("nobody", false), true);
    replay.leave_out("no model on record");
    insta::assert_snapshot!("replay", replay.finish());
}
