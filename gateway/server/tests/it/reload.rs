//! A policy that changes while the gateway runs: a good one takes over at once and disturbs no call, a bad one changes
//! nothing and is told wherever somebody may look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::Value;

use crate::client::{Client, Reply, ask};
use crate::gateway::{ANY_PORT, Gateway, Home};
use crate::patience::{eventually, within};
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, SECOND, USAGE, Upstream};

const TOKEN: &str = "operators-0123456789";

/// What no reader takes for a policy.
const BROKEN: &str = "version: 1\nproviders: [\n";

/// Starts a gateway that reads its policy again only when it is told to, and a client of its operators' address.
pub(crate) async fn serve(home: &Home) -> (Gateway, Client) {
    serve_with(home, &[]).await
}

/// Does what [`serve`] does, with further arguments.
pub(crate) async fn serve_with(home: &Home, more: &[&str]) -> (Gateway, Client) {
    home.write("token", &format!("{TOKEN}\n"));
    let settings = ["--admin-listen", ANY_PORT, "--admin-token-file", "token"];
    let pace = ["--policy-poll", "1h", "--policy-spacing", "0s"];
    let gateway = home.serve_with(&[&settings[..], &pace, more].concat()).await;
    let admin = Client::new(gateway.address_of("admin")).with_key(TOKEN);
    (gateway, admin)
}

/// Asks for a reload and waits for what comes of it.
pub(crate) async fn reload(admin: &Client) -> Reply {
    admin.request("POST", "/admin/reload", "").await
}

/// Two upstreams, of which everybody is sent to one.
fn routes(upstreams: &[Upstream; 2], to: &str) -> String {
    let [one, two] = upstreams;
    let routes = Routes::default().local("one", one.port(), "").local("two", two.port(), "");
    routes.workflow("docs", "{ mode: sealed }", to).text()
}

async fn stage(to: &str) -> (Home, [Upstream; 2]) {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let home = Home::new(&Routes::demo());
    home.write("routes.yaml", &routes(&upstreams, to));
    (home, upstreams)
}

async fn metric_is(gateway: &Gateway, line: &str) -> bool {
    gateway.client().get("/metrics").await.text().lines().any(|shown| shown == line)
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told() {
    let (home, mut upstreams) = stage("one").await;
    let good = routes(&upstreams, "one");
    let (gateway, admin) = serve(&home).await;
    let before = admin.get("/admin/policy").await.json();
    assert_eq!((&before["failure"], &before["source"]), (&Value::Null, &Value::from("routes.yaml")));
    assert!(metric_is(&gateway, "portcullis_policy_reload_success 1").await);

    home.write("routes.yaml", BROKEN);
    for _ in 0..3 {
        let reply = reload(&admin).await;
        assert_eq!(reply.status, 422, "{}", reply.text());
        let outcome = reply.json();
        assert_eq!((&outcome["outcome"], &outcome["digest"]), (&Value::from("rejected"), &before["digest"]));
        assert_eq!(outcome["failure"]["stage"], "compile");
        assert!(outcome["failure"]["message"].as_str().unwrap().starts_with("routes.yaml:"), "{outcome}");
    }
    let ready = gateway.client().get("/readyz").await;
    assert_eq!(ready.status, 200, "the policy before is as good as it was");
    assert_eq!(ready.json()["policy_digest"], before["digest"]);
    assert_eq!(ready.json()["degraded"]["policy"]["stage"], "compile");
    assert!(metric_is(&gateway, "portcullis_policy_reload_success 0").await);
    assert_eq!(gateway.metric("portcullis_policy_reload_failures_total", "stage=\"compile\"").await, 3);
    assert_eq!(home.records_of("policy.reject").len(), 1, "the same broken file is on record once");

    // Calls go on.
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        upstreams[0].call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200);

    std::fs::remove_file(home.path().join("routes.yaml")).unwrap();
    assert_eq!(reload(&admin).await.json()["failure"]["stage"], "load");
    // A model that is not there.
    home.write(
        "routes.yaml",
        &Routes::default()
            .model("m: { provider: local, path: gone }")
            .workflow("docs", "{ mode: sealed }", "m")
            .text(),
    );
    assert_eq!(reload(&admin).await.json()["failure"]["stage"], "build");
    assert_eq!(admin.get("/admin/policy").await.json()["digest"], before["digest"]);
    assert_eq!(home.records_of("policy.reject").len(), 3);

    home.write("routes.yaml", &format!("# the same in other words\n{good}"));
    let outcome = reload(&admin).await;
    assert_eq!((outcome.status, &outcome.json()["outcome"]), (200, &Value::from("unchanged")));
    assert_eq!(gateway.client().get("/readyz").await.json()["degraded"]["policy"], Value::Null);
    assert!(metric_is(&gateway, "portcullis_policy_reload_success 1").await);
    assert_eq!(home.records_of("policy.activate").len(), 1);
}

#[tokio::test]
async fn a_good_file_takes_over_and_a_running_stream_keeps_its_own_policy() {
    let (home, mut upstreams) = stage("one").await;
    let (gateway, admin) = serve(&home).await;
    let (stream, mut call) = upstreams[0].stream_to(&gateway).await;

    home.write("routes.yaml", &routes(&upstreams, "two"));
    let outcome = reload(&admin).await.json();
    assert_eq!(outcome["outcome"], "activated", "{outcome}");
    let (old, new) = (&outcome["old_digest"], &outcome["digest"]);
    assert_ne!(old, new);
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        upstreams[1].call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.status, 200);
    for event in [SECOND, USAGE, DONE] {
        call.send(event).await;
    }
    call.end().await;
    assert_eq!(stream.rest().await.last().unwrap(), "data: [DONE]");

    let (intents, results) = (home.records_of("llm.intent"), home.records_of("llm.result"));
    assert_eq!((intents.len(), results.len()), (2, 2));
    for intent in &intents {
        let result = results.iter().find(|result| result["intent"] == intent["id"]).unwrap();
        let (digest, model) = if intent["id"] == intents[0]["id"] { (old, "one") } else { (new, "two") };
        for record in [intent, result] {
            assert_eq!(
                (&record["policy"]["digest"], &record["route"]["model"]),
                (digest, &Value::from(model))
            );
        }
        assert_eq!(result["result"]["outcome"], "completed");
    }
    let activations = home.records_of("policy.activate");
    assert_eq!(activations.len(), 2);
    assert_eq!((&activations[1]["old_digest"], &activations[1]["policy"]["digest"]), (old, new));
    assert_eq!(activations[1]["source"], "routes.yaml");
    assert!(activations[1]["seq"].as_u64() < intents[1]["seq"].as_u64(), "on record before its first call");
    assert!(gateway.metric("portcullis_policy_info", new.as_str().unwrap()).await == 1);
    assert!(!metric_is(&gateway, &format!("portcullis_policy_info{{digest={old}}} 1")).await);
}

#[tokio::test]
async fn a_model_in_the_process_stays_loaded_and_a_dropped_one_answers_to_its_end() {
    let home = Home::new(&Routes::demo());
    let (gateway, admin) = serve(&home).await;
    home.write("routes.yaml", &Routes::demo().and("limits: { total: 5m }").text());
    assert_eq!(reload(&admin).await.json()["outcome"], "activated");
    assert_eq!(gateway.client().chat(&ask("hello")).await.status, 200);

    let upstream = Upstream::start().await;
    let stream = gateway.client().open(&crate::client::streamed(ask("hello"))).await;
    home.write("routes.yaml", &Routes::upstream(upstream.port(), "").text());
    assert_eq!(reload(&admin).await.json()["outcome"], "activated");
    assert_eq!(stream.rest().await.last().unwrap(), "data: [DONE]");
    assert_eq!(gateway.client().get("/v1/models").await.json()["data"][0]["id"], "up");
    let log = gateway.stop().await;
    assert_eq!(log.lines().filter(|line| line.contains("loading model=")).count(), 1, "{log}");
}

#[tokio::test]
async fn a_signal_and_a_change_of_the_file_reload() {
    for settings in [&["--policy-poll", "1h"], &["--policy-poll", "20ms"]] {
        let (home, upstreams) = stage("one").await;
        let gateway = home.serve_with(&[&settings[..], &["--policy-spacing", "0s"]].concat()).await;
        let digest = async || gateway.client().get("/readyz").await.json()["policy_digest"].clone();
        let before = digest().await;
        home.write("routes.yaml", &routes(&upstreams, "two"));
        if settings[1] == "1h" {
            gateway.hang_up();
        }
        eventually("another policy", async || (digest().await != before).then_some(())).await;
        gateway.stop().await;
        assert_eq!(home.records_of("policy.activate").len(), 2);
    }
}

#[tokio::test]
async fn each_address_takes_its_own_credential_and_no_other() {
    let (home, _upstreams) = stage("one").await;
    home.write("token", TOKEN);
    home.write("scraper", "scrapers-0123456789");
    let gateway = home
        .serve_with(&[
            "--admin-listen",
            ANY_PORT,
            "--admin-token-file",
            "token",
            "--metrics-listen",
            ANY_PORT,
            "--metrics-token-file",
            "scraper",
        ])
        .await;
    let (admin, metrics) =
        (Client::new(gateway.address_of("admin")), Client::new(gateway.address_of("metrics")));
    for client in [&admin, &admin.with_key("scrapers-0123456789"), &admin.with_key(&TOKEN.to_uppercase())] {
        for (method, path) in [("GET", "/admin/policy"), ("POST", "/admin/reload")] {
            let reply = client.request(method, path, "").await;
            assert_eq!(
                (reply.status, &reply.error()["code"]),
                (401, &Value::from("invalid_token")),
                "{path}"
            );
        }
    }
    assert_eq!(metrics.get("/metrics").await.status, 401);
    assert_eq!(metrics.with_key(TOKEN).get("/metrics").await.status, 401);
    assert_eq!(metrics.with_key("scrapers-0123456789").get("/metrics").await.status, 200);
    assert_eq!(admin.with_key(TOKEN).get("/admin/policy").await.status, 200);
    // Nothing of it is on the other addresses.
    for (client, path) in [
        (gateway.client(), "/admin/policy"),
        (gateway.client(), "/metrics"),
        (&metrics.with_key("scrapers-0123456789"), "/admin/policy"),
        (&admin.with_key(TOKEN), "/metrics"),
        (&admin.with_key(TOKEN), "/v1/models"),
    ] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    // An address for operators without a credential is none.
    let output = home.run(&["serve", "--admin-listen", ANY_PORT]);
    assert_eq!(output.status.code(), Some(2));
    home.write("token", "short");
    let output =
        home.run(&["serve", "--listen", ANY_PORT, "--admin-listen", ANY_PORT, "--admin-token-file", "token"]);
    assert_eq!(output.status.code(), Some(1));
}

/// Answers every call, which has to name the model that the upstream belongs to.
fn answering(mut upstream: Upstream, model: &'static str) {
    tokio::spawn(async move {
        loop {
            let call = upstream.call().await;
            assert!(call.body.contains(&format!("upstream-{model}")), "{}", call.body);
            // Its caller may be gone with the test.
            let _ = call.try_answer(DOCUMENT).await;
        }
    });
}

/// Calls until the storm is over, and returns the records of the calls.
async fn calling(client: Client, is_over: Arc<AtomicBool>) -> Vec<String> {
    let mut records = Vec::new();
    while !is_over.load(Relaxed) {
        let reply = client.chat(&ask("hello")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        records.push(reply.header("x-portcullis-record").unwrap().to_owned());
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_half_of_them_broken_disturb_no_call() {
    let (home, upstreams) = stage("one").await;
    let policies = [routes(&upstreams, "one"), routes(&upstreams, "two")];
    let [one, two] = upstreams;
    answering(one, "one");
    answering(two, "two");
    let (gateway, admin) = serve(&home).await;
    let is_over = Arc::<AtomicBool>::default();
    let callers: Vec<_> =
        (0..4).map(|_| tokio::spawn(calling(Client::new(gateway.address()), Arc::clone(&is_over)))).collect();

    // Each policy's digest, and the model that it leads to.
    let mut models: BTreeMap<String, &str> = BTreeMap::new();
    let first = admin.get("/admin/policy").await.json()["digest"].as_str().unwrap().to_owned();
    models.insert(first, "one");
    for round in 0..500_usize {
        home.write("routes.yaml", &format!("{BROKEN}# {}\n", round % 7));
        assert_eq!(reload(&admin).await.status, 422);
        let next = (round + 1) % 2;
        home.write("routes.yaml", &policies[next]);
        let outcome = reload(&admin).await.json();
        assert_eq!(outcome["outcome"], "activated", "{outcome}");
        models.insert(outcome["digest"].as_str().unwrap().to_owned(), ["one", "two"][next]);
    }
    is_over.store(true, Relaxed);
    let mut calls = BTreeSet::new();
    for caller in callers {
        calls.extend(within("a caller", caller).await.unwrap());
    }
    gateway.stop().await;

    assert_eq!(models.len(), 2);
    assert_eq!(home.records_of("policy.activate").len(), 501);
    assert_eq!(home.records_of("policy.reject").len(), 7, "one for each broken file");
    let (intents, results) = (home.records_of("llm.intent"), home.records_of("llm.result"));
    assert_eq!((intents.len(), results.len()), (calls.len(), calls.len()));
    let mut seen = BTreeSet::new();
    for record in intents.iter().chain(&results) {
        let digest = record["policy"]["digest"].as_str().unwrap();
        assert_eq!(record["route"]["model"], models[digest], "{record}");
        seen.insert(digest);
    }
    let digests: BTreeMap<&str, &Value> =
        intents.iter().map(|intent| (intent["id"].as_str().unwrap(), &intent["policy"]["digest"])).collect();
    for result in &results {
        assert_eq!(result["policy"]["digest"], *digests[result["intent"].as_str().unwrap()]);
        assert_eq!(result["result"]["outcome"], "completed");
    }
    assert_eq!(seen.len(), 2, "calls met both policies");
}

#[tokio::test]
async fn a_policy_that_fails_its_cases_is_not_taken() {
    let (home, upstreams) = stage("one").await;
    let cases = "version: 1\ncases:\n  - name: docs go to one\n    caller: { loopback: true }\n    \
                 request: { model: auto }\n    expect: { decision: allow, to: [one] }\n";
    home.write("routes_test.yaml", cases);
    let (_gateway, admin) = serve_with(&home, &["--require-tests"]).await;

    home.write("routes.yaml", &routes(&upstreams, "two"));
    let outcome = reload(&admin).await.json();
    assert_eq!((&outcome["outcome"], &outcome["failure"]["stage"]), (&"rejected".into(), &"tests".into()));
    assert!(outcome["failure"]["message"].as_str().unwrap().contains("docs go to one"), "{outcome}");

    home.write("routes_test.yaml", &cases.replace("[one]", "[two]"));
    let outcome = reload(&admin).await.json();
    assert_eq!(outcome["outcome"], "activated", "{outcome}");
    assert!(outcome["summary"].as_str().unwrap().starts_with("reach widens"), "{outcome}");
}

#[tokio::test]
async fn what_its_owners_did_not_sign_does_not_take_over() {
    let (home, upstreams) = stage("one").await;
    let run = |arguments: &[&str]| {
        let output = home.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let keys = run(&["sign", "keygen", "corp.example/security"]);
    home.write("policy.keys", keys.lines().last().unwrap().trim());
    let sign = |revision| {
        let window = ["--not-before", "2026-01-01", "--not-after", "2099-01-01"];
        let signature = home.path().join("routes.sig");
        if signature.exists() {
            std::fs::remove_file(signature).unwrap();
        }
        run(&[&["sign", "--key", "security.key", "--revision", revision][..], &window].concat());
    };
    sign("7");
    let (gateway, admin) = serve_with(&home, &["--policy-keys", "policy.keys"]).await;
    let before = admin.get("/admin/policy").await.json()["digest"].clone();
    let refused = async |code: &str| {
        let outcome = reload(&admin).await.json();
        assert_eq!((&outcome["outcome"], &outcome["digest"]), (&"rejected".into(), &before), "{outcome}");
        assert_eq!(outcome["failure"]["stage"], "signature");
        assert!(outcome["failure"]["message"].as_str().unwrap().contains(code), "{code}: {outcome}");
    };

    home.write("routes.yaml", &routes(&upstreams, "two"));
    refused("(file_changed)").await;
    std::fs::remove_file(home.path().join("routes.sig")).unwrap();
    refused("(unsigned)").await;
    sign("6");
    refused("(rolled_back)").await;
    assert_eq!(gateway.client().get("/readyz").await.status, 200, "the policy before goes on");
    sign("8");
    assert_eq!(reload(&admin).await.json()["outcome"], "activated");
}
