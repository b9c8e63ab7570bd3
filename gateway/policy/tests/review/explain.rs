//! The rule that is explained is the rule that decides.

use policy::{Ask, Facts, KeyId, Verdict, Who};
use proptest::prelude::*;

use crate::compiled;
use crate::stage::{case, every_call};

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn the_first_rule_that_is_said_to_hold_is_the_one_that_decides(case in case()) {
        let policy = case.policy();
        for facts in every_call() {
            for workflow in policy.workflows() {
                let explained = policy.explain_workflow(workflow.name().as_str(), &facts).unwrap();
                let deciding: Vec<_> =
                    explained.rules.iter().filter(|step| step.verdict == Verdict::Decides).collect();
                prop_assert_eq!(deciding.len(), 1, "{}", explained);
                prop_assert_eq!(deciding[0].rule.as_str(), explained.outcome.rule());
                let before = explained.rules.iter().take_while(|step| step.verdict != Verdict::Decides);
                for step in before.filter(|step| step.verdict == Verdict::Skipped) {
                    prop_assert!(step.conditions.iter().any(|condition| !condition.holds));
                }
            }
        }
    }
}

const POLICY: &str = "version: 1
providers:
  local: { kind: engine }
  shop: { kind: openai, base_url: 'https://api.shop.example/v1', locality: hosted, region: eu }
models:
  small: { provider: local, path: m }
  large: { provider: shop, name: large-1 }
workflows:
  docs:
    owner: team-docs
    callers: [ { loopback: true }, { api_key: { id: bot, sha256: 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff' } } ]
    egress: { mode: hosted, providers: [shop] }
    route:
      - { when: { max_input_tokens: 8000, tools: false }, to: [small] }
      - { when: { model: 'opus*' }, to: [large, small] }
      - { to: [small] }
  wiki:
    owner: team-wiki
    callers: [ { loopback: true } ]
    egress: { mode: sealed }
    route: [ { to: [small] } ]
";

fn explained(
    who: Option<&str>,
    workflow: Option<&str>,
    model: &str,
    input_tokens: u64,
) -> policy::Explanation {
    let policy = compiled(POLICY);
    let facts = Facts { model: model.to_owned(), input_tokens, ..Facts::default() };
    match who {
        None => policy.explain_workflow(workflow.unwrap(), &facts).unwrap(),
        Some(who) => {
            let who = if who == "loopback" { Who::Loopback } else { Who::ApiKey(KeyId::new(who).unwrap()) };
            policy.explain(&Ask { who, workflow: workflow.map(str::to_owned), facts })
        }
    }
}

#[test]
fn an_explanation_names_what_each_rule_looked_at() {
    insta::assert_snapshot!("explain_every_condition", every_condition());
    insta::assert_snapshot!("explain_allow", explained(Some("bot"), None, "opus-4", 9000));
    insta::assert_snapshot!("explain_unknown_model", explained(None, Some("docs"), "gpt-9", 10));
    insta::assert_snapshot!("explain_ambiguous", explained(Some("loopback"), None, "auto", 10));
    insta::assert_snapshot!("explain_stranger", explained(Some("nobody"), Some("docs"), "auto", 10));
    insta::assert_json_snapshot!(
        "explain_json",
        explained(Some("bot"), Some("docs"), "opus-4", 9000).to_json()
    );
}

/// A rule of every kind, each of which looks at something.
fn every_condition() -> policy::Explanation {
    let conditions = "images: false, task: 'doc*', time: { days: [mon, fri], from: \"08:00\", to: \"18:00\", zone: \"+01:00\" }";
    let policy = POLICY
        .replace("max_input_tokens: 8000, tools: false", &format!("tools: true, {conditions}"))
        .replace("    egress: { mode: hosted", "    tools: { deny: [shell] }\n    egress: { mode: hosted")
        .replace("- { to: [small] }\n  wiki", "- { split: { small: 9, other: 1 }, shadow: third }\n  wiki")
        .replace(
            "  large:",
            "  other: { provider: local, path: other }\n  third: { provider: local, path: third }\n  large:",
        );
    let facts = Facts {
        model: "auto".to_owned(),
        tools: vec!["read".to_owned(), "write".to_owned()],
        task: Some("docs".to_owned()),
        // Saturday.
        now: 1_795_392_000 + 5 * 24 * 3600 + 9 * 3600,
        ..Facts::default()
    };
    compiled(&policy).explain_workflow("docs", &facts).unwrap()
}
