//! Conditions of a route beyond the model, and the tools that a call may offer.

use policy::{Decision, Denial, DenyCode, Facts, Policy, Source};
use proptest::prelude::*;
use proptest::sample::subsequence;

const CONDITIONS: &str = include_str!("good/conditions.yaml");
/// Monday, 23 November 2026, at midnight in UTC.
const MONDAY: u64 = 1_795_392_000;
const HOUR: u64 = 60 * 60;

fn compile(text: &str) -> Policy {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"))
}

fn decide(policy: &Policy, workflow: &str, facts: &Facts) -> Result<String, Denial> {
    let found = policy.workflows().find(|found| found.name().as_str() == workflow);
    match policy.decide(found.expect("a workflow of the test"), facts) {
        Decision::Allow(admitted) => Ok(admitted.rule().to_owned()),
        Decision::Deny(denial) => Err(denial),
    }
}

fn facts() -> Facts {
    Facts { model: "auto".to_owned(), now: MONDAY, ..Facts::default() }
}

fn offering(tools: &[&str]) -> Facts {
    Facts { tools: tools.iter().map(|tool| (*tool).to_owned()).collect(), ..facts() }
}

#[test]
fn each_condition_has_its_entry() {
    let policy = compile(CONDITIONS);
    let check = |facts: &Facts, index: usize| {
        let expected = format!("workflows.agents.route[{index}]");
        assert_eq!(decide(&policy, "agents", facts), Ok(expected), "{facts:?}");
    };
    check(&Facts { images: true, ..facts() }, 0);
    let task = |task: &str| Facts { task: Some(task.to_owned()), ..facts() };
    check(&task("review-code"), 1);
    check(&task("Review-code"), 4);
    check(&Facts { now: MONDAY + 23 * HOUR, ..facts() }, 2);
    check(&Facts { now: MONDAY + 27 * HOUR, ..facts() }, 2);
    // Saturday, at nine in Berlin's winter.
    check(&Facts { now: MONDAY + 128 * HOUR, ..facts() }, 3);
    check(&Facts { now: MONDAY + 8 * HOUR, ..facts() }, 4);
}

#[test]
fn a_call_without_a_task_matches_no_pattern_of_tasks() {
    let policy = compile(&CONDITIONS.replace("task: \"review*\"", "task: \"*\""));
    let unnamed = decide(&policy, "agents", &facts());
    assert_eq!(unnamed.as_deref(), Ok("workflows.agents.route[4]"));
    let named = decide(&policy, "agents", &Facts { task: Some(String::new()), ..facts() });
    assert_eq!(named.as_deref(), Ok("workflows.agents.route[1]"));
}

#[test]
fn images_are_looked_for_only_where_a_route_asks() {
    let policy = compile(CONDITIONS);
    let asks: Vec<bool> = policy.workflows().map(policy::Workflow::asks_about_images).collect();
    assert_eq!(asks, [true, false]);
}

#[test]
fn a_denied_tool_denies_the_call_with_a_code_and_a_rule() {
    let policy = compile(CONDITIONS);
    for tool in ["shell_network", "shell_network_fetch", "SHELL_Network", "computer", "mcp__web__open"] {
        let denial = decide(&policy, "agents", &offering(&["read_file", tool])).unwrap_err();
        assert_eq!(denial.code, DenyCode::ToolDenied, "{tool}");
        assert_eq!(denial.code.as_str(), "policy.tool_denied");
        assert_eq!(denial.rule, "workflows.agents.tools");
    }
    assert!(decide(&policy, "agents", &offering(&["read_file", "shell", "anything"])).is_ok());
    let denial = decide(&policy, "agents", &offering(&["shell_network\n\u{1b}[0m"])).unwrap_err();
    insta::assert_snapshot!("tool_denied", denial);
}

#[test]
fn an_allow_list_allows_nothing_else() {
    let policy = compile(CONDITIONS);
    assert!(decide(&policy, "narrow", &offering(&["search_docs", "search_code"])).is_ok());
    assert!(decide(&policy, "narrow", &facts()).is_ok(), "no tool is not a denied one");
    // What the workflow allows and the defaults deny, what it denies itself, and what nobody names.
    for tool in ["search_shell_network", "search_secrets", "read_file", "Search_docs", ""] {
        let denial = decide(&policy, "narrow", &offering(&["search_docs", tool])).unwrap_err();
        assert_eq!(denial.rule, "workflows.narrow.tools", "{tool:?}");
    }
}

#[test]
fn a_name_that_only_looks_like_another_is_denied() {
    let policy = compile(CONDITIONS);
    for tool in ["she\u{200b}ll_network", "ѕhell_network", "search docs", "tool\u{0}"] {
        assert!(decide(&policy, "agents", &offering(&[tool])).is_err(), "{tool:?}");
    }
    let open = CONDITIONS
        .replace("defaults:\n  tools: { deny: [\"*shell_network*\", computer, \"mcp__web__*\"] }\n", "");
    let policy = compile(&open);
    assert!(decide(&policy, "agents", &offering(&["she\u{200b}ll_network"])).is_ok(), "nothing is denied");
}

/// Each changes what `conditions.yaml` means.
const CHANGES: &[(&str, &str)] = &[
    ("images: true", "images: false"),
    ("images: true", "tools: true"),
    ("review*", "review"),
    ("\"22:00\"", "\"22:01\""),
    ("\"06:00\"", "\"06:01\""),
    ("zone: UTC", "zone: \"+00:15\""),
    ("days: [mon, tue, wed, thu, fri], ", ""),
    ("days: [mon, tue, wed, thu, fri]", "days: [mon, tue, wed, thu]"),
    ("*shell_network*", "*shell_networks*"),
    (", computer", ""),
    ("allow: [\"search_*\"]", "allow: [\"search_*\", read_file]"),
    ("allow: [\"search_*\"], ", ""),
    ("allow: [\"search_*\"]", "allow: []"),
    (", deny: [search_secrets]", ""),
];

#[test]
fn every_change_of_meaning_changes_the_digest() {
    let mut digests = vec![compile(CONDITIONS).digest().to_string()];
    for (from, to) in CHANGES {
        assert!(CONDITIONS.contains(from), "{from}");
        let digest = compile(&CONDITIONS.replacen(from, to, 1)).digest().to_string();
        assert!(!digests.contains(&digest), "{from} -> {to} kept the digest or met another one");
        digests.push(digest);
    }
}

#[test]
fn spelling_does_not_change_the_digest() {
    for (from, to) in [
        ("zone: UTC", "zone: \"+00:00\""),
        ("days: [mon, tue, wed, thu, fri]", "days: [fri, mon, tue, wed, thu]"),
        (
            "to: \"24:00\", zone: \"-05:00\"",
            "to: \"00:00\", zone: \"-05:00\", days: [mon, tue, wed, thu, fri, sat, sun]",
        ),
        ("computer", "Computer"),
        ("[\"*shell_network*\", computer", "[computer, \"*shell_network*\""),
        ("deny: [search_secrets]", "deny: [search_secrets, computer]"),
    ] {
        assert!(CONDITIONS.contains(from), "{from}");
        let same = compile(&CONDITIONS.replacen(from, to, 1)).digest().to_string();
        assert_eq!(same, compile(CONDITIONS).digest().to_string(), "{to}");
    }
}

#[test]
fn the_digest_is_the_same_on_every_machine_and_in_every_version() {
    insta::assert_snapshot!("digest_conditions", compile(CONDITIONS).digest());
}

const PATTERNS: [&str; 6] = ["a", "a*", "*b", "b", "*", "ab"];
const TOOLS: [&str; 5] = ["a", "b", "ab", "ba", "c"];

/// Lists of one `tools`; without any the key is absent.
#[derive(Debug, Clone)]
struct Rules {
    allow: Option<Vec<&'static str>>,
    deny: Vec<&'static str>,
}

fn rules() -> impl Strategy<Value = Rules> {
    let patterns = || subsequence(PATTERNS.to_vec(), 0..=3);
    (prop::option::of(patterns()), prop_oneof![Just(vec![]), patterns()])
        .prop_map(|(allow, deny)| Rules { allow, deny })
}

impl Rules {
    fn text(&self) -> String {
        let list = |patterns: &[&str]| {
            let quoted: Vec<String> = patterns.iter().map(|pattern| format!("'{pattern}'")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let allow = self.allow.as_ref().map(|allow| format!("allow: {}, ", list(allow))).unwrap_or_default();
        format!("tools: {{ {allow}deny: {} }}", list(&self.deny))
    }

    /// Says a second time what the rules mean.
    fn permit(&self, tool: &str) -> bool {
        let covers = |pattern: &&str| match *pattern {
            "*" => true,
            "a*" => tool.starts_with('a'),
            "*b" => tool.ends_with('b'),
            exact => tool == exact,
        };
        !self.deny.iter().any(covers) && self.allow.as_ref().is_none_or(|allow| allow.iter().any(covers))
    }
}

fn permitted(defaults: &Rules, own: &Rules, tools: &[&str]) -> bool {
    let text = format!(
        "version: 1\ndefaults: {{ {} }}\nproviders: {{ local: {{ kind: engine }} }}
models: {{ demo: {{ provider: local, path: x }} }}\nworkflows:
  w: {{ owner: o, callers: [], egress: {{ mode: sealed }}, route: [ {{ to: [demo] }} ], {} }}\n",
        defaults.text(),
        own.text(),
    );
    decide(&compile(&text), "w", &offering(tools)).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_tool_passes_only_if_the_defaults_and_the_workflow_let_it(
        defaults in rules(),
        own in rules(),
        tools in subsequence(TOOLS.to_vec(), 0..=3),
    ) {
        let expected = tools.iter().all(|tool| defaults.permit(tool) && own.permit(tool));
        prop_assert_eq!(permitted(&defaults, &own, &tools), expected);
    }
}
