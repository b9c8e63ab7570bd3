//! Everything that can go wrong on the way out, at once and under load: a broker that is killed, a resolver that says
//! nothing, a proxy that refuses, origins that take a call and do not answer, or answer half.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::corp::{Corp, Mood};
use super::names::{Answer, Names, parsed};
use super::origin::{Manner, Origin};
use super::{own, told};
use crate::client::{Client, ask};
use crate::gateway::{Home, signal_number};
use crate::patience::eventually;
use crate::processes::{kills, reconciled};
use crate::routes::Routes;
use crate::upstream::Authority;

/// Who calls at the same time.
const CALLERS: usize = 16;

/// How many calls end between two deaths of the broker.
const CALLS_BETWEEN: usize = CALLERS;

/// Longer than all the times of a provider together on a busy machine, and shorter than any call that hangs.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Hosts, where they are, and the codes with which calls to them may end besides those of the broker's absence.
const HOSTS: [(&str, &str, &[&str]); 6] = [
    ("good", "93.184.216.1", &["", "egress.timeout_connect", "egress.cut"]),
    ("silent", "93.184.216.2", &["egress.timeout_connect"]),
    ("proxied", "93.184.216.3", &["egress.proxy_refused", "egress.timeout_connect"]),
    ("mute", "93.184.216.4", &["egress.timeout_first_byte", "egress.timeout_connect"]),
    ("deaf", "93.184.216.5", &["egress.timeout_connect"]),
    ("half", "93.184.216.6", &["egress.cut", "egress.timeout_connect"]),
];

const PROXY: &str = "93.184.216.9:3128";

fn routes() -> Routes {
    let keys = "locality: hosted, region: us, breaker: { failures: 1000, window: 30s, open_for: 1s }, \
                timeouts: { connect: 1s, first_byte: 1s }";
    HOSTS.iter().fold(
        Routes::default().proxy("corp", "http://proxy.test:3128", ""),
        |routes, (name, _, _)| {
            let proxy = if *name == "proxied" { ", proxy: corp" } else { "" };
            routes.provider(name, &format!("https://{name}.test/v1"), &format!("{keys}{proxy}")).workflow(
                name,
                &format!("{{ mode: hosted, providers: [{name}] }}"),
                name,
            )
        },
    )
}

/// Origins at the places of [`HOSTS`], by name; nobody is at the one that is silent.
async fn origins(names: &Names, authority: &Authority) -> BTreeMap<&'static str, Origin> {
    let mut origins = BTreeMap::new();
    for (name, address, _) in HOSTS {
        let manner = match name {
            "mute" => Manner::Mute,
            "deaf" => Manner::Deaf,
            "half" => Manner::half(),
            _ => Manner::good(),
        };
        let place = format!("{address}:443");
        let origin = Origin::at(&place, Some(authority.acceptor(&format!("{name}.test"))), manner).await;
        origins.insert(name, origin);
        names.set(&format!("{name}.test"), Answer::of(&[address]));
    }
    names.set("silent.test", Answer::Silence);
    names.set("proxy.test", Answer::of(&[PROXY.split(':').next().unwrap()]));
    origins
}

/// How calls ended: by host, status and code how many, and the longest.
#[derive(Default)]
struct Ends {
    counts: BTreeMap<(&'static str, u16, String), usize>,
    longest: Duration,
}

/// Calls one host after the other until it is over; begins with another one than the callers beside it.
async fn call_on(client: Client, first: usize, ended: Arc<AtomicUsize>, until: Arc<AtomicUsize>) -> Ends {
    let mut ends = Ends::default();
    for turn in first.. {
        if ended.load(Ordering::Relaxed) >= until.load(Ordering::Relaxed) {
            break;
        }
        let (name, ..) = HOSTS[turn % HOSTS.len()];
        let began = Instant::now();
        let path = format!("/w/{name}/v1/chat/completions");
        let reply = client.request("POST", &path, ask("hello").to_string()).await;
        ends.longest = ends.longest.max(began.elapsed());
        let code = if reply.status == 200 {
            String::new()
        } else {
            reply.error()["code"].as_str().unwrap().to_owned()
        };
        *ends.counts.entry((name, reply.status, code)).or_default() += 1;
        ended.fetch_add(1, Ordering::Relaxed);
    }
    ends
}

#[test]
fn whatever_fails_at_once_no_call_goes_another_way_or_hangs_and_every_connection_is_explained() {
    own(async || {
        let (names, authority) = (Names::start().await, Authority::new());
        let origins = origins(&names, &authority).await;
        let corp = Corp::at(PROXY, Mood::Says("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
        let home = Home::new(&routes());
        home.write("ca.pem", &authority.pem());
        let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;

        let (ended, until) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(usize::MAX)));
        let callers: Vec<_> = (0..CALLERS)
            .map(|first| {
                let client = Client::new(gateway.address());
                tokio::spawn(call_on(client, first, Arc::clone(&ended), Arc::clone(&until)))
            })
            .collect();
        let mut broker = gateway.child("broker").unwrap();
        for _ in 0..kills() {
            let before = ended.load(Ordering::Relaxed);
            eventually("calls that end", async || {
                (ended.load(Ordering::Relaxed) >= before + CALLS_BETWEEN).then_some(())
            })
            .await;
            signal_number("KILL", broker);
            broker = gateway.next_child("broker", broker).await;
        }
        // The last broker lives, and serves everybody once more.
        until.store(ended.load(Ordering::Relaxed) + 2 * HOSTS.len() * CALLERS, Ordering::Relaxed);
        let mut all = Ends::default();
        for caller in callers {
            let ends = caller.await.unwrap();
            all.longest = all.longest.max(ends.longest);
            for (key, count) in ends.counts {
                *all.counts.entry(key).or_default() += count;
            }
        }
        gateway.stop().await;

        let summary = format!("{:#?}, the longest {:?}", all.counts, all.longest);
        assert!(all.longest < CALL_MAX, "{summary}");
        for (name, _, codes) in HOSTS {
            let own = all.counts.keys().filter(|(host, ..)| *host == name);
            for (_, status, code) in own {
                let is_absence = *status == 503 && code == "egress.unavailable";
                assert!(is_absence || codes.contains(&code.as_str()), "{name}: {code}\n{summary}");
            }
            // Each was asked often enough to end as it always does.
            assert!(
                all.counts.keys().any(|(host, _, code)| *host == name && code == codes[0]),
                "{name}\n{summary}"
            );
        }
        for name in ["silent", "proxied"] {
            assert_eq!(origins[name].dialled().await, parsed(&[]), "nobody goes to `{name}` another way");
        }
        assert!(corp.asked().iter().all(|target| target == "93.184.216.3:443"), "{:?}", corp.asked());

        let (intents, results) = (home.records_of("llm.intent").len(), home.records_of("llm.result").len());
        assert_eq!(intents, results, "every call has its end on record");
        assert_eq!(results, all.counts.values().sum::<usize>());
        let (code, text) = reconciled(&home);
        // Connections that died with their broker have no end on its record; nothing contradicts.
        assert!(matches!(code, Some(0 | 10)), "{code:?}\n{text}\n{summary}");
        told(&format!("{} kills, {results} calls, {summary}\nreconcile: {code:?}\n{text}", kills()));
    });
}
