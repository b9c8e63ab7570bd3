//! Configurations of `LiteLLM`, and what becomes of them: the text, the notes, and where calls go.

use std::fs;
use std::path::Path;

use policy::import::litellm;
use policy::{Decision, Facts, Policy, Source, Target};

fn config(name: &str) -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/litellm").join(name);
    let text = fs::read_to_string(path).expect("the fixture lies beside this test");
    Source { name: name.to_owned(), text }
}

fn fixtures() -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/litellm");
    let entries = fs::read_dir(folder).expect("the fixtures lie beside this test");
    let names = entries.map(|entry| entry.expect("the folder is readable").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("names are text")).collect();
    names.sort();
    names.iter().map(|name| config(name)).collect()
}

fn imported(source: &Source) -> Policy {
    let imported = litellm(source).unwrap_or_else(|findings| panic!("{findings}"));
    let draft = Source { name: "routes.yaml".to_owned(), text: imported.text.clone() };
    Policy::compile(&draft).unwrap_or_else(|findings| panic!("{findings}\n{}", imported.text))
}

#[test]
fn a_configuration_becomes_a_policy_file_and_notes() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 10, "only {} fixtures", fixtures.len());
    for source in fixtures {
        let imported = litellm(&source).unwrap_or_else(|findings| panic!("{findings}"));
        let name = format!("litellm-{}", source.name.trim_end_matches(".yaml"));
        insta::assert_snapshot!(name, imported.text);
        for note in &imported.notes {
            assert!(note.hint.is_some(), "{}", note.render(&source.name));
        }
    }
}

#[test]
fn every_result_loads() {
    for source in fixtures() {
        imported(&source);
    }
}

#[test]
fn no_secret_of_a_configuration_is_carried_over() {
    for source in fixtures() {
        let imported = litellm(&source).unwrap();
        let notes: Vec<String> = imported.notes.iter().map(|note| note.render(&source.name)).collect();
        for secret in ["sk-secret", "hunter2"] {
            assert!(!imported.text.contains(secret), "{}", imported.text);
            assert!(!notes.concat().contains(secret), "{notes:?}");
        }
    }
}

/// Returns where a call that names `model` goes, as `upstream model @ host`, in the order of the hops.
fn hops(policy: &Policy, model: &str) -> Vec<String> {
    let workflow = policy.workflows().next().expect("an imported file has a workflow");
    let facts = Facts { model: model.to_owned(), ..Facts::default() };
    let Decision::Allow(admitted) = policy.decide(workflow, &facts) else { panic!("`{model}` is denied") };
    let place = |hop: &policy::Hop| {
        let Target::Http(destination) = hop.target() else { panic!("an import has no engine") };
        format!("{} @ {}", hop.upstream_model(), destination.host())
    };
    admitted.hops().iter().map(place).collect()
}

fn check(file: &str, model: &str, expected: &[&str]) {
    assert_eq!(hops(&imported(&config(file)), model), expected, "`{model}` of {file}");
}

#[test]
fn a_name_leads_to_the_same_models_at_the_same_hosts() {
    let azure =
        ["gpt-4o-canada @ corp-canada.openai.azure.com", "gpt-4o-europe @ corp-europe.openai.azure.com"];
    let mut found = hops(&imported(&config("quick-start.yaml")), "gpt-4o");
    found.sort();
    assert_eq!(found, azure);
    check(
        "quick-start.yaml",
        "claude",
        &["anthropic.claude-opus-4-7-v1:0 @ bedrock-runtime.us-east-1.amazonaws.com"],
    );
    check("quick-start.yaml", "our-model", &["facebook/opt-125m @ 127.0.0.1"]);

    // The heaviest first, for a name and for its alias.
    let weighted = [
        "gpt-5-large @ corp-c.openai.azure.com",
        "gpt-5-middle @ corp-b.openai.azure.com",
        "gpt-5-small @ corp-a.openai.azure.com",
    ];
    check("weighted.yaml", "gpt-5", &weighted);
    check("weighted.yaml", "gpt-4", &weighted);

    let zephyr = ["org/zephyr-7b @ 10.1.0.1", "org/zephyr-7b @ 10.1.0.2"];
    check("fallbacks.yaml", "zephyr", &zephyr);
    check("fallbacks.yaml", "gpt-5-mini", &["gpt-5-mini @ api.openai.com"]);
    let behind = ["gpt-5 @ api.openai.com", "gpt-5-mini @ api.openai.com", zephyr[0], zephyr[1]];
    check("fallbacks.yaml", "gpt-5", &behind);

    check(
        "latency.yaml",
        "opus",
        &[
            "claude-opus-4-7 @ api.anthropic.com",
            "eu.anthropic.claude-opus-4-7-v1:0 @ bedrock-runtime.eu-central-1.amazonaws.com",
        ],
    );
    check("google.yaml", "flash", &["gemini-3-flash @ europe-west4-aiplatform.googleapis.com"]);
    check("google.yaml", "claude-on-vertex", &["anthropic/claude-opus-4-7 @ aiplatform.googleapis.com"]);
    check("google.yaml", "flash-by-key", &["gemini-3-flash @ generativelanguage.googleapis.com"]);
    check("house.yaml", "mistral-7b", &["mistral @ localhost"]);
    check("house.yaml", "llama", &["llama4 @ 192.168.1.20"]);
    check("names.yaml", "openai/gpt-4o", &["gpt-4o @ api.openai.com"]);
    check("names.yaml", "GPT-4O", &["gpt-4o @ api.openai.com"]);
    check("names.yaml", "openai-gpt-4o", &["gpt-4o-mini @ api.openai.com"]);
    check("names.yaml", "Claude Opus (4.7)", &["claude-opus-4-7 @ api.anthropic.com"]);
    check("names.yaml", "4.1", &["gpt-4.1 @ api.openai.com"]);
    check("services.yaml", "small", &["mistral-small-latest @ api.mistral.ai"]);
    check("services.yaml", "behind-a-proxy", &["gpt-5 @ litellm.corp.example"]);
    check("services.yaml", "fast", &["llama-4-scout @ api.cerebras.ai", "llama-4-scout @ api.groq.com"]);
    check("careless.yaml", "opus-team3", &["claude-opus-4-7 @ llm.corp.example"]);
}

#[test]
fn what_stays_in_the_house_is_sealed() {
    let policy = imported(&config("house.yaml"));
    let modes: Vec<&str> = policy.workflows().map(|workflow| workflow.egress_mode().as_str()).collect();
    assert_eq!(modes, ["sealed"]);
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    for text in ["version: 1\n", "[]\n", "model_list: []\n", "model_list: [ { model_name: a } ]\n", "a: [\n"]
    {
        let source = Source { name: "config.yaml".to_owned(), text: text.to_owned() };
        let findings = litellm(&source).expect_err(text).to_string();
        assert!(findings.contains("config.yaml:") && findings.contains("hint:"), "{findings}");
    }
}
