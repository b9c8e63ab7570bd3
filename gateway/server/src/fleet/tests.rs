//! Keepers of real engines: the demo model is small enough to be loaded, broken and loaded again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{Event as Reply, Events, Handle, NewTokens, Poison, Prompt, Request, Sampling};
use policy::{Policy, Source, Target};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::state::{Event, Rest};
use super::{Fleet, Lease, LoadFailure, Memory, Phase, Recipe, Resident, Standing, Times};

/// Far longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/models/demo").canonicalize().unwrap()
}

/// A fleet that looks often, and the folder of its records.
fn fleet(budget_bytes: Option<u64>, drain: Duration) -> (Arc<Fleet>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (audit, _) = audit::Log::open(folder.path(), audit::Options::STANDARD).unwrap();
    let fleet = Fleet {
        memory: Memory::new(budget_bytes),
        times: Times { look: Duration::from_millis(5), ..Times::standard(drain) },
        kv_cache_bytes: 8 << 20,
        is_confined: false,
        asleep: vec!["sleepy".to_owned()],
        audit,
        loads: Mutex::new(()),
        origin: Instant::now(),
    };
    (Arc::new(fleet), folder)
}

fn recipe(name: &str, path: &Path) -> Recipe {
    let text = format!(
        "version: 1\nproviders:\n  local: {{ kind: engine, device: cpu, locality: local }}\nmodels:\n  {name}: {{ provider: \
         local, path: \"{}\" }}\nworkflows:\n  w:\n    owner: team\n    callers: [ {{ loopback: true }} ]\n    egress: {{ \
         mode: sealed }}\n    route: [ {{ to: [{name}] }} ]\n",
        path.display()
    );
    let policy = Policy::compile(&Source { name: "routes.yaml".to_owned(), text }).unwrap();
    let model = policy.models().next().unwrap();
    let Target::Engine(target) = model.target() else { panic!("a model of our own") };
    Recipe {
        name: model.name().clone(),
        path: path.to_owned(),
        target: target.clone(),
        digest: None,
        context_max: None,
    }
}

async fn try_take_in(fleet: &Arc<Fleet>, name: &str, path: &Path) -> Result<Arc<Resident>, LoadFailure> {
    let (fleet, recipe) = (Arc::clone(fleet), recipe(name, path));
    tokio::task::spawn_blocking(move || fleet.take_in(recipe)).await.unwrap()
}

async fn take_in(fleet: &Arc<Fleet>, name: &str) -> Arc<Resident> {
    try_take_in(fleet, name, &demo()).await.unwrap()
}

async fn lease(resident: &Resident) -> Lease {
    resident.lease(Instant::now() + PATIENCE).await.unwrap()
}

fn generator(lease: &Lease) -> Handle {
    let engine::Engine::Generator(generator) = &lease.engine else { panic!("the demo model writes text") };
    generator.clone()
}

async fn ask(lease: &Lease, new_tokens: usize) -> Events {
    let request = Request {
        prompt: Prompt::Text("count from 1 to 1000".to_owned()),
        sampling: Sampling { temperature: 1.0, seed: Some(1), ..Sampling::GREEDY },
        stop: Vec::new(),
        ending: engine::Ending::default(),
        report: engine::Report::default(),
        new_tokens: NewTokens::AtMost(new_tokens),
        constraint: None,
        now: jiff::ZonedDateTime::now(),
    };
    generator(lease).submit(request).await.unwrap()
}

/// The last event of a reply; nothing if it has none.
async fn last(mut events: Events) -> Option<Reply> {
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    last
}

async fn until(resident: &Resident, what: &str, holds: impl Fn(&Standing) -> bool) {
    let wait = async {
        while !holds(&resident.standing()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

async fn is_free(fleet: &Fleet, bytes: u64) {
    let wait = async {
        while fleet.memory.held_bytes() != bytes {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("memory is given back");
}

/// The changes of state on record, once there are so many.
async fn recorded(folder: &TempDir, count: usize) -> Vec<(String, String, String)> {
    let wait = async {
        loop {
            let states = states(folder);
            if states.len() >= count {
                return states;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("changes of state are on record")
}

fn states(folder: &TempDir) -> Vec<(String, String, String)> {
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // A line without its end is still being written.
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let records = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let field = |record: &serde_json::Value, name: &str| record[name].as_str().unwrap().to_owned();
    records
        .filter(|record| record["type"] == "model.state")
        .map(|record| (field(&record, "model"), field(&record, "from"), field(&record, "to")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_panics_comes_back_and_nobody_else_notices() {
    let (fleet, folder) = fleet(None, PATIENCE);
    let (broken, other) = (take_in(&fleet, "broken").await, take_in(&fleet, "other").await);
    let both = fleet.memory.held_bytes();
    let (held, undisturbed) = (lease(&broken).await, lease(&other).await);
    let (cut, goes_on) = (ask(&held, 1000).await, ask(&undisturbed, 20).await);

    held.engine.poison(Poison::Panic).await;
    assert!(!matches!(last(cut).await, Some(Reply::Finished { .. })), "its reply is no whole one");
    until(&broken, "a failure", |now| now.phase == Phase::Failed || now.broken == 1).await;
    if let Err(error) = broken.lease(Instant::now()).await {
        assert_eq!(error.status().as_u16(), 503);
        assert!(["model_failed", "model_loading"].contains(&error.code()), "{}", error.code());
    }
    assert!(matches!(last(goes_on).await, Some(Reply::Finished { .. })));
    assert!(!other.standing().is_troubled());

    until(&broken, "another engine", |now| now.phase == Phase::Ready).await;
    assert!(!broken.standing().is_troubled());
    let again = lease(&broken).await;
    assert!(matches!(last(ask(&again, 5).await).await, Some(Reply::Finished { .. })));
    is_free(&fleet, both).await;
    assert_eq!(
        recorded(&folder, 3).await,
        [("ready", "failed"), ("failed", "loading"), ("loading", "ready")].map(|(from, to)| (
            "broken".to_owned(),
            from.to_owned(),
            to.to_owned()
        ))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_every_step_fails_is_started_again() {
    let (fleet, _folder) = fleet(None, PATIENCE);
    let resident = take_in(&fleet, "m").await;
    let one = fleet.memory.held_bytes();
    let held = lease(&resident).await;
    for _ in 0..3 {
        held.engine.poison(Poison::FailedStep).await;
    }
    // Whoever still holds the engine hears that it was given up, though its thread is alive.
    timeout(PATIENCE, held.end.clone().come()).await.expect("the engine is given up");
    drop(held);
    until(&resident, "another engine", |now| now.phase == Phase::Ready && now.broken == 1).await;
    assert!(matches!(last(ask(&lease(&resident).await, 5).await).await, Some(Reply::Finished { .. })));
    is_free(&fleet, one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_goes_lets_its_replies_end() {
    let (fleet, folder) = fleet(None, PATIENCE);
    let resident = take_in(&fleet, "m").await;
    let events = ask(&lease(&resident).await, 100).await;
    let (standing, end) = tokio::join!(resident.wish(Event::Rest(Rest::Unloaded)), last(events));
    assert_eq!(standing.unwrap().phase, Phase::Unloaded);
    assert!(matches!(end, Some(Reply::Finished { .. })), "{end:?}");
    assert_eq!(fleet.memory.held_bytes(), 0, "it is gone when that is said");
    let refusal = resident.lease(Instant::now() + PATIENCE).await.err().unwrap();
    assert_eq!((refusal.status().as_u16(), refusal.code()), (503, "model_not_loaded"));
    assert_eq!(resident.wish(Event::Load).await.unwrap().phase, Phase::Ready);
    lease(&resident).await;
    assert_eq!(recorded(&folder, 4).await.len(), 4, "each change is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_outlasts_the_drain_is_cut() {
    let (fleet, _folder) = fleet(None, Duration::ZERO);
    let resident = take_in(&fleet, "m").await;
    let held = lease(&resident).await;
    let events = ask(&held, 1500).await;
    let mut end = held.end.clone();
    drop(held);
    let cut = async {
        end.come().await;
        drop(events);
    };
    let (standing, ()) = tokio::join!(resident.wish(Event::Rest(Rest::Asleep)), cut);
    assert_eq!(standing.unwrap().phase, Phase::Asleep);
    assert_eq!(fleet.memory.held_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_wakes_a_model_that_sleeps() {
    let (fleet, _folder) = fleet(None, PATIENCE);
    let resident = take_in(&fleet, "sleepy").await;
    assert_eq!((resident.standing().phase, fleet.memory.held_bytes()), (Phase::Asleep, 0));
    let (one, other) = tokio::join!(lease(&resident), lease(&resident));
    assert!(matches!(last(ask(&one, 5).await).await, Some(Reply::Finished { .. })));
    drop((one, other));
    assert_eq!(resident.wish(Event::Rest(Rest::Asleep)).await.unwrap().phase, Phase::Asleep);
    assert_eq!(fleet.memory.held_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_room_is_refused_until_there_is_some() {
    let (roomy, _folder) = fleet(None, PATIENCE);
    take_in(&roomy, "m").await;
    let one = roomy.memory.held_bytes();
    let (fleet, _records) = fleet(Some(one * 3 / 2), PATIENCE);
    let first = take_in(&fleet, "first").await;
    let refusal = try_take_in(&fleet, "second", &demo()).await.err().unwrap().to_string();
    assert!(refusal.contains("`first` has") && refusal.contains("/unload"), "{refusal}");
    assert_eq!(fleet.memory.held_bytes(), one, "a refusal takes nothing");
    first.wish(Event::Rest(Rest::Unloaded)).await.unwrap();
    let _second = take_in(&fleet, "second").await;
    let failed = first.wish(Event::Load).await.unwrap();
    assert_eq!(failed.phase, Phase::Failed);
    assert!(failed.reason.unwrap().contains("`second` has"));
    assert!(failed.retry_at.is_none(), "who was asked for and has no room waits to be asked again");
}

/// The demo model with a norm of nothing but NaN, in a folder of its own.
fn poisoned_demo() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(demo()).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let file = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let [from, to] = [0, 1]
        .map(|end| header + tensors["model.norm.weight"]["data_offsets"][end].as_u64().unwrap() as usize);
    // All ones are NaN in every format of floats.
    bytes[from..to].fill(0xff);
    std::fs::write(file, bytes).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_gives_nothing_but_nan_is_not_ready() {
    let (fleet, _records) = fleet(None, PATIENCE);
    let folder = poisoned_demo();
    let refusal = try_take_in(&fleet, "m", folder.path()).await.err().unwrap().to_string();
    assert_eq!(refusal, "it was loaded and does not answer: the model fails on a single token");
    is_free(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_is_loaded_beside_and_the_one_before_goes_when_nobody_has_it() {
    let (fleet, _records) = fleet(None, PATIENCE);
    let before = take_in(&fleet, "m").await;
    let one = fleet.memory.held_bytes();
    let events = ask(&lease(&before).await, 100).await;
    let after = take_in(&fleet, "m").await;
    assert_eq!(fleet.memory.held_bytes(), 2 * one);
    before.leave();
    drop(before);
    assert!(matches!(last(events).await, Some(Reply::Finished { .. })), "its replies end in order");
    is_free(&fleet, one).await;
    lease(&after).await;
}
