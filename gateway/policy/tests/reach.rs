//! No route leads further than its workflow may reach, whatever the file says.
//!
//! Random workflows over a fixed set of providers. What may be reached is said here a second time, as plainly as
//! possible, and the crate has to agree: in what it compiles, in what it decides and in what may be dialled.

use std::cmp::Reverse;

use policy::{Decision, Facts, Hop, Locality, Policy, ProviderName, Source, Target, WorkflowName};
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
    /// The conditions of an entry and where it leads.
    entries: Vec<(Option<When>, Entry)>,
}

/// The providers whose models an entry leads to, and how.
#[derive(Debug, Clone)]
struct Entry {
    to: Vec<&'static str>,
    order: Order,
    shadow: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Listed,
    Split,
    Balance,
}

#[derive(Debug, Clone)]
struct When {
    model: Option<&'static str>,
    tools: Option<bool>,
    max_input_tokens: Option<u32>,
    images: Option<bool>,
    task: Option<&'static str>,
    /// The hours from which and before which, in UTC.
    hours: Option<(u64, u64)>,
}

fn names() -> Vec<&'static str> {
    PROVIDERS.iter().map(|(name, ..)| *name).collect()
}

fn when() -> impl Strategy<Value = When> {
    let model = prop::option::weighted(0.3, select(vec!["m-*", "other", "*"]));
    let switch = || prop::option::weighted(0.3, any::<bool>());
    let task = prop::option::weighted(0.3, select(vec!["review*", "*", "docs"]));
    let hours = (0..24_u64, 0..24_u64).prop_filter("hours have a length", |(from, to)| from != to);
    let hours = prop::option::weighted(0.3, hours);
    (model, switch(), prop::option::weighted(0.3, 1..100_u32), switch(), task, hours)
        .prop_map(|(model, tools, max_input_tokens, images, task, hours)| When {
            model,
            tools,
            max_input_tokens,
            images,
            task,
            hours,
        })
        .prop_filter("a condition says something", |when| !when.text().is_empty())
}

fn entry() -> impl Strategy<Value = Entry> {
    // One or two targets: longer lists of random models are hardly ever in an order that loads.
    let to = subsequence(names(), 1..=2).prop_shuffle();
    let order = prop_oneof![3 => Just(Order::Listed), 1 => Just(Order::Split), 1 => Just(Order::Balance)];
    let shadow = prop::option::weighted(0.2, select(names()));
    (to, order, shadow).prop_map(|(to, order, shadow)| {
        // One model is chosen among in one way.
        let order = if to.len() == 1 { Order::Listed } else { order };
        Entry { to, order, shadow }
    })
}

fn case() -> impl Strategy<Value = Case> {
    let last = entry().prop_map(|entry| (None, entry));
    let entries = (prop::collection::vec((when().prop_map(Some), entry()), 0..3), last);
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
        lines.extend(self.entries.iter().map(|(when, entry)| {
            let when = when.as_ref().map(|when| format!("when: {{ {} }}, ", when.text()));
            format!("      - {{ {}{} }}", when.unwrap_or_default(), entry.text())
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
        let entry_is_sound = |Entry { to, order, shadow }: &Entry| {
            let rank = |name: &str| provider_of(name).1;
            let fits = |pair: &[&str]| match order {
                Order::Listed => rank(pair[1]) <= rank(pair[0]),
                Order::Split | Order::Balance => rank(pair[1]) == rank(pair[0]),
            };
            let shadow_is_sound = shadow.is_none_or(|shadow| {
                !to.contains(&shadow)
                    && self.may_reach(shadow)
                    && to.iter().all(|hop| rank(shadow) <= rank(hop))
            });
            to.iter().all(|name| self.may_reach(name)) && to.windows(2).all(fits) && shadow_is_sound
        };
        self.entries.iter().all(|(_, entry)| entry_is_sound(entry))
    }

    fn compile(&self) -> Result<Policy, String> {
        let source = Source { name: "routes.yaml".to_owned(), text: self.text() };
        Policy::compile(&source).map_err(|findings| findings.to_string())
    }
}

impl Entry {
    fn text(&self) -> String {
        let models: Vec<String> = self.to.iter().map(|name| format!("m-{name}")).collect();
        let to = match self.order {
            Order::Listed => format!("to: [{}]", models.join(", ")),
            // The heaviest comes first, so the hops have this order too.
            Order::Split => format!("split: {{ {}: 9, {}: 1 }}", models[0], models[1]),
            Order::Balance => format!("to: [{}], balance: latency", models.join(", ")),
        };
        let shadow = self.shadow.map(|name| format!(", shadow: m-{name}")).unwrap_or_default();
        to + &shadow
    }
}

impl When {
    fn text(&self) -> String {
        let model = self.model.map(|model| format!("model: '{model}'"));
        let tools = self.tools.map(|tools| format!("tools: {tools}"));
        let tokens = self.max_input_tokens.map(|max| format!("max_input_tokens: {max}"));
        let images = self.images.map(|images| format!("images: {images}"));
        let task = self.task.map(|task| format!("task: '{task}'"));
        let hours = |(from, to)| format!("time: {{ from: '{from:02}:00', to: '{to:02}:00', zone: UTC }}");
        let hours = self.hours.map(hours);
        let conditions: Vec<String> =
            [model, tools, tokens, images, task, hours].into_iter().flatten().collect();
        conditions.join(", ")
    }

    fn holds(&self, facts: &Facts) -> bool {
        let model_holds = match self.model {
            None | Some("*") => true,
            Some("m-*") => facts.model.starts_with("m-"),
            Some(exact) => facts.model == exact,
        };
        let task_holds = match (self.task, &facts.task) {
            (None, _) | (Some("*"), Some(_)) => true,
            (Some(_), None) => false,
            (Some("review*"), Some(task)) => task.starts_with("review"),
            (Some(exact), Some(task)) => task == exact,
        };
        let hour = facts.now / 3600 % 24;
        let time_holds = self.hours.is_none_or(|(from, to)| {
            if from < to { from <= hour && hour < to } else { from <= hour || hour < to }
        });
        model_holds
            && task_holds
            && time_holds
            && self.tools.is_none_or(|tools| tools != facts.tools.is_empty())
            && self.images.is_none_or(|images| images == facts.images)
            && self.max_input_tokens.is_none_or(|max| facts.input_tokens <= u64::from(max))
    }
}

fn provider_of(name: &str) -> (&'static str, Locality, &'static str) {
    *PROVIDERS.iter().find(|(known, ..)| *known == name).expect("a provider of the test")
}

fn facts() -> impl Strategy<Value = Facts> {
    let model =
        prop_oneof!["m-(engine|near|shop|mall)", Just("other".to_owned()), Just("auto".to_owned()), ".*"];
    let tools = prop::collection::vec(Just("search".to_owned()), 0..2);
    let task = prop::option::of(prop_oneof!["review-(code|text)", Just("docs".to_owned()), ".*"]);
    let now = prop_oneof![1_700_000_000..1_900_000_000_u64, any::<u64>()];
    (model, prop_oneof![0..120_u64, any::<u64>()], tools, any::<bool>(), task, now).prop_map(
        |(model, input_tokens, tools, images, task, now)| Facts {
            content: Vec::new(),
            model,
            input_tokens,
            tools,
            images,
            task,
            now,
        },
    )
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
        for (_, Entry { to, order, shadow }) in &mut case.entries {
            to.retain(|name| original.may_reach(name));
            to.sort_by_key(|name| Reverse(provider_of(name).1));
            if to.is_empty() {
                to.push("engine");
            }
            let rank = |name: &str| provider_of(name).1;
            if to.windows(2).any(|pair| rank(pair[0]) != rank(pair[1])) || to.len() == 1 {
                *order = Order::Listed;
            }
            shadow.take_if(|shadow| {
                let looser = to.iter().any(|hop| rank(shadow) > rank(hop));
                looser || to.contains(shadow) || !original.may_reach(shadow)
            });
        }
        let policy = case.compile().map_err(TestCaseError::fail)?;
        let workflow = policy.workflows().next().expect("the case has one workflow");
        let expected = case.entries.iter().position(|(when, _)| when.as_ref().is_none_or(|w| w.holds(&facts)));
        match policy.decide(workflow, &facts) {
            Decision::Allow(admitted) => {
                let index = expected.expect("the last entry always applies");
                prop_assert_eq!(admitted.rule(), format!("workflows.w.route[{index}]"));
                let hops: Vec<&str> = admitted.hops().iter().map(|hop| hop.provider().as_str()).collect();
                let entry = &case.entries[index].1;
                prop_assert_eq!(&hops, &entry.to);
                let is_loosened = |pair: &[Hop]| pair[1].locality() > pair[0].locality();
                prop_assert!(!admitted.hops().windows(2).any(is_loosened));
                prop_assert_eq!(admitted.shadow().map(|hop| hop.provider().as_str()), entry.shadow);
                for hop in admitted.hops().iter().chain(admitted.shadow()) {
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
        case.entries = vec![(None, Entry { to: vec!["engine"], order: Order::Listed, shadow: None })];
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
