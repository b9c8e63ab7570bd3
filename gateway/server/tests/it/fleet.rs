//! Models that come and go while the gateway serves: no call is lost without a word, none hangs, and what is in memory
//! is what somebody asked for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::agents::{MESSAGES, RESPONSES, message, response};
use crate::client::{CHAT, Client, Reply, Said, ask, checked_error, data, streamed, with};
use crate::gateway::{Gateway, Home};
use crate::patience::eventually;
use crate::reload::{reload, serve, serve_with};
use crate::routes::Routes;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engine/models/demo");

/// The demo model under two names, of which everybody is sent to the first of `to`.
fn routes(to: &str) -> Routes {
    let line = |name: &str| format!("{name}: {{ provider: local, path: \"{DEMO}\", context: 2048 }}");
    Routes::default().model(&line("a")).model(&line("b")).workflow("docs", "{ mode: sealed }", to)
}

/// The same with another folder for `a`.
fn routes_of(path: &Path) -> Routes {
    let line = format!("a: {{ provider: local, path: \"{}\", context: 2048 }}", path.display());
    Routes::default().model(&line).workflow("docs", "{ mode: sealed }", "a")
}

async fn wish(admin: &Client, model: &str, wish: &str) -> Reply {
    admin.request("POST", &format!("/admin/models/{model}/{wish}"), "").await
}

/// Wishes what has to be possible, and checks what comes of it.
async fn becomes(admin: &Client, model: &str, wished: &str, state: &str) -> Value {
    let reply = wish(admin, model, wished).await;
    assert_eq!((reply.status, reply.json()["state"].as_str()), (200, Some(state)), "{}", reply.text());
    reply.json()
}

async fn report(admin: &Client, model: &str) -> Value {
    let all = admin.get("/admin/models").await.json();
    all["models"].as_array().unwrap().iter().find(|one| one["name"] == model).unwrap().clone()
}

async fn held_bytes(admin: &Client) -> u64 {
    admin.get("/admin/models").await.json()["memory"]["held_bytes"].as_u64().unwrap()
}

/// Copies the demo model to a folder.
fn copy_demo(to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(DEMO).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}

/// A report without what differs from run to run.
fn steady(mut document: Value) -> Value {
    let blank = |one: &mut Value| {
        for field in ["since", "path", "load_seconds", "last_step_age_seconds", "steps"] {
            if !one[field].is_null() {
                one[field] = "(differs)".into();
            }
        }
    };
    match document.get_mut("models").and_then(Value::as_array_mut) {
        Some(models) => models.iter_mut().for_each(blank),
        None => blank(&mut document),
    }
    document
}

#[tokio::test]
async fn operators_see_every_model_and_move_it() {
    let home = Home::new(&routes("a"));
    let (gateway, admin) = serve_with(&home, &["--kv-cache-mib", "4", "--asleep", "b"]).await;
    insta::assert_json_snapshot!("models", steady(admin.get("/admin/models").await.json()));
    insta::assert_json_snapshot!("unloaded", steady(becomes(&admin, "a", "unload", "unloaded").await));
    assert_eq!(held_bytes(&admin).await, 0);
    let ready = gateway.client().get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["engines"]), (200, &json!({ "a": "unloaded", "b": "asleep" })));
    assert_eq!(gateway.metric("portcullis_engine_model_state", "model=\"a\",state=\"unloaded\"").await, 1);
    assert_eq!(gateway.metric("portcullis_engine_model_state", "model=\"a\"").await, 1);

    becomes(&admin, "a", "load", "ready").await;
    becomes(&admin, "a", "load", "ready").await;
    becomes(&admin, "a", "sleep", "asleep").await;
    becomes(&admin, "a", "wake", "ready").await;
    assert_eq!(gateway.metric("portcullis_engine_model_state", "state=\"ready\"").await, 1);
    assert_eq!(wish(&admin, "c", "load").await.error()["code"], "model_not_found");
    assert_eq!(wish(&admin, "a", "explode").await.status, 404);
    assert_eq!(Client::new(gateway.address_of("admin")).get("/admin/models").await.status, 401);

    let states: Vec<_> = home.records_of("model.state").iter().map(|record| record["to"].clone()).collect();
    let expected = ["draining", "unloaded", "loading", "ready", "draining", "asleep", "loading", "ready"];
    assert_eq!(
        states[..expected.len() - 1],
        expected[..expected.len() - 1],
        "the last is written as we look"
    );
    gateway.stop().await;
    let output = home.run(&["audit", "verify", "data/audit"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn a_model_that_is_not_there_is_a_503_with_a_time_in_every_dialect() {
    let home = Home::new(&routes("a"));
    let (gateway, admin) = serve(&home).await;
    becomes(&admin, "a", "unload", "unloaded").await;
    let calls = [(CHAT, ask("hello")), (MESSAGES, message("hello")), (RESPONSES, response("hello"))];
    for (path, request) in calls {
        for request in [request.clone(), with(request, json!({ "stream": true }))] {
            let reply = gateway.client().request("POST", path, request.to_string()).await;
            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("30")), "{}", reply.text());
            assert!(reply.text().contains("is not loaded"), "{}", reply.text());
        }
    }
    let results = home.records_of("llm.result");
    assert_eq!(results.len(), 6);
    assert!(results.iter().all(|result| result["result"]["code"] == "model_not_loaded"), "{results:#?}");
    // Nothing that happened to calls keeps the model from being called when it is back.
    becomes(&admin, "a", "load", "ready").await;
    gateway.client().said(&ask("hello")).await;
}

#[tokio::test]
async fn another_model_of_the_route_stands_in_for_one_that_is_not_there() {
    let home = Home::new(&routes("a, b"));
    let (gateway, admin) = serve(&home).await;
    let whole = gateway.client().said(&ask("hello")).await;
    becomes(&admin, "a", "unload", "unloaded").await;
    assert_eq!(gateway.client().said(&ask("hello")).await, whole);
    gateway.stop().await;
    let results = home.records_of("llm.result");
    let routes = results.iter().map(|result| (&result["route"]["model"], &result["route"]["attempt"]));
    assert_eq!(routes.collect::<Vec<_>>(), [(&json!("a"), &json!(1)), (&json!("b"), &json!(2))]);
}

#[tokio::test]
async fn a_model_that_sleeps_is_woken_by_its_first_call() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve_with(&["--asleep", "demo"]).await;
    assert_eq!(gateway.client().get("/readyz").await.json()["engines"]["demo"], "asleep");
    let said = join_all((0..4).map(|_| async { gateway.client().said(&ask("hello")).await })).await;
    assert!(said.iter().all(|one| *one == said[0]));
    assert_eq!(gateway.client().get("/readyz").await.json()["engines"]["demo"], "ready");
}

/// What came of calls while somebody moved the model that they are for.
#[derive(Default)]
struct Tally {
    whole: AtomicUsize,
    refused: AtomicUsize,
    cut: AtomicUsize,
}

impl Tally {
    /// Counts a reply that is whole and right, or ends in a clear error; everything else fails the test.
    fn count(&self, reply: &Reply, whole: &Said) {
        if reply.status == 503 {
            let code = reply.error()["code"].clone();
            assert!(
                ["model_not_loaded", "model_loading", "engine_failed"].contains(&code.as_str().unwrap()),
                "{code}"
            );
            assert!(reply.header("retry-after").is_some());
            self.refused.fetch_add(1, Relaxed);
            return;
        }
        assert_eq!(reply.status, 200, "{}", reply.text());
        let is_cut = reply.header("content-type") != Some("application/json")
            && reply.events().last().is_some_and(|last| last != "data: [DONE]");
        if is_cut {
            checked_error(&data(reply.events().last().unwrap()));
            self.cut.fetch_add(1, Relaxed);
        } else {
            assert_eq!(Said::of(reply), *whole, "a reply that ends in order is the right one");
            self.whole.fetch_add(1, Relaxed);
        }
    }

    /// Asks again and again until `done`.
    async fn ask(&self, gateway: &Gateway, request: &Value, whole: &Said, done: &AtomicBool) {
        while !done.load(Relaxed) {
            self.count(&gateway.client().chat(request).await, whole);
        }
    }
}

#[tokio::test]
async fn sixteen_callers_of_a_model_that_comes_and_goes_each_hear_the_truth() {
    const CALLERS: usize = 16;
    let home = Home::new(&routes("a"));
    let (gateway, admin) = serve(&home).await;
    let request = streamed(ask("count from 1 to 12"));
    let whole = gateway.client().said(&request).await;
    let (tally, done) = (Tally::default(), AtomicBool::new(false));
    let moves = async {
        for round in 0..6 {
            let (away, state) = if round % 2 == 0 { ("unload", "unloaded") } else { ("sleep", "asleep") };
            let before = tally.whole.load(Relaxed);
            let moved = wish(&admin, "a", away).await;
            // One that sleeps may be awake again before anybody looks.
            let seen = moved.json()["state"].clone();
            assert!(seen == state || (state == "asleep" && seen == "ready"), "{}", moved.text());
            becomes(&admin, "a", "load", "ready").await;
            eventually("calls go on", async || (tally.whole.load(Relaxed) > before).then_some(())).await;
        }
        done.store(true, Relaxed);
    };
    let callers = join_all((0..CALLERS).map(|_| tally.ask(&gateway, &request, &whole, &done)));
    tokio::join!(moves, callers);
    assert_eq!(tally.cut.load(Relaxed), 0, "the drain lets replies end");
    gateway.idle().await;
    let (intents, results) = (home.records_of("llm.intent").len(), home.records_of("llm.result").len());
    assert_eq!(intents, results, "every call has its end on record");
}

#[tokio::test]
async fn a_model_is_swapped_by_a_new_policy_and_no_call_is_lost() {
    let home = Home::new(&routes("a"));
    let folders = ["one", "two"].map(|name| copy_demo(&home.path().join(name)));
    home.write("routes.yaml", &routes_of(&folders[0]).text());
    let (gateway, admin) = serve(&home).await;
    let one = held_bytes(&admin).await;
    let request = streamed(ask("count from 1 to 12"));
    let whole = gateway.client().said(&request).await;
    let (tally, done) = (Tally::default(), AtomicBool::new(false));
    let swaps = async {
        for round in 1..5 {
            home.write("routes.yaml", &routes_of(&folders[round % 2]).text());
            let outcome = reload(&admin).await;
            assert_eq!(outcome.json()["outcome"], "activated", "{}", outcome.text());
            let path = report(&admin, "a").await["path"].as_str().unwrap().to_owned();
            assert!(path.ends_with(["one", "two"][round % 2]), "{path}");
        }
        done.store(true, Relaxed);
    };
    let callers = join_all((0..8).map(|_| tally.ask(&gateway, &request, &whole, &done)));
    tokio::join!(swaps, callers);
    assert_eq!((tally.refused.load(Relaxed), tally.cut.load(Relaxed)), (0, 0));
    assert!(tally.whole.load(Relaxed) > 0);
    eventually("the ones before are gone", async || (held_bytes(&admin).await == one).then_some(())).await;
}

#[tokio::test]
async fn a_swap_without_room_for_both_is_refused_with_figures_until_the_old_one_is_unloaded() {
    let home = Home::new(&routes("a"));
    let folders = ["one", "two"].map(|name| copy_demo(&home.path().join(name)));
    home.write("routes.yaml", &routes_of(&folders[0]).text());
    let small = ["--kv-cache-mib", "4"];
    let one = {
        let (_gateway, admin) = serve_with(&home, &small).await;
        held_bytes(&admin).await
    };
    let mib = ((one * 3 / 2) >> 20).to_string();
    let (gateway, admin) = serve_with(&home, &[&small[..], &["--engine-memory-mib", &mib]].concat()).await;
    home.write("routes.yaml", &routes_of(&folders[1]).text());
    let refused = reload(&admin).await;
    assert_eq!((refused.status, &refused.json()["failure"]["stage"]), (422, &json!("build")));
    let message = refused.json()["failure"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("it needs") && message.contains("`a` has") && message.contains("/unload"),
        "{message}"
    );
    gateway.client().said(&ask("hello")).await;

    becomes(&admin, "a", "unload", "unloaded").await;
    assert_eq!(reload(&admin).await.json()["outcome"], "activated");
    assert!(report(&admin, "a").await["path"].as_str().unwrap().ends_with("two"));
    gateway.client().said(&ask("hello")).await;
    assert_eq!(gateway.metric("portcullis_engine_memory_bytes", "model=\"a\"").await, one);
}

#[tokio::test]
async fn a_folder_that_was_not_granted_at_the_start_is_refused_with_what_to_do() {
    let outside = tempfile::tempdir().unwrap();
    let folder = copy_demo(&outside.path().join("later"));
    let home = Home::new(&routes("a"));
    let (gateway, admin) = serve(&home).await;
    home.write("routes.yaml", &routes_of(&folder).text());
    let refused = reload(&admin).await.json();
    let message = refused["failure"]["message"].as_str().unwrap();
    assert!(message.contains("is out of reach") && message.contains("--confine-read"), "{message}");
    gateway.client().said(&ask("hello")).await;
    drop(gateway);

    home.write("routes.yaml", &routes("a").text());
    let granted = outside.path().to_str().unwrap();
    let (_gateway, admin) = serve_with(&home, &["--confine-read", granted]).await;
    home.write("routes.yaml", &routes_of(&folder).text());
    assert_eq!(reload(&admin).await.json()["outcome"], "activated");
}
