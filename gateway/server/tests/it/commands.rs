//! The subcommands, as a person or a script runs them.

use std::process::Output;

use crate::client::ask;
use crate::gateway::Home;
use crate::routes::Routes;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stdout)
}

#[tokio::test]
async fn check_says_where_each_mistake_is() {
    let home = Home::new(&Routes::demo());
    home.write(
        "bad.yaml",
        "version: 1\nproviders:\n  engine: { kind: engine }\nmodels:\n  demo: { provider: engin, path: ./m }\n\
         workflows:\n  one:\n    callers: [ { loopback: true } ]\n    egress: { mode: seald }\n    \
         route: [ { to: [demo] } ]\n",
    );
    let output = home.run(&["check", "bad.yaml"]);
    let said = check(&output, 1);
    for mistake in ["bad.yaml:5:21: ", "bad.yaml:8:5: ", "bad.yaml:9:21: "] {
        assert!(said.contains(mistake), "{mistake} is not in\n{said}");
    }
    assert!(said.contains("hint: "), "{said}");
    // The same file does not serve.
    let output = home.run(&["serve", "--routes", "bad.yaml", "--listen", "127.0.0.1:0"]);
    check(&output, 1);
    assert!(text(&output.stderr).contains("bad.yaml:5:21: "), "{}", text(&output.stderr));
}

#[tokio::test]
async fn check_says_what_a_good_file_means() {
    let home = Home::new(&Routes::demo());
    let output = home.run(&["check"]);
    let said = check(&output, 0);
    assert!(said.contains("try-it: sealed, owner team, reaches demo"), "{said}");
    let gateway = home.serve().await;
    let ready = gateway.client().get("/readyz").await.json();
    let digest = ready["policy_digest"].as_str().unwrap();
    assert!(said.contains(&format!("digest {digest}")), "{said} is not about {digest}");
}

#[tokio::test]
async fn a_new_key_and_its_line_belong_together() {
    let home = Home::new(&Routes::demo());
    let output = home.run(&["key", "new", "ci"]);
    let said = check(&output, 0);
    let key = said.lines().map(str::trim).find(|line| line.starts_with("pck_ci_")).unwrap();
    let line = said.lines().map(str::trim).find(|line| line.starts_with("- ")).unwrap();
    assert!(!line.contains(key.strip_prefix("pck_ci_").unwrap()), "the line holds no secret");

    let caller = line.strip_prefix("- ").unwrap();
    let routes = Routes::default().engine().workflow_of("one", caller, "{ mode: sealed }", "demo");
    home.write("routes.yaml", &routes.text());
    let gateway = home.serve().await;
    assert_eq!(gateway.client().chat(&ask("hello")).await.status, 401);
    assert_eq!(gateway.client().with_key(key).chat(&ask("hello")).await.status, 200);
    assert_eq!(gateway.client().with_header("x-api-key", key).chat(&ask("hello")).await.status, 200);
    gateway.stop().await;
    assert_eq!(home.records_of("llm.intent")[0]["caller"]["id"], "ci");

    let again = home.run(&["key", "new", "ci"]);
    assert!(!check(&again, 0).contains(key), "no key comes twice");
    check(&home.run(&["key", "new", "not an id"]), 1);
}

#[tokio::test]
async fn verify_tells_whole_from_altered_from_absent() {
    let home = Home::new(&Routes::demo());
    let dir = home.audit_dir();
    let verify = || home.run(&["audit", "verify", dir.to_str().unwrap()]);
    check(&verify(), 50);
    let gateway = home.serve().await;
    gateway.client().said(&ask("hello")).await;
    gateway.stop().await;
    let output = verify();
    let said = check(&output, 0);
    assert!(said.contains("integrity:    VALID"), "{said}");
    assert!(said.contains("completeness: COMPLETE"), "{said}");

    let file = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
    let records = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, records.replacen("\"loopback\"", "\"loopbacl\"", 1)).unwrap();
    let output = verify();
    assert!(check(&output, 40).contains("INVALID at "), "{output:?}");
    // Nor does a gateway write on behind an altered record.
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    check(&output, 1);
    assert!(text(&output.stderr).contains("damaged"), "{output:?}");
}
