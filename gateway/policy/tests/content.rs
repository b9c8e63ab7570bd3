//! What a call may ask of a backend beyond its own answer, and what a refused one hears.

use std::fmt::Write as _;

use policy::{
    ContentRule, ContentRules, Decision, Denial, DenyCode, EgressMode, Facts, Indirect, IndirectKind, Policy,
    Source,
};

const COMPLETE: &str = include_str!("good/complete.yaml");

fn compile(text: &str) -> Policy {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"))
}

fn asking(kinds: &[IndirectKind]) -> Facts {
    let indirect =
        |(index, kind): (usize, &IndirectKind)| Indirect { kind: *kind, path: format!("field_{index}") };
    let content = kinds.iter().enumerate().map(indirect).collect();
    Facts { model: "auto".to_owned(), content, ..Facts::default() }
}

/// What becomes of a call of each workflow of the mode `is_sealed`.
fn decide(is_sealed: bool, facts: &Facts) -> Vec<Result<(), Denial>> {
    let policy = compile(COMPLETE);
    let of_mode = policy.workflows().filter(|found| (found.egress_mode() == EgressMode::Sealed) == is_sealed);
    let decisions = of_mode.map(|workflow| match policy.decide(workflow, facts) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(denial) => Err(denial),
    });
    let decisions: Vec<_> = decisions.collect();
    assert!(!decisions.is_empty());
    decisions
}

#[test]
fn a_sealed_workflow_refuses_each_kind_with_its_own_code() {
    for kind in IndirectKind::ALL {
        for outcome in decide(true, &asking(&[kind])) {
            let denial = outcome.expect_err("it is refused");
            assert_eq!(denial.code, DenyCode::Content(kind));
            assert_eq!(denial.code.as_str(), format!("content.{}", kind.as_str()));
            assert_eq!(IndirectKind::of_code(denial.code.as_str()), Some(kind));
            assert_eq!(denial.param, "field_0");
            assert!(denial.message.contains("`field_0`"), "{}", denial.message);
            assert!(
                denial.rule.starts_with("workflows.") && denial.rule.ends_with(".egress"),
                "{}",
                denial.rule
            );
        }
    }
}

#[test]
fn other_workflows_let_it_pass_unless_they_say_otherwise() {
    for kind in IndirectKind::ALL {
        assert!(decide(false, &asking(&[kind])).iter().all(Result::is_ok), "{kind:?}");
    }
}

#[test]
fn the_first_that_is_refused_is_the_one_that_is_named() {
    let facts = asking(&[IndirectKind::UnknownField, IndirectKind::RemoteUrl]);
    for outcome in decide(true, &facts) {
        assert_eq!(outcome.map_err(|denial| denial.code), Err(DenyCode::Content(IndirectKind::UnknownField)));
    }
}

#[test]
fn nobody_has_to_look_where_nothing_is_refused() {
    assert!(ContentRules::REFUSE.refuse_anything());
    assert!(!ContentRules::PASS.refuse_anything());
    for one in [
        ContentRules { urls: ContentRule::Refuse, ..ContentRules::PASS },
        ContentRules { hosted_tools: ContentRule::Refuse, ..ContentRules::PASS },
        ContentRules { stored_state: ContentRule::Refuse, ..ContentRules::PASS },
        ContentRules { unknown_fields: ContentRule::Refuse, ..ContentRules::PASS },
    ] {
        assert!(one.refuse_anything());
    }
}

#[test]
fn each_refusal_says_what_to_do() {
    let mut shown = String::new();
    for kind in IndirectKind::ALL {
        let denial = decide(true, &asking(&[kind])).remove(0).expect_err("it is refused");
        writeln!(shown, "{}: {}", denial.code.as_str(), denial.message).expect("a string takes all");
    }
    insta::assert_snapshot!(shown);
}
