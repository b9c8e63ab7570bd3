//! Which way connections take, what a workflow may reach beyond its providers, and what its calls may make others
//! reach.

use std::path::Path;

use policy::plan::{Aspect, Effect, Plan};
use policy::{
    ContentRules, Decision, Destination, EgressMode, Facts, Policy, Provider, Resolve, Roots, Scheme, Source,
    Workflow,
};

const COMPLETE: &str = include_str!("good/complete.yaml");
const PROXIES: &str = include_str!("good/proxies.yaml");
const TLS: &str = include_str!("good/tls.yaml");

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
