//! Which addresses are connected to: those of a name that a policy has, if all of them are public, and no others.
//!
//! Every address leads to the test, so each test counts the connections that it should not see.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use super::names::{Answer, Names, parsed};
use super::origin::{EVERYWHERE, Manner, Origin};
use super::own;
use crate::client::{Reply, ask, with};
use crate::gateway::{Gateway, Home};
use crate::routes::Routes;
use crate::upstream::Authority;

/// Addresses of each kind that is not public, at the ends of their ranges and where services are.
const NOT_PUBLIC: &[&str] = &[
    // Metadata services.
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    // Unspecified and loopback.
    "0.0.0.0",
    "0.1.2.3",
    "0.255.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.255",
    "::",
    "::1",
    // Private, carrier-grade NAT, link-local.
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    "100.64.0.0",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.0.0",
    "169.254.170.2",
    "169.254.255.255",
    "fc00::1",
    "fd12:3456::1",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    // Protocols, documents, measurements, multicast, reserved.
    "192.0.0.0",
    "192.0.0.170",
    "192.0.0.255",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.255",
    "198.18.0.1",
    "198.19.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
    "ff02::1",
    "ff0e::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "100::1",
    "5f00::1",
    "4000::1",
    "8000::1",
    "fe00::1",
    "1fff:ffff::1",
    // IPv4 inside IPv6, and the relays between the two.
    "192.88.99.0",
    "192.88.99.1",
    "192.88.99.255",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:ffff:ffff::1",
    "2001::1",
    "2001:0:ffff::7f00:1",
];

/// Public addresses, most of them next to a range that is not.
const PUBLIC: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::1",
    "2001:200::1",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "3ffe:ffff::1",
    "3fff:1000::1",
];

/// An address that may be dialled, one of the other family, and one that may not.
const GOOD: &str = "93.184.216.34";
const GOOD_V6: &str = "2606:4700::6810:84e5";
const INSIDE: &str = "10.0.0.7";

/// A provider that is asked however often it failed: what is to be seen is each answer.
const UNBROKEN: &str =
    "locality: hosted, region: us, breaker: { failures: 1000, window: 30s, open_for: 30s }";

/// One hosted provider for each host, and a workflow for each with the same name, the first label of the host.
fn hosts(hosts: &[&str], more: &str) -> Routes {
    hosts.iter().fold(Routes::default(), |routes, host| {
        let name = host.split('.').next().unwrap();
        routes.provider(name, &format!("https://{host}/v1"), &format!("{UNBROKEN}, {more}")).workflow(
            name,
            &format!("{{ mode: hosted, providers: [{name}] }}"),
            name,
        )
    })
}

/// Origins at all addresses, a name server, and a gateway that knows `routes`.
struct Stage {
    names: Names,
    origin: Origin,
    home: Home,
    gateway: Gateway,
}

impl Stage {
    async fn new(routes: &Routes) -> Self {
        let (names, authority) = (Names::start().await, Authority::new());
        let origin = Origin::at(EVERYWHERE, Some(authority.acceptor("*.up.test")), Manner::good()).await;
        let home = Home::new(routes);
        home.write("ca.pem", &authority.pem());
        let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;
        Self { names, origin, home, gateway }
    }

    /// Calls a workflow.
    async fn call(&self, workflow: &str) -> Reply {
        let path = format!("/w/{workflow}/v1/chat/completions");
        self.gateway.client().request("POST", &path, ask("hello").to_string()).await
    }

    /// Calls a workflow whose provider nobody dials.
    async fn refused(&self, workflow: &str, code: &str) {
        let reply = self.call(workflow).await;
        assert_eq!(reply.status, 502, "{workflow}: {}", reply.text());
        assert_eq!(reply.error()["code"], code, "{workflow}");
    }

    /// Calls a workflow whose provider answers.
    async fn answered(&self, workflow: &str) {
        let reply = self.call(workflow).await;
        assert_eq!(reply.status, 200, "{workflow}: {}", reply.text());
    }

    /// Exactly these addresses were connected to, in this order.
    async fn dialled(&self, expected: &[&str]) {
        assert_eq!(self.origin.dialled().await, parsed(expected));
    }
}

// E1, E3, replay 3, 4, 21
#[test]
fn what_a_name_leads_to_is_dialled_if_it_is_public_and_never_otherwise() {
    own(async || {
        let all: Vec<&str> = NOT_PUBLIC.iter().chain(PUBLIC).copied().collect();
        let names: Vec<String> = (0..all.len()).map(|index| format!("v{index}.up.test")).collect();
        let routes = hosts(&names.iter().map(String::as_str).collect::<Vec<_>>(), "");
        let stage = Stage::new(&routes).await;
        for (index, address) in all.iter().enumerate() {
            stage.names.set(&format!("v{index}.up.test"), Answer::of(&[address]));
            let workflow = format!("v{index}");
            if PUBLIC.contains(address) {
                stage.answered(&workflow).await;
            } else {
                stage.refused(&workflow, "egress.address").await;
            }
        }
        stage.dialled(PUBLIC).await;
        let Stage { gateway, home, .. } = stage;
        gateway.stop().await;
        // The same by the trail of the broker: an address that was opened is one of them.
        let decisions = home.witnessed("egress.decision");
        let calls = decisions.iter().filter(|decision| decision["purpose"] == "call");
        let opened: Vec<IpAddr> = calls
            .filter_map(|decision| decision["address"].as_str())
            .map(|address| address.parse::<std::net::SocketAddr>().unwrap().ip())
            .collect();
        assert_eq!(opened, parsed(PUBLIC));
    });
}

// E1, replay 20
#[test]
fn a_name_that_changes_its_mind_is_asked_once_for_each_dial_and_dialled_by_that_answer() {
    own(async || {
        let stage = Stage::new(&hosts(&["api.up.test"], "")).await;
        let turns = [&[GOOD][..], &["127.0.0.1"], &["169.254.169.254"], &[GOOD_V6], &[GOOD]];
        stage.names.turns("api.up.test", turns.map(Answer::of).to_vec());
        stage.answered("api").await;
        stage.refused("api", "egress.address").await;
        stage.refused("api", "egress.address").await;
        stage.answered("api").await;
        stage.answered("api").await;
        assert_eq!(stage.names.asked("api.up.test"), (5, 5), "once for each family and dial");
        stage.dialled(&[GOOD, GOOD_V6, GOOD]).await;
    });
}

// E2
#[test]
fn an_answer_with_one_address_that_may_not_be_is_refused_whole() {
    own(async || {
        let stage = Stage::new(&hosts(&["api.up.test"], "")).await;
        let mut long = vec!["8.8.4.4"; 60];
        long.push(INSIDE);
        let mixed: &[&[&str]] = &[
            &[GOOD, INSIDE],
            &[INSIDE, GOOD],
            &[GOOD, "1.1.1.1", "169.254.169.254"],
            &[GOOD, "fd00::1"],
            &[GOOD, "::1"],
            &[INSIDE, GOOD_V6],
            &[GOOD_V6, "64:ff9b::a00:1"],
        ];
        let mut turns: Vec<Answer> = mixed.iter().map(|answer| Answer::of(answer)).collect();
        turns.push(Answer::Alias("elsewhere.test", parsed(&[GOOD, INSIDE])));
        // The name alone, with nothing behind it.
        turns.push(Answer::Addresses(Vec::new()));
        for turn in turns {
            stage.names.turns("api.up.test", vec![turn.clone(), turn]);
            let reply = stage.call("api").await;
            assert_eq!(reply.status, 502, "{}", reply.text());
            let code = reply.error()["code"].clone();
            assert!(code == "egress.address" || code == "egress.dns", "{code}");
        }
        let turn = Answer::Long(parsed(&long));
        stage.names.turns("api.up.test", vec![turn.clone(), turn]);
        stage.refused("api", "egress.address").await;
        stage.dialled(&[]).await;
    });
}

// E1
#[test]
fn an_alias_and_an_answer_too_long_for_a_datagram_are_judged_by_where_they_end() {
    own(async || {
        let stage =
            Stage::new(&hosts(&["one.up.test", "two.up.test", "three.up.test", "four.up.test"], "")).await;
        stage.names.set("one.up.test", Answer::Alias("edge.cdn.test", parsed(&[GOOD])));
        stage.names.set("two.up.test", Answer::Alias("localhost", parsed(&["127.0.0.1"])));
        stage.names.set("three.up.test", Answer::Long(parsed(&[GOOD_V6])));
        stage.names.set("four.up.test", Answer::Failure);
        stage.answered("one").await;
        stage.refused("two", "egress.address").await;
        stage.answered("three").await;
        stage.refused("four", "egress.dns").await;
        stage.dialled(&[GOOD, GOOD_V6]).await;
    });
}

// E15
#[test]
fn a_name_server_that_says_nothing_ends_a_call_at_the_time_for_connecting() {
    own(async || {
        let stage = Stage::new(&hosts(&["api.up.test"], "timeouts: { connect: 1s }")).await;
        stage.names.set("api.up.test", Answer::Silence);
        let began = Instant::now();
        stage.refused("api", "egress.timeout_connect").await;
        // The resolver would wait longer, and ask again.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        stage.dialled(&[]).await;
    });
}

// E8, replay 23
#[test]
fn a_provider_is_dialled_at_its_port_and_at_no_other() {
    own(async || {
        let routes = Routes::default()
            .provider("api", "https://api.up.test:8443/v1", "locality: hosted, region: us")
            .workflow("api", "{ mode: hosted, providers: [api] }", "api");
        let stage = Stage::new(&routes).await;
        stage.names.set("api.up.test", Answer::of(&[GOOD]));
        // Nobody listens there, though somebody would at the usual port.
        stage.refused("api", "egress.connect").await;
        stage.dialled(&[]).await;
    });
}

// E24, replay 28
#[test]
fn no_name_is_looked_up_that_the_policy_does_not_have() {
    own(async || {
        let egress = "{ mode: hosted, providers: [api], content_urls: pass }";
        let routes = Routes::default()
            .provider("api", "https://api.up.test/v1", "locality: hosted, region: us")
            .workflow("api", egress, "api");
        let stage = Stage::new(&routes).await;
        stage.names.set("api.up.test", Answer::of(&[GOOD]));
        let client = stage.gateway.client().with_header("x-api-base", "https://one.evil.test");
        let client = client.with_header("x-litellm-api-base", "https://two.evil.test");
        let image = json!([{ "type": "image_url", "image_url": { "url": "https://three.evil.test/a.png" } }]);
        for more in [
            json!({ "messages": [{ "role": "user", "content": image }] }),
            json!({ "api_base": "https://four.evil.test/v1" }),
            json!({ "base_url": "https://five.evil.test/v1" }),
            json!({ "model": "https://six.evil.test/v1" }),
        ] {
            // Some are passed on, some are refused: it is the names that count.
            client.chat(&with(ask("hello"), more)).await;
        }
        assert_eq!(stage.names.all_asked(), ["api.up.test"]);
        let dialled = stage.origin.dialled().await;
        assert!(
            !dialled.is_empty() && dialled.iter().all(|address| address.to_string() == GOOD),
            "{dialled:?}"
        );
    });
}

// E16
#[test]
fn a_workflow_has_as_many_connections_as_its_policy_says() {
    own(async || {
        let (names, authority) = (Names::start().await, Authority::new());
        let origin = Origin::at(EVERYWHERE, Some(authority.acceptor("*.up.test")), Manner::Mute).await;
        let routes = hosts(&["api.up.test"], "").and("limits: { connections: 2 }");
        let home = Home::new(&routes);
        home.write("ca.pem", &authority.pem());
        let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;
        names.set("api.up.test", Answer::of(&[GOOD]));
        let held = [
            gateway.client().post_and_hold(&ask("one")).await,
            gateway.client().post_and_hold(&ask("two")).await,
        ];
        crate::patience::eventually("two calls", async || (origin.heads().len() == 2).then_some(())).await;
        let reply = gateway.client().chat(&ask("three")).await;
        assert_eq!(reply.error()["code"], "egress.limit", "{}", reply.status);
        assert_eq!(origin.dialled().await, parsed(&[GOOD, GOOD]));
        drop(held);
    });
}

// E21
#[test]
fn a_connection_is_kept_for_one_workflow_and_used_by_no_other() {
    own(async || {
        let (names, authority) = (Names::start().await, Authority::new());
        let origin = Origin::at(EVERYWHERE, Some(authority.acceptor("*.up.test")), Manner::Stays).await;
        let routes = ["one", "two"].iter().fold(
            Routes::default().provider("api", "https://api.up.test/v1", "locality: hosted, region: us"),
            |routes, workflow| routes.workflow(workflow, "{ mode: hosted, providers: [api] }", "api"),
        );
        let home = Home::new(&routes);
        home.write("ca.pem", &authority.pem());
        let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;
        names.set("api.up.test", Answer::of(&[GOOD]));
        for workflow in ["one", "two", "one", "two", "two", "one"] {
            let path = format!("/w/{workflow}/v1/chat/completions");
            let reply = gateway.client().request("POST", &path, ask("hello").to_string()).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(origin.dialled().await, parsed(&[GOOD, GOOD]), "one connection for each");
        assert_eq!(origin.heads().len(), 6);
    });
}
