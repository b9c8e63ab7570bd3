//! A policy of several files: the same policy as in one, and every message names the right one.

use policy::{Diagnostics, Policy, Source};

const BASE: &str = "version: 1
providers: { local: { kind: engine } }
models: { demo: { provider: local, path: x } }
";

fn source(name: &str, text: impl Into<String>) -> Source {
    Source { name: name.to_owned(), text: text.into() }
}

fn workflow(name: &str, model: &str) -> String {
    format!(
        "  {name}: {{ owner: {name}, callers: [], egress: {{ mode: sealed }}, route: [ {{ to: [{model}] }} ] }}\n"
    )
}

fn part(name: &str, body: &str) -> Source {
    source(name, format!("version: 1\nworkflows:\n{body}"))
}

fn refused(base: &Source, parts: &[Source]) -> Diagnostics {
    Policy::compile_parts(base, parts).expect_err("this is to be refused")
}

#[test]
fn files_together_are_the_policy_that_they_are_in_one() {
    let parts = [part("a.yaml", &workflow("a", "demo")), part("b.yaml", &workflow("b", "demo"))];
    let several = Policy::compile_parts(&source("routes.yaml", BASE), &parts).unwrap();
    let text = format!("{BASE}workflows:\n{}{}", workflow("b", "demo"), workflow("a", "demo"));
    let one = Policy::compile(&source("routes.yaml", text)).unwrap();
    assert_eq!(several.digest(), one.digest());
    assert_eq!(several.workflows().count(), 2);
}

#[test]
fn a_base_may_have_workflows_too_and_must_have_some_if_it_is_alone() {
    let base = source("routes.yaml", format!("{BASE}workflows:\n{}", workflow("a", "demo")));
    let policy = Policy::compile_parts(&base, &[part("b.yaml", &workflow("b", "demo"))]).unwrap();
    assert_eq!(policy.workflows().count(), 2);
    assert!(refused(&source("routes.yaml", BASE), &[]).to_string().contains("`workflows` is missing"));
}

#[test]
fn every_message_names_its_file() {
    let base = source("routes.yaml", BASE.replace("path: x", "path: [x]"));
    let parts = [
        part("a.yaml", &(workflow("a", "demo") + &workflow("b", "dem"))),
        part("b.yaml", &(workflow("b", "demo") + "  c: {}\n")),
        source("c.yaml", "version: 1\nworkflows: [\n"),
        source("d.yaml", format!("{BASE}defaults: {{}}\nworkflow: {{}}\n")),
        source("e.yaml", ""),
    ];
    insta::assert_snapshot!("parts", refused(&base, &parts));
}

#[test]
fn a_workflow_in_two_files_is_an_error_that_names_both_places() {
    let base = source("routes.yaml", format!("{BASE}workflows:\n{}", workflow("a", "demo")));
    let parts = [
        part("b.yaml", &workflow("b", "demo")),
        part("c.yaml", &(workflow("b", "demo") + &workflow("a", "demo"))),
    ];
    insta::assert_snapshot!("parts_twice", refused(&base, &parts));
}

#[test]
fn a_policy_has_a_limit_of_files() {
    let parts: Vec<Source> =
        (0..4096).map(|index| part("w.yaml", &workflow(&format!("w{index}"), "demo"))).collect();
    let base = source("routes.yaml", BASE);
    assert!(Policy::compile_parts(&base, &parts[1..]).is_ok());
    assert_eq!(refused(&base, &parts).list().len(), 1);
}
