//! What a file that loads is warned of, and what it is not warned of.

use std::collections::BTreeSet;

use policy::{Moment, Policy, Source, Tests};

fn now() -> Moment {
    Moment::parse("2027-01-31T12:00:00Z").expect("the moment is well-formed")
}

fn warnings(text: &str, tests: &Tests) -> String {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    let policy = Policy::check(&source, &[], tests, now()).unwrap_or_else(|findings| panic!("{findings}"));
    let shown: Vec<String> = policy.warnings().iter().map(|warning| warning.render("routes.yaml")).collect();
    shown.join("\n")
}

/// A file in which every lint finds something.
const CARELESS: &str = r#"version: 1
proxies:
  corp: { url: "http://proxy.corp.example:3128", ca_file: corp.pem }
  spare: { url: "https://proxy.corp.example" }
providers:
  local: { kind: engine }
  spare: { kind: engine, device: cpu }
  tenant: { kind: openai, base_url: "https://llm.tenant.example/v1", locality: dedicated }
  shop-a:
    kind: openai
    base_url: https://a.shop.example/v1
    locality: hosted
    region: us
    proxy: corp
    auth: { bearer_env: SHOP_KEY }
  shop-b:
    kind: openai
    base_url: https://b.shop.example/v1
    locality: hosted
    auth: { header_env: { x-api-key: SHOP_KEY, x-tenant: SHOP_TENANT } }
  aws:
    kind: bedrock
    base_url: https://bedrock-runtime.eu-central-1.amazonaws.com
    locality: hosted
    region: eu
    auth: { sigv4: { region: eu-central-1, access_key_id_file: id, secret_access_key_env: AWS_SECRET } }
models:
  demo: { provider: local, path: ./models/demo }
  own: { provider: tenant, name: own }
  large: { provider: shop-a, name: large }
  small: { provider: shop-b, name: small }
  nova: { provider: aws, name: nova }
workflows:
  open:
    owner: team
    callers: [ { loopback: true } ]
    egress: { mode: allowlist, hosts: ["*.shop.example", "*.tenant.example", a.shop.example] }
    route:
      - { when: { model: "large*" }, to: [large] }
      - { when: { model: "large-*-4", tools: true }, to: [small] }
      - { when: { tools: true }, to: [small] }
      - { when: { tools: false, max_input_tokens: 8000 }, to: [small] }
      - { when: { model: "own", max_input_tokens: 8000 }, to: [own] }
      - { when: { model: "own", max_input_tokens: 8001 }, to: [own] }
      - { when: { images: true, task: "review*" }, to: [own] }
      - { when: { images: true, task: "review-code", time: { from: "08:00", to: "18:00", zone: UTC } }, to: [own] }
      - { when: { images: false, time: { days: [mon, tue], from: "22:00", to: "06:00", zone: "+01:00" } }, to: [own] }
      - { when: { images: false, time: { days: [tue], from: "00:00", to: "05:00", zone: UTC } }, to: [own] }
      - { when: { images: false, time: { days: [tue], from: "00:00", to: "05:01", zone: UTC } }, to: [own] }
      - { to: [demo] }
  tested:
    owner: team
    callers:
      - { loopback: true }
      - { api_key: { id: over, sha256: "1111111111111111111111111111111111111111111111111111111111111111", expires: 2027-01-31 } }
      - { api_key: { id: soon, sha256: "2222222222222222222222222222222222222222222222222222222222222222", expires: 2027-02-14 } }
      - { api_key: { id: long, sha256: "3333333333333333333333333333333333333333333333333333333333333333", expires: 2027-02-15 } }
      - { api_key: { id: ever, sha256: "4444444444444444444444444444444444444444444444444444444444444444" } }
    egress: { mode: sealed }
    route: [ { to: [demo] } ]
  learning:
    owner: team
    callers: [ { source: { cidr: 10.3.0.0/16 } } ]
    egress: { mode: hosted, tunnels: report }
    route: [ { to: [demo] } ]
  learnt:
    owner: team
    callers: [ { source: { cidr: 192.0.0.0/8 } } ]
    egress: { mode: hosted, hosts: ["*.shop.example"], tunnels: { mode: report, until: 2027-01-31 } }
    route: [ { to: [demo] } ]
  idle:
    owner: team
    callers: [ { source: { cidr: 10.4.0.0/16 } } ]
    egress: { mode: hosted }
    route: [ { to: [demo] } ]
"#;

#[test]
fn every_lint_finds_its_mistake() {
    let tests = Tests::Of(BTreeSet::from(["tested".to_owned()]));
    insta::assert_snapshot!(warnings(CARELESS, &tests));
}

#[test]
fn a_file_without_tests_is_told_so_once() {
    let shown = warnings(CARELESS, &Tests::Missing);
    assert_eq!(shown.matches("has a test").count(), 1, "{shown}");
    assert!(!warnings(CARELESS, &Tests::Unknown).contains("test"));
}

#[test]
fn a_careful_file_is_not_warned() {
    let text = include_str!("good/minimal.yaml");
    let tests = Tests::Of(BTreeSet::from(["default".to_owned()]));
    assert_eq!(warnings(text, &tests), "");
}

#[test]
fn a_file_that_does_not_load_is_told_why_and_no_more() {
    let text = CARELESS.replace("version: 1", "version: 2");
    let source = Source { name: "routes.yaml".to_owned(), text };
    let findings = Policy::check(&source, &[], &Tests::Missing, now()).unwrap_err();
    assert!(findings.list().iter().all(|finding| !finding.message.contains("test")), "{findings}");
}
