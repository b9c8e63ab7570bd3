//! The worked example of the documentation, without its terminal.

use std::path::Path;

use policy::cases::Cases;
use policy::plan::Plan;
use policy::{Ask, Facts, KeyId, Policy, Source, Who};

fn source(file: &str) -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy").join(file);
    Source { name: format!("docs/policy/{file}"), text: std::fs::read_to_string(path).unwrap() }
}

fn policy(file: &str) -> Policy {
    Policy::compile(&source(file)).unwrap_or_else(|findings| panic!("{findings}"))
}

#[test]
fn the_example_is_tested_explained_and_planned() {
    let (base, proposed) = (policy("routes.yaml"), policy("proposed/routes.yaml"));
    let cases = Cases::read(&source("routes_test.yaml")).unwrap_or_else(|findings| panic!("{findings}"));
    let report = cases.run(&base);
    assert!(report.failed_count() == 0 && report.coverage().reaches(100), "{report}");
    insta::assert_snapshot!("example_test", report);
    assert!(cases.run(&proposed).failed_count() > 0, "the tests stop the change too");

    let facts =
        |model: &str, input_tokens| Facts { model: model.to_owned(), input_tokens, ..Facts::default() };
    let who = Who::ApiKey(KeyId::new("docs-bot").unwrap());
    let allowed = base.explain(&Ask { who, workflow: None, facts: facts("opus-4", 9000) });
    insta::assert_snapshot!("example_explain", allowed);
    let denied = base.explain_workflow("trading-refactor", &facts("opus", 0)).unwrap();
    insta::assert_snapshot!("example_explain_denied", denied);

    let plan = Plan::between(&base, &proposed);
    assert_eq!(plan.exit_code(), 3);
    insta::assert_snapshot!("example_plan", plan);
    insta::assert_snapshot!("example_plan_markdown", plan.to_markdown());
}
