//! What a workflow may reach beyond its providers, and what its calls may make others reach.

use policy::{ContentRules, Facts, Policy, Source, Workflow};
use policy::{Decision, EgressMode};

const COMPLETE: &str = include_str!("good/complete.yaml");

fn compile(text: &str) -> Policy {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"))
}

fn content(policy: &Policy, workflow: &Workflow) -> ContentRules {
    let facts = Facts { model: "auto".to_owned(), ..Facts::default() };
    let Decision::Allow(admitted) = policy.decide(workflow, &facts) else {
        panic!("`auto` is known everywhere")
    };
    assert_eq!(admitted.content_rules(), workflow.content_rules());
    *workflow.content_rules()
}

#[test]
fn a_sealed_workflow_refuses_content_that_makes_others_dial() {
    let policy = compile(COMPLETE);
    let mut seen = Vec::new();
    for workflow in policy.workflows() {
        let mode = workflow.egress_mode();
        let expected = if mode == EgressMode::Sealed { ContentRules::REFUSE } else { ContentRules::PASS };
        assert_eq!(content(&policy, workflow), expected, "{}", workflow.name());
        seen.push(mode);
    }
    assert!(seen.contains(&EgressMode::Sealed) && seen.iter().any(|mode| *mode != EgressMode::Sealed));
}
