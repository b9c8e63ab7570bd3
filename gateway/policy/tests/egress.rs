//! Which way connections take, what a workflow may reach beyond its providers, and what its calls may make others
//! reach.

use std::collections::BTreeSet;
use std::path::Path;

use policy::plan::{Aspect, Effect, Plan};
use policy::{
    CallerKind, ContentRule, ContentRules, Decision, Destination, EgressMode, Facts, IdentityError, Moment,
    Policy, Presented, Provider, Refused, Resolve, Roots, Scheme, Source, Tunnel, TunnelMode, Workflow,
    WorkflowName,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use url::Host;

const COMPLETE: &str = include_str!("good/complete.yaml");
const PROXIES: &str = include_str!("good/proxies.yaml");
const TLS: &str = include_str!("good/tls.yaml");
const TUNNELS: &str = include_str!("good/tunnels.yaml");

fn compile(text: &str) -> Policy {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"))
}

/// Compiles `text` with one part replaced.
fn with(text: &str, part: &str, instead: &str) -> Policy {
    assert!(text.contains(part), "the test's policy has no {part:?}");
    compile(&text.replacen(part, instead, 1))
}

fn destination<'p>(policy: &'p Policy, name: &str) -> &'p Destination {
    let provider = policy.providers().find(|provider| provider.name().as_str() == name);
    let Some(Provider::Http(destination)) = provider else { panic!("no provider {name} over HTTP") };
    destination
}

/// What a plan tells, without what only repeats a declaration.
fn told(base: &Policy, new: &Policy) -> String {
    let plan = Plan::between(base, new);
    let changes = plan.common.iter().chain(plan.workflows.iter().flat_map(|workflow| &workflow.changes));
    let line = |change: &policy::plan::Change| {
        let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
        let (aspect, effect) = (change.aspect.as_str(), change.effect.as_str());
        format!("{effect} {aspect}: {} -> {}", side(&change.before), side(&change.after))
    };
    let told = changes.filter(|change| change.aspect != Aspect::Definition).map(line);
    told.collect::<Vec<_>>().join("\n")
}

fn effect(base: &Policy, new: &Policy) -> Effect {
    let plan = Plan::between(base, new);
    let changes = plan.common.iter().chain(plan.workflows.iter().flat_map(|workflow| &workflow.changes));
    changes.map(|change| change.effect).max().unwrap_or(Effect::Neutral)
}

#[test]
fn a_provider_names_the_proxy_that_its_connections_go_through() {
    let policy = compile(PROXIES);
    let corp = destination(&policy, "shop").proxy().expect("shop has a proxy");
    assert_eq!((corp.name().as_str(), corp.scheme(), corp.port()), ("corp", Scheme::Http, 3128));
    assert_eq!(corp.host().to_string(), "proxy.corp.example");
    assert_eq!((corp.auth_file(), corp.ca_file()), (Some(Path::new("/run/secrets/proxy")), None));
    assert_eq!(corp.resolve(), Resolve::Local);
    let networks: Vec<String> = corp.cidrs().iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8"]);
    let tls = destination(&policy, "mall").proxy().expect("mall has a proxy");
    assert_eq!((tls.scheme(), tls.port(), tls.resolve()), (Scheme::Https, 443, Resolve::Proxy));
    assert_eq!(tls.to_string(), "https://proxy.corp.example:443");
    assert_eq!(policy.proxies().count(), 6, "those that nobody names are there too");
    assert!(compile(COMPLETE).providers().all(|provider| match provider {
        Provider::Http(destination) => destination.proxy().is_none(),
        Provider::Engine { .. } => true,
    }));
}

#[test]
fn a_provider_says_whose_certificates_count() {
    let policy = compile(TLS);
    let shop = destination(&policy, "shop").tls();
    assert_eq!((shop.ca_file.as_deref(), shop.roots), (Some(Path::new("/etc/ssl/corp.pem")), Roots::Public));
    let tenant = destination(&policy, "tenant").tls();
    assert_eq!((tenant.roots, tenant.pins.len()), (Roots::FileAlone, 2));
    assert_eq!((tenant.pins[0], tenant.pins[1][31]), ([0; 32], 31), "pins are the bytes of the hash, sorted");
    let shown = tenant.client_cert.as_ref().expect("a certificate of the gateway's own");
    assert_eq!(shown.key_file, Path::new("/run/secrets/client.key"));
    assert_eq!(*destination(&compile(COMPLETE), "hosted-a").tls(), policy::TlsRule::default());
}

#[test]
fn every_part_of_a_way_is_in_the_digest() {
    for (text, parts) in [
        (
            PROXIES,
            [
                ("http://proxy.corp.example:3128", "http://proxy.corp.example:3129"),
                ("http://proxy.corp.example:3128", "http://proxy.two.example:3128"),
                ("http://proxy.corp.example:3128", "https://proxy.corp.example:3128"),
                ("auth_file: /run/secrets/proxy", "auth_file: /run/secrets/other"),
                ("cidrs: [10.0.0.0/8, \"fd00::/8\"]", "cidrs: [10.0.0.0/8]"),
                ("resolve: local", "resolve: proxy"),
                ("region: us, proxy: corp", "region: us, proxy: default-port"),
                ("region: us, proxy: corp", "region: us"),
            ]
            .as_slice(),
        ),
        (
            TLS,
            [
                ("tls: { ca_file: /etc/ssl/corp.pem }", "tls: { ca_file: /etc/ssl/other.pem }"),
                ("public_roots: false", "public_roots: true"),
                ("key_file: /run/secrets/client.key", "key_file: /run/secrets/other.key"),
                ("cert_file: /run/secrets/client.pem", "cert_file: /run/secrets/other.pem"),
                (
                    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHgA=",
                ),
            ]
            .as_slice(),
        ),
    ] {
        for (part, instead) in parts {
            assert_ne!(compile(text).digest(), with(text, part, instead).digest(), "{part} or {instead}");
        }
    }
    // What is written and is what holds anyway changes nothing.
    assert_eq!(compile(PROXIES).digest(), with(PROXIES, "    resolve: local\n", "").digest());
    assert_eq!(compile(TLS).digest(), with(TLS, "public_roots: true, ", "").digest());
}

#[test]
fn a_plan_shows_a_moved_trust_boundary() {
    let direct = PROXIES.replacen("region: us, proxy: corp", "region: us", 1);
    let remote = PROXIES.replacen("resolve: local", "resolve: proxy", 1);
    let renamed = PROXIES.replace("corp:\n", "firm:\n").replacen("proxy: corp", "proxy: firm", 1);
    let stripped = PROXIES.replacen("providers: [shop, mall, tenant]", "providers: [mall, tenant]", 1);
    let stripped = stripped.replacen("to: [shop, mall, tenant]", "to: [mall, tenant]", 1);
    for (what, base, new, expected) in [
        ("a proxy is put before a provider", direct.as_str(), PROXIES, Effect::Widening),
        ("a proxy is taken away", PROXIES, &direct, Effect::Widening),
        ("the proxy resolves names", PROXIES, &remote, Effect::Widening),
        ("the gateway resolves names again", &remote, PROXIES, Effect::Tightening),
        ("the proxy has another name", PROXIES, &renamed, Effect::Neutral),
        ("a provider behind a proxy is not reached any more", PROXIES, &stripped, Effect::Tightening),
        ("a provider behind a proxy is reached", &stripped, PROXIES, Effect::Widening),
    ] {
        let (base, new) = (compile(base), compile(new));
        assert_eq!(effect(&base, &new), expected, "{what}: {}", told(&base, &new));
    }
    insta::assert_snapshot!("plan-proxy", told(&compile(&direct), &compile(&remote)));
}

#[test]
fn a_plan_shows_whose_certificates_count() {
    let reached = format!(
        "{}models:\n  m: {{ provider: tenant, name: m }}\nworkflows:\n  docs:\n    owner: team\n    callers: []\n    \
         egress: {{ mode: hosted, providers: [tenant] }}\n    route: [ {{ to: [m] }} ]\n",
        TLS.split("models:").next().expect("a first part")
    );
    let second = ", \"sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"]";
    let pins = reached.lines().find(|line| line.contains("pins: [\"")).expect("a line of pins");
    for (what, part, instead, expected) in [
        ("a pin is dropped", second, "]", Effect::Tightening),
        ("all pins are dropped", pins, "", Effect::Widening),
        ("the public roots count", "public_roots: false", "public_roots: true", Effect::Widening),
        ("another file is trusted", "./tenant.pem", "./other.pem", Effect::Widening),
        ("another certificate is shown", "client.pem", "other.pem", Effect::Neutral),
    ] {
        let (base, new) = (compile(&reached), with(&reached, part, instead));
        assert_eq!(effect(&base, &new), expected, "{what}: {}", told(&base, &new));
        let expected = match expected {
            Effect::Widening if what.contains("file") => Effect::Widening,
            Effect::Widening => Effect::Tightening,
            Effect::Tightening => Effect::Widening,
            Effect::Neutral => Effect::Neutral,
        };
        assert_eq!(effect(&new, &base), expected, "the other way round, {what}: {}", told(&new, &base));
    }
    insta::assert_snapshot!("plan-pins", told(&compile(&reached), &with(&reached, pins, "")));
}

#[test]
fn an_explanation_says_which_way_a_call_takes() {
    let facts = Facts { model: "auto".to_owned(), ..Facts::default() };
    let explained =
        compile(PROXIES).explain_workflow("docs", &facts).expect("the workflow is there").to_string();
    let places: Vec<&str> =
        explained.lines().filter(|line| line.starts_with("  ") && line.contains(" at ")).collect();
    assert_eq!(
        places,
        [
            "  1. shop at shop (hosted, api.shop.example:443, region us), there called shop, reached through corp",
            "  2. mall at mall (hosted, api.mall.example:443, region us), there called mall, reached through tls",
            "  3. tenant at tenant (dedicated, llm.tenant.example:443, region eu), there called tenant, reached through address",
        ]
    );
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

fn workflow<'p>(policy: &'p Policy, name: &str) -> &'p Workflow {
    policy.workflows().find(|workflow| workflow.name().as_str() == name).expect("a workflow of the test")
}

/// Asks about `CONNECT host:port` or `GET http://host:port`.
fn tunnel(policy: &Policy, name: &str, wanted: &str) -> Result<Vec<String>, Refused> {
    let (tunnel, authority) = match wanted.strip_prefix("http://") {
        Some(authority) => (Tunnel::Plain, authority),
        None => (Tunnel::Connect, wanted),
    };
    let (host, port) = authority.rsplit_once(':').expect("a host and a port");
    let (host, port) = (Host::parse(host).expect("a host"), port.parse().expect("a port"));
    let rule = policy.may_tunnel(&WorkflowName::new(name).expect("a name"), &host, port, tunnel)?;
    Ok(rule.cidrs.iter().map(ToString::to_string).collect())
}

#[test]
fn agents_reach_the_hosts_and_ports_that_are_written_and_no_others() {
    let policy = compile(TUNNELS);
    for (wanted, networks) in [
        ("index.things.example:443", [].as_slice()),
        ("a.b.deps.example:443", &[]),
        ("static.things.example:443", &[]),
        ("git.corp.example:443", &["10.40.0.0/16"]),
        ("git.corp.example:8443", &["10.40.0.0/16"]),
        ("deb.example:443", &[]),
        ("deb.example:80", &[]),
        ("http://deb.example:80", &[]),
        ("10.40.0.7:5000", &["10.40.0.0/16"]),
        ("[fd00:40::7]:5000", &["fd00:40::/64"]),
        ("api.shop.example:443", &[]),
    ] {
        assert_eq!(tunnel(&policy, "build", wanted).expect(wanted), networks, "{wanted}");
    }
    for wanted in [
        "index.things.example:80",
        "index.things.example:8443",
        "things.example:443",
        "deps.example:443",
        "evilthings.example:443",
        "git.corp.example:22",
        "http://git.corp.example:443",
        "http://index.things.example:80",
        // TLS belongs into a tunnel, whatever else is plain.
        "http://deb.example:443",
        "10.40.0.8:5000",
        "10.40.0.7:443",
        "[fd00:40::8]:5000",
        "other.example:443",
    ] {
        assert_eq!(tunnel(&policy, "build", wanted), Err(Refused::NotNamed), "{wanted}");
        assert_eq!(tunnel(&policy, "enforced", wanted), Err(Refused::NotNamed), "an empty list: {wanted}");
        assert_eq!(tunnel(&policy, "learnt", wanted), Err(Refused::NotNamed), "no list: {wanted}");
        assert_eq!(tunnel(&policy, "sealed", wanted), Err(Refused::Sealed), "{wanted}");
    }
    assert_eq!(tunnel(&policy, "nobody", "deb.example:443"), Err(Refused::UnknownWorkflow));
}

#[test]
fn a_denied_host_is_reached_by_no_entry() {
    let denied = "deny_hosts: [\"*.paste.example\", deb.example, \"*.deps.example\", api.shop.example]";
    let policy = with(TUNNELS, "deny_hosts: [\"*.paste.example\"]", denied);
    for wanted in ["deb.example:443", "http://deb.example:80", "a.deps.example:443", "api.shop.example:443"] {
        assert!(matches!(tunnel(&policy, "build", wanted), Err(Refused::DeniedHost(_))), "{wanted}");
    }
    assert!(tunnel(&policy, "build", "index.things.example:443").is_ok());
}

#[test]
fn a_tunnel_leads_past_the_gateway_to_a_provider_only_where_an_entry_names_it_outright() {
    let outright = "{ host: api.shop.example, ports: [443] }";
    for entry in
        ["api.shop.example", "\"*.shop.example\"", "{ host: \"*.shop.example\", ports: [443, 8443] }"]
    {
        let policy = with(TUNNELS, outright, entry);
        assert_eq!(tunnel(&policy, "build", "api.shop.example:443"), Err(Refused::OfProvider), "{entry}");
    }
    let policy = with(TUNNELS, outright, "{ host: \"*.shop.example\", ports: [443, 8443] }");
    assert!(
        tunnel(&policy, "build", "api.shop.example:8443").is_ok(),
        "no provider is declared at that port"
    );
    assert!(tunnel(&policy, "build", "www.shop.example:443").is_ok(), "nor at that host");
}

#[test]
fn an_entry_with_ports_reaches_a_provider_at_one_of_them() {
    let base = TUNNELS.replacen("providers: [shop]", "providers: []", 1);
    let dialled = |entry: &str| {
        let policy = with(&base, "{ host: api.shop.example, ports: [443] }", entry);
        let to = destination(&policy, "shop");
        let workflow = WorkflowName::new("build").unwrap();
        policy.may_dial(&workflow, to.provider(), to.host(), to.port()).map(|_| ())
    };
    assert_eq!(dialled("api.shop.example"), Ok(()));
    assert_eq!(dialled("{ host: api.shop.example, ports: [443] }"), Ok(()));
    assert_eq!(dialled("{ host: api.shop.example, ports: [8443] }"), Err(Refused::NotNamed));
}

#[test]
fn refusals_are_only_reported_until_the_time_is_over() {
    let policy = compile(TUNNELS);
    let at = |text: &str| Moment::parse(text).expect("a moment");
    let mode = workflow(&policy, "build").tunnels();
    assert_eq!(mode, TunnelMode::Report { until: Some(at("2027-01-31")) });
    assert!(!mode.is_enforced(at("2027-01-30T23:59:59Z")));
    assert!(mode.is_enforced(at("2027-01-31")), "the end is no part of it");
    for name in ["enforced", "learnt", "sealed"] {
        assert_eq!(workflow(&policy, name).tunnels(), TunnelMode::Enforce, "{name}");
    }
    let endless = with(TUNNELS, "{ mode: report, until: 2027-01-31 }", "report");
    assert!(!workflow(&endless, "build").tunnels().is_enforced(at("9999-12-31")));
    assert!(compile(COMPLETE).workflows().all(|workflow| workflow.tunnels() == TunnelMode::Enforce));
}

#[test]
fn a_network_is_a_caller_of_the_agents_proxy_and_never_of_the_gateway() {
    let policy = compile(TUNNELS);
    let of = |address: &str| {
        let caller = policy.identify_source(address.parse().expect("an address"))?;
        let workflow = policy.select(&caller, None).expect("one workflow");
        Ok((caller.id().to_owned(), workflow.name().to_string()))
    };
    let named = |id: &str, workflow: &str| Ok((id.to_owned(), workflow.to_owned()));
    assert_eq!(of("10.3.1.2"), named("10.3.0.0/16", "build"));
    assert_eq!(of("10.3.7.2"), named("10.3.7.0/24", "learnt"), "the smallest network counts");
    assert_eq!(of("::ffff:10.3.1.2"), named("10.3.0.0/16", "build"), "as a socket of both families shows it");
    assert_eq!(of("fd00:3::1"), named("fd00:3::/64", "build"));
    for stranger in ["10.4.0.1", "127.0.0.1", "::1", "fd00:4::1", "203.0.113.1"] {
        assert_eq!(of(stranger), Err(IdentityError::Missing), "{stranger}");
    }
    assert_eq!(policy.identify_source("10.3.1.2".parse().unwrap()).unwrap().kind(), CallerKind::Source);
    // The gateway is shown no address but whether it is a loopback one, and these workflows let nobody in by that.
    for loopback in [true, false] {
        let shown = Presented { loopback, api_key: None, now: Moment::from_unix_s(0) };
        assert_eq!(policy.identify(&shown).map(|_| ()), Err(IdentityError::Missing));
    }
}

#[test]
fn a_workflow_has_as_many_connections_as_it_says_and_no_more_than_the_defaults() {
    let policy = compile(TUNNELS);
    let max = |name| workflow(&policy, name).connections_max();
    assert_eq!(["build", "enforced", "learnt", "sealed"].map(max), [64, 1, 256, 256]);
    assert!(compile(COMPLETE).workflows().all(|workflow| workflow.connections_max() == 4096));
}

#[test]
fn every_key_of_egress_is_in_the_digest() {
    let policy = compile(TUNNELS);
    for (part, instead) in [
        ("- index.things.example\n", "- { host: index.things.example }\n"),
        ("ports: [443, 8443], cidrs", "ports: [443], cidrs"),
        ("cidrs: [10.40.0.0/16] }\n        - { host: deb", "cidrs: [10.40.0.0/17] }\n        - { host: deb"),
        ("ports: [80, 443], plain: true", "ports: [80, 443]"),
        ("until: 2027-01-31", "until: 2027-02-28"),
        ("tunnels: { mode: report, until: 2027-01-31 }", "tunnels: report"),
        ("      tunnels: { mode: report, until: 2027-01-31 }\n", ""),
        ("content_urls: refuse\n", "content_urls: pass\n"),
        ("hosted_tools: pass\n", "hosted_tools: refuse\n"),
        ("unknown_fields: refuse\n", "unknown_fields: pass\n"),
        ("stored_state: refuse }", "stored_state: pass }"),
        ("connections: 64", "connections: 63"),
        ("cidr: 10.3.0.0/16", "cidr: 10.3.0.0/17"),
        ("      - { source: { cidr: 10.3.0.0/16 } }\n", ""),
    ] {
        assert_ne!(policy.digest(), with(TUNNELS, part, instead).digest(), "{part:?} or {instead:?}");
    }
    // What holds anyway may be written or not.
    for (part, instead) in [
        (", plain: false", ""),
        ("tunnels: enforce, unknown_fields: pass", "unknown_fields: pass"),
        ("content_urls: pass, hosted_tools: pass, stored", "stored"),
        ("mode: hosted, hosts: [], ", "mode: hosted, "),
        ("{ host: \"*.things.example\" }", "{ host: \"*.things.example\", ports: [443] }"),
        ("    limits: { connections: 256 }\n    route", "    route"),
    ] {
        assert_eq!(policy.digest(), with(TUNNELS, part, instead).digest(), "{part:?} and {instead:?}");
    }
}

#[test]
fn content_is_refused_where_a_workflow_or_the_defaults_say_so() {
    let policy = compile(TUNNELS);
    let rules = |name| *workflow(&policy, name).content_rules();
    let floor = ContentRules { stored_state: ContentRule::Refuse, ..ContentRules::PASS };
    assert_eq!(rules("enforced"), floor);
    assert_eq!(rules("learnt"), floor, "a workflow that says nothing stands on the defaults");
    assert_eq!(rules("build"), ContentRules { hosted_tools: ContentRule::Pass, ..ContentRules::REFUSE });
    assert_eq!(rules("sealed"), ContentRules::REFUSE);
}

#[test]
fn a_plan_shows_what_agents_reach_and_what_calls_may_have() {
    for (what, part, instead) in [
        ("a host", "        - index.things.example\n", ""),
        ("a port", "ports: [443, 8443], cidrs", "ports: [443], cidrs"),
        ("a network of a host", "8443], cidrs: [10.40.0.0/16]", "8443]"),
        ("plain HTTP", "ports: [80, 443], plain: true", "ports: [80, 443]"),
        ("report", "      tunnels: { mode: report, until: 2027-01-31 }\n", ""),
        ("a longer report", "until: 2027-01-31", "until: 2026-12-31"),
        ("report instead of refusals", "tunnels: { mode: report, until: 2027-01-31 }", "tunnels: enforce"),
        ("hosted tools", "hosted_tools: pass\n", "hosted_tools: refuse\n"),
        ("connections", "connections: 64", "connections: 63"),
        ("a source", "      - { source: { cidr: 10.3.0.0/16 } }\n", ""),
    ] {
        let (wide, narrow) = (compile(TUNNELS), with(TUNNELS, part, instead));
        assert_eq!(effect(&narrow, &wide), Effect::Widening, "{what}: {}", told(&narrow, &wide));
        assert_eq!(effect(&wide, &narrow), Effect::Tightening, "{what}: {}", told(&wide, &narrow));
    }
    let nothing = TUNNELS.replace("mode: allowlist\n", "mode: allowlist\n      hosts: []\n");
    let start = nothing.find("        - index").expect("the first entry");
    let end = nothing.find("      tunnels: { mode").expect("behind the last entry");
    let nothing = nothing[..start].replace("      hosts:\n", "") + &nothing[end..];
    insta::assert_snapshot!("plan-tunnels", told(&compile(&nothing), &compile(TUNNELS)));
}

/// Entries that overlap in hosts, ports and networks.
const ENTRIES: [&str; 12] = [
    "one.example",
    "a.two.example",
    "\"*.two.example\"",
    "api.shop.example",
    "\"*.shop.example\"",
    "{ host: one.example, ports: [80, 443], plain: true }",
    "{ host: one.example, ports: [80, 8443] }",
    "{ host: \"*.two.example\", ports: [8443], cidrs: [10.1.0.0/16] }",
    "{ host: a.two.example, ports: [443, 8443], cidrs: [10.1.0.0/16] }",
    "{ host: a.two.example, ports: [443, 8443], cidrs: [10.2.0.0/16] }",
    "{ host: api.shop.example, ports: [443] }",
    "{ host: \"*.shop.example\", ports: [443, 8443] }",
];
const DENIED: [&str; 3] = ["one.example", "\"*.two.example\"", "api.shop.example"];

/// What decides about tunnels.
#[derive(Debug, Clone)]
struct Tunnels {
    mode: &'static str,
    entries: Vec<&'static str>,
    denied: Vec<&'static str>,
    shop: &'static str,
    report: &'static str,
}

impl Tunnels {
    fn policy(&self) -> Policy {
        let Self { mode, entries, denied, shop, report } = self;
        let egress = match *mode {
            "sealed" => "mode: sealed".to_owned(),
            mode => format!("mode: {mode}, hosts: [{}], tunnels: {report}", entries.join(", ")),
        };
        compile(&format!(
            "version: 1\ndefaults: {{ deny_hosts: [{}] }}\nproviders:\n  local: {{ kind: engine }}\n  \
             shop: {{ kind: openai, base_url: 'https://{shop}/v1', locality: hosted, region: us }}\nmodels:\n  \
             demo: {{ provider: local, path: x }}\nworkflows:\n  docs:\n    owner: team\n    callers: []\n    \
             egress: {{ {egress} }}\n    route: [ {{ to: [demo] }} ]\n",
            denied.join(", ")
        ))
    }
}

fn tunnels() -> impl Strategy<Value = Tunnels> {
    let entries = subsequence(ENTRIES.to_vec(), 0..=5);
    let denied = prop_oneof![3 => Just(vec![]), 1 => subsequence(DENIED.to_vec(), 1..=2)];
    let shop = select(vec!["api.shop.example", "other.example"]);
    let report = select(vec!["enforce", "report", "{ mode: report, until: 2027-01-31 }"]);
    (select(vec!["allowlist", "hosted", "sealed"]), entries, denied, shop, report)
        .prop_map(|(mode, entries, denied, shop, report)| Tunnels { mode, entries, denied, shop, report })
}

/// Two policies that differ in one part; of the entries, in one of them.
fn neighbours() -> impl Strategy<Value = (Policy, Policy)> {
    (tunnels(), tunnels(), 0..7_usize).prop_map(|(base, other, part)| {
        let mut new = base.clone();
        match part {
            0 => new.mode = other.mode,
            1 => new.denied = other.denied,
            2 => new.shop = other.shop,
            3 => new.report = other.report,
            4 => new.entries = other.entries,
            _ => {
                new.entries.truncate(new.entries.len().saturating_sub(1));
                new.entries.extend(other.entries.first().filter(|_| part == 5));
            }
        }
        (base.policy(), new.policy())
    })
}

/// Each host, port and form that is allowed, once for public addresses and once for each network.
fn reached(policy: &Policy) -> BTreeSet<String> {
    let hosts = [
        "one.example",
        "a.two.example",
        "b.two.example",
        "api.shop.example",
        "b.shop.example",
        "other.example",
    ];
    let mut reached = BTreeSet::new();
    for (host, port) in hosts.into_iter().flat_map(|host| [80, 443, 8443].map(|port| (host, port))) {
        for form in ["", "http://"] {
            let wanted = format!("{form}{host}:{port}");
            let Ok(networks) = tunnel(policy, "docs", &wanted) else { continue };
            reached.extend(networks.iter().map(|network| format!("{wanted} in {network}")));
            reached.insert(wanted);
        }
    }
    reached
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_does_not_widen_opens_no_tunnel((base, new) in neighbours()) {
        if !Plan::between(&base, &new).widens() {
            let (was, is) = (reached(&base), reached(&new));
            prop_assert!(is.is_subset(&was), "{:?}", is.difference(&was).collect::<Vec<_>>());
            let mode = |policy: &Policy| workflow(policy, "docs").tunnels();
            for now in ["2027-01-30", "2027-02-01"].map(|text| Moment::parse(text).expect("a moment")) {
                prop_assert!(mode(&new).is_enforced(now) >= mode(&base).is_enforced(now));
            }
        }
    }
}
