//! The client's side: requests as JSON or as bytes, answers whole or event by event.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{HeaderMap, Request, Response};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::patience::within;

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A client of one gateway.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    headers: Vec<(&'static str, String)>,
}

/// A request to the demo model, or to whatever the policy puts in its place: greedy and short.
pub(crate) fn ask(text: &str) -> Value {
    json!({
        "model": "auto",
        "messages": [{ "role": "user", "content": text }],
        "temperature": 0,
        "max_tokens": 40,
    })
}

/// The same request with other or further members.
pub(crate) fn with(mut request: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("members are an object") };
    request.as_object_mut().unwrap().extend(members);
    request
}

/// The same request, to be answered by a stream that ends with the usage.
pub(crate) fn streamed(request: Value) -> Value {
    with(request, json!({ "stream": true, "stream_options": { "include_usage": true } }))
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { http, address, headers: Vec::new() }
    }

    /// The same client with another header on each request.
    pub(crate) fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value.to_owned()));
        client
    }

    /// The same client with an API key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        self.with_header("authorization", &format!("Bearer {key}"))
    }

    /// Sends a request and waits for the head of the answer.
    async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Response<Incoming>, legacy::Error> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.header("content-type", "application/json").body(Full::new(body)).unwrap();
        within("the head of an answer", self.http.request(request)).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Reply {
        Reply::read(self.send(method, path, body.into()).await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, "").await
    }

    /// Nothing if nobody listens.
    pub(crate) async fn try_get(&self, path: &str) -> Option<Reply> {
        Some(Reply::read(self.send("GET", path, Bytes::new()).await.ok()?).await)
    }

    /// Posts a body as it is and waits for the whole answer.
    pub(crate) async fn post(&self, body: impl Into<Bytes>) -> Reply {
        self.request("POST", CHAT, body).await
    }

    /// The whole answer; nothing if the gateway went away before its end.
    pub(crate) async fn try_post(&self, body: impl Into<Bytes>) -> Option<Reply> {
        let response = self.send("POST", CHAT, body.into()).await.ok()?;
        let (head, body) = response.into_parts();
        let body = within("the end of an answer", body.collect()).await.ok()?.to_bytes();
        Some(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Posts a request and waits for the whole answer, a document or a stream.
    pub(crate) async fn chat(&self, request: &Value) -> Reply {
        self.post(request.to_string()).await
    }

    /// Posts a request that has to succeed, and reads the answer.
    pub(crate) async fn said(&self, request: &Value) -> Said {
        let reply = self.chat(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        Said::of(&reply)
    }

    /// Posts a request and leaves the connection to the test: dropping it is how a client goes away.
    pub(crate) async fn post_and_hold(&self, request: &Value) -> TcpStream {
        self.post_at_and_hold(CHAT, request).await
    }

    /// The same at another path.
    pub(crate) async fn post_at_and_hold(&self, path: &str, request: &Value) -> TcpStream {
        self.write(path, &request.to_string()).await
    }

    /// Posts a body as simple clients do, who look for an answer when they have written everything.
    pub(crate) async fn post_before_reading(&self, body: &str) -> Reply {
        let mut connection = within("the gateway to take a body", self.write(CHAT, body)).await;
        let mut answer = String::new();
        within("the end of an answer", connection.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let (status, headers) = head.split_once("\r\n").unwrap();
        let headers = headers.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        });
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, headers: headers.collect(), body: body.to_owned().into() }
    }

    /// Writes a request on a connection of its own, which the gateway closes after its answer.
    async fn write(&self, path: &str, body: &str) -> TcpStream {
        let (address, length) = (self.address, body.len());
        let more: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{}\r\n",
            more.concat()
        );
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(body.as_bytes()).await.unwrap();
        connection
    }

    /// Posts a request and leaves the answer to be read event by event.
    pub(crate) async fn open(&self, request: &Value) -> EventStream {
        self.open_at(CHAT, request).await
    }

    /// The same at another path.
    pub(crate) async fn open_at(&self, path: &str, request: &Value) -> EventStream {
        let response = self.send("POST", path, request.to_string().into()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        EventStream { body: response.into_body(), buffer: BytesMut::new() }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = within("the end of an answer", body.collect()).await.unwrap().to_bytes();
        Self { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The error object, which always has its four members.
    pub(crate) fn error(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        checked_error(&self.json())
    }

    /// The events of a stream.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let (events, rest) = text.rsplit_once("\n\n").unwrap_or_else(|| panic!("no event: {text}"));
        assert_eq!(rest, "", "the last event has an end");
        events.split("\n\n").map(str::to_owned).collect()
    }
}

/// The `error` member of a document or event, which always has the four members that client libraries index.
pub(crate) fn checked_error(document: &Value) -> Value {
    let error = &document["error"];
    let members: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["message", "type", "param", "code"], "{document}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{document}");
    error.clone()
}

/// An answer that is read while it comes.
pub(crate) struct EventStream {
    body: Incoming,
    buffer: BytesMut,
}

impl EventStream {
    /// The next event, as it came, without the empty line behind it.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let event = self.buffer.split_to(end + 2);
                return Some(String::from_utf8(event[..end].to_vec()).unwrap());
            }
            let Some(frame) = within("the next event", self.body.frame()).await else {
                assert!(self.buffer.is_empty(), "a part of an event: {:?}", self.buffer);
                return None;
            };
            self.buffer.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }

    /// The events that are still to come.
    pub(crate) async fn rest(mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}

/// The JSON of an event.
pub(crate) fn data(event: &str) -> Value {
    serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()
}

/// A usage without what depends on who asked before.
pub(crate) fn counted(usage: &Value) -> Value {
    let mut usage = usage.clone();
    if let Some(cached) = usage.pointer_mut("/prompt_tokens_details/cached_tokens") {
        *cached = 0.into();
    }
    usage
}

/// What an answer said, however it travelled.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// Names and arguments.
    pub(crate) tool_calls: Vec<(String, String)>,
    pub(crate) finish: String,
    pub(crate) usage: Option<Value>,
}

impl Said {
    pub(crate) fn of(reply: &Reply) -> Self {
        match reply.header("content-type") {
            Some("application/json") => Self::in_document(&reply.json()),
            _ => Self::in_events(&reply.events()),
        }
    }

    fn in_document(document: &Value) -> Self {
        let choice = &document["choices"][0];
        let mut said = Self { usage: Some(counted(&document["usage"])), ..Self::default() };
        said.add(&choice["message"], choice);
        said
    }

    /// Reads a stream that came to its end.
    pub(crate) fn in_events(events: &[String]) -> Self {
        let (last, chunks) = events.split_last().unwrap();
        assert_eq!(last, "data: [DONE]", "{events:#?}");
        let mut said = Self::default();
        for chunk in chunks.iter().map(|event| data(event)) {
            let choice = &chunk["choices"][0];
            said.add(&choice["delta"], choice);
            said.usage = Some(&chunk["usage"]).filter(|usage| !usage.is_null()).map(counted).or(said.usage);
        }
        said
    }

    fn add(&mut self, message: &Value, choice: &Value) {
        self.text.push_str(message["content"].as_str().unwrap_or_default());
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            if let Some(name) = call["function"]["name"].as_str() {
                self.tool_calls.push((name.to_owned(), String::new()));
            }
            let arguments = call["function"]["arguments"].as_str().unwrap();
            self.tool_calls.last_mut().unwrap().1.push_str(arguments);
        }
        self.finish.push_str(choice["finish_reason"].as_str().unwrap_or_default());
    }
}
