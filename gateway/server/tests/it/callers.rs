//! Who is let in, and to which workflow.

use sha2::{Digest, Sha256};

use crate::client::ask;
use crate::gateway::{ANY_PORT, Gateway, Home};
use crate::routes::Routes;

/// A key in the form of `portcullis key new`.
pub(crate) const KEY: &str = "pck_ci_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg_0Jx2h9";

/// A key that is whole, and that no policy of the tests knows.
const STRANGE_KEY: &str = "pck_x_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg_4PzKE5";

/// The entry of `callers` that lets the holder of [`KEY`] in.
pub(crate) fn key_caller() -> String {
    let digest = Sha256::digest(KEY.as_bytes());
    let hex = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("{{ api_key: {{ id: ci, sha256: \"{hex}\" }} }}")
}

/// Two workflows: `here` for this machine, `keyed` for the key; a third is for both.
async fn serve() -> (Home, Gateway) {
    let key = key_caller();
    let routes = Routes::default()
        .engine()
        .workflow("here", "{ mode: sealed }", "demo")
        .workflow_of("keyed", &key, "{ mode: sealed }", "demo")
        .workflow_of("keyed-too", &key, "{ mode: sealed }", "demo");
    let home = Home::new(&routes);
    let gateway = home.serve().await;
    (home, gateway)
}

#[tokio::test]
async fn a_page_in_a_browser_on_this_machine_is_nobody() {
    let (home, gateway) = serve().await;
    let here = gateway.client();
    assert_eq!(here.chat(&ask("hello")).await.status, 200);
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "null"),
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
    ] {
        let reply = here.with_header(name, value).chat(&ask("hello")).await;
        assert_eq!(reply.status, 401, "{name}: {value}");
        assert_eq!(reply.error()["code"], "missing_api_key");
        assert_eq!(here.with_header(name, value).get("/v1/models").await.status, 401, "{name}: {value}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    // A page that does have the key may come.
    let page = here.with_key(KEY).with_header("origin", "https://tools.example");
    assert_eq!(page.with_header("x-portcullis-workflow", "keyed").chat(&ask("hello")).await.status, 200);
    assert_eq!(home.records_of("authn.fail").len(), 10, "one for each refused call and listing");
}

#[tokio::test]
async fn what_a_proxy_on_this_machine_passes_on_is_nobodys() {
    let (_home, gateway) = serve().await;
    for (name, value) in
        [("x-forwarded-for", "10.0.0.9"), ("forwarded", "for=10.0.0.9"), ("via", "1.1 proxy")]
    {
        let relayed = gateway.client().with_header(name, value);
        assert_eq!(relayed.chat(&ask("hello")).await.status, 401, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_even_from_this_machine() {
    let (home, gateway) = serve().await;
    let longer = format!("{KEY}0");
    for (key, why) in [
        ("pck_x_wrong", "not a whole key"),
        (&KEY[..KEY.len() - 1], "not a whole key"),
        (&longer, "not a whole key"),
        (STRANGE_KEY, "not known here"),
    ] {
        let reply = gateway.client().with_key(key).chat(&ask("hello")).await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.error()["code"], "invalid_api_key");
        assert!(reply.text().contains(why), "{}", reply.text());
        assert!(!reply.text().contains(key), "the key is not repeated");
        assert_eq!(gateway.client().with_header("x-api-key", key).chat(&ask("hello")).await.status, 401);
    }
    assert_eq!(home.records_of("authn.fail").len(), 8);
    // Client libraries insist on some key; one that was not made here says nothing about who it is.
    assert_eq!(gateway.client().with_key("sk-whatever").chat(&ask("hello")).await.status, 200);
    let log = gateway.stop().await;
    assert!(!log.contains("pck_x_wrong"), "{log}");
    assert!(!log.contains(&longer), "{log}");
}

#[tokio::test]
async fn a_key_that_has_expired_is_told_so_in_the_dialect_of_its_client() {
    let expired = key_caller().replace(" } }", ", expires: 2026-01-01 } }");
    let home =
        Home::new(&Routes::default().engine().workflow_of("keyed", &expired, "{ mode: sealed }", "demo"));
    let gateway = home.serve().await;
    let reply = gateway.client().with_key(KEY).chat(&ask("hello")).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.error()["code"], "key_expired");
    let body = r#"{"model":"auto","max_tokens":8,"messages":[{"role":"user","content":"hello"}]}"#;
    let reply =
        gateway.client().with_header("x-api-key", KEY).request("POST", "/v1/messages", body.to_owned()).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"]["type"], "authentication_error");
    assert_eq!(home.records_of("authn.fail").len(), 2);
}

#[tokio::test]
async fn a_caller_reaches_its_own_workflows_and_no_other() {
    let (_home, gateway) = serve().await;
    let keyed = gateway.client().with_key(KEY);
    let ambiguous = keyed.chat(&ask("hello")).await;
    assert_eq!(ambiguous.status, 400);
    assert_eq!(ambiguous.error()["code"], "workflow_ambiguous");
    assert!(ambiguous.text().contains("keyed, keyed-too"), "{}", ambiguous.text());

    for (client, workflow, status) in [
        (&keyed, "keyed", 200),
        (&keyed, "keyed-too", 200),
        (&keyed, "here", 403),
        (&keyed, "nowhere", 403),
        (gateway.client(), "here", 200),
        (gateway.client(), "keyed", 403),
    ] {
        let by_header = client.with_header("x-portcullis-workflow", workflow);
        let by_path = format!("/w/{workflow}/v1/chat/completions");
        let by_header = by_header.chat(&ask("hello")).await;
        let by_path = client.request("POST", &by_path, ask("hello").to_string()).await;
        for reply in [by_header, by_path] {
            assert_eq!(reply.status, status, "{workflow}: {}", reply.text());
            if status == 403 {
                // The same words, whether it exists or not.
                let message = "the workflow does not exist or this caller may not use it";
                assert_eq!(reply.error()["message"], message);
            }
        }
    }
}

// Replay 5, 25, 26, 34
#[tokio::test]
async fn callers_that_this_version_cannot_identify_keep_a_policy_from_loading() {
    for caller in [
        "{ jwt: { issuer: https://issuer.test } }",
        "{ jwt: { issuer: https://issuer.test, jwks_file: keys.json, audience: here } }",
        "{ client_cert: { ca_file: ca.pem, crl_file: revoked.pem } }",
        "{ spiffe: { trust_domain: corp.test } }",
        "{ k8s_service_account: { namespace: agents } }",
    ] {
        let home =
            Home::new(&Routes::default().engine().workflow_of("docs", caller, "{ mode: sealed }", "demo"));
        for command in [&["check"][..], &["serve", "--listen", ANY_PORT], &["proxy", "--listen", ANY_PORT]] {
            let output = home.run(command);
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{caller} {command:?}: {said}");
            assert!(said.contains("name the caller by `api_key`"), "{caller} {command:?}: {said}");
        }
    }
}
