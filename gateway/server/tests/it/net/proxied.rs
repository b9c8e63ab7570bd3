//! Providers behind a company's proxy that does not want, cannot or does not answer: the call ends, and no other way is
//! taken. Every address leads to the test, so a way around the proxy would be seen.

use std::time::{Duration, Instant};

use super::corp::{Corp, Mood};
use super::names::{Answer, Names, parsed};
use super::origin::{EVERYWHERE, Manner, Origin};
use super::own;
use crate::client::{Reply, ask};
use crate::gateway::Home;
use crate::routes::Routes;
use crate::upstream::Authority;

const GOOD: &str = "93.184.216.34";
const PROXY: &str = "5.6.7.8";

/// Where a proxy that does as it is asked leads.
const ONWARD: &str = "127.0.0.9:443";

struct Stage {
    names: Names,
    authority: Authority,
    origin: Origin,
}

impl Stage {
    async fn new() -> Self {
        let (names, authority) = (Names::start().await, Authority::new());
        let origin = Origin::at(EVERYWHERE, Some(authority.acceptor("api.test")), Manner::good()).await;
        names.set("api.test", Answer::of(&[GOOD]));
        names.set("proxy.test", Answer::of(&[PROXY]));
        Self { names, authority, origin }
    }

    /// What comes of a call behind the proxy at `url`, in an environment that names other proxies.
    async fn call(&self, url: &str, more: &str) -> Reply {
        let provider = "locality: hosted, region: us, proxy: corp, timeouts: { connect: 2s }";
        let routes = Routes::default()
            .proxy("corp", url, more)
            .provider("api", "https://api.test/v1", provider)
            .workflow("api", "{ mode: hosted, providers: [api] }", "api");
        let home = Home::new(&routes);
        home.write("ca.pem", &self.authority.pem());
        let other = "http://5.5.5.5:443";
        let variables =
            [("HTTPS_PROXY", other), ("https_proxy", other), ("ALL_PROXY", other), ("NO_PROXY", "*")];
        let gateway = home.serve_in(&variables, &["--ca-file", "ca.pem"]).await;
        let reply = gateway.client().chat(&ask("hello")).await;
        gateway.stop().await;
        let output = home.run(&["audit", "reconcile", "data/audit", "data/witness"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        reply
    }
}

// E19
#[test]
fn a_proxy_that_does_not_lead_to_the_provider_ends_the_call_and_no_other_way_is_taken() {
    own(async || {
        let stage = Stage::new().await;
        let page = "HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\nsecret";
        let moods = [
            (Mood::Says(page), "egress.proxy_refused"),
            (Mood::Says("HTTP/1.1 301 Moved\r\nlocation: https://api.test\r\n\r\n"), "egress.proxy_refused"),
            (Mood::Says("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "egress.proxy_refused"),
            (Mood::Says("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\n\r\n"), "egress.proxy_auth"),
            (Mood::Says("SSH-2.0-x\r\n\r\n"), "egress.proxy_protocol"),
            (Mood::Says("HTTP/1.1 200 OK"), "egress.proxy_closed"),
            (Mood::Says(""), "egress.proxy_closed"),
            (Mood::Silent, "egress.timeout_connect"),
        ];
        let mut others = Vec::new();
        for (index, (mood, code)) in moods.into_iter().enumerate() {
            let port = 3128 + index;
            let corp = Corp::at(&format!("{PROXY}:{port}"), mood).await;
            let began = Instant::now();
            let reply = stage.call(&format!("http://proxy.test:{port}"), "").await;
            assert_eq!(reply.status, 502, "{code}");
            if reply.error()["code"] != code {
                others.push((code, reply.error()["code"].clone()));
            }
            assert!(!reply.text().contains("secret"), "{}", reply.text());
            assert!(began.elapsed() < Duration::from_secs(30), "{code}: {:?}", began.elapsed());
            assert!(corp.asked().iter().all(|target| *target == format!("{GOOD}:443")), "{:?}", corp.asked());
        }
        assert!(others.is_empty(), "{others:?}");
        assert_eq!(stage.origin.dialled().await, parsed(&[]));
    });
}

// E19
#[test]
fn a_proxy_that_is_not_there_or_may_not_be_there_is_not_gone_around() {
    own(async || {
        let stage = Stage::new().await;
        stage.names.set("inside.test", Answer::of(&["10.1.2.3"]));
        stage.names.set("metadata.test", Answer::of(&["169.254.169.254"]));
        stage.names.set("silent.test", Answer::Silence);
        let mut others = Vec::new();
        for (url, more, code) in [
            ("http://proxy.test:3128", "", "egress.proxy_connect"),
            ("http://nowhere.test:3128", "", "egress.dns"),
            ("http://silent.test:3128", "", "egress.timeout_connect"),
            ("http://inside.test:443", "", "egress.address"),
            ("http://metadata.test:443", "cidrs: [10.0.0.0/8]", "egress.address"),
            // The origin itself, which speaks TLS and is not for that name.
            ("https://proxy.test:443", "", "egress.proxy_tls"),
        ] {
            let reply = stage.call(url, more).await;
            if reply.error()["code"] != code {
                others.push((url, code, reply.error()["code"].clone()));
            }
        }
        assert!(others.is_empty(), "{others:?}");
        // The one that was taken for a proxy, and nobody under the provider's address.
        assert_eq!(stage.origin.dialled().await, parsed(&[PROXY]));
    });
}

// E19
#[test]
fn a_call_goes_through_the_companys_proxy_and_by_nothing_that_the_environment_says() {
    own(async || {
        let stage = Stage::new().await;
        let corp = Corp::at(&format!("{PROXY}:3128"), Mood::Leads(ONWARD)).await;
        for more in ["", "resolve: proxy"] {
            let reply = stage.call("http://proxy.test:3128", more).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(corp.asked(), [format!("{GOOD}:443"), "api.test:443".to_owned()]);
        assert_eq!(stage.origin.dialled().await, parsed(&["127.0.0.9", "127.0.0.9"]), "by the proxy alone");
        // A destination that may not be is not asked for either; whether it may is the proxy's business where it resolves.
        stage.names.set("api.test", Answer::of(&["10.0.0.1"]));
        assert_eq!(stage.call("http://proxy.test:3128", "").await.error()["code"], "egress.address");
        assert_eq!(corp.asked().len(), 2);
    });
}
