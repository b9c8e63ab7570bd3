//! `models inspect`: what a model is and takes, without reading its weights.

use serde_json::Value;

use crate::gateway::Home;
use crate::routes::Routes;

/// What the engine's tests have: published configs, tiny checkpoints.
const ENGINE_TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engine/tests");

fn inspect(model: &str, more: &[&str]) -> (i32, String, String) {
    let home = Home::new(&Routes::demo());
    let output = home.run(&[&["models", "inspect", model], more].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(model: &str) -> Value {
    let (code, out, err) = inspect(model, &["--json"]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_config_alone_is_enough() {
    let (code, out, err) = inspect(&format!("{ENGINE_TESTS}/published/deepseek-v3.json"), &[]);
    assert_eq!(code, 0, "{err}");
    for wanted in ["DeepseekV3ForCausalLM", "671.03 billion in all", "36.63 billion", "70272 bytes"] {
        assert!(out.contains(wanted), "{wanted} is missing from\n{out}");
    }
}

#[test]
fn a_folder_a_file_and_a_model_of_the_policy_are_understood() {
    let folder = json(&format!("{ENGINE_TESTS}/golden/gpt_oss"));
    assert_eq!(folder["kind"], "generator");
    assert!(folder["stored_bytes"]["bf16"].as_u64().unwrap() > 0);
    // Half of the layers keep the last 16 tokens only.
    assert_eq!(folder["cache"][0]["tokens_max"], 16);
    assert_eq!(folder["cache"][1]["tokens_max"], Value::Null);
    assert_eq!(json("demo")["architecture"], "Qwen3MoeForCausalLM");
    assert_eq!(json(&format!("{ENGINE_TESTS}/encoders/bert_mean"))["kind"], "encoder");
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let home = Home::new(&Routes::demo());
    home.write("config.json", r#"{"architectures": ["GraphWriterForCausalLM"]}"#);
    let output = home.run(&["models", "inspect", "config.json"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(err.contains("GraphWriterForCausalLM is not supported; supported: "), "{err}");
    let (code, _, err) = inspect("no-such-model", &[]);
    assert_ne!(code, 0);
    assert!(err.contains("no-such-model does not exist, and routes.yaml has no local model"), "{err}");
}
