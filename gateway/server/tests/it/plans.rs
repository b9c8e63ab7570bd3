//! `portcullis plan`, and the worked example of the documentation, run as it is written there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::client::{ask, with};
use crate::gateway::Home;
use crate::routes::Routes;

#[track_caller]
fn check(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy")
}

/// A folder with the example's files, named as its reader has them.
fn home() -> Home {
    let home = Home::new(&Routes::demo());
    for folder in ["", "proposed", "by-team"] {
        let (from, to) = (example().join(folder), home.path().join("docs/policy").join(folder));
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            if entry.path().extension().is_some_and(|end| end == "yaml") {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
    home
}

/// Every command in a `console` block of the example's page does what the page says that it does.
#[test]
fn the_worked_example_does_what_its_page_says() {
    let page = std::fs::read_to_string(example().join("README.md")).unwrap();
    let home = home();
    let mut commands = 0;
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```\n").next().unwrap();
        let (command, shown) = block.split_once('\n').unwrap();
        let arguments: Vec<&str> = command.strip_prefix("$ portcullis ").unwrap().split(' ').collect();
        let output = home.run(&arguments);
        let said = std::str::from_utf8(&output.stdout).unwrap();
        let said = format!("{said}(exit code {})\n", output.status.code().unwrap());
        assert_eq!(said, shown, "`{command}`\n{said}");
        commands += 1;
    }
    assert!(commands >= 4, "the page has its commands");
}

/// The comment on the pull request, as the page shows it.
#[test]
fn the_examples_plan_stops_the_change() {
    let arguments =
        ["plan", "--base", "docs/policy/routes.yaml", "docs/policy/proposed/routes.yaml", "--markdown"];
    let output = home().run(&arguments);
    let said = check(&output, 3);
    let shown = std::fs::read_to_string(example().join("proposed/plan.md")).unwrap();
    assert_eq!(said, shown, "{said}");
}

/// With the change, the example's own tests fail too: they say that reviews know no hosted model.
#[test]
fn the_examples_tests_stop_the_change_as_well() {
    let output =
        home().run(&["test", "docs/policy/proposed/routes.yaml", "--cases", "docs/policy/routes_test.yaml"]);
    let said = check(&output, 1);
    assert!(said.contains("reviews know no hosted model"), "{said}");
}

pub(crate) fn git(home: &Home, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_base_can_be_a_revision_a_folder_or_a_file() {
    let home = Home::new(&Routes::demo());
    git(&home, &["init", "--quiet"]);
    git(&home, &["add", "routes.yaml"]);
    git(&home, &["commit", "--quiet", "--message", "policy"]);
    check(&home.run(&["plan", "--base", "HEAD"]), 0);
    std::fs::create_dir(home.path().join("old")).unwrap();
    home.write("old/routes.yaml", &Routes::demo().text());

    home.write("routes.yaml", &Routes::demo().workflow("more", "{ mode: sealed }", "demo").text());
    for base in ["HEAD", "old", "old/routes.yaml"] {
        let output = home.run(&["plan", "--base", base, "--json"]);
        let json: Value = serde_json::from_str(check(&output, 3)).unwrap();
        assert_eq!(json["workflows"][0]["workflow"], "more", "{json}");
        assert_eq!(json["workflows"][0]["fate"], "added");
    }
    // The other way round something goes, and nothing comes.
    let output = home.run(&["plan", "--base", "routes.yaml", "old/routes.yaml"]);
    assert!(check(&output, 2).contains("more: removed"), "{output:?}");

    for (base, word) in [("no-such-revision", "no-such-revision"), ("--output=x", "--output=x")] {
        let output = home.run(&["plan", &format!("--base={base}")]);
        check(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{output:?}");
    }
    assert!(!home.path().join("x").exists(), "a revision is no option of git");
}

#[tokio::test]
async fn a_replay_says_what_would_have_become_of_recorded_calls() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    for _ in 0..2 {
        gateway.client().chat(&ask("hello")).await;
    }
    gateway.client().chat(&with(ask("hello"), serde_json::json!({ "model": "dmeo" }))).await;
    gateway.stop().await;

    std::fs::rename(home.path().join("routes.yaml"), home.path().join("old.yaml")).unwrap();
    let caller = format!("{{ api_key: {{ id: ci, sha256: \"{}\" }} }}", "ab".repeat(32));
    home.write(
        "routes.yaml",
        &Routes::default().engine().workflow_of("try-it", &caller, "{ mode: sealed }", "demo").text(),
    );
    let dir = home.audit_dir();
    let output = home.run(&["plan", "--base", "old.yaml", "--replay", dir.to_str().unwrap(), "--json"]);
    let json: Value = serde_json::from_str(check(&output, 3)).unwrap();
    assert_eq!(
        (&json["replay"]["calls"], &json["replay"]["flipped"]),
        (&Value::from(3), &Value::from(3)),
        "{json}"
    );
    let flips = json["replay"]["flips"].as_array().unwrap();
    let count = |what: &str| flips.iter().find(|flip| flip["what"] == what).map(|flip| flip["calls"].clone());
    assert_eq!(count("to [demo] -> denied, missing_api_key"), Some(Value::from(2)), "{json}");
    assert_eq!(json["replay"]["decided_otherwise"], 0);

    let output = home.run(&["plan", "--base", "old.yaml", "old.yaml", "--replay", dir.to_str().unwrap()]);
    assert!(check(&output, 0).contains("replayed 3 recorded calls: 0 have another outcome"), "{output:?}");
    check(&home.run(&["plan", "--base", "old.yaml", "--replay", "nowhere"]), 1);
}
