//! Three processes that behave as one program: what happens when one of them dies, and whether the walls hold.

use serde_json::json;

use crate::client::{Client, Reply, ask};
use crate::gateway::{Gateway, Home, signal_number};
use crate::patience::eventually;
use crate::routes::Routes;
use crate::upstream::{DOCUMENT, DONE, SECOND, USAGE, Upstream};

fn docs(upstream: &Upstream) -> Home {
    let routes = Routes::default().local("up", upstream.port(), "");
    Home::new(&routes.workflow("docs", "{ mode: sealed }", "up"))
}

async fn answered(gateway: &Gateway, upstream: &mut Upstream) {
    let request = ask("hello");
    let (reply, ()) = tokio::join!(gateway.client().chat(&request), async {
        upstream.call().await.answer(DOCUMENT).await;
    });
    assert_eq!(reply.text(), DOCUMENT);
}

/// Asks once; whatever reaches the upstream is answered.
async fn asked(client: &Client, upstream: &mut Upstream) -> Reply {
    let request = ask("hello");
    let chat = client.chat(&request);
    tokio::pin!(chat);
    loop {
        tokio::select! {
            reply = &mut chat => return reply,
            call = upstream.call() => call.answer(DOCUMENT).await,
        }
    }
}

/// Both trails of a home, held against each other.
pub(crate) fn reconciled(home: &Home) -> (Option<i32>, String) {
    let output = home.run(&["audit", "reconcile", "data/audit", "data/witness"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn the_walls_hold_and_it_is_on_record() {
    let upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    let ready = gateway.client().get("/readyz").await.json();
    let layers = ready["seal"]["layers"].as_array().unwrap().clone();
    let states: Vec<_> =
        layers.iter().map(|tried| (tried["layer"].clone(), tried["state"].clone())).collect();
    let held = ["seccomp", "landlock", "broker"].map(|layer| (json!(layer), json!("held")));
    assert_eq!(states, held, "{ready:#}");
    assert!(layers.iter().all(|tried| tried["tried"].as_u64() > Some(0)), "{ready:#}");
    assert_eq!(gateway.metric("portcullis_seal_held", "").await, 3);
    let records = home.records_of("seal.selftest");
    assert_eq!(records.len(), 3, "{records:#?}");
    assert!(records.iter().all(|record| record["outcome"] == "held"), "{records:#?}");
    drop(gateway);
}

#[tokio::test]
async fn without_confinement_there_is_one_process_and_everybody_is_told() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve_with(&["--confine", "off"]).await;
    assert_eq!((gateway.child("broker"), gateway.child("gateway")), (None, None));
    answered(&gateway, &mut upstream).await;
    let ready = gateway.client().get("/readyz").await.json();
    assert_eq!(ready["seal"]["layers"][0]["state"], "absent", "{ready:#}");
    assert!(gateway.stop().await.contains("confinement: none"));
    let (code, text) = reconciled(&home);
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test]
async fn a_broker_that_dies_is_replaced_and_cuts_no_answer() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    answered(&gateway, &mut upstream).await;
    let (events, mut call) = upstream.stream_to(&gateway).await;
    let before = gateway.child("broker").unwrap();
    signal_number("KILL", before);
    gateway.next_child("broker", before).await;
    for event in [SECOND, USAGE, DONE] {
        call.send(event).await;
    }
    call.end().await;
    let rest = events.rest().await.concat();
    assert!(rest.contains("[DONE]"), "{rest}");
    // The next connection is opened by the next broker.
    eventually("an answer by the next broker", async || {
        let reply = asked(gateway.client(), &mut upstream).await;
        (reply.status == 200).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_broker_that_dies_while_the_policy_file_is_broken_goes_on_with_the_policy_in_force() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    answered(&gateway, &mut upstream).await;
    let valid = std::fs::read_to_string(home.path().join("routes.yaml")).unwrap();
    for broken in ["version: 1\nmodells: {}\n", ""] {
        home.write("routes.yaml", broken);
        let before = gateway.child("broker").unwrap();
        signal_number("KILL", before);
        gateway.next_child("broker", before).await;
        eventually("an answer by the next broker", async || {
            let reply = asked(gateway.client(), &mut upstream).await;
            (reply.status == 200).then_some(())
        })
        .await;
        home.write("routes.yaml", &valid);
    }
    gateway.stop().await;
    // Nothing starts with it: the files are what a program starts with.
    home.write("routes.yaml", "version: 1\nmodells: {}\n");
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("did you mean").count(), 1, "{text}");
}

#[tokio::test]
async fn a_gateway_that_dies_is_replaced_and_listens_at_the_same_address() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    answered(&gateway, &mut upstream).await;
    let before = gateway.child("gateway").unwrap();
    signal_number("KILL", before);
    gateway.next_child("gateway", before).await;
    // The listener was never closed: whoever connects waits for the next gateway.
    answered(&gateway, &mut upstream).await;
    gateway.stop().await;
    let output = home.run(&["audit", "verify", "data/audit"]);
    assert_eq!(output.status.code(), Some(10), "what the first one could not write down is a gap");
}

#[tokio::test]
async fn a_program_that_is_replaced_keeps_its_listeners() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    let before = (gateway.child("broker").unwrap(), gateway.child("gateway").unwrap());
    gateway.replace();
    let client = Client::new(gateway.address());
    // Calls that come meanwhile wait in the listener's queue and are answered: none is refused.
    let mut answered_by_the_next = 0;
    while answered_by_the_next < 3 {
        let reply = asked(&client, &mut upstream).await;
        assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
        let is_next = gateway.child("gateway").is_some_and(|child| child != before.1);
        answered_by_the_next += usize::from(reply.status == 200 && is_next);
    }
    assert_ne!(gateway.child("broker"), Some(before.0));
    gateway.stop().await;
    let (code, text) = reconciled(&home);
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test]
async fn a_mistake_is_said_once_and_ends_the_program() {
    let upstream = Upstream::start().await;
    let home = docs(&upstream);
    home.write("routes.yaml", "version: 1\nmodells: {}\n");
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("did you mean").count(), 1, "{text}");
}

#[tokio::test]
async fn both_trails_agree_about_every_connection() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    for _ in 0..3 {
        answered(&gateway, &mut upstream).await;
    }
    gateway.stop().await;
    let (code, text) = reconciled(&home);
    assert_eq!(code, Some(0), "{text}");
}

/// How often the broker is killed; `BROKER_KILLS=100` at compile time is a long run.
pub(crate) fn kills() -> usize {
    option_env!("BROKER_KILLS").map_or(5, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_broker_that_is_killed_again_and_again_leaves_no_call_hanging_and_no_connection_unexplained() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    let client = Client::new(gateway.address());
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let answering = tokio::spawn({
        let is_over = std::sync::Arc::clone(&is_over);
        async move {
            // Asked one after the other, on connections that are not kept: each call needs the broker.
            let mut statuses = Vec::new();
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                statuses.push(asked(&client, &mut upstream).await.status);
            }
            (statuses, client, upstream)
        }
    });
    let mut broker = gateway.child("broker").unwrap();
    for _ in 0..kills() {
        signal_number("KILL", broker);
        broker = gateway.next_child("broker", broker).await;
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    let (mut statuses, client, mut upstream) = answering.await.unwrap();
    // Killed faster than one starts, none may have answered until here. The last one stays, and answers.
    eventually("an answer by the last broker", async || {
        statuses.push(asked(&client, &mut upstream).await.status);
        (statuses.last() == Some(&200)).then_some(())
    })
    .await;
    assert!(statuses.iter().all(|status| [200, 502, 503].contains(status)), "{statuses:?}");
    gateway.stop().await;
    let (intents, results) = (home.records_of("llm.intent"), home.records_of("llm.result"));
    assert_eq!(intents.len(), results.len(), "every call has its end on record");
    // Connections that died with a broker have no end on its record; nothing contradicts.
    let (code, text) = reconciled(&home);
    assert!(matches!(code, Some(0 | 10)), "{text}");
}

#[tokio::test]
async fn the_gateway_has_a_network_of_its_own_and_no_route() {
    let mut upstream = Upstream::start().await;
    let home = docs(&upstream);
    let gateway = home.serve().await;
    let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let (broker, child) = (gateway.child("broker").unwrap(), gateway.child("gateway").unwrap());
    // All tests of forwarding run with such a gateway if whoever runs them may make networks, and otherwise none does.
    answered(&gateway, &mut upstream).await;
    let ours = network("self");
    if network(&child.to_string()).is_none_or(|network| Some(network) == ours) {
        assert!(gateway.stop().await.contains("own_network=false"), "it says that it could not");
        return;
    }
    assert_eq!(network(&broker.to_string()), ours);
    let routes = std::fs::read_to_string(format!("/proc/{child}/net/route")).unwrap();
    assert_eq!(routes.lines().skip(1).count(), 0, "a heading at most, and no route: {routes}");
    let devices = std::fs::read_to_string(format!("/proc/{child}/net/dev")).unwrap();
    let names: Vec<_> =
        devices.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(names, ["lo"]);
}
