//! The proxy by a real policy and a real list of revocations.

use std::sync::{Arc, Mutex};

use egress::tunnel::{InForce, Limits, Parts, Proxy, Rules, Verdict, Witness};
use policy::{Moment, Policy, Revocations, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::stage::{Records, basic, head, key, rest, status_and_code};
use super::waiting::OneStream;

const FAR: &str = "192.0.2.1:5";
const IN_THE_SANDBOX: &str = "10.3.0.7:5";

/// Something that happens to the rules.
type Change = Box<dyn Fn(&InForce)>;

fn compile(text: &str) -> Arc<Policy> {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Arc::new(Policy::compile(&source).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn text() -> String {
    let line = |id: &str| key(id).caller_line();
    format!(
        "version: 1
defaults: {{ deny_hosts: [\"*.paste.test\"] }}
providers:
  up: {{ kind: openai, locality: local, base_url: \"http://up.test:8000/v1\", cidrs: [10.0.0.0/8] }}
models:
  up: {{ provider: up, name: up }}
workflows:
  docs:
    owner: team
    callers:
      {docs}
    egress:
      mode: allowlist
      providers: [up]
      hosts:
        - deps.test
        - \"*.things.test\"
        - {{ host: git.test, ports: [443, 8443] }}
        - {{ host: deb.test, ports: [80, 443], plain: true }}
    route: [ {{ to: [up] }} ]
  build:
    owner: team
    callers:
      {build}
      - {{ source: {{ cidr: 10.3.0.0/16 }} }}
    egress: {{ mode: allowlist, providers: [up], hosts: [deps.test], tunnels: {{ mode: report, until: 2027-01-31 }} }}
    route: [ {{ to: [up] }} ]
  sealed:
    owner: team
    callers:
      {sealed}
    egress: {{ mode: sealed }}
    route: [ {{ to: [up] }} ]
",
        docs = line("ci"),
        build = line("builder"),
        sealed = line("locked"),
    )
}

fn rules(now: fn() -> Moment) -> Arc<InForce> {
    Arc::new(InForce::new(compile(&text()), Arc::new(Revocations::none()), now))
}

fn in_2026() -> Moment {
    Moment::parse("2026-06-01").unwrap()
}

fn in_2028() -> Moment {
    Moment::parse("2028-06-01").unwrap()
}

/// Sends a request to a proxy whose dials lead to `stream`, or to nobody.
async fn send(
    rules: &Arc<InForce>,
    peer: &str,
    text: &str,
    stream: Option<DuplexStream>,
) -> (DuplexStream, Arc<Records>) {
    let records = Arc::<Records>::default();
    let witness: Arc<dyn Witness> = records.clone();
    let rules: Arc<dyn Rules> = rules.clone();
    let exit = Arc::new(OneStream(Mutex::new(stream)));
    let proxy = Proxy::new(Parts { rules, exit, witness, run: "run".to_owned() }, Limits::STANDARD);
    let (mut client, agent) = duplex(4 << 10);
    let peer = peer.parse().unwrap();
    tokio::spawn(async move { proxy.serve_connection(agent, peer).await });
    client.write_all(text.as_bytes()).await.unwrap();
    (client, records)
}

fn connect(target: &str, credentials: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{credentials}\r\n")
}

/// Who is let through gets no answer from the target, in these tests.
const THROUGH: (u16, &str) = (504, "egress.timeout_connect");

async fn check(
    rules: &Arc<InForce>,
    (peer, text): (&str, &str),
    expected: (u16, &str),
    would_deny: Option<&str>,
) {
    let (mut client, records) = send(rules, peer, text, None).await;
    let answer = rest(&mut client).await;
    assert_eq!(status_and_code(&answer), expected, "{text:?}");
    let [decision] = &records.decisions()[..] else { panic!("one decision for {text:?}") };
    assert_eq!(decision.would_deny, would_deny, "{text:?}");
}

// E8, E9, E10, E11
#[tokio::test(start_paused = true)]
async fn what_the_policy_says_of_hosts_is_what_an_agent_gets() {
    let rules = rules(in_2026);
    for (target, expected) in [
        ("deps.test:443", THROUGH),
        ("deps.test:80", (403, "tunnel.not_named")),
        ("index.things.test:443", THROUGH),
        ("things.test:443", (403, "tunnel.not_named")),
        ("git.test:8443", THROUGH),
        ("git.test:22", (403, "tunnel.not_named")),
        ("deb.test:80", THROUGH),
        ("a.paste.test:443", (403, "tunnel.denied_host")),
        ("up.test:8000", (403, "tunnel.not_named")),
    ] {
        check(&rules, (FAR, &connect(target, &basic("docs", "ci"))), expected, None).await;
    }
    let plain =
        |target: &str| format!("GET http://{target}/ HTTP/1.1\r\nhost: {target}\r\n{}\r\n", basic("", "ci"));
    check(&rules, (FAR, &plain("deb.test")), THROUGH, None).await;
    check(&rules, (FAR, &plain("deps.test")), (403, "tunnel.not_named"), None).await;
    let sealed = connect("deps.test:443", &basic("sealed", "locked"));
    check(&rules, (FAR, &sealed), (403, "tunnel.sealed"), None).await;
}

// E9, E18
#[tokio::test(start_paused = true)]
async fn a_network_is_a_caller_and_report_has_an_end() {
    let rules_then = rules(in_2026);
    check(&rules_then, (IN_THE_SANDBOX, &connect("deps.test:443", "")), THROUGH, None).await;
    check(&rules_then, (FAR, &connect("deps.test:443", "")), (407, "tunnel.no_credentials"), None).await;
    let new = connect("new.test:443", "");
    check(&rules_then, (IN_THE_SANDBOX, &new), THROUGH, Some("tunnel.not_named")).await;
    let provider = connect("up.test:8000", "");
    check(&rules_then, (IN_THE_SANDBOX, &provider), THROUGH, Some("tunnel.not_named")).await;
    check(&rules_then, (IN_THE_SANDBOX, &connect("a.paste.test:443", "")), (403, "tunnel.denied_host"), None)
        .await;
    // A key says more than a place.
    let with_key = connect("new.test:443", &basic("docs", "ci"));
    check(&rules_then, (IN_THE_SANDBOX, &with_key), (403, "tunnel.not_named"), None).await;
    check(&rules(in_2028), (IN_THE_SANDBOX, &new), (403, "tunnel.not_named"), None).await;
}

// E18
#[tokio::test(start_paused = true)]
async fn a_policy_or_a_list_that_no_longer_allows_it_cuts_a_tunnel() {
    let without_deps = text().replacen("        - deps.test\n", "", 1);
    let without_key = text().replacen(&key("ci").caller_line(), &key("another").caller_line(), 1);
    let list = |text: &str| {
        let text = format!("version: 1\n{text}\n");
        Arc::new(Revocations::parse(&Source { name: "revocations.yaml".to_owned(), text }).unwrap())
    };
    let changes: [(Change, &str); 6] = [
        (Box::new(move |rules: &InForce| rules.decide_by(compile(&without_deps))), "tunnel.not_named"),
        (Box::new(move |rules: &InForce| rules.decide_by(compile(&without_key))), "tunnel.workflow"),
        (Box::new(move |rules: &InForce| rules.revoke(list("hosts: [deps.test]"))), "revoked"),
        (Box::new(move |rules: &InForce| rules.revoke(list("keys: [ci]"))), "revoked"),
        (Box::new(move |rules: &InForce| rules.revoke(list("callers: [ci]"))), "revoked"),
        (Box::new(move |rules: &InForce| rules.revoke(list("workflows: [docs]"))), "revoked"),
    ];
    for (change, code) in changes {
        let rules = rules(in_2026);
        let (mut origin, upstream) = duplex(4 << 10);
        let text = connect("deps.test:443", &basic("docs", "ci"));
        let (mut client, records) = send(&rules, FAR, &text, Some(upstream)).await;
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        client.write_all(&super::hello::hello("deps.test")).await.unwrap();
        origin.read_u8().await.unwrap();
        // What still allows it changes nothing.
        rules.decide_by(compile(&text_with_another_host()));
        rules.revoke(list("hosts: [other.test]"));
        tokio::task::yield_now().await;
        assert_eq!(records.closes(), []);
        change(&rules);
        assert_eq!(records.close().await.reason, code);
        assert!(matches!(records.decisions()[0].verdict, Verdict::Opened { .. }));
    }
}

fn text_with_another_host() -> String {
    text().replacen("        - deps.test\n", "        - deps.test\n        - other.test\n", 1)
}
