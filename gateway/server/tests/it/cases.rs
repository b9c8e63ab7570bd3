//! `portcullis test` and `portcullis explain`, as a person or a build server runs them.

use std::process::Output;

use serde_json::Value;

use crate::gateway::Home;
use crate::routes::Routes;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stdout)
}

const PASSES: &str = "  - { name: here, caller: { loopback: true }, expect: { decision: allow, to: [demo], providers: [engine] } }\n";
const SLIP: &str = "  - name: a slip\n    caller: { loopback: true }\n    request: { model: dmeo }\n    expect: { decision: deny, code: policy.unknown_model }\n";
const STRANGER: &str = "  - name: a stranger\n    caller: { api_key: eve }\n    workflow: try-it\n    expect: { decision: deny, code: invalid_api_key }\n";
const FAILS: &str = "  - { name: elsewhere, caller: { loopback: true }, request: { tools: true }, expect: { decision: allow, to: [opus] } }\n";

fn home(cases: &[&str]) -> Home {
    let home = Home::new(&Routes::demo());
    home.write("routes_test.yaml", &format!("version: 1\ncases:\n{}", cases.concat()));
    home
}

#[test]
fn cases_that_pass_exit_with_0_and_show_what_they_did_not_meet() {
    let home = home(&[PASSES, SLIP]);
    let output = home.run(&["test"]);
    let said = check(&output, 0);
    assert!(said.contains("routes_test.yaml: 2 of 2 cases passed, 0 failed"), "{said}");
    assert!(said.contains("not met: try-it, workflow_not_allowed"), "{said}");
    let output = home.run(&["test", "--require-coverage", "100"]);
    assert!(check(&output, 1).contains("FAIL coverage: 100 %"), "{output:?}");
    check(&home.run(&["test", "--require-coverage", "50"]), 0);
    check(&home.run(&["test", "--require-coverage", "101"]), 2);
}

#[test]
fn every_rule_met_is_full_coverage() {
    let output = home(&[PASSES, SLIP, STRANGER]).run(&["test", "routes.yaml", "--require-coverage", "100"]);
    let said = check(&output, 0);
    assert!(said.contains("route entries 1 of 1 (100 %), reasons to refuse 2 of 2 (100 %)"), "{said}");
}

#[test]
fn a_case_that_fails_exits_with_1_and_says_where_it_stands() {
    let home = home(&[PASSES, FAILS]);
    let output = home.run(&["test", "--junit", "results.xml"]);
    let said = check(&output, 1);
    assert!(said.contains("FAIL routes_test.yaml:4: elsewhere\n"), "{said}");
    assert!(
        said.contains(
            "  expected: allow, to [opus]\n  got:      allow, to [demo], by workflows.try-it.route[0]\n"
        ),
        "{said}"
    );
    let junit = std::fs::read_to_string(home.path().join("results.xml")).unwrap();
    assert!(junit.contains("tests=\"2\" failures=\"1\"") && junit.contains("<failure "), "{junit}");
    let output = home.run(&["test", "--json"]);
    let json: Value = serde_json::from_str(check(&output, 1)).unwrap();
    assert_eq!((&json["passed"], &json["failed"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(json["cases"][1]["line"], 4);
}

#[test]
fn cases_that_are_wrong_or_absent_are_an_error() {
    let home = home(&["  - { name: x, caler: { loopback: true }, expect: { decision: allow } }\n"]);
    let output = home.run(&["test"]);
    check(&output, 1);
    let said = text(&output.stderr);
    assert!(said.contains("routes_test.yaml:3:16: unknown key `caler`"), "{said}");
    assert!(said.contains("did you mean `caller`?"), "{said}");
    let output = home.run(&["test", "--cases", "none.yaml"]);
    check(&output, 1);
    assert!(text(&output.stderr).contains("none.yaml"), "{output:?}");
}

/// What the command says of a caller is what the gateway answers.
#[tokio::test]
async fn an_explanation_is_what_happens() {
    let home = Home::new(&Routes::demo());
    let output = home.run(&["explain", "--caller", "loopback", "--model", "dmeo"]);
    let said = check(&output, 0);
    assert!(said.contains("outcome:   deny, policy.unknown_model, by workflows.try-it.route"), "{said}");
    let output = home.run(&["explain", "--caller", "loopback", "--json"]);
    let json: Value = serde_json::from_str(check(&output, 0)).unwrap();
    assert_eq!(json["outcome"]["to"][0]["model"], "demo");

    let gateway = home.serve().await;
    gateway.client().chat(&crate::client::ask("hello")).await;
    let wrong = crate::client::with(crate::client::ask("hello"), serde_json::json!({ "model": "dmeo" }));
    gateway.client().chat(&wrong).await;
    gateway.stop().await;
    let intent = &home.records_of("llm.intent")[0];
    assert_eq!(intent["policy"]["digest"], json["policy"]);
    assert_eq!(intent["policy"]["rule"], json["outcome"]["rule"]);
    assert_eq!(home.records_of("llm.denied")[0]["decision"]["code"], "policy.unknown_model");
}

/// The codes of a refusal before there is a workflow are written down twice, here and where they are answered.
#[tokio::test]
async fn codes_of_refusals_are_those_that_a_client_gets() {
    let routes = Routes::demo().workflow("other", "{ mode: sealed }", "demo");
    let home = Home::new(&routes);
    let explained = |arguments: &[&str]| -> Value {
        let output = home.run(&[&["explain", "--json"], arguments].concat());
        let json: Value = serde_json::from_str(check(&output, 0)).unwrap();
        json["outcome"]["code"].clone()
    };
    let several = explained(&["--caller", "loopback"]);
    let not_its_own = explained(&["--caller", "loopback", "--workflow", "third"]);
    let gateway = home.serve().await;
    let client = gateway.client();
    let ask = crate::client::ask("hello");
    assert_eq!(client.chat(&ask).await.json()["error"]["code"], several);
    let named = client.with_header("x-portcullis-workflow", "third");
    assert_eq!(named.chat(&ask).await.json()["error"]["code"], not_its_own);
    let stranger = client.with_key("pck_eve_00");
    assert_eq!(stranger.chat(&ask).await.json()["error"]["code"], explained(&["--caller", "eve"]));
    gateway.stop().await;
}
