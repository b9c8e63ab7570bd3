//! The proxy for agents' tools, as a program: what it is asked, whom it looks up, and where it leads.

use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::names::{Answer, Names, parsed};
use super::origin::{EVERYWHERE, Manner, Origin};
use super::own;
use crate::callers::{KEY, key_caller};
use crate::gateway::{Home, closed_port, send_signal};
use crate::patience::{eventually, within};
use crate::routes::Routes;
use crate::tools::{Running, ask, start};
use crate::upstream::{Authority, DOCUMENT};

const GOOD: &str = "93.184.216.34";
const INSIDE: &str = "10.0.0.7";

/// A proxy, and all that it could reach.
struct Stage {
    names: Names,
    authority: Authority,
    origin: Origin,
    home: Home,
    running: Running,
    address: SocketAddr,
}

impl Stage {
    /// A workflow with these entries of `hosts`.
    async fn new(hosts: &str) -> Self {
        Self::with(policy(hosts)).await
    }

    async fn with(routes: Routes) -> Self {
        let (names, authority) = (Names::start().await, Authority::new());
        let origin = Origin::at(EVERYWHERE, Some(authority.acceptor("good.test")), Manner::good()).await;
        names.set("good.test", Answer::of(&[GOOD]));
        let home = Home::new(&routes);
        let (running, address) = start(&home).await;
        Self { names, authority, origin, home, running, address }
    }

    /// Asks for something, and returns the head of the answer.
    async fn head(&self, request: &str) -> String {
        ask(self.address, request).await.1
    }

    /// Asks for a tunnel that there is not.
    async fn refused(&self, target: &str, code: &str) {
        let head = self.head(&connect(target)).await;
        assert_eq!(code_of(&head), code, "{target:?}: {head}");
    }

    /// Asks for a tunnel that there is.
    async fn tunnel(&self, target: &str) -> TcpStream {
        let (tunnel, head) = ask(self.address, &connect(target)).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
        tunnel
    }

    /// Nothing was looked up and nobody was dialled.
    async fn untouched(&self) {
        assert_eq!(self.names.all_asked(), Vec::<String>::new());
        assert_eq!(self.origin.dialled().await, parsed(&[]));
    }

    /// Speaks TLS through a tunnel with the host `name`, and returns what the origin answers.
    async fn answer(&self, tunnel: TcpStream, name: &str) -> std::io::Result<String> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = within("a handshake", self.authority.connector().connect(name, tunnel)).await?;
        tls.write_all(b"GET / HTTP/1.1\r\nhost: good.test\r\n\r\n").await?;
        let mut answer = String::new();
        within("an answer", tls.read_to_string(&mut answer)).await?;
        Ok(answer)
    }
}

fn policy(hosts: &str) -> Routes {
    let egress = format!("{{ mode: allowlist, hosts: {hosts} }}");
    Routes::default().engine().workflow_of("docs", &key_caller(), &egress, "demo")
}

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{}\r\n", credentials())
}

fn credentials() -> String {
    format!("proxy-authorization: Bearer {KEY}\r\n")
}

fn code_of(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("x-portcullis-error: ")).unwrap_or_default()
}

// E4, E8, replay 1, 2, 7, 12, 32, 35
#[test]
fn a_target_that_is_not_written_in_the_one_way_is_refused_before_anything_is_looked_up() {
    own(async || {
        let stage = Stage::new("[good.test, api.good.test]").await;
        for target in [
            "evil.test\0.good.test:443",
            "evil.test%00.good.test:443",
            "good.test:443@evil.test:443",
            "user@good.test:443",
            "[good.test]:443",
            "[[::1]]:443",
            "good.test..:443",
            "good.test\\.evil.test:443",
            "good.test\t:443",
            "good.test",
            "good.test:0443",
            "good.test:443/",
            "http://good.test:443",
            "xn--good-.test:443",
        ] {
            let text = format!("CONNECT {target} HTTP/1.1\r\nhost: good.test\r\n{}\r\n", credentials());
            let head = stage.head(&text).await;
            assert!(head.starts_with("HTTP/1.1 400 "), "{target:?}: {head}");
            assert_eq!(code_of(&head), "tunnel.request", "{target:?}");
        }
        for headers in [
            "host: evil.test",
            "host: good.test\r\nhost: good.test",
            "host: good.test\r\nhost: evil.test",
            "host: good.test\r\nx-a: b\r\n c",
            "host: good.test\nx-a: b",
            "host: good.test\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
            "x-a: b",
        ] {
            let text = format!("CONNECT good.test:443 HTTP/1.1\r\n{headers}\r\n{}\r\n", credentials());
            assert_eq!(code_of(&stage.head(&text).await), "tunnel.request", "{headers:?}");
        }
        for target in [
            "good.test:80",
            "good.test:22",
            "good.test:8443",
            "api-good.test:443",
            "a.good.test:443",
            "xgood.test:443",
        ] {
            stage.refused(target, "tunnel.not_named").await;
        }
        stage.untouched().await;
    });
}

// E11, E13, replay 1, 23
#[test]
fn a_denied_host_wins_over_every_entry_and_the_refusal_says_why() {
    own(async || {
        let hosts = "[\"*.evil.test\", { host: a.evil.test, ports: [443, 8443] }]";
        let stage = Stage::with(policy(hosts).defaults("deny_hosts: [a.evil.test]")).await;
        for target in ["a.evil.test:443", "A.EVIL.test:443", "a.evil.test.:443", "A.evil.Test.:8443"] {
            stage.refused(target, "tunnel.denied_host").await;
        }
        let head = stage.head(&connect("other.test:443")).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        let reason = "proxy-status: portcullis; error=http_request_denied; details=\"tunnel.not_named\"";
        assert!(head.contains(reason), "{head}");
        stage.untouched().await;
    });
}

// E10, replay 6
#[test]
fn a_list_without_entries_lets_nobody_out() {
    own(async || {
        let stage = Stage::new("[]").await;
        for target in ["good.test:443", "8.8.8.8:443", "[2606:4700::1]:443"] {
            stage.refused(target, "tunnel.not_named").await;
        }
        stage.untouched().await;
        // Left out, it is the same; written as something that is no list, the policy does not load.
        let unwritten = "{ mode: hosted }";
        let second =
            Home::new(&Routes::default().engine().workflow_of("docs", &key_caller(), unwritten, "demo"));
        let (_running, address) = start(&second).await;
        let (_, head) = ask(address, &connect("good.test:443")).await;
        assert_eq!(code_of(&head), "tunnel.not_named", "{head}");
        for wrong in ["{}", "true", "\"\"", "[\"\"]", "[\"*\"]", "[{}]", "null"] {
            stage.home.write("routes.yaml", &policy(wrong).text());
            for command in [&["check"][..], &["proxy", "--listen", "127.0.0.1:0"]] {
                let output = stage.home.run(command);
                assert_eq!(output.status.code(), Some(1), "{wrong} {command:?}");
            }
        }
        stage.untouched().await;
    });
}

// E14, replay 8
#[test]
fn what_follows_a_refused_connect_reaches_nobody() {
    own(async || {
        let stage = Stage::new("[good.test, { host: plain.test, ports: [80], plain: true }]").await;
        let behind = [
            connect("good.test:443"),
            format!("GET http://plain.test/admin HTTP/1.1\r\nhost: plain.test\r\n{}\r\n", credentials()),
        ];
        for behind in behind {
            let text = connect("evil.test:443") + &behind;
            let (mut stream, head) = ask(stage.address, &text).await;
            assert_eq!(code_of(&head), "tunnel.not_named");
            let mut rest = String::new();
            within("the end of the connection", stream.read_to_string(&mut rest)).await.unwrap();
            assert!(!rest.contains("HTTP/1.1 "), "{rest}");
        }
        stage.untouched().await;
    });
}

// E1, E2, E3, replay 3, 4, 20, 21
#[test]
fn a_tunnel_leads_to_the_addresses_that_were_judged_and_never_inside() {
    own(async || {
        let stage = Stage::new("[good.test, { host: inner.test, cidrs: [10.0.0.0/8] }]").await;
        let turns: &[(&[&str], &str)] = &[
            (&["127.0.0.1"], "egress.address"),
            (&["169.254.169.254"], "egress.address"),
            (&[INSIDE], "egress.address"),
            (&["100.64.0.1"], "egress.address"),
            (&["0.0.0.0"], "egress.address"),
            (&["::"], "egress.address"),
            (&["64:ff9b::a00:1"], "egress.address"),
            (&["2002:7f00:1::"], "egress.address"),
            (&["2001::1"], "egress.address"),
            (&["fec0::1"], "egress.address"),
            (&["::ffff:10.0.0.1"], "egress.address"),
            (&[GOOD, INSIDE], "egress.mixed_answer"),
            (&[INSIDE, GOOD], "egress.mixed_answer"),
            (&[GOOD, "::1"], "egress.mixed_answer"),
        ];
        let mut answers = vec![Answer::of(&[GOOD])];
        answers.extend(turns.iter().map(|(answer, _)| Answer::of(answer)));
        answers.push(Answer::of(&[GOOD]));
        stage.names.turns("good.test", answers);
        drop(stage.tunnel("good.test:443").await);
        for (_, code) in turns {
            stage.refused("good.test:443", code).await;
        }
        drop(stage.tunnel("good.test:443").await);
        let dials = turns.len() + 2;
        assert_eq!(stage.names.asked("good.test"), (dials, dials));
        // The company's own network, for the host for which it is written down, and never its metadata service.
        stage.names.turns("inner.test", [&[INSIDE][..], &["169.254.169.254"]].map(Answer::of).to_vec());
        drop(stage.tunnel("inner.test:443").await);
        stage.refused("inner.test:443", "egress.address").await;
        assert_eq!(stage.origin.dialled().await, parsed(&[GOOD, GOOD, INSIDE]));
    });
}

// E5, E6
#[test]
fn a_tunnel_is_for_the_name_in_its_first_message() {
    own(async || {
        let stage = Stage::new("[good.test]").await;
        let tunnel = stage.tunnel("good.test:443").await;
        let answer = stage.answer(tunnel, "good.test").await.unwrap();
        assert!(answer.ends_with(DOCUMENT), "{answer}");
        let tunnel = stage.tunnel("GOOD.test.:443").await;
        assert!(stage.answer(tunnel, "evil.test").await.is_err());
        let mut tunnel = stage.tunnel("good.test:443").await;
        tunnel.write_all(b"GET / HTTP/1.1\r\nhost: good.test\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // How the connection ends does not matter: nothing of the origin's comes.
        let _ = within("the end of a tunnel", tunnel.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
        assert_eq!(stage.origin.heads().len(), 1, "the first alone has asked for anything");
    });
}

// E17, E18
#[test]
fn a_policy_that_no_longer_allows_a_tunnel_ends_it_and_all_of_it_is_on_record() {
    own(async || {
        let mut stage = Stage::new("[good.test]").await;
        let tunnel = stage.tunnel("good.test:443").await;
        let name = ServerName::try_from("good.test").unwrap();
        let connector = stage.authority.connector();
        let mut tls = within("a handshake", connector.connect(name, tunnel)).await.unwrap();
        stage.home.write("routes.yaml", &policy("[other.test]").text());
        send_signal("HUP", stage.running.process());
        // How it is cut does not matter: nothing was asked for, and nothing comes.
        let mut rest = Vec::new();
        let _ = within("the end of a tunnel", tls.read_to_end(&mut rest)).await;
        stage.refused("good.test:443", "tunnel.not_named").await;
        send_signal("TERM", stage.running.process());
        let status = eventually("the proxy's end", async || stage.running.ended()).await;
        assert!(status.success(), "{status}");
        let records = crate::tools::records(&stage.home);
        let all = |kind: &str, member: &str| -> Vec<_> {
            records
                .iter()
                .filter(|record| record["type"] == kind)
                .map(|record| record[member].clone())
                .collect()
        };
        assert_eq!(all("egress.decision", "verdict"), ["opened", "refused"]);
        assert_eq!(all("egress.close", "reason"), ["tunnel.not_named"]);
        assert_eq!(all("egress.close", "sni"), ["good.test"]);
        assert_eq!(stage.origin.dialled().await, parsed(&[GOOD]));
    });
}

// E15
#[test]
fn a_port_at_which_nobody_listens_and_a_name_that_is_not_there_are_said_as_such() {
    own(async || {
        let port = closed_port();
        let hosts = format!("[nowhere.test, {{ host: good.test, ports: [{port}] }}]");
        let stage = Stage::new(&hosts).await;
        stage.refused("nowhere.test:443", "egress.dns").await;
        stage.refused(&format!("good.test:{port}"), "egress.connect").await;
        assert_eq!(stage.origin.dialled().await, parsed(&[]));
        drop(stage.running);
    });
}
