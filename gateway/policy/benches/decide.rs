//! What the policy costs a call, and a start or a reload, with ten to ten thousand workflows.
//!
//! A decision looks at one workflow only and should not care how many there are, nor should finding a key. A plan
//! looks at all of both policies.

use std::fmt::Write;

use divan::Bencher;
use policy::key::ApiKey;
use policy::plan::Plan;
use policy::{Facts, KeyId, Moment, Policy, Presented, Source};

const WORKFLOWS: [u32; 4] = [10, 100, 1000, 10_000];

/// Workflows in one file; a file of more would be larger than one may be.
const WORKFLOWS_OF_A_FILE: u32 = 1000;

fn main() {
    divan::main();
}

fn key(number: u32) -> ApiKey {
    let id = KeyId::new(&format!("key-{number}")).expect("a name");
    let mut entropy = [0; 32];
    entropy[..4].copy_from_slice(&number.to_le_bytes());
    ApiKey::from_entropy(id, entropy)
}

/// A policy of `count` workflows, each with a key and a route of three entries: what all share, and files of workflows.
struct Files {
    base: Source,
    parts: Vec<Source>,
}

impl Files {
    fn of(count: u32) -> Self {
        let base = "version: 1
providers:
  near: { kind: openai, base_url: 'https://models.corp.example/v1', locality: local, cidrs: [10.20.0.0/16] }
  far: { kind: openai, base_url: 'https://api.example.com/v1', locality: hosted, region: eu }
models:
  small: { provider: near, name: org/small }
  large: { provider: near, name: org/large }
  hosted: { provider: far, name: hosted-1 }
";
        let numbers: Vec<u32> = (0..count).collect();
        let parts = numbers.chunks(WORKFLOWS_OF_A_FILE as usize).map(part);
        Self {
            base: Source { name: "routes.yaml".to_owned(), text: base.to_owned() },
            parts: parts.collect(),
        }
    }

    fn compile(&self) -> Policy {
        Policy::compile_parts(&self.base, &self.parts).expect("the files are right")
    }
}

fn part(numbers: &[u32]) -> Source {
    let mut text = String::from("version: 1\nworkflows:\n");
    for number in numbers {
        write!(
            text,
            "  w-{number}:
    owner: team
    callers:
      {}
    egress: {{ mode: hosted, providers: [far] }}
    route:
      - {{ when: {{ model: 'fast-*' }}, to: [small] }}
      - {{ when: {{ tools: true, max_input_tokens: 8000 }}, to: [large, small] }}
      - {{ to: [hosted, large] }}
",
            key(*number).caller_line()
        )
        .expect("a string takes every write");
    }
    Source { name: "workflows.yaml".to_owned(), text }
}

fn compiled(count: u32) -> Policy {
    Files::of(count).compile()
}

#[divan::bench(args = WORKFLOWS)]
fn compile(bencher: Bencher<'_, '_>, count: u32) {
    let files = Files::of(count);
    bencher.bench_local(|| files.compile());
}

#[divan::bench(args = [10, 100, 1000])]
fn plan(bencher: Bencher<'_, '_>, count: u32) {
    let (base, new) = (compiled(count), compiled(count + 1));
    bencher.bench_local(|| Plan::between(&base, &new));
}

#[divan::bench(args = WORKFLOWS)]
fn identify(bencher: Bencher<'_, '_>, count: u32) {
    let policy = compiled(count);
    let key = key(count - 1);
    let presented = Presented { loopback: false, api_key: Some(key.expose()), now: Moment::from_unix_s(0) };
    bencher.bench_local(|| policy.identify(&presented).expect("the key is known"));
}

#[divan::bench(args = WORKFLOWS)]
fn select_and_decide(bencher: Bencher<'_, '_>, count: u32) {
    let policy = compiled(count);
    let key = key(count - 1);
    let presented = Presented { loopback: false, api_key: Some(key.expose()), now: Moment::from_unix_s(0) };
    let caller = policy.identify(&presented).expect("the key is known");
    let tools = vec!["search".to_owned()];
    let facts = Facts { model: "auto".to_owned(), input_tokens: 9000, tools, ..Facts::default() };
    bencher.bench_local(|| {
        let workflow = policy.select(&caller, None).expect("the caller has one workflow");
        policy.decide(workflow, &facts)
    });
}
