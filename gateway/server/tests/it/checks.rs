//! `models verify`, `models list`, and the digest that a served model is held to.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::gateway::Home;
use crate::hub::Hub;
use crate::routes::Routes;

/// A model that was pulled, and a policy that pins it.
struct Pulled {
    home: Home,
    line: String,
}

impl Pulled {
    fn new() -> Self {
        let home = Home::new(&Routes::demo());
        let hub = Hub::start();
        let mut address = String::new();
        let variables = hub.variables(&home, &mut address);
        let output = home.spawn(&["models", "pull", "org/demo"], &variables).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let out = String::from_utf8(output.stdout).unwrap();
        let line = out.lines().find(|line| line.contains("digest: ")).unwrap().trim().to_owned();
        let pulled = Self { home, line };
        pulled.route(&pulled.line);
        pulled
    }

    /// Makes `line` the only model of the policy.
    fn route(&self, line: &str) {
        let routes = Routes::default().model(line).workflow("try-it", "{ mode: sealed }", "demo");
        self.home.write("routes.yaml", &routes.text());
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("models/demo").join(name)
    }

    /// The exit code of `models verify`, and what it said.
    fn verify(&self, more: &[&str]) -> (i32, String) {
        said(&self.home.run(&[&["models", "verify"], more].concat()))
    }
}

fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stdout.clone()).unwrap())
}

fn flip_last_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn verify_names_what_changed_what_is_missing_and_what_is_more() {
    let pulled = Pulled::new();
    for which in [&[][..], &["demo"], &["models/demo"], &["./models/demo/"]] {
        let (code, said) = pulled.verify(which);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(": intact, 5 files, ") && said.contains("routes   the same"), "{said}");
    }
    flip_last_byte(&pulled.file("model.safetensors"));
    std::fs::remove_file(pulled.file("generation_config.json")).unwrap();
    std::fs::write(pulled.file("chat_template.jinja"), "x").unwrap();
    std::fs::write(pulled.file("notes.txt"), "x").unwrap();
    let (code, said) = pulled.verify(&[]);
    assert_eq!(code, 40, "{said}");
    for line in ["demo: altered", "changed  model.safetensors", "missing  generation_config.json"] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(said.contains("extra    chat_template.jinja") && !said.contains("notes.txt"), "{said}");
}

#[tokio::test]
async fn verify_has_a_code_for_each_verdict_and_takes_the_worst() {
    let pulled = Pulled::new();
    // Nothing but the policy to compare with.
    std::fs::remove_file(pulled.file("portcullis-model.json")).unwrap();
    assert_eq!(pulled.verify(&[]).0, 0);
    // Nothing at all.
    pulled.route("demo: { provider: local, path: ./models/demo }");
    assert_eq!(pulled.verify(&[]).0, 10);
    // A path without a policy.
    std::fs::remove_file(pulled.home.path().join("routes.yaml")).unwrap();
    assert_eq!(pulled.verify(&["models/demo"]).0, 10);
    assert_eq!(pulled.verify(&["models/none"]).0, 50);
    assert_eq!(pulled.verify(&["models"]).0, 50);
    // Several: the worst counts.
    let lines = format!("{}\n  other: {{ provider: local, path: ./models/none }}", pulled.line);
    pulled.route(&lines);
    let (code, said) = pulled.verify(&[]);
    assert_eq!(code, 50, "{said}");
    assert!(
        said.contains("demo: intact") && said.contains("other: cannot tell: there is nothing at"),
        "{said}"
    );
    let output = pulled.home.run(&["models", "verify", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("has no local model `nobody`") && log.contains("it has demo, other"), "{log}");
}

#[tokio::test]
async fn a_manifest_that_was_edited_is_not_believed() {
    let pulled = Pulled::new();
    let path = pulled.file("portcullis-model.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"size\": ", "\"size\": 1", 1)).unwrap();
    let (code, said) = pulled.verify(&[]);
    assert_eq!(code, 50, "{said}");
    assert!(said.contains("is damaged: its digest is not that of its files"), "{said}");
}

#[tokio::test]
async fn a_model_that_is_not_the_pinned_one_does_not_serve() {
    let pulled = Pulled::new();
    let right = pulled.line.split("sha256:").nth(1).unwrap()[..64].to_owned();
    flip_last_byte(&pulled.file("model.safetensors"));
    let output = pulled.home.run(&["serve", "--listen", "127.0.0.1:0"]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    let found = pulled.verify(&["--json"]).1;
    let found: Value = serde_json::from_str(&found).unwrap();
    let wrong = found[0]["digest"].as_str().unwrap();
    assert_ne!(wrong, format!("sha256:{right}"));
    for words in ["model `demo`", &format!("sha256:{right}"), wrong, "portcullis models verify"] {
        assert!(log.contains(words), "{words} is not in\n{log}");
    }
    // Without a digest whatever lies there is served, as a change of the right file shows that it is meant.
    flip_last_byte(&pulled.file("model.safetensors"));
    std::fs::write(pulled.file("generation_config.json"), "{}").unwrap();
    pulled.route("demo: { provider: local, path: ./models/demo, context: 2048 }");
    pulled.home.serve().await.stop().await;
}

#[tokio::test]
async fn json_says_the_same() {
    let pulled = Pulled::new();
    flip_last_byte(&pulled.file("tokenizer.json"));
    let (code, text) = pulled.verify(&["--json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 40);
    assert_eq!(found[0]["verdict"], "altered");
    assert_eq!(found[0]["changed"], serde_json::json!(["tokenizer.json"]));
    assert_eq!(found[0]["missing"], serde_json::json!([]));
    assert_eq!(found[0]["pulled"]["repository"], "org/demo");
    let (code, text) = said(&pulled.home.run(&["models", "list", "--json"]));
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &listed[0]["state"], &listed[0]["digest_state"]),
        (0, &"here".into(), &"pulled".into())
    );
}

#[tokio::test]
async fn list_shows_every_model_of_the_policy() {
    let pulled = Pulled::new();
    let routes = Routes::default()
        .model(&pulled.line)
        .model("loose: { provider: local, path: ./models/demo }")
        .model(&format!(
            "wrong: {{ provider: local, path: ./models/demo, digest: \"sha256:{}\" }}",
            "0".repeat(64)
        ))
        .model("none: { provider: local, path: ./models/none }")
        .provider("cloud", "https://api.example/v1", "locality: hosted, region: us")
        .workflow("try-it", "{ mode: sealed }", "demo");
    pulled.home.write("routes.yaml", &routes.text());
    let (code, out) = said(&pulled.home.run(&["models", "list"]));
    assert_eq!(code, 0);
    let row = |model: &str| {
        let line = out.lines().find(|line| line.split_whitespace().next() == Some(model));
        line.unwrap_or_else(|| panic!("no {model} in\n{out}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(row("MODEL"), "MODEL PROVIDER FROM STATE SIZE DIGEST");
    assert_eq!(row("demo"), "demo local ./models/demo here 6.68 MiB pinned, as pulled");
    assert_eq!(row("loose"), "loose local ./models/demo here 6.68 MiB not pinned");
    assert_eq!(row("wrong"), "wrong local ./models/demo here 6.68 MiB pinned to another one than was pulled");
    assert_eq!(row("none"), "none local ./models/none absent - not pinned");
    assert_eq!(row("cloud"), "cloud cloud upstream-cloud remote - -");
}

#[tokio::test]
async fn help_shows_the_way() {
    let home = Home::new(&Routes::demo());
    for (command, words) in [
        (&["models", "--help"][..], "portcullis models pull Qwen/Qwen3-0.6B"),
        (&["models", "pull", "--help"], "run it again: it goes on where it was"),
        (&["models", "verify", "--help"], "0 intact, 10 nothing to compare with, 40 altered"),
    ] {
        let (code, out) = said(&home.run(command));
        assert_eq!(code, 0);
        assert!(out.contains(words), "{words} is not in\n{out}");
    }
}
