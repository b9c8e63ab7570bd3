//! The proxy for agents' tools.

use std::net::SocketAddr;
use std::process::{Child, ExitStatus};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::callers::{KEY, key_caller};
use crate::client::Client;
use crate::gateway::{ANY_PORT, Home, Log, send_signal};
use crate::patience::{eventually, within};
use crate::routes::Routes;

/// A running proxy, which ends with the test.
pub(crate) struct Running {
    process: Child,
    metrics: Option<SocketAddr>,
}

impl Running {
    pub(crate) fn process(&self) -> &Child {
        &self.process
    }

    /// The page for Prometheus.
    async fn metrics(&self) -> String {
        Client::new(self.metrics.unwrap()).get("/metrics").await.text()
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a proxy in `home` and waits until it listens.
pub(crate) async fn start(home: &Home) -> (Running, SocketAddr) {
    let mut child = home.spawn(&["proxy", "--listen", ANY_PORT, "--metrics-listen", ANY_PORT], &[]);
    let log = Log::of(&mut child);
    let mut running = Running { process: child, metrics: None };
    let address = eventually("a proxy that listens", async || log.address("agents' proxy", "address")).await;
    running.metrics = log.address("agents' proxy", "metrics");
    (running, address)
}

pub(crate) fn connect(target: &str, more: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{more}\r\n")
}

/// Sends a request and reads the head of its answer.
pub(crate) async fn ask(proxy: SocketAddr, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("the head of an answer", stream.read_u8()).await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

/// What a client says first to a server without a name.
pub(crate) fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client =
        ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1").unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

pub(crate) fn records(home: &Home) -> Vec<Value> {
    let files = std::fs::read_dir(home.path().join("data/proxy")).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    let texts: Vec<String> = texts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let records = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["type"].as_str().unwrap().starts_with("egress.")).collect()
}

#[tokio::test]
async fn a_tool_gets_out_by_the_policy_and_the_trail_says_so() {
    let origin = TcpListener::bind(ANY_PORT).await.unwrap();
    let port = origin.local_addr().unwrap().port();
    let host = format!("{{ host: 127.0.0.1, ports: [{port}], cidrs: [127.0.0.0/8] }}");
    let egress = format!("{{ mode: allowlist, hosts: [{host}] }}");
    let home = Home::new(&Routes::default().engine().workflow_of("docs", &key_caller(), &egress, "demo"));
    let (mut proxy, address) = start(&home).await;
    let (target, key) = (format!("127.0.0.1:{port}"), format!("proxy-authorization: Bearer {KEY}\r\n"));

    let (_, refused) = ask(address, &connect(&target, "")).await;
    assert!(refused.starts_with("HTTP/1.1 407 "), "{refused}");
    let (_, refused) = ask(address, &connect("elsewhere.test:443", &key)).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let (mut tunnel, granted) = ask(address, &connect(&target, &key)).await;
    assert!(granted.starts_with("HTTP/1.1 200 "), "{granted}");
    let hello = hello();
    tunnel.write_all(&hello).await.unwrap();
    let (mut accepted, _) = within("the tunnel's connection", origin.accept()).await.unwrap();
    let mut received = vec![0; hello.len()];
    within("the hello", accepted.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, hello);
    let metrics = proxy.metrics().await;
    for line in [
        "portcullis_tunnel_open_connections 1",
        "portcullis_tunnel_requests_total{outcome=\"opened\",workflow=\"docs\"} 1",
        "portcullis_tunnel_requests_total{outcome=\"tunnel.not_named\",workflow=\"docs\"} 1",
        "portcullis_tunnel_requests_total{outcome=\"tunnel.no_credentials\",workflow=\"-\"} 1",
    ] {
        assert!(metrics.lines().any(|exported| exported == line), "{line} is not in\n{metrics}");
    }
    // The page is the proxy's own, and so is no way for an agent to look at it.
    let itself = ask(address, &connect(&proxy.metrics.unwrap().to_string(), &key)).await.1;
    assert!(itself.starts_with("HTTP/1.1 403 "), "{itself}");
    drop((tunnel, accepted));

    send_signal("TERM", proxy.process());
    let status = eventually("the proxy's end", async || proxy.ended()).await;
    assert!(status.success(), "{status}");
    let records = records(&home);
    let verdicts: Vec<_> = records.iter().filter_map(|record| record["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["refused", "refused", "opened", "refused"]);
    let [.., opened, _, close] = &records[..] else { panic!("{records:#?}") };
    assert_eq!(
        (&opened["workflow"], &opened["host"], &opened["dial"]),
        (&"docs".into(), &"127.0.0.1".into(), &close["dial"])
    );
    assert_eq!((&close["type"], &close["bytes_sent"]), (&"egress.close".into(), &hello.len().into()));
    assert!(home.run(&["audit", "verify", "data/proxy"]).status.success());
}
