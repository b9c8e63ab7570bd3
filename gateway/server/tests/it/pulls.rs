//! `models pull`: from a hub to a served model, and what a person reads when it does not work.

use std::path::PathBuf;
use std::process::{Child, Output};

use crate::client::ask;
use crate::gateway::{Home, closed_port, send_signal};
use crate::hub::{COMMIT, Hub, Trick};
use crate::patience::eventually;
use crate::routes::Routes;

const PULL: [&str; 3] = ["models", "pull", "org/demo"];
const WEIGHTS: &str = "model.safetensors";

/// A folder to pull into.
struct Stage {
    home: Home,
    hub: Hub,
}

impl Stage {
    fn new() -> Self {
        Self { home: Home::new(&Routes::demo()), hub: Hub::start() }
    }

    fn spawn(&self, more: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut address = String::new();
        let own = self.hub.variables(&self.home, &mut address);
        self.home.spawn(&[&PULL, more].concat(), &[&own, variables].concat())
    }

    fn pull(&self, more: &[&str], variables: &[(&str, &str)]) -> Output {
        self.spawn(more, variables).wait_with_output().unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("models/demo")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every header with this name that came to the hub, with how many requests there were.
    fn seen(&self, header: &str) -> (Vec<String>, usize) {
        let heads = self.hub.requests();
        let lines = heads.iter().flat_map(|head| head.lines());
        let values = lines.filter_map(|line| line.strip_prefix(header)?.strip_prefix(": "));
        (values.map(str::to_owned).collect(), heads.len())
    }
}

#[track_caller]
fn succeeds(output: &Output) -> (String, String) {
    let (out, log) = texts(output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    (out, log)
}

/// The command fails, prints nothing, and says all of `words`.
#[track_caller]
fn fails(output: &Output, words: &[&str]) -> String {
    let (out, log) = texts(output);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{log}");
    for word in words {
        assert!(log.contains(word), "{word:?} is not in\n{log}");
    }
    log
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_pulled_model_is_served_by_the_line_that_is_printed() {
    let stage = Stage::new();
    let (out, _) = succeeds(&stage.pull(&[], &[]));
    assert!(out.starts_with(&format!("org/demo at {COMMIT}: 5 files, ")), "{out}");
    let whole = ["config.json", "generation_config.json", WEIGHTS, "portcullis-model.json"];
    assert_eq!(stage.names(), [&whole[..], &["tokenizer.json", "tokenizer_config.json"]].concat());
    let line = out.lines().find(|line| line.contains("digest: \"sha256:")).unwrap().trim();
    assert!(line.starts_with("demo: { provider: local, path: ./models/demo, digest: "), "{line}");
    let routes = Routes::default().model(line).workflow("try-it", "{ mode: sealed }", "demo");
    stage.home.write("routes.yaml", &routes.text());
    let gateway = stage.home.serve().await;
    gateway.client().said(&ask("hello")).await;
    assert!(gateway.stop().await.contains("the digest is right"));
    // A second pull finds everything there, and loads nothing.
    stage.hub.requests();
    assert_eq!(succeeds(&stage.pull(&[], &[])).0, out);
    assert_eq!(stage.hub.requests().len(), 1);
}

#[tokio::test]
async fn without_a_terminal_progress_is_lines() {
    let stage = Stage::new();
    let (_, log) = succeeds(&stage.pull(&[], &[]));
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("loading ") && line.contains(" %")).collect();
    assert!(lines.len() <= 10 && lines.last().unwrap().contains("loading 100 %"), "{log}");
    assert!(log.contains("model.safetensors: whole, and what the hub says it is"), "{log}");
    assert!(!log.contains('\x1b') && !log.contains('\r'), "{log:?}");
}

#[tokio::test]
async fn a_stopped_pull_goes_on_where_it_was() {
    let stage = Stage::new();
    stage.hub.play(Trick::Stall(WEIGHTS, 3_000_000));
    let process = stage.spawn(&[], &[]);
    let part = stage.folder().join("model.safetensors.part");
    eventually("what the hub sent so far", async || {
        std::fs::metadata(&part).is_ok_and(|part| part.len() == 3_000_000).then_some(())
    })
    .await;
    // Nobody else writes there meanwhile.
    fails(&stage.pull(&[], &[]), &["another `models pull` is writing to models/demo"]);
    send_signal("INT", &process);
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(texts(&output).1.contains("run the command again"), "{output:?}");
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 3_000_000);
    assert!(!stage.folder().join(WEIGHTS).exists() && !stage.folder().join("portcullis-model.json").exists());

    stage.hub.play(None);
    stage.hub.requests();
    let (_, log) = succeeds(&stage.pull(&[], &[]));
    assert!(log.contains("model.safetensors: going on at 2.86 MiB of 6.66 MiB"), "{log}");
    assert_eq!(stage.seen("range"), (vec!["bytes=3000000-".to_owned()], 2));
    assert!(!part.exists());
}

#[tokio::test]
async fn a_killed_pull_goes_on_too() {
    let stage = Stage::new();
    stage.hub.play(Trick::Stall(WEIGHTS, 1_000_000));
    let mut process = stage.spawn(&[], &[]);
    let part = stage.folder().join("model.safetensors.part");
    eventually("what the hub sent so far", async || {
        std::fs::metadata(&part).is_ok_and(|part| part.len() == 1_000_000).then_some(())
    })
    .await;
    process.kill().unwrap();
    process.wait().unwrap();
    stage.hub.play(None);
    stage.hub.requests();
    succeeds(&stage.pull(&[], &[]));
    assert_eq!(stage.seen("range").0, ["bytes=1000000-"]);
}

#[tokio::test]
async fn a_gated_model_is_explained() {
    let stage = Stage::new();
    stage.hub.play(Trick::Refuse(401, "x-error-code", "GatedRepo"));
    fails(
        &stage.pull(&[], &[]),
        &["portcullis: org/demo is gated", "1. sign in and accept", "3. set HF_TOKEN"],
    );
    stage.hub.play(Trick::Refuse(403, "x-error-code", "GatedRepo"));
    let log = fails(&stage.pull(&[], &[("HF_TOKEN", "hf_secret")]), &["has not been let in"]);
    assert!(!log.contains("hf_secret"), "{log}");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let stage = Stage::new();
    let mut address = String::new();
    let variables = stage.hub.variables(&stage.home, &mut address);
    let pull = |model| stage.home.spawn(&["models", "pull", model], &variables).wait_with_output().unwrap();
    fails(&pull("org/other"), &["has no repository org/other", "check the spelling"]);
    fails(&pull("demo"), &["`demo` is not ORG/NAME, such as Qwen/Qwen3-0.6B"]);
    fails(&pull("org/../demo"), &["is not ORG/NAME"]);
    fails(&stage.pull(&["--file", "x.gguf"], &[]), &["org/demo has no GGUF files"]);
}

#[tokio::test]
async fn a_file_with_the_wrong_digest_is_refused_and_removed() {
    let stage = Stage::new();
    stage.hub.play(Trick::Alter(WEIGHTS));
    fails(&stage.pull(&[], &[]), &["`model.safetensors` is not what the hub says", "has been removed"]);
    let kept = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(stage.names(), kept);
    stage.hub.play(None);
    succeeds(&stage.pull(&[], &[]));
}

#[tokio::test]
async fn a_disk_without_room_is_left_as_it_was() {
    let stage = Stage::new();
    // Known beforehand, nothing is begun.
    stage.hub.play(Trick::Claim(WEIGHTS, 1 << 60));
    fails(&stage.pull(&[], &[]), &["1.00 EiB are still to be loaded", "are free at models/demo"]);
    assert_eq!(stage.names(), [""; 0]);
    // Found out on the way, nothing is left of the file that did not fit.
    stage.hub.play(None);
    let mut address = String::new();
    let variables = stage.hub.variables(&stage.home, &mut address);
    let output = stage.home.spawn_on_a_small_disk(4000, &PULL, &variables).wait_with_output().unwrap();
    fails(&output, &["no room left for `models/demo/model.safetensors.part`", "free some room"]);
    let kept = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(stage.names(), kept);
    succeeds(&stage.pull(&[], &[]));
}

#[tokio::test]
async fn another_model_is_not_mixed_in() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.folder()).unwrap();
    for name in ["README.md", "model-00001-of-00002.safetensors"] {
        std::fs::write(stage.folder().join(name), "x").unwrap();
    }
    let words = ["holds files of another model: model-00001-of-00002.safetensors", "--to"];
    fails(&stage.pull(&[], &[]), &words);
    let (out, _) = succeeds(&stage.pull(&["--to", "elsewhere/it"], &[]));
    assert!(out.contains("path: ./elsewhere/it,"), "{out}");
}

#[tokio::test]
async fn the_token_comes_from_the_variable_or_a_file_and_an_empty_variable_is_none() {
    let stage = Stage::new();
    std::fs::write(stage.home.path().join("token"), "hf_of_home\n").unwrap();
    stage.home.write("other", "hf_other\n");
    let check = |more: &[&str], variables: &[(&str, &str)], token: Option<&str>| {
        succeeds(&stage.pull(more, variables));
        let (values, asked) = stage.seen("authorization");
        let expected = token.map(|token| format!("Bearer {token}"));
        assert_eq!(values, expected.map_or(vec![], |value| vec![value; asked]));
        std::fs::remove_dir_all(stage.folder()).unwrap();
    };
    check(&[], &[], Some("hf_of_home"));
    check(&["--token-file", "other"], &[], Some("hf_other"));
    check(&["--token-file", "other"], &[("HF_TOKEN", "hf_variable")], Some("hf_variable"));
    check(&[], &[("HF_TOKEN", "")], None);
    fails(&stage.pull(&[], &[("HF_TOKEN", "two words")]), &["HF_TOKEN: a token is one word"]);
    let far = [("HF_ENDPOINT", "http://hub.example"), ("HF_TOKEN", "hf_secret")];
    fails(&stage.pull(&[], &far), &["is plain HTTP: a token is not sent there"]);
}

#[tokio::test]
async fn only_a_proxy_that_is_named_is_used() {
    let stage = Stage::new();
    let nobody = format!("http://127.0.0.1:{}", closed_port());
    let ambient = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"];
    succeeds(&stage.pull(&[], &ambient.map(|name| (name, nobody.as_str()))));
    std::fs::remove_dir_all(stage.folder()).unwrap();
    // A proxy is asked for the way to the hub, and here it is the hub itself that is asked, and says no.
    let mut address = String::new();
    let [(_, hub), _] = stage.hub.variables(&stage.home, &mut address);
    stage.hub.requests();
    fails(&stage.pull(&["--proxy", hub], &[]), &["cannot load from 127.0.0.1"]);
    let heads = stage.hub.requests();
    assert!(heads.iter().all(|head| head.starts_with("CONNECT 127.0.0.1:")), "{heads:?}");
    fails(&stage.pull(&["--proxy", "not a proxy"], &[]), &["is not the address of a proxy"]);
}
