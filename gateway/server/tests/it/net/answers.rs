//! Origins whose answers lead somewhere else, or are none.

use rcgen::{CertificateParams, SanType};

use super::names::{Answer, Names, parsed};
use super::origin::{EVERYWHERE, Manner, Origin};
use super::own;
use crate::client::{Reply, ask};
use crate::gateway::Home;
use crate::routes::Routes;
use crate::upstream::{Authority, DOCUMENT};

const GOOD: &str = "93.184.216.34";

fn routes() -> Routes {
    Routes::default()
        .provider(
            "api",
            "https://api.up.test/v1",
            "locality: hosted, region: us, timeouts: { first_byte: 2s }",
        )
        .workflow("api", "{ mode: hosted, providers: [api] }", "api")
}

/// What a client is told if an origin with some certificate answers in some manner. The origin was dialled once, and
/// nobody else was.
async fn told(names: &Names, authority: &Authority, (params, manner): (CertificateParams, Manner)) -> Reply {
    let origin = Origin::at(EVERYWHERE, Some(authority.acceptor_with(&params)), manner).await;
    let home = Home::new(&routes());
    home.write("ca.pem", &authority.pem());
    let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;
    names.set("api.up.test", Answer::of(&[GOOD]));
    let reply = gateway.client().with_header("upgrade", "websocket").chat(&ask("hello")).await;
    assert_eq!(origin.dialled().await, parsed(&[GOOD]), "{}", reply.text());
    let heads = origin.heads().concat().to_lowercase();
    assert!(!heads.contains("websocket"), "{heads}");
    origin.close().await;
    reply
}

fn certificate() -> CertificateParams {
    CertificateParams::new(vec!["api.up.test".to_owned()]).unwrap()
}

// E7, E22, replay 13, 14, 19
#[test]
fn an_answer_that_leads_elsewhere_or_can_be_read_in_two_ways_is_none() {
    own(async || {
        let (names, authority) = (Names::start().await, Authority::new());
        let metadata = "location: http://169.254.169.254/latest/meta-data/\r\n";
        let body = DOCUMENT.len();
        let twice = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {body}\r\ncontent-length: 3\r\n\r\n{DOCUMENT}"
        );
        let mut others = Vec::new();
        for (manner, code) in [
            (Manner::head("301 Moved Permanently", metadata), "egress.redirect"),
            (Manner::head("302 Found", metadata), "egress.redirect"),
            (Manner::head("307 Temporary Redirect", metadata), "egress.redirect"),
            (Manner::head("308 Permanent Redirect", metadata), "egress.redirect"),
            (
                Manner::head("101 Switching Protocols", "upgrade: websocket\r\nconnection: upgrade\r\n"),
                "egress.protocol",
            ),
            (Manner::Says(twice.into_bytes()), "egress.protocol"),
            (Manner::Says(b"SSH-2.0-x\r\n".to_vec()), "egress.protocol"),
            (Manner::half(), "egress.cut"),
            (Manner::Mute, "egress.timeout_first_byte"),
        ] {
            let reply = told(&names, &authority, (certificate(), manner)).await;
            assert!(matches!(reply.status, 502 | 504), "{}", reply.status);
            assert_eq!(reply.header("location"), None);
            if reply.error()["code"] != code {
                others.push((code, reply.error()["code"].clone()));
            }
        }
        assert!(others.is_empty(), "{others:?}");
    });
}

// E5, replay 34
#[test]
fn a_certificate_that_is_for_somebody_else_is_not_believed() {
    own(async || {
        let (names, authority) = (Names::start().await, Authority::new());
        let of = |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap();
        let mut with_nul = certificate();
        with_nul.subject_alt_names = vec![SanType::DnsName("api.up.test\0.evil.test".try_into().unwrap())];
        let mut over = certificate();
        over.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let mut not_yet = certificate();
        not_yet.not_before = rcgen::date_time_ymd(2090, 1, 1);
        for params in
            [of("evil.test"), of("*.api.up.test"), of("*.test"), of("test"), with_nul, over, not_yet]
        {
            let what = format!("{:?}", params.subject_alt_names);
            let reply = told(&names, &authority, (params, Manner::good())).await;
            assert_eq!(reply.status, 502, "{what}");
            assert_eq!(reply.error()["code"], "egress.tls", "{what}");
        }
        let reply = told(&names, &authority, (of("*.up.test"), Manner::good())).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    });
}

// Replay 34
#[test]
fn an_authority_that_is_not_ours_is_not_believed() {
    own(async || {
        let (names, ours, theirs) = (Names::start().await, Authority::new(), Authority::new());
        let origin = Origin::at(EVERYWHERE, Some(theirs.acceptor("api.up.test")), Manner::good()).await;
        let home = Home::new(&routes());
        home.write("ca.pem", &ours.pem());
        let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;
        names.set("api.up.test", Answer::of(&[GOOD]));
        assert_eq!(gateway.client().chat(&ask("hello")).await.error()["code"], "egress.tls");
        assert_eq!(origin.heads(), Vec::<String>::new(), "nobody was told anything");
    });
}
