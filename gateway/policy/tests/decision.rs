//! Who gets what: callers, selection, decisions, dialling and the digest.

use std::time::Duration;

use policy::key::ApiKey;
use policy::{
    Admitted, Api, Auth, Caller, CallerKind, CallerName, Decision, Denial, DenyCode, Destination, EgressMode,
    Facts, IdentityError, KeyId, Moment, Policy, Presented, Provider, ProviderName, Refused, Revocations,
    Revoked, SecretRef, SelectError, Server, Source, StoredResponses, Target, Workflow, WorkflowName,
};
use url::Host;

const COMPLETE: &str = include_str!("good/complete.yaml");
const HOSTED: &str = include_str!("good/hosted.yaml");

fn compile(text: &str) -> Policy {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"))
}

/// Returns the complete policy with the two placeholder hashes replaced by those of these two keys.
fn complete() -> (Policy, ApiKey, ApiKey) {
    let key = |id, byte| ApiKey::from_entropy(KeyId::new(id).expect("a test's id"), [byte; 32]);
    let (ci, docs) = (key("ci-7f3a", 1), key("docs-bot", 2));
    let text = COMPLETE
        .replace(&"1".repeat(64), &ci.sha256().to_string())
        .replace(&"2".repeat(64), &docs.sha256().to_string());
    (compile(&text), ci, docs)
}

/// The time in these tests.
fn now() -> Moment {
    Moment::parse("2026-11-25T09:00:00Z").expect("a moment")
}

fn with_key(key: &str) -> Presented<'_> {
    Presented { loopback: false, api_key: Some(key), now: now() }
}

fn workflow<'p>(policy: &'p Policy, name: &str) -> &'p Workflow {
    policy.workflows().find(|workflow| workflow.name().as_str() == name).expect("a workflow of the test")
}

fn facts(model: &str, input_tokens: u64, tools: bool) -> Facts {
    let tools = if tools { vec!["search".to_owned()] } else { Vec::new() };
    Facts { model: model.to_owned(), input_tokens, tools, ..Facts::default() }
}

fn admit(policy: &Policy, name: &str, facts: &Facts) -> Admitted {
    match policy.decide(workflow(policy, name), facts) {
        Decision::Allow(admitted) => admitted,
        Decision::Deny(denial) => panic!("denied: {denial}"),
    }
}

fn deny(policy: &Policy, name: &str, facts: &Facts) -> Denial {
    match policy.decide(workflow(policy, name), facts) {
        Decision::Allow(admitted) => panic!("allowed by {}", admitted.rule()),
        Decision::Deny(denial) => denial,
    }
}

fn models(admitted: &Admitted) -> Vec<&str> {
    admitted.hops().iter().map(|hop| hop.model().as_str()).collect()
}

#[test]
fn a_key_is_recognised_by_its_hash_from_anywhere() {
    let (policy, ci, docs) = complete();
    for loopback in [false, true] {
        let presented = Presented { loopback, ..with_key(docs.expose()) };
        let caller = policy.identify(&presented).unwrap();
        assert_eq!((caller.kind(), caller.id()), (CallerKind::ApiKey, "docs-bot"));
    }
    assert_eq!(policy.identify(&with_key(ci.expose())).unwrap().id(), "ci-7f3a");
}

#[test]
fn a_wrong_key_is_refused_even_where_none_is_needed() {
    let (policy, ci, _) = complete();
    let refusal = |key: &str| policy.identify(&Presented { loopback: true, ..with_key(key) }).unwrap_err();
    for key in ["", "pck_ci-7f3a_", &ci.expose()[..ci.expose().len() - 1], &ci.sha256().to_string()] {
        assert_eq!(refusal(key), IdentityError::NotAKey, "{key:?}");
    }
    // A known id with another secret, a known secret with another id, and nothing of both.
    for (id, byte) in [("ci-7f3a", 9), ("ci-7f3b", 1), ("nobody", 9)] {
        let key = ApiKey::from_entropy(KeyId::new(id).unwrap(), [byte; 32]);
        assert_eq!(refusal(key.expose()), IdentityError::UnknownKey, "{id}");
    }
}

#[test]
fn a_key_lets_in_until_it_expires() {
    let (_, ci, _) = complete();
    let written = format!("sha256: \"{}\"", "1".repeat(64));
    let expiring = format!("sha256: \"{}\", expires: 2027-01-31", ci.sha256());
    let policy = compile(&COMPLETE.replace(&written, &expiring));
    let at = |now: &str| {
        let presented = Presented { now: Moment::parse(now).unwrap(), ..with_key(ci.expose()) };
        policy.identify(&presented).map(|caller| caller.id().to_owned())
    };
    assert_eq!(at("2027-01-30T23:59:59Z").unwrap(), "ci-7f3a");
    for late in ["2027-01-31T00:00:00Z", "2027-06-01"] {
        assert_eq!(at(late), Err(IdentityError::ExpiredKey));
    }
    // Whoever does not have the key learns nothing of it.
    let guess = ApiKey::from_entropy(KeyId::new("ci-7f3a").unwrap(), [9; 32]);
    let late = Presented { now: Moment::parse("2027-06-01").unwrap(), ..with_key(guess.expose()) };
    assert_eq!(policy.identify(&late).unwrap_err(), IdentityError::UnknownKey);
}

#[test]
fn a_caller_stays_the_same_while_its_keys_change() {
    let (_, old, docs) = complete();
    let new = ApiKey::from_entropy(KeyId::new("ci-2027").unwrap(), [3; 32]);
    let name = CallerName::new("ci-7f3a").unwrap();
    let text = COMPLETE
        .replace("workflows:\n", "workflows:\n  more:\n    owner: team\n    callers:\n      LINE\n    egress: { mode: sealed }\n    route: [ { to: [demo] } ]\n")
        .replace("LINE", &new.caller_line_for(Some(&name), None))
        .replace(&"1".repeat(64), &old.sha256().to_string())
        .replace(&"2".repeat(64), &docs.sha256().to_string());
    let policy = compile(&text);
    for (key, id) in [(&old, "ci-7f3a"), (&new, "ci-2027")] {
        let caller = policy.identify(&with_key(key.expose())).unwrap();
        assert_eq!((caller.id(), caller.key().unwrap().as_str()), ("ci-7f3a", id));
    }
    let revoked = |list: &str| {
        let source = Source { name: "revocations.yaml".to_owned(), text: format!("version: 1\n{list}\n") };
        let list = Revocations::parse(&source).unwrap();
        [&old, &new].map(|key| list.of_caller(&policy.identify(&with_key(key.expose())).unwrap()))
    };
    assert_eq!(revoked("keys: [ci-2027]"), [None, Some(Revoked::Key)]);
    assert_eq!(revoked("keys: [ci-7f3a]"), [Some(Revoked::Key), None]);
    assert_eq!(revoked("callers: [ci-7f3a]"), [Some(Revoked::Caller); 2]);
    let keys: Vec<_> = policy.keys().map(|key| (key.id.as_str(), key.caller)).collect();
    assert_eq!(keys, [("ci-2027", "ci-7f3a"), ("ci-7f3a", "ci-7f3a"), ("docs-bot", "docs-bot")]);
}

#[test]
fn loopback_is_an_identity_only_where_a_workflow_says_so() {
    let here = Presented { loopback: true, api_key: None, now: now() };
    let there = Presented { loopback: false, api_key: None, now: now() };
    let (policy, ..) = complete();
    let caller = policy.identify(&here).unwrap();
    assert_eq!((caller.kind(), caller.id()), (CallerKind::Loopback, "loopback"));
    assert_eq!(policy.identify(&there).unwrap_err(), IdentityError::Missing);

    let closed = compile(&COMPLETE.replace("- { loopback: true }", ""));
    assert_eq!(closed.identify(&here).unwrap_err(), IdentityError::Missing);
}

#[test]
fn a_caller_reaches_its_own_workflows_and_learns_of_no_others() {
    let (policy, ci, docs) = complete();
    let caller = |key: &ApiKey| -> Caller { policy.identify(&with_key(key.expose())).unwrap() };
    let (ci, docs) = (caller(&ci), caller(&docs));
    assert_eq!(policy.select(&docs, None).unwrap().name().as_str(), "docs-update");
    assert_eq!(policy.select(&docs, Some("docs-update")).unwrap().owner(), "team-docs");
    let foreign = policy.select(&docs, Some("trading-refactor")).unwrap_err();
    let absent = policy.select(&docs, Some("no-such-workflow")).unwrap_err();
    assert_eq!(foreign, SelectError::NotEntitled);
    assert_eq!(foreign, absent, "the two must not be told apart");

    assert_eq!(policy.select(&ci, Some("trading-refactor")).unwrap().owner(), "team-execution");
    let several = policy.select(&ci, None).unwrap_err();
    assert_eq!(
        several.to_string(),
        "this caller has several workflows, select one of: docs-update, trading-refactor"
    );
}

#[test]
fn the_first_entry_that_applies_decides() {
    let (policy, ..) = complete();
    let small = admit(&policy, "docs-update", &facts("auto", 8000, false));
    assert_eq!((small.rule(), models(&small)), ("workflows.docs-update.route[0]", vec!["demo"]));
    let long = admit(&policy, "docs-update", &facts("opus", 8001, false));
    assert_eq!(
        (long.rule(), models(&long)),
        ("workflows.docs-update.route[1]", vec!["opus", "eu.large", "qwen3-30b-a3b"])
    );
    let other = admit(&policy, "docs-update", &facts("demo", 0, true));
    assert_eq!((other.rule(), models(&other)), ("workflows.docs-update.route[2]", vec!["eu.large", "demo"]));
}

#[test]
fn an_admission_says_what_the_policy_says() {
    let (policy, ..) = complete();
    let admitted = admit(&policy, "docs-update", &facts("opus-latest", 9000, true));
    assert_eq!(admitted.workflow().as_str(), "docs-update");
    assert_eq!(admitted.owner(), "team-docs");
    assert_eq!(admitted.egress_mode(), EgressMode::Hosted);
    assert_eq!(admitted.digest(), policy.digest());
    assert_eq!(admitted.limits().max_body_bytes, 2 * 1024 * 1024);
    assert_eq!(admitted.limits().total.as_secs(), 300);
    let hop = &admitted.hops()[0];
    assert_eq!((hop.provider().as_str(), hop.upstream_model()), ("hosted-a", "opus-4.7"));
    let Target::Http(destination) = hop.target() else { panic!("opus is not in this process") };
    assert_eq!((destination.port(), destination.base_path()), (443, "/v1"));
}

#[test]
fn the_agents_model_does_not_choose_where_a_call_goes() {
    let (policy, ..) = complete();
    let admitted = admit(&policy, "trading-refactor", &facts("qwen3-30b-a3b", 1, false));
    assert_eq!(models(&admitted), ["demo"], "the route has no entry for this model without tools");
}

#[test]
fn a_model_that_nobody_declared_is_denied_with_the_names_to_use() {
    let (policy, ..) = complete();
    for model in ["gpt-5", "", "opu", "OPUS", "mini"] {
        let denial = deny(&policy, "docs-update", &facts(model, 1, false));
        assert_eq!(denial.code, DenyCode::UnknownModel, "{model}");
        assert_eq!(denial.rule, "workflows.docs-update.route");
    }
    let denial = deny(&policy, "docs-update", &facts(&"x\n".repeat(1000), 1, false));
    insta::assert_snapshot!("unknown_model", denial);
}

#[test]
fn dialling_is_decided_from_names_alone() {
    let (policy, ..) = complete();
    let dial = |workflow: &str, provider: &str, host: &str, port: u16| {
        let workflow = WorkflowName::new(workflow).expect("a name of the test");
        let provider = ProviderName::new(provider).expect("a name of the test");
        let host = Host::parse(host).expect("a host of the test");
        policy
            .may_dial(&workflow, &provider, &host, port)
            .map(|destination| destination.provider().to_string())
    };
    let hosted_a = "api.hosted-a.example";
    assert_eq!(dial("docs-update", "hosted-a", hosted_a, 443), Ok("hosted-a".to_owned()));
    assert_eq!(dial("docs-update", "vllm-a", "10.20.0.7", 8000), Ok("vllm-a".to_owned()));
    assert_eq!(dial("triage", "hosted-b", "api.hosted-b.example", 8443), Ok("hosted-b".to_owned()));
    assert_eq!(dial("trading-refactor", "hosted-a", hosted_a, 443), Err(Refused::Sealed));
    assert_eq!(dial("docs-update", "hosted-b", "api.hosted-b.example", 8443), Err(Refused::NotNamed));
    assert_eq!(dial("triage", "gateway-eu", "llm.eu.example", 443), Err(Refused::NotNamed));
    assert_eq!(dial("docs-update", "hosted-a", "evil.example", 443), Err(Refused::OtherEndpoint));
    assert_eq!(dial("docs-update", "hosted-a", hosted_a, 8443), Err(Refused::OtherEndpoint));
    assert_eq!(dial("docs-update", "local", "localhost", 80), Err(Refused::InProcess));
    assert_eq!(dial("docs-update", "nobody", hosted_a, 443), Err(Refused::UnknownProvider));
    assert_eq!(dial("nobody", "hosted-a", hosted_a, 443), Err(Refused::UnknownWorkflow));
}

fn destination<'p>(policy: &'p Policy, name: &str) -> &'p Destination {
    let provider = policy.providers().find(|provider| provider.name().as_str() == name);
    match provider.expect("a provider of the test") {
        Provider::Http(destination) => destination,
        Provider::Engine { .. } => panic!("{name} is in this process"),
    }
}

#[test]
fn a_destination_says_which_format_it_speaks() {
    let policy = compile(HOSTED);
    let api = |name| destination(&policy, name).api();
    assert_eq!(api("openai"), &Api::OpenAi(Server::OpenAi));
    assert_eq!(api("sglang"), &Api::OpenAi(Server::Sglang));
    assert_eq!(api("anthropic"), &Api::Anthropic);
    assert_eq!(api("azure"), &Api::AzureOpenAi { api_version: None });
    let version = Some("2025-04-01-preview".to_owned());
    assert_eq!(api("azure-dated"), &Api::AzureOpenAi { api_version: version });
    assert_eq!(api("bedrock"), &Api::Bedrock);
    assert_eq!(api("vertex"), &Api::Vertex);
    assert_eq!(api("gemini"), &Api::Gemini);
    assert_eq!(destination(&compile(COMPLETE), "hosted-a").api(), &Api::OpenAi(Server::Compatible));
}

#[test]
fn every_word_for_a_server_stands_for_that_server() {
    let servers = [
        ("openai", Server::OpenAi),
        ("vllm", Server::Vllm),
        ("sglang", Server::Sglang),
        ("ollama", Server::Ollama),
        ("deepseek", Server::DeepSeek),
        ("mistral", Server::Mistral),
        ("llama_cpp", Server::LlamaCpp),
        ("compatible", Server::Compatible),
    ];
    for (word, server) in servers {
        let policy = compile(&HOSTED.replace("server: sglang", &format!("server: {word}")));
        assert_eq!(destination(&policy, "sglang").api(), &Api::OpenAi(server), "{word}");
        assert_eq!(server.as_str(), word);
    }
}

#[test]
fn credentials_of_clouds_are_references_too() {
    let policy = compile(HOSTED);
    let Auth::SigV4(sigv4) = destination(&policy, "bedrock").auth() else { panic!("bedrock signs") };
    assert_eq!(sigv4.region(), "eu-central-1");
    assert_eq!(sigv4.access_key_id(), &SecretRef::Env("AWS_ACCESS_KEY_ID".to_owned()));
    assert_eq!(sigv4.secret_access_key(), &SecretRef::File("/run/secrets/aws".into()));
    assert_eq!(sigv4.session_token(), Some(&SecretRef::Env("AWS_SESSION_TOKEN".to_owned())));
    let key = SecretRef::File("/run/secrets/google.json".into());
    assert_eq!(destination(&policy, "vertex").auth(), &Auth::Google(key));
}

#[test]
fn fields_that_must_survive_are_those_of_the_defaults_and_of_the_workflow() {
    let policy = compile(HOSTED);
    let agents = admit(&policy, "agents", &facts("auto", 1, false));
    let expected = ["response_format.json_schema", "safety_settings", "seed", "store"];
    assert_eq!(agents.must_survive(), expected);
    assert_eq!(workflow(&policy, "agents").must_survive(), expected);
    let sealed = admit(&policy, "sealed", &facts("auto", 1, false));
    assert_eq!(sealed.must_survive(), ["safety_settings", "store"]);
    // A workflow cannot take back what the defaults ask for.
    let text = HOSTED.replace("must_survive: [seed, response_format.json_schema]", "must_survive: []");
    assert_eq!(workflow(&compile(&text), "agents").must_survive(), ["safety_settings", "store"]);
    assert!(workflow(&compile(COMPLETE), "docs-update").must_survive().is_empty());
}

#[test]
fn answers_are_kept_only_where_the_workflow_says_so() {
    let policy = compile(HOSTED);
    let kept = |policy: &Policy, name: &str| {
        let admitted = admit(policy, name, &facts("auto", 1, false)).stored_responses();
        assert_eq!(admitted, workflow(policy, name).stored_responses());
        admitted
    };
    let hour = StoredResponses { keep: Duration::from_secs(3600), max_bytes: 64 << 20 };
    assert_eq!(kept(&policy, "agents"), Some(hour));
    let sealed = StoredResponses { keep: Duration::from_secs(600), max_bytes: 1 << 20 };
    assert_eq!(kept(&policy, "sealed"), Some(sealed), "the store is this process's own");
    assert_eq!(kept(&compile(COMPLETE), "docs-update"), None);
}

#[test]
fn spelling_does_not_change_the_digest() {
    let check = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let same = compile(&text.replacen(from, to, 1)).digest().to_string();
        assert_eq!(same, compile(text).digest().to_string(), "{to}");
    };
    for (from, to) in [
        ("version: 1", "# a comment\nversion: 1"),
        ("stream_idle: 60s", "stream_idle: 1m"),
        ("cidrs: [10.20.0.0/16, \"fd00:20::/64\"]", "cidrs: [\"fd00:20::/64\", 10.20.0.0/16]"),
        ("providers: [hosted-a, gateway-eu]", "providers: [gateway-eu, hosted-a]"),
        ("device: cpu, locality: local", "device: cpu"),
        ("context: 4096", "context: 4096\n    weights: as_stored"),
        ("https://llm.eu.example/openai/", "https://llm.eu.example/openai"),
        ("locality: dedicated\n", "locality: dedicated\n    server: compatible\n"),
        ("retention: 6y }", "retention: 6y }\n    must_survive: []"),
    ] {
        check(COMPLETE, from, to);
    }
    for (from, to) in [
        ("https://api.openai.com/v1\n", "https://api.openai.com/v1\n    server: openai\n"),
        ("[store, safety_settings]", "[safety_settings, store]"),
        ("[seed, response_format.json_schema]", "[response_format.json_schema, store, seed]"),
        ("keep: 1h", "keep: 60m"),
        ("max: 64MiB", "max: 65536KiB"),
    ] {
        check(HOSTED, from, to);
    }
}

/// Each changes what `complete.yaml` means.
const CHANGES: &[(&str, &str)] = &[
    ("192.0.2.7", "192.0.2.8"),
    ("max_body: 8MiB", "max_body: 9MiB"),
    ("retention: 400d", "retention: 401d"),
    ("device: cpu", "device: auto"),
    ("http://10.20.0.7:8000/v1", "http://10.20.0.7:8001/v1"),
    ("http://10.20.0.7:8000/v1", "http://10.20.0.8:8000/v1"),
    ("http://10.20.0.7:8000/v1", "http://10.20.0.7:8000/v2"),
    ("http://10.20.0.7:8000/v1", "https://10.20.0.7:8000/v1"),
    ("10.20.0.0/16", "10.20.0.0/17"),
    ("connect: 2s", "connect: 3s"),
    ("first_byte: 90s", "first_byte: 91s"),
    ("idle: 30s", "idle: 31s"),
    ("total: 5m", "total: 6m"),
    ("locality: dedicated", "locality: local"),
    ("region: eu", "region: uk"),
    ("x-api-key: LLM_EU_KEY", "x-api-key: LLM_UK_KEY"),
    ("x-tenant: LLM_EU_TENANT", "x-other: LLM_EU_TENANT"),
    ("/run/secrets/hosted-a", "/run/secrets/hosted-b"),
    ("bearer_env: HOSTED_B_KEY", "bearer_file: HOSTED_B_KEY"),
    ("path: ./models/demo", "path: ./models/other"),
    ("context: 4096", "context: 8192"),
    ("context: 4096", "context: 4096\n    weights: f32"),
    ("context: 4096", "context: 4096\n    weights: q8_0"),
    ("context: 4096", "context: 4096\n    weights: q4_k"),
    ("sha256:0011", "sha256:1100"),
    ("name: Qwen/Qwen3-30B-A3B", "name: Qwen/Qwen3-30B"),
    ("owner: team-execution", "owner: team-other"),
    ("id: docs-bot", "id: other-bot"),
    ("\"2222", "\"3222"),
    ("id: docs-bot,", "id: docs-bot, expires: 2027-01-31,"),
    ("id: docs-bot,", "id: docs-bot, expires: 2027-02-01,"),
    ("id: docs-bot,", "id: docs-bot, caller: docs,"),
    ("- { loopback: true }", ""),
    ("mode: allowlist, hosts: [\"*.hosted-b.example\"]", "mode: allowlist, hosts: [api.hosted-b.example]"),
    ("providers: [hosted-a, gateway-eu]", "providers: [hosted-a, gateway-eu, hosted-b]"),
    ("tools: true", "tools: false"),
    ("max_input_tokens: 8000", "max_input_tokens: 8001"),
    ("model: \"opus*\"", "model: \"opus\""),
    ("to: [mini, qwen3-30b-a3b, demo]", "to: [mini, demo, qwen3-30b-a3b]"),
    ("stream_idle: 30s", "stream_idle: 29s"),
    ("retention: 6y", "retention: 7y"),
];
/// Each changes what `hosted.yaml` means.
const HOSTED_CHANGES: &[(&str, &str)] = &[
    ("kind: anthropic", "kind: gemini"),
    ("server: sglang", "server: vllm"),
    ("    server: sglang\n", ""),
    ("https://api.openai.com/v1\n", "https://api.openai.com/v1\n    server: compatible\n"),
    ("    api_version: 2025-04-01-preview\n", ""),
    ("2025-04-01-preview", "2025-04-01"),
    ("region: eu-central-1", "region: eu-central-2"),
    ("access_key_id_env: AWS_ACCESS_KEY_ID", "access_key_id_file: AWS_ACCESS_KEY_ID"),
    ("/run/secrets/aws", "/run/secrets/other"),
    ("        session_token_env: AWS_SESSION_TOKEN\n", ""),
    ("/run/secrets/google.json", "/run/secrets/other.json"),
    ("google: { key_file: /run/secrets/google.json }", "bearer_file: /run/secrets/google.json"),
    ("key_env: GOOGLE_KEY", "key_file: GOOGLE_KEY"),
    ("[store, safety_settings]", "[store]"),
    ("[seed, response_format.json_schema]", "[seed]"),
    ("    stored_responses: { keep: 10m, max: 1MiB }\n", ""),
    ("    stored_responses: { keep: 10m, max: 1MiB }\n", "    priority: batch\n"),
    ("keep: 1h", "keep: 2h"),
    ("max: 64MiB", "max: 32MiB"),
];

#[test]
fn every_change_of_meaning_changes_the_digest() {
    let mut digests = Vec::new();
    let mut check = |text: &str, changes: &[(&str, &str)]| {
        digests.push(compile(text).digest().to_string());
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            let digest = compile(&text.replacen(from, to, 1)).digest().to_string();
            assert!(!digests.contains(&digest), "{from} -> {to} kept the digest or met another one");
            digests.push(digest);
        }
    };
    check(COMPLETE, CHANGES);
    check(HOSTED, HOSTED_CHANGES);
}

#[test]
fn the_digest_is_the_same_on_every_machine_and_in_every_version() {
    insta::assert_snapshot!("digest", compile(COMPLETE).digest());
    insta::assert_snapshot!("digest_hosted", compile(HOSTED).digest());
}
