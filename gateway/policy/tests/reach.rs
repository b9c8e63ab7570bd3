//! No route leads further than its workflow may reach, whatever the file says.
//!
//! Random workflows over a fixed set of providers. What may be reached is said here a second time, as plainly as
//! possible, and the crate has to agree: in what it compiles, in what it decides and in what may be dialled.

use std::cmp::Reverse;

use policy::{Decision, Facts, Locality, Policy, ProviderName, Source, Target, WorkflowName};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use url::Host;

/// Name, locality and host of each provider; the model `m-NAME` is served by it.
const PROVIDERS: [(&str, Locality, &str); 6] = [
    ("engine", Locality::Local, ""),
    ("near", Locality::Local, "near.corp.example"),
    ("rack", Locality::Local, "10.0.0.1"),
    ("tenant", Locality::Dedicated, "tenant.cloud.example"),
    ("shop", Locality::Hosted, "api.shop.example"),
    ("mall", Locality::Hosted, "mall.example"),
];
/// What a provider speaks has no say in who may reach it.
const KINDS: [&str; 6] = ["openai", "anthropic", "azure_openai", "bedrock", "vertex", "gemini"];
const HOST_PATTERNS: [&str; 5] =
    ["*.corp.example", "10.0.0.1", "tenant.cloud.example", "*.shop.example", "mall.example"];

/// One workflow and the hosts denied to all.
#[derive(Debug, Clone)]
struct Case {
    mode: &'static str,
    /// The kind of all providers that are reached over HTTP.
    kind: &'static str,
    providers: Vec<&'static str>,
    hosts: Vec<&'static str>,
    deny_hosts: Vec<&'static str>,
    /// The conditions of an entry and the providers whose models it leads to.
    entries: Vec<(Option<When>, Vec<&'static str>)>,
}

#[derive(Debug, Clone)]
struct When {
    model: Option<&'static str>,
    tools: Option<bool>,
    max_input_tokens: Option<u32>,
}

fn names() -> Vec<&'static str> {
    PROVIDERS.iter().map(|(name, ..)| *name).collect()
}

fn when() -> impl Strategy<Value = When> {
    let model = prop::option::of(select(vec!["m-*", "other", "*"]));
    (model, prop::option::of(any::<bool>()), prop::option::of(1..100_u32))
        .prop_map(|(model, tools, max_input_tokens)| When { model, tools, max_input_tokens })
        .prop_filter("a condition says something", |when| {
            when.model.is_some() || when.tools.is_some() || when.max_input_tokens.is_some()
        })
}

fn case() -> impl Strategy<Value = Case> {
    // One or two targets: longer lists of random models are hardly ever in an order that loads.
    let to = || subsequence(names(), 1..=2).prop_shuffle();
    let last = to().prop_map(|to| (None, to));
    let entries = (prop::collection::vec((when().prop_map(Some), to()), 0..3), last);
    (
        (select(vec!["sealed", "allowlist", "hosted"]), select(KINDS.to_vec())),
        subsequence(names(), 0..=6),
        subsequence(HOST_PATTERNS.to_vec(), 0..=5),
        prop_oneof![3 => Just(vec![]), 1 => subsequence(HOST_PATTERNS.to_vec(), 0..=2)],
        entries,
    )
        .prop_map(|((mode, kind), providers, hosts, deny_hosts, (mut entries, last))| {
            entries.push(last);
            Case { mode, kind, providers, hosts, deny_hosts, entries }
        })
}

impl Case {
    fn text(&self) -> String {
        let list = |items: &[&str]| {
            let items: Vec<String> = items.iter().map(|item| format!("'{item}'")).collect();
            format!("[{}]", items.join(", "))
        };
        let mut lines = vec![
            "version: 1".to_owned(),
            format!("defaults: {{ deny_hosts: {} }}", list(&self.deny_hosts)),
            "providers:".to_owned(),
        ];
        let kind = self.kind;
        lines.extend(PROVIDERS.map(|(name, locality, host)| match (host, locality) {
            ("", _) => format!("  {name}: {{ kind: engine }}"),
            (_, Locality::Local) => format!(
                "  {name}: {{ kind: {kind}, base_url: 'http://{host}/v1', locality: local, cidrs: [10.0.0.0/8] }}"
            ),
            _ => format!("  {name}: {{ kind: {kind}, base_url: 'https://{host}/v1', locality: {locality} }}"),
        }));
        lines.push("models:".to_owned());
        lines.extend(PROVIDERS.map(|(name, _, host)| {
            let key = if host.is_empty() { "path" } else { "name" };
            format!("  m-{name}: {{ provider: {name}, {key}: x }}")
        }));
        let (mode, providers, hosts) = (self.mode, list(&self.providers), list(&self.hosts));
        let named = match mode {
            "sealed" => String::new(),
            "hosted" => format!(", providers: {providers}"),
            _ => format!(", providers: {providers}, hosts: {hosts}"),
        };
        lines.push("workflows:\n  w:\n    owner: team\n    callers: []".to_owned());
        lines.push(format!("    egress: {{ mode: {mode}{named} }}\n    route:"));
        lines.extend(self.entries.iter().map(|(when, to)| {
            let to: Vec<String> = to.iter().map(|name| format!("m-{name}")).collect();
            let when = when.as_ref().map(When::text).unwrap_or_default();
            format!("      - {{ {when}to: [{}] }}", to.join(", "))
        }));
        lines.join("\n")
    }

    /// Says a second time what the workflow may reach.
    fn may_reach(&self, provider: &str) -> bool {
        let (_, locality, host) = provider_of(provider);
        if host.is_empty() {
            return true;
        }
        let covers = |pattern: &str| match pattern.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix),
            None => host == pattern,
        };
        let is_named = self.providers.contains(&provider);
        let is_granted = match self.mode {
            "sealed" => locality == Locality::Local,
            "hosted" => locality == Locality::Local || is_named,
            _ => is_named || self.hosts.iter().any(|pattern| covers(pattern)),
        };
        is_granted && !self.deny_hosts.iter().any(|pattern| covers(pattern))
    }

    fn is_sound(&self) -> bool {
        let entry_is_sound = |to: &Vec<&str>| {
            let rank = |name: &&str| provider_of(name).1;
            to.iter().all(|name| self.may_reach(name)) && to.windows(2).all(|p| rank(&p[1]) <= rank(&p[0]))
        };
        self.entries.iter().all(|(_, to)| entry_is_sound(to))
    }

    fn compile(&self) -> Result<Policy, String> {
        let source = Source { name: "routes.yaml".to_owned(), text: self.text() };
        Policy::compile(&source).map_err(|findings| findings.to_string())
    }
}

impl When {
    fn text(&self) -> String {
        let model = self.model.map(|model| format!("model: '{model}'"));
        let tools = self.tools.map(|tools| format!("tools: {tools}"));
        let tokens = self.max_input_tokens.map(|max| format!("max_input_tokens: {max}"));
        let conditions: Vec<String> = [model, tools, tokens].into_iter().flatten().collect();
        format!("when: {{ {} }}, ", conditions.join(", "))
    }

    fn holds(&self, facts: &Facts) -> bool {
        let model_holds = match self.model {
            None | Some("*") => true,
            Some("m-*") => facts.model.starts_with("m-"),
            Some(exact) => facts.model == exact,
        };
        model_holds
            && self.tools.is_none_or(|tools| tools == facts.tools)
            && self.max_input_tokens.is_none_or(|max| facts.input_tokens <= u64::from(max))
    }
}

fn provider_of(name: &str) -> (&'static str, Locality, &'static str) {
    *PROVIDERS.iter().find(|(known, ..)| *known == name).expect("a provider of the test")
}

fn facts() -> impl Strategy<Value = Facts> {
    let model =
        prop_oneof!["m-(engine|near|shop|mall)", Just("other".to_owned()), Just("auto".to_owned()), ".*"];
    (model, prop_oneof![0..120_u64, any::<u64>()], any::<bool>())
        .prop_map(|(model, input_tokens, tools)| Facts { model, input_tokens, tools })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_workflow_loads_exactly_if_its_routes_stay_within_its_reach(case in case()) {
        let compiled = case.compile();
        prop_assert_eq!(compiled.is_ok(), case.is_sound(), "{}\n{:?}", case.text(), compiled.err());
    }

    #[test]
    fn a_decision_is_total_and_never_leaves_the_reach(mut case in case(), facts in facts()) {
        // Targets out of reach are taken out and the rest put in order, so that every case loads.
        let original = case.clone();
        for (_, to) in &mut case.entries {
            to.retain(|name| original.may_reach(name));
            to.sort_by_key(|name| Reverse(provider_of(name).1));
            if to.is_empty() {
                to.push("engine");
            }
        }
        let policy = case.compile().map_err(TestCaseError::fail)?;
        let workflow = policy.workflows().next().expect("the case has one workflow");
        let expected = case.entries.iter().position(|(when, _)| when.as_ref().is_none_or(|w| w.holds(&facts)));
        match policy.decide(workflow, &facts) {
            Decision::Allow(admitted) => {
                let index = expected.expect("the last entry always applies");
                prop_assert_eq!(admitted.rule(), format!("workflows.w.route[{index}]"));
                let hops: Vec<&str> = admitted.hops().iter().map(|hop| hop.provider().as_str()).collect();
                prop_assert_eq!(&hops, &case.entries[index].1);
                for hop in admitted.hops() {
                    prop_assert!(case.may_reach(hop.provider().as_str()));
                    prop_assert!(case.mode != "sealed" || hop.locality() == Locality::Local);
                    if let Target::Http(to) = hop.target() {
                        let dial = policy.may_dial(admitted.workflow(), hop.provider(), to.host(), to.port());
                        prop_assert!(dial.is_ok(), "decided and then refused: {:?}", dial);
                    }
                }
            }
            Decision::Deny(_) => {
                let names: Vec<&str> = workflow.reachable_models().map(|model| model.name().as_str()).collect();
                prop_assert!(facts.model != "auto" && !names.contains(&facts.model.as_str()));
            }
        }
    }

    #[test]
    fn dialling_follows_the_grant_and_not_the_route(mut case in case()) {
        case.entries = vec![(None, vec!["engine"])];
        let policy = case.compile().map_err(TestCaseError::fail)?;
        let workflow = WorkflowName::new("w").expect("a name");
        for (name, locality, host) in PROVIDERS {
            if host.is_empty() {
                continue;
            }
            let provider = ProviderName::new(name).expect("a name");
            let port = if locality == Locality::Local { 80 } else { 443 };
            let host = Host::parse(host).expect("a host");
            let dial = policy.may_dial(&workflow, &provider, &host, port);
            prop_assert_eq!(dial.is_ok(), case.may_reach(name), "{} {:?}", name, dial);
        }
    }
}
