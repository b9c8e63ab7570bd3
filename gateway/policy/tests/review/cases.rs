//! What cases expect and get, how a file of them is read, and which rules they meet.

use policy::Source;
use policy::cases::{Cases, RuleKind};

use crate::compiled;

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
      - { to: [large, small] }
  wiki:
    owner: team-wiki
    callers: [ { loopback: true } ]
    egress: { mode: sealed }
    route: [ { to: [small] } ]
";

const HEAD: &str = "version: 1\ncases:\n";

fn read(text: &str) -> Result<Cases, policy::Diagnostics> {
    Cases::read(&Source { name: "routes_test.yaml".to_owned(), text: text.to_owned() })
}

/// Runs cases that are written right.
#[track_caller]
fn run(cases: &str) -> policy::cases::Report {
    read(&format!("{HEAD}{cases}")).unwrap_or_else(|findings| panic!("{findings}")).run(&compiled(POLICY))
}

const ALL: &str = "
  - { name: short, caller: { api_key: bot }, request: { model: small, input_tokens: 10 }, expect: { decision: allow, to: [small] } }
  - name: tools
    caller: { loopback: true }
    workflow: docs
    request: { tools: [shell] }
    expect: { decision: allow, to: [large, small], providers: [shop, local], rule: 'workflows.docs.route[1]' }
  - { name: wiki, caller: { loopback: true }, workflow: wiki, expect: { decision: allow } }
  - { name: slip, caller: { api_key: bot }, request: { model: smal }, expect: { decision: deny, code: policy.unknown_model } }
  - { name: slip in wiki, caller: { loopback: true }, workflow: wiki, request: { model: large }, expect: { decision: deny, code: policy.unknown_model } }
  - { name: neither, caller: { loopback: true }, expect: { decision: deny, code: workflow_ambiguous } }
  - { name: not its own, caller: { api_key: bot }, workflow: wiki, expect: { decision: deny, code: workflow_not_allowed } }
  - { name: stranger, caller: { api_key: eve }, workflow: docs, expect: { decision: deny, code: invalid_api_key } }
";

#[test]
fn cases_that_meet_every_rule_pass_and_cover_all() {
    let report = run(ALL);
    assert_eq!(report.failed_count(), 0, "{report}");
    assert_eq!(report.coverage().missing().count(), 0, "{report}");
    assert!(report.coverage().reaches(100));
    // Three entries; of each workflow: not its caller, several workflows, unknown model.
    assert_eq!(report.coverage().count(RuleKind::Entry), (3, 3));
    assert_eq!(report.coverage().count(RuleKind::Deny), (6, 6));
}

#[test]
fn cases_of_several_files_are_one_report_and_each_names_its_file() {
    let source = |name: &str, cases: &str| Source { name: name.to_owned(), text: format!("{HEAD}{cases}") };
    let docs = "  - { name: same, caller: { api_key: bot }, expect: { decision: deny, code: x } }\n";
    let wiki = "\n  - { name: same, caller: { loopback: true }, workflow: wiki, expect: { decision: deny, code: x } }\n";
    let files = [source("docs_test.yaml", docs), source("wiki_test.yaml", wiki)];
    let report = Cases::read_all(&files).unwrap().run(&compiled(POLICY));
    let said = report.to_string();
    assert!(
        said.contains("FAIL docs_test.yaml:3: same") && said.contains("FAIL wiki_test.yaml:4: same"),
        "{said}"
    );
    assert!(said.contains("docs_test.yaml and 1 more: 0 of 2 cases passed"), "{said}");
    assert!(report.to_junit().contains("file=\"wiki_test.yaml\" line=\"4\""), "{}", report.to_junit());
    assert_eq!(report.workflows().into_iter().collect::<Vec<_>>(), ["docs", "wiki"]);
    let broken = [source("docs_test.yaml", "  - {}\n"), source("wiki_test.yaml", "  - { nme: x }\n")];
    let said = Cases::read_all(&broken).unwrap_err().to_string();
    assert!(said.contains("docs_test.yaml:3:5: ") && said.contains("wiki_test.yaml:3:7: "), "{said}");
}

/// A workflow is tested by a case that gets into it, or that names it in vain; not by one that could have meant it.
#[test]
fn a_case_is_about_the_workflow_that_it_comes_to_or_names() {
    let about = |case: &str| {
        run(&format!("  - {{ name: x, caller: {case}, expect: {{ decision: allow }} }}\n")).workflows()
    };
    for (case, workflow) in [
        ("{ api_key: bot }", Some("docs")),
        ("{ api_key: bot }, request: { model: nothing }", Some("docs")),
        ("{ api_key: bot }, workflow: wiki", Some("wiki")),
        ("{ api_key: eve }, workflow: wiki", Some("wiki")),
        ("{ loopback: true }", None),
        ("{ api_key: eve }", None),
    ] {
        assert_eq!(about(case).first().map(String::as_str), workflow, "{case}");
    }
}

#[test]
fn each_case_is_needed_for_the_coverage() {
    let lines: Vec<&str> = ALL.split("\n  - ").skip(1).collect();
    for left_out in 0..lines.len() {
        let kept = lines.iter().enumerate().filter(|(index, _)| *index != left_out);
        let cases: Vec<String> = kept.map(|(_, case)| format!("  - {}\n", case.trim_end())).collect();
        let cases = cases.concat();
        let report = run(&cases);
        assert!(!report.coverage().reaches(100), "without {}:\n{report}", lines[left_out]);
    }
}

const FAILING: &str = "
  - { name: as it should be, caller: { api_key: bot }, expect: { decision: allow, to: [small] } }
  - { name: to the wrong place, caller: { api_key: bot }, request: { tools: true }, expect: { decision: allow, to: [small], providers: [local] } }
  - { name: denied instead, caller: { api_key: bot }, workflow: wiki, expect: { decision: allow, to: [small] } }
  - name: \"another code <&> 'quoted'\"
    caller: { api_key: bot }
    request: { model: nothing }
    expect: { decision: deny, code: workflow_not_allowed }
  - { name: another rule, caller: { api_key: bot }, expect: { decision: allow, rule: 'workflows.docs.route[1]' } }
";

#[test]
fn a_case_that_fails_shows_what_was_expected_and_what_came() {
    let report = run(FAILING);
    assert_eq!(report.failed_count(), 4);
    insta::assert_snapshot!("cases_text", report);
    insta::assert_snapshot!("cases_junit", report.to_junit());
    insta::assert_json_snapshot!("cases_json", report.to_json());
}

#[test]
fn a_file_of_cases_is_read_as_strictly_as_a_policy() {
    let wrong = "version: 1
cases:
  - name: a slip in a key
    caler: { loopback: true }
    caller: { loopback: true }
    expect: { decision: allow }
  - name: two callers
    caller: { loopback: true, api_key: bot }
    expect: { decision: alow }
  - name: no reason
    caller: { api_key: bot }
    expect: { decision: deny }
  - name: a place beside a denial
    caller: { api_key: bot }
    expect: { decision: deny, code: workflow_ambiguous, to: [small] }
  - name: no reason
    caller: { api_key: Bot }
    request: { body: {}, tools: yes, input_tokens: 8k }
    expect: { decision: allow, code: x }
  - { name: later, caller: { jwt: {} }, expect: { decision: allow } }
  - caller: { loopback: false }
more: 1
";
    insta::assert_snapshot!("cases_errors", read(wrong).unwrap_err());
    for text in
        ["", "version: 1\n", "version: 2\ncases: []\n", "cases: []\n", "version: 1\ncases: { a: b }\n"]
    {
        assert!(read(text).is_err(), "{text:?}");
    }
    assert!(read("version: 1\ncases: []\n").unwrap().is_empty());
}
