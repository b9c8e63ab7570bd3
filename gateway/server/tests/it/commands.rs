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
async fn keys_are_listed_change_their_holder_slowly_and_are_revoked_at_once() {
    let home = Home::new(&Routes::demo());
    let make = |arguments: &[&str]| {
        let output = home.run(&[&["key", "new"], arguments, &["--json"]].concat());
        serde_json::from_str::<serde_json::Value>(check(&output, 0)).unwrap()
    };
    let old = make(&["ci", "--expires", "2099-01-31"]);
    let new = make(&["ci-2", "--caller", "ci", "--expires", "36500d"]);
    assert_eq!(old["expires"], "2099-01-31T00:00:00Z");
    assert_eq!((&new["caller"], &old["caller"]), (&"ci".into(), &"ci".into()));
    let callers = [&old, &new].map(|key| key["caller_line"].as_str().unwrap().trim_start_matches("- "));
    let routes = Routes::default()
        .engine()
        .workflow_of("one", callers[0], "{ mode: sealed }", "demo")
        .workflow_of("two", callers[1], "{ mode: sealed }", "demo");
    home.write("routes.yaml", &routes.text());
    let output = home.run(&["key", "list"]);
    let said = check(&output, 0);
    let heads: Vec<&str> = said.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["KEY", "CALLER", "EXPIRES", "LEFT", "WORKFLOWS"]);
    let first: Vec<&str> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((&first[..3], first[5]), (&["ci", "ci", "2099-01-31"][..], "one"));

    // The trail says who called, and by which of two keys.
    let gateway = home.serve().await;
    for key in [&old, &new] {
        let keyed = gateway.client().with_key(key["key"].as_str().unwrap());
        assert_eq!(keyed.chat(&ask("hello")).await.status, 200);
    }
    gateway.stop().await;
    let callers: Vec<_> =
        home.records_of("llm.intent").iter().map(|intent| intent["caller"].clone()).collect();
    let ci = serde_json::json!({ "kind": "api_key", "id": "ci" });
    let ci_by_its_second_key = serde_json::json!({ "kind": "api_key", "id": "ci", "key": "ci-2" });
    assert_eq!(callers, [ci, ci_by_its_second_key]);

    let revoke =
        || home.run(&["key", "revoke", "ci", "--revocations", "revocations.yaml", "--reason", "it leaked"]);
    assert!(check(&revoke(), 0).contains("revoked ci"));
    let file = std::fs::read_to_string(home.path().join("revocations.yaml")).unwrap();
    assert!(file.starts_with("version: 1\nkeys:\n  - { id: ci, reason: \"it leaked\", since: "), "{file}");
    assert!(check(&revoke(), 0).contains("ci is revoked already"));
    let unchanged = std::fs::read_to_string(home.path().join("revocations.yaml")).unwrap();
    assert_eq!(unchanged, file);
    home.write("revocations.yaml", "version: 1\nkey: []\n");
    let output = revoke();
    check(&output, 1);
    assert!(text(&output.stderr).contains("revocations.yaml:2:1: "), "{}", text(&output.stderr));
    check(&home.run(&["key", "revoke", "ci"]), 2);
}

#[tokio::test]
async fn a_signed_policy_verifies_and_serves_and_a_changed_one_does_not() {
    let home = Home::new(&Routes::demo());
    let keygen = |name: &str| {
        let output = home.run(&["sign", "keygen", name]);
        let line = check(&output, 0).lines().last().unwrap().trim().to_owned();
        let label = line.splitn(3, '+').take(2).collect::<Vec<_>>().join("+");
        (line, label)
    };
    let (security, owner) = (keygen("corp.example/security"), keygen("corp.example/owner"));
    home.write("policy.keys", &format!("# who may sign\n{}\n{}\n", security.0, owner.0));
    let mode = std::fs::metadata(home.path().join("security.key")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    check(&home.run(&["sign", "keygen", "corp.example/security"]), 1);

    let verify = || home.run(&["verify", "--policy-keys", "policy.keys", "--threshold", "2"]);
    check(&verify(), 10);
    let window = ["--not-before", "2026-01-01", "--not-after", "2099-01-01"];
    let signing = home.run(&[&["sign", "--key", "security.key", "--revision", "7"][..], &window].concat());
    let size = home.path().join("routes.yaml").metadata().unwrap().len();
    let said = check(&signing, 0);
    assert!(said.starts_with(&format!("routes.sig: revision 7, signed by {}\n", security.1)), "{said}");
    assert!(said.contains(&format!("  file        routes.yaml, {size} bytes, sha256 ")), "{said}");
    assert_eq!(
        check(&verify(), 20),
        format!("routes.yaml is refused (threshold): 2 trusted keys must sign, and 1 did: {}\n", security.1)
    );
    assert!(check(&home.run(&["sign", "--key", "owner.key"]), 0).ends_with("  signatures  2\n"));
    assert_eq!(
        check(&verify(), 0),
        format!(
            "routes.yaml is what was signed: revision 7\n  signature   routes.sig\n  signed by   {}, {}\n  \
             holds       from 2026-01-01T00:00:00Z until 2099-01-01T00:00:00Z\n  file        routes.yaml, {size} bytes\n",
            security.1, owner.1
        )
    );

    let pinned = ["--policy-keys", "policy.keys", "--policy-threshold", "2"];
    let gateway = home.serve_with(&pinned).await;
    assert!(gateway.stop().await.contains("the policy is signed"));
    // An older policy that was signed as well is refused, until somebody says that it is meant.
    std::fs::remove_file(home.path().join("routes.sig")).unwrap();
    for key in ["security.key", "owner.key"] {
        check(&home.run(&[&["sign", "--key", key, "--revision", "6"][..], &window].concat()), 0);
    }
    let serve = [&["serve", "--listen", "127.0.0.1:0"][..], &pinned].concat();
    let output = home.run(&serve);
    check(&output, 1);
    assert!(text(&output.stderr).contains("(rolled_back)"), "{}", text(&output.stderr));
    let gateway = home.serve_with(&[&pinned[..], &["--allow-rollback"]].concat()).await;
    gateway.stop().await;
    let activated = home.records_of("policy.activate");
    let signature = |index: usize| activated[index]["signature"].as_str().unwrap();
    assert_eq!(signature(0), format!("revision 7 by {}, {}", security.1, owner.1));
    assert_eq!(signature(1), format!("revision 6, back from 7 by {}, {}", security.1, owner.1));

    home.write("routes.yaml", &format!("{}# one more byte\n", Routes::demo().text()));
    assert!(check(&verify(), 40).contains("(file_changed)"));
    let output = home.run(&serve);
    check(&output, 1);
    assert!(text(&output.stderr).contains("(file_changed)"), "{}", text(&output.stderr));
    let json = home.run(&["verify", "--policy-keys", "policy.keys", "--json"]);
    let json: serde_json::Value = serde_json::from_str(check(&json, 40)).unwrap();
    assert_eq!((&json["verdict"], &json["code"]), (&"refused".into(), &"file_changed".into()));
    check(&home.run(&["verify", "--policy-keys", "nowhere"]), 50);
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

#[tokio::test]
async fn reconcile_tells_explained_from_unexplained_from_absent() {
    use audit::{ControlEvent, DialId, EgressClose, EgressDecision, Verdict};

    let home = Home::new(&Routes::demo());
    let (calls, connections) = (home.path().join("calls"), home.path().join("connections"));
    let reconcile = |more: &[&str]| {
        let dirs = ["audit", "reconcile", calls.to_str().unwrap(), connections.to_str().unwrap()];
        home.run(&[&dirs[..], more].concat())
    };
    check(&reconcile(&[]), 50);
    let open = |dir| audit::Log::open(dir, audit::Options::STANDARD).unwrap().0;
    open(&calls).close().await.unwrap();
    let witness = open(&connections);
    witness.close().await.unwrap();
    assert!(check(&reconcile(&[]), 0).contains("RECONCILED"));

    let witness = open(&connections);
    let dial = DialId::from("b-1");
    let [address, vantage] = ["192.0.2.7:443", "local"].map(audit::Text::from);
    let decision = EgressDecision {
        dial: dial.clone(),
        purpose: "call".into(),
        workflow: "docs".into(),
        provider: Some("up".into()),
        host: "up.example".into(),
        port: 443,
        verdict: Verdict::Opened { address, vantage, proxy: None },
        dns_us: None,
        connect_us: Some(900),
        tunnel: None,
    };
    witness.write(&ControlEvent::EgressDecision(decision)).unwrap();
    let reason = "closed".into();
    let (bytes_sent, bytes_received) = (Some(48_211), Some(0));
    let close =
        EgressClose { dial, reason, bytes_sent, bytes_received, open_ms: 7, sni: None, would_deny: None };
    witness.write(&ControlEvent::EgressClose(close)).unwrap();
    witness.close().await.unwrap();
    let output = reconcile(&[]);
    let said = check(&output, 40);
    assert!(said.contains("b-1 for `docs` to up.example:443"), "{said}");
    let output = reconcile(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(check(&output, 40)).unwrap();
    assert_eq!(report["findings"][0]["code"], "unexplained_egress");
}
