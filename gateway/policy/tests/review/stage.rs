//! Random policies over a fixed set of providers, and every call that could be told apart.

use std::fmt::Write as _;

use policy::{Facts, Policy};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::compiled;

/// Name and locality of each provider that a model is served by; `m-NAME` is that model.
pub(crate) const PROVIDERS: [(&str, &str); 5] =
    [("engine", "local"), ("near", "local"), ("tenant", "dedicated"), ("shop", "hosted"), ("mall", "hosted")];
/// Hosts that a provider can be declared at. Two providers may share one.
pub(crate) const HOSTS: [&str; 4] = ["one.example", "two.example", "a.three.example", "b.three.example"];
const DENIED: [&str; 3] = ["*.three.example", "one.example", "b.three.example"];
const REGIONS: [&str; 2] = ["eu", "us"];
const CALLERS: [&str; 3] = ["loopback", "ci", "bot"];
const WORKFLOWS: [&str; 2] = ["alpha", "beta"];
const TOOLS: [&str; 5] = [
    "{ deny: [] }",
    "{ deny: ['a*'] }",
    "{ allow: ['*b'] }",
    "{ allow: ['*'], deny: ['ab'] }",
    "{ allow: [] }",
];
const OTHERS: [&str; 5] = [
    "images: true",
    "images: false",
    "task: 'a*'",
    "time: { days: [mon, tue], from: '08:00', to: '18:00', zone: UTC }",
    "time: { from: '22:00', to: '06:00', zone: '+01:00' }",
];
const PATTERNS: [&str; 6] = ["a*", "*b", "*a*b*", "ab", "*", "m-*"];

/// One policy.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Host and region of each provider but the engine.
    pub(crate) declared: Vec<(&'static str, &'static str)>,
    deny_hosts: Vec<&'static str>,
    workflows: Vec<(&'static str, Workflow)>,
}

#[derive(Debug, Clone)]
struct Workflow {
    mode: &'static str,
    providers: Vec<&'static str>,
    callers: Vec<&'static str>,
    must_survive: bool,
    tools: &'static str,
    total_minutes: u32,
    retention_days: u32,
    entries: Vec<(Option<When>, Vec<usize>)>,
}

#[derive(Debug, Clone)]
struct When {
    model: Option<&'static str>,
    tools: Option<bool>,
    max_input_tokens: Option<u32>,
    /// One of the conditions that random policies need only now and then.
    other: Option<&'static str>,
}

fn when() -> impl Strategy<Value = When> {
    let model = prop::option::of(select(PATTERNS.to_vec()));
    let other = prop::option::weighted(0.3, select(OTHERS.to_vec()));
    (model, prop::option::of(any::<bool>()), prop::option::of(1..3_u32), other)
        .prop_map(|(model, tools, max_input_tokens, other)| When { model, tools, max_input_tokens, other })
        .prop_filter("a condition says something", |when| !when.text().contains("{  }"))
}

fn workflow() -> impl Strategy<Value = Workflow> {
    let to = || subsequence((0..PROVIDERS.len()).collect::<Vec<_>>(), 1..=2);
    let conditional = prop::collection::vec((when().prop_map(Some), to()), 0..4);
    let names: Vec<&str> = PROVIDERS[1..].iter().map(|(name, _)| *name).collect();
    (
        select(vec!["sealed", "allowlist", "hosted"]),
        subsequence(names, 0..=4),
        subsequence(CALLERS.to_vec(), 0..=3),
        (any::<bool>(), select(TOOLS.to_vec()), 1..4_u32, 400..403_u32),
        (conditional, to()),
    )
        .prop_map(
            |(
                mode,
                providers,
                callers,
                (must_survive, tools, total_minutes, retention_days),
                (mut entries, last),
            )| {
                entries.push((None, last));
                Workflow {
                    mode,
                    providers,
                    callers,
                    must_survive,
                    tools,
                    total_minutes,
                    retention_days,
                    entries,
                }
            },
        )
}

/// A random policy that loads: what its routes may not reach is taken out of them.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec((select(HOSTS.to_vec()), select(REGIONS.to_vec())), 4),
        prop_oneof![2 => Just(vec![]), 1 => subsequence(DENIED.to_vec(), 0..=2)],
        prop::collection::vec(workflow(), 2),
        subsequence(WORKFLOWS.to_vec(), 1..=2),
    )
        .prop_map(|(declared, deny_hosts, workflows, names)| Case {
            declared,
            deny_hosts,
            workflows: names.into_iter().zip(workflows).collect(),
        })
}

impl Case {
    pub(crate) fn policy(&self) -> Policy {
        compiled(&self.text())
    }

    fn is_denied(&self, host: &str) -> bool {
        self.deny_hosts.iter().any(|denied| match denied.strip_prefix('*') {
            Some(end) => host.ends_with(end),
            None => host == *denied,
        })
    }

    fn may_reach(&self, workflow: &Workflow, provider: usize) -> bool {
        let Some(declared) = provider.checked_sub(1) else { return true };
        let (name, locality) = PROVIDERS[provider];
        let named = workflow.providers.contains(&name) && workflow.mode != "sealed";
        let local = locality == "local" && workflow.mode != "allowlist";
        !self.is_denied(self.declared[declared].0) && (local || named)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "version: 1\ndefaults: {{ deny_hosts: [{}] }}\nproviders:\n  engine: {{ kind: engine }}\n",
            quoted(&self.deny_hosts)
        );
        for ((name, locality), (host, region)) in PROVIDERS[1..].iter().zip(&self.declared) {
            let networks = if *locality == "local" { ", cidrs: [10.0.0.0/8]" } else { "" };
            writeln!(
                text,
                "  {name}: {{ kind: openai, base_url: 'https://{host}/v1', locality: {locality}, region: {region}{networks} }}"
            )
            .unwrap();
        }
        text.push_str("models:\n  m-engine: { provider: engine, path: x }\n");
        for (name, _) in &PROVIDERS[1..] {
            writeln!(text, "  m-{name}: {{ provider: {name}, name: x }}").unwrap();
        }
        text.push_str("workflows:\n");
        for (name, workflow) in &self.workflows {
            self.write_workflow(name, workflow, &mut text);
        }
        text
    }

    fn write_workflow(&self, name: &str, workflow: &Workflow, text: &mut String) {
        let Workflow {
            mode,
            providers,
            callers,
            must_survive,
            tools,
            total_minutes,
            retention_days,
            entries,
        } = workflow;
        let callers: Vec<String> = callers.iter().map(|caller| caller_line(caller)).collect();
        let providers =
            if *mode == "sealed" { String::new() } else { format!(", providers: [{}]", quoted(providers)) };
        let survive = if *must_survive { "    must_survive: [seed]\n" } else { "" };
        write!(
            text,
            "  {name}:\n    owner: team\n    callers: [{}]\n    egress: {{ mode: {mode}{providers} }}\n{survive}    tools: {tools}\n    \
             limits: {{ total: {total_minutes}m }}\n    audit: {{ retention: {retention_days}d }}\n    route:\n",
            callers.join(", ")
        )
        .unwrap();
        for (when, to) in entries {
            let mut to: Vec<usize> = to.iter().copied().filter(|to| self.may_reach(workflow, *to)).collect();
            // A fallback is no less strict than what it stands in for.
            to.sort_by_key(|to| {
                std::cmp::Reverse(
                    ["local", "dedicated", "hosted"].iter().position(|l| *l == PROVIDERS[*to].1),
                )
            });
            if to.is_empty() {
                to.push(0);
            }
            let to: Vec<String> = to.into_iter().map(|to| format!("m-{}", PROVIDERS[to].0)).collect();
            let when = when.as_ref().map(When::text).unwrap_or_default();
            writeln!(text, "      - {{ {when}to: [{}] }}", to.join(", ")).unwrap();
        }
    }
}

impl When {
    fn text(&self) -> String {
        let parts = [
            self.model.map(|model| format!("model: '{model}'")),
            self.tools.map(|tools| format!("tools: {tools}")),
            self.max_input_tokens.map(|max| format!("max_input_tokens: {max}")),
            self.other.map(str::to_owned),
        ];
        format!("when: {{ {} }}, ", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn quoted(items: &[&str]) -> String {
    items.iter().map(|item| format!("'{item}'")).collect::<Vec<_>>().join(", ")
}

fn caller_line(caller: &str) -> String {
    if caller == "loopback" {
        return "{ loopback: true }".to_owned();
    }
    let hash = format!("{:02x}", caller.len()).repeat(32);
    format!("{{ api_key: {{ id: {caller}, sha256: '{hash}' }} }}")
}

/// Two policies that differ in one part, in either order.
pub(crate) fn neighbours() -> impl Strategy<Value = (Case, Case)> {
    (case(), case(), 0..10_usize, any::<bool>()).prop_map(|(case, other, part, is_turned)| {
        let changed = case.with_part_of(other, part);
        if is_turned { (changed, case) } else { (case, changed) }
    })
}

impl Case {
    fn with_part_of(&self, other: Self, part: usize) -> Self {
        let mut case = self.clone();
        let (own, theirs) = (&mut case.workflows[0].1, other.workflows[0].1.clone());
        match part {
            0 => case.declared = other.declared,
            1 => case.deny_hosts = other.deny_hosts,
            2 => own.mode = theirs.mode,
            3 => own.providers = theirs.providers,
            4 => own.callers = theirs.callers,
            5 => own.must_survive = theirs.must_survive,
            6 => own.tools = theirs.tools,
            7 => own.total_minutes = theirs.total_minutes,
            8 => own.retention_days = theirs.retention_days,
            _ => own.entries = theirs.entries,
        }
        case
    }
}

/// Calls of every kind that the random routes can tell apart, and many that they cannot.
pub(crate) fn every_call() -> Vec<Facts> {
    let mut models: Vec<String> = MODELS.map(str::to_owned).into();
    models.extend(PROVIDERS.map(|(name, _)| format!("m-{name}")));
    let mut calls = Vec::new();
    for model in models {
        for input_tokens in 1..4 {
            for tool in [None, Some("z"), Some("zb"), Some("AB")] {
                for (images, task) in [(false, None), (false, Some("ab")), (true, None), (true, Some("ab"))] {
                    for now in [FRIDAY_NOON, MONDAY_NOON, MONDAY_NIGHT] {
                        let tools = tool.map(str::to_owned).into_iter().collect();
                        let task = task.map(str::to_owned);
                        let facts = Facts {
                            model: model.clone(),
                            input_tokens,
                            tools,
                            images,
                            task,
                            now,
                            ..Facts::default()
                        };
                        calls.push(facts);
                    }
                }
            }
        }
    }
    calls
}

/// Every combination of the patterns that a name can match, most of them more than once.
const MODELS: [&str; 24] = [
    "auto", "", "a", "b", "z", "aa", "ab", "az", "ba", "bb", "za", "zb", "aab", "bab", "aba", "abz", "zabz",
    "azb", "m-", "m-b", "m-ab", "m-abz", "am-", "unknown",
];
/// In none of the windows.
const FRIDAY_NOON: u64 = MONDAY_NOON + 4 * 24 * 3600;
/// In the first, 23 November 2026.
const MONDAY_NOON: u64 = 1_795_392_000 + 12 * 3600;
/// In the second.
const MONDAY_NIGHT: u64 = MONDAY_NOON + 11 * 3600;
