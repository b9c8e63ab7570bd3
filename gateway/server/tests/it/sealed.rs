//! A sealed workflow reaches nothing beyond this machine, whatever the policy's author, a fallback or a request
//! says. Each test would see the provider being dialled: the same one is reached where the policy allows it.

use serde_json::json;

use crate::callers::{KEY, key_caller};
use crate::client::{ask, with};
use crate::gateway::{ANY_PORT, Home, closed_port};
use crate::reload;
use crate::routes::Routes;
use crate::upstream::{Authority, DOCUMENT, Upstream};

/// A provider beyond this machine, as far as the policy knows: not local, and spoken to over TLS.
fn far(routes: Routes, upstream: &Upstream) -> Routes {
    let base_url = format!("https://127.0.0.1:{}/v1", upstream.port());
    routes.provider("far", &base_url, "locality: dedicated, cidrs: [127.0.0.0/8]")
}

/// Neither `check` nor `serve` takes the policy, and nobody is dialled.
async fn check_does_not_load(routes: &Routes, upstream: &mut Upstream, mistake: &str) {
    let home = Home::new(routes);
    let output = home.run(&["check"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(mistake), "{mistake} is not in\n{said}");
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(mistake), "{mistake} is not in\n{log}");
    assert_eq!(upstream.dials().await, 0);
}

#[tokio::test]
async fn a_sealed_workflow_that_leads_elsewhere_does_not_load() {
    let mut upstream = Upstream::start_tls(&Authority::new()).await;
    let sealed = "{ mode: sealed }";
    let hosted = |routes: Routes| {
        routes.provider(
            "far",
            &format!("https://127.0.0.1:{}/v1", upstream.port()),
            "locality: hosted, region: us",
        )
    };
    let cases = [
        far(Routes::default(), &upstream).workflow("one", sealed, "far"),
        hosted(Routes::default()).workflow("one", sealed, "far"),
        // By fallback.
        far(Routes::default().engine(), &upstream).workflow("one", sealed, "demo, far"),
        hosted(Routes::default().engine()).workflow("one", sealed, "demo, far"),
    ];
    for routes in cases {
        check_does_not_load(&routes, &mut upstream, "`far` of the provider `far`").await;
    }
}

#[tokio::test]
async fn a_fallback_never_leaves_the_locality_of_the_first_choice() {
    let mut upstream = Upstream::start_tls(&Authority::new()).await;
    let open = "{ mode: hosted, providers: [far] }";
    let routes = far(Routes::default().engine(), &upstream).workflow("one", open, "demo, far");
    check_does_not_load(&routes, &mut upstream, "cannot stand in for `demo` (local)").await;
}

#[tokio::test]
async fn no_model_name_or_selector_leads_out_of_a_sealed_workflow() {
    let authority = Authority::new();
    let mut upstream = Upstream::start_tls(&authority).await;
    // The sealed workflow's own provider is down, so it has every reason to look elsewhere.
    let local = Routes::default().local("near", closed_port(), "");
    let routes = far(local, &upstream).workflow("secret", "{ mode: sealed }", "near").workflow_of(
        "open",
        &key_caller(),
        "{ mode: allowlist, providers: [far] }",
        "far",
    );
    let home = Home::new(&routes);
    home.write("ca.pem", &authority.pem());
    let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;

    let secret = gateway.client();
    for (model, status) in
        [("far", 404), ("upstream-far", 404), ("FAR", 404), ("far ", 404), ("auto", 502), ("near", 502)]
    {
        for stream in [false, true] {
            let request = with(ask("hello"), json!({ "model": model, "stream": stream }));
            let reply = secret.chat(&request).await;
            assert_eq!(reply.status, status, "{model}: {}", reply.text());
            reply.error();
        }
    }
    let far_model = with(ask("hello"), json!({ "model": "far" }));
    let selected = secret.with_header("x-portcullis-workflow", "open").chat(&far_model).await;
    assert_eq!(selected.status, 403, "{}", selected.text());
    for path in ["/w/open/v1/chat/completions", "/w/secret/../open/v1/chat/completions"] {
        let reply = secret.request("POST", path, far_model.to_string()).await;
        assert!(matches!(reply.status, 403 | 404), "{path}: {}", reply.text());
    }
    assert_eq!(upstream.dials().await, 0);

    // The same provider, from the workflow that may reach it.
    let open = gateway.client().with_key(KEY);
    let (reply, ()) =
        tokio::join!(open.chat(&far_model), async { upstream.call().await.answer(DOCUMENT).await });
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(upstream.dials().await, 1);
    // Eight by model name, two by a workflow that is not the caller's.
    assert_eq!(home.records_of("llm.denied").len(), 10);
}

#[tokio::test]
async fn a_hosted_provider_is_not_dialled_at_an_address_of_this_machine() {
    let authority = Authority::new();
    let mut upstream = Upstream::start_tls(&authority).await;
    let base_url = format!("https://127.0.0.1:{}/v1", upstream.port());
    let routes = Routes::default().provider("far", &base_url, "locality: hosted, region: us").workflow(
        "open",
        "{ mode: hosted, providers: [far] }",
        "far",
    );
    let home = Home::new(&routes);
    home.write("ca.pem", &authority.pem());
    let gateway = home.serve_with(&["--ca-file", "ca.pem"]).await;
    let reply = gateway.client().chat(&ask("hello")).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error()["code"], "egress.address");
    assert_eq!(upstream.dials().await, 0);
    assert_eq!(gateway.metric("portcullis_egress_dials_total", "outcome=\"refused\"").await, 1);
}

#[tokio::test]
async fn the_gateway_does_not_call_itself() {
    let home = Home::new(&Routes::demo());
    let (gateway, admin) = reload::serve_with(&home, &["--metrics-listen", ANY_PORT]).await;
    let itself = Routes::upstream(gateway.address_of("metrics").port(), "");
    home.write("routes.yaml", &itself.text());
    assert_eq!(reload::reload(&admin).await.status, 200);
    let reply = gateway.client().chat(&ask("hello")).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error()["code"], "egress.address");
}
