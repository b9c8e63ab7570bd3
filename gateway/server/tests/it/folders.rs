//! A policy in a folder: the same policy as in one file, for every command and for a server that reads it again.

use std::process::Output;

use crate::client::ask;
use crate::gateway::Home;
use crate::patience::eventually;
use crate::plans::git;
use crate::reload::{reload, serve_with};
use crate::routes::Routes;

/// A workflow in a file of its own. Everybody on this machine may call it.
fn part(name: &str, more: &str) -> String {
    format!(
        "version: 1\nworkflows:\n  {name}:\n    owner: team-{name}\n    callers: [ {{ loopback: true }} ]\n    \
         egress: {{ mode: sealed }}\n    route: [ {{ to: [demo] }} ]\n{more}"
    )
}

fn cases(workflow: &str) -> String {
    format!(
        "version: 1\ncases:\n  - {{ name: {workflow}, caller: {{ loopback: true }}, workflow: {workflow}, \
         expect: {{ decision: allow, to: [demo] }} }}\n"
    )
}

/// A home with a policy of a base and two parts in `policy`, and nothing else.
fn home() -> Home {
    let home = Home::new(&Routes::demo());
    std::fs::remove_file(home.path().join("routes.yaml")).unwrap();
    std::fs::create_dir(home.path().join("policy")).unwrap();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engine/models/demo");
    std::os::unix::fs::symlink(demo, home.path().join("policy/model")).unwrap();
    home.write(
        "policy/routes.yaml",
        "version: 1\nproviders: { engine: { kind: engine, device: cpu, locality: local } }\nmodels: { demo: { \
         provider: engine, path: ./model, context: 2048 } }\n",
    );
    home.write("policy/docs.yaml", &part("docs", ""));
    home.write("policy/wiki.yaml", &part("wiki", ""));
    home
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn complained(output: &Output, words: &str) {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && log.contains(words), "{words} is not in\n{log}");
}

#[test]
fn every_command_takes_a_folder() {
    let home = home();
    let check = said(&home.run(&["check", "policy"]), 0);
    assert!(check.contains("docs: sealed, owner team-docs, reaches demo\nwiki: "), "{check}");
    assert!(check.contains("\npolicy is valid, digest "), "{check}");
    assert!(check.contains("policy/docs.yaml:3:3: warning: no workflow has a test"), "{check}");

    home.write("policy/docs_test.yaml", &cases("docs"));
    let check = said(&home.run(&["check", "policy"]), 0);
    assert!(check.contains("policy/wiki.yaml:3:3: warning: the workflow `wiki` has no test"), "{check}");
    assert!(!check.contains("`docs` has no test"), "{check}");
    home.write("policy/wiki_test.yaml", &cases("wiki"));
    said(&home.run(&["check", "--strict", "policy"]), 0);
    let test = said(&home.run(&["test", "policy"]), 0);
    assert!(test.contains("policy/docs_test.yaml and 1 more: 2 of 2 cases passed, 0 failed"), "{test}");
    home.write("policy/wiki_test.yaml", &cases("wiki").replace("wiki,", "wik,"));
    let test = said(&home.run(&["test", "policy"]), 1);
    assert!(test.contains("FAIL policy/wiki_test.yaml:3: "), "{test}");

    for arguments in [
        &["explain", "--routes", "policy", "--workflow", "wiki"][..],
        &["models", "list", "--routes", "policy"],
        &["models", "inspect", "--routes", "policy", "demo"],
        &["key", "list", "--routes", "policy"],
    ] {
        said(&home.run(arguments), 0);
    }
    let list = said(&home.run(&["models", "list", "--routes", "policy"]), 0);
    assert!(list.contains("policy/./model") && list.contains(" here "), "{list}");
    // Paths are relative to the folder, whatever it is called from, and the environment can name it too.
    let list =
        home.spawn(&["models", "list"], &[("PORTCULLIS_ROUTES", "policy/")]).wait_with_output().unwrap();
    assert!(said(&list, 0).contains(" here "), "{list:?}");
}

#[test]
fn what_is_wrong_is_said_of_the_right_file() {
    let home = home();
    home.write("policy/wiki.yaml", &part("wiki", "    limitz: {}\n"));
    let check = said(&home.run(&["check", "policy"]), 1);
    assert!(check.starts_with("policy/wiki.yaml:8:5: unknown key `limitz`"), "{check}");
    complained(&home.run(&["test", "policy"]), "policy/wiki.yaml:8:5: ");
    complained(
        &home.run(&["serve", "--routes", "policy", "--listen", "127.0.0.1:0"]),
        "policy/wiki.yaml:8:5: ",
    );
    home.write("policy/wiki.yaml", &part("docs", ""));
    let check = said(&home.run(&["check", "policy"]), 1);
    assert!(check.contains("`docs` already stands at policy/docs.yaml:3:3"), "{check}");
    // A file that somebody meant, and one that is missing.
    home.write("policy/wiki.yml", &part("wiki", ""));
    complained(&home.run(&["check", "policy"]), "`wiki.yml` would not be read");
    std::fs::remove_file(home.path().join("policy/wiki.yml")).unwrap();
    std::fs::remove_file(home.path().join("policy/routes.yaml")).unwrap();
    complained(&home.run(&["check", "policy"]), "there is no `routes.yaml`");
}

#[test]
fn a_case_that_cannot_be_read_is_a_warning_of_check() {
    let home = home();
    home.write("policy/docs_test.yaml", &cases("docs").replace("caller", "caler"));
    let check = said(&home.run(&["check", "policy"]), 0);
    assert!(check.contains("policy/docs_test.yaml:3:19: warning: unknown key `caler`"), "{check}");
    said(&home.run(&["check", "--strict", "policy"]), 1);
}

#[test]
fn a_plan_compares_folders_files_and_revisions() {
    let home = home();
    git(&home, &["init", "--quiet"]);
    git(&home, &["add", "policy"]);
    git(&home, &["commit", "--quiet", "--message", "policy"]);
    std::fs::create_dir(home.path().join("old")).unwrap();
    for name in ["routes.yaml", "docs.yaml", "wiki.yaml"] {
        std::fs::copy(home.path().join("policy").join(name), home.path().join("old").join(name)).unwrap();
    }
    for base in ["HEAD", "old", "policy"] {
        said(&home.run(&["plan", "--base", base, "policy"]), 0);
    }
    home.write("policy/more.yaml", &part("more", ""));
    std::fs::remove_file(home.path().join("policy/wiki.yaml")).unwrap();
    for base in ["HEAD", "old"] {
        let plan = said(&home.run(&["plan", "--base", base, "policy"]), 3);
        assert!(plan.contains("more: added") && plan.contains("wiki: removed"), "{plan}");
    }
    // One file and several may be the same policy.
    let read = |name: &str| std::fs::read_to_string(home.path().join("old").join(name)).unwrap();
    let body = |name: &str| read(name).split_once("workflows:\n").unwrap().1.to_owned();
    home.write(
        "one.yaml",
        &format!("{}workflows:\n{}{}", read("routes.yaml"), body("docs.yaml"), body("wiki.yaml")),
    );
    said(&home.run(&["plan", "--base", "one.yaml", "old"]), 0);
    said(&home.run(&["plan", "--base", "old", "one.yaml"]), 0);
    // What is wrong is said of the file here, or of the file at the revision.
    home.write("policy/docs.yaml", "version: 1\n");
    complained(&home.run(&["plan", "--base", "HEAD", "policy"]), "policy/docs.yaml:1:1: ");
    git(&home, &["commit", "--quiet", "--all", "--message", "broken"]);
    home.write("policy/docs.yaml", &part("docs", ""));
    complained(&home.run(&["plan", "--base", "HEAD", "policy"]), "HEAD:./docs.yaml:1:1: ");
}

#[tokio::test]
async fn a_signature_covers_the_folder_and_nothing_may_be_added_or_missing() {
    let home = home();
    let keys = said(&home.run(&["sign", "keygen", "corp.example/security"]), 0);
    home.write("policy.keys", keys.lines().last().unwrap().trim());
    let verify = |code| said(&home.run(&["verify", "policy", "--policy-keys", "policy.keys"]), code);
    verify(10);
    let signed = said(&home.run(&["sign", "policy", "--key", "security.key"]), 0);
    assert!(signed.starts_with("policy/routes.sig: revision 1, "), "{signed}");
    for file in ["docs.yaml", "routes.yaml", "wiki.yaml"] {
        assert!(signed.contains(&format!("  file        {file}, ")), "{signed}");
    }
    assert!(verify(0).starts_with("policy is what was signed: revision 1\n"));
    let serve = ["--routes", "policy", "--policy-keys", "policy.keys"];
    home.serve_with(&serve).await.stop().await;
    let refused = |code: &str| {
        assert!(verify(40).contains(code));
        let serve = [&["serve", "--listen", "127.0.0.1:0"][..], &serve].concat();
        complained(&home.run(&serve), code);
    };
    // Cases and revocations are not signed: they let nobody go further.
    home.write("policy/docs_test.yaml", &cases("docs"));
    home.write("policy/revocations.yaml", "version: 1\nworkflows: [wiki]\n");
    verify(0);
    home.write("policy/more.yaml", &part("more", ""));
    refused("(file_extra)");
    std::fs::remove_file(home.path().join("policy/more.yaml")).unwrap();
    let wiki = std::fs::read_to_string(home.path().join("policy/wiki.yaml")).unwrap();
    home.write("policy/wiki.yaml", &format!("{wiki}# one more byte\n"));
    refused("(file_changed)");
    std::fs::remove_file(home.path().join("policy/wiki.yaml")).unwrap();
    refused("(file_missing)");
    home.write("policy/wiki.yaml", &wiki);
    verify(0);
}

#[tokio::test]
async fn a_part_that_comes_changes_goes_or_is_broken_is_seen_by_a_server() {
    let home = home();
    home.write("policy/docs_test.yaml", &cases("docs"));
    let (gateway, admin) = serve_with(&home, &["--routes", "policy", "--require-tests"]).await;
    let source = admin.get("/admin/policy").await.json()["source"].clone();
    assert_eq!(source, "policy");
    let call = async |workflow: &str| {
        gateway.client().with_header("x-portcullis-workflow", workflow).chat(&ask("hello")).await.status
    };
    let outcome = async || reload(&admin).await.json();
    assert_eq!((call("wiki").await, call("more").await), (200, 403));

    home.write("policy/more.yaml", &part("more", ""));
    let summary = outcome().await["summary"].clone();
    assert_eq!(summary, "reach widens; workflows +more");
    assert_eq!(call("more").await, 200);

    home.write("policy/more.yaml", &part("more", "    owner: x\n"));
    let broken = outcome().await;
    assert_eq!((&broken["outcome"], &broken["failure"]["stage"]), (&"rejected".into(), &"compile".into()));
    let message = broken["failure"]["message"].as_str().unwrap();
    assert!(message.starts_with("policy/more.yaml:8:5: "), "{message}");
    assert_eq!(call("more").await, 200, "a broken part changes nothing");

    std::fs::remove_file(home.path().join("policy/more.yaml")).unwrap();
    std::fs::remove_file(home.path().join("policy/wiki.yaml")).unwrap();
    assert_eq!(outcome().await["outcome"], "activated");
    assert_eq!((call("more").await, call("wiki").await, call("docs").await), (403, 403, 200));

    // The cases of every part count.
    home.write("policy/wiki_test.yaml", &cases("wiki"));
    home.write("policy/docs.yaml", &part("docs", "    limits: { total: 5m }\n"));
    assert_eq!(outcome().await["failure"]["stage"], "tests");
    home.write("policy/wiki.yaml", &part("wiki", ""));
    assert_eq!(outcome().await["outcome"], "activated");
    // Revocations lie in the folder.
    home.write("policy/revocations.yaml", "version: 1\nworkflows: [wiki]\n");
    assert_eq!(admin.request("POST", "/admin/reload", "").await.status, 200);
    eventually("a revocation", async || (call("wiki").await == 403).then_some(())).await;
}

#[tokio::test]
async fn a_part_that_is_added_is_noticed_without_being_told() {
    let home = home();
    let settings = ["--routes", "policy", "--policy-poll", "20ms", "--policy-spacing", "0s"];
    let gateway = home.serve_with(&settings).await;
    let digest = async || gateway.client().get("/readyz").await.json()["policy_digest"].clone();
    let first = digest().await;
    home.write("policy/more.yaml", &part("more", ""));
    eventually("another policy", async || (digest().await != first).then_some(())).await;
    std::fs::remove_file(home.path().join("policy/more.yaml")).unwrap();
    eventually("the first policy", async || (digest().await == first).then_some(())).await;
    assert_eq!(home.records_of("policy.activate").len(), 3);
}
