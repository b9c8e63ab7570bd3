//! An upstream without a model: it says a fixed number of words at a fixed pace.
//!
//! Put behind the gateway it shows the gateway's own cost, because its answers are known in advance. Requests are
//! read as strictly as the gateway reads them, so what it accepts is what the gateway forwards correctly.
//! Deliberately absent: keys, other endpoints, and any fault but a refused request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use wire::call::Block;
use wire::openai::chat;
use wire::openai::error::ErrorBody;
use wire::reply::{Begin, Delta, Envelope, FinishReason, Open, Shown, StreamWriter, Told};
use wire::{Delivery, Dialect, ParseError, Request, Usage};

/// Largest request body, in bytes: the gateway's own default.
const BODY_BYTES_MAX: usize = 8 << 20;

/// One output token.
const WORD: &str = " word";

/// What the upstream says.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Tokens of each answer, unless the request asks for fewer.
    pub tokens: u32,
    /// From the request to the first token.
    pub first_token_delay: Duration,
    /// From each token to the next.
    pub token_delay: Duration,
}

struct Mock {
    script: Script,
    answers: AtomicU64,
}

/// Returns the upstream: `POST /v1/chat/completions`.
pub fn router(script: Script) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(complete))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(Mock { script, answers: AtomicU64::new(0) }))
}

async fn complete(State(mock): State<Arc<Mock>>, body: Bytes) -> Response {
    let read = Request::parse(Dialect::OpenAiChat, body);
    let read: Result<_, ParseError> = read.and_then(|request| request.call().map(|call| (request, call)));
    let (request, call) = match read {
        Ok(read) => read,
        Err(error) => {
            let headers = [(CONTENT_TYPE, "application/json")];
            return (StatusCode::BAD_REQUEST, headers, ErrorBody::from(&error).to_json()).into_response();
        }
    };
    let unique = mock.answers.fetch_add(1, Ordering::Relaxed);
    let envelope = Envelope {
        unique: format!("mock{unique}"),
        created_s: 0,
        model: request.model.clone(),
        provider: "mock".to_owned(),
    };
    let reply = Reply::new(mock.script, request.body().len(), call.max_tokens);
    match request.delivery {
        Delivery::Whole => whole(reply, envelope).await,
        Delivery::Stream(usage_chunk) => {
            let events = streamed(reply, chat::Writer::new(&envelope, usage_chunk));
            let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
            ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
        }
    }
}

/// One answer, worked out before it is given.
struct Reply {
    script: Script,
    tokens: u32,
    finish_reason: FinishReason,
    usage: Usage,
}

impl Reply {
    fn new(script: Script, body_bytes: usize, max_tokens: Option<u32>) -> Self {
        let asked = max_tokens.unwrap_or(u32::MAX);
        Self {
            script,
            tokens: script.tokens.min(asked),
            finish_reason: if asked < script.tokens { FinishReason::Length } else { FinishReason::Stop },
            usage: Usage::of(body_bytes as u64 / 4, u64::from(script.tokens.min(asked))),
        }
    }
}

async fn whole(reply: Reply, envelope: Envelope) -> Response {
    let Reply { script, tokens, finish_reason, usage } = reply;
    wait(script.first_token_delay + script.token_delay * tokens.saturating_sub(1)).await;
    let blocks = vec![Block::text(WORD.repeat(tokens as usize))];
    let reply = wire::reply::Reply {
        id: None,
        blocks,
        finish: finish_reason.into(),
        usage: Some(usage),
        told: Told::default(),
        others: Vec::new(),
    };
    let document = chat::write_reply(&reply, &envelope, Shown::default());
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

fn streamed(reply: Reply, writer: chat::Writer) -> impl Stream<Item = Bytes> + Send + 'static {
    // The writer is gone once the end was written.
    stream::unfold((reply, Some(writer), 0), |(reply, writer, said)| async move {
        let mut writer = writer?;
        let mut out = BytesMut::new();
        let mut write = |deltas: &[Delta]| deltas.iter().for_each(|delta| writer.write(delta, &mut out));
        if said == reply.tokens {
            write(&[Delta::Close, Delta::Finish(reply.finish_reason.into())]);
            write(&[Delta::Usage(reply.usage), Delta::End]);
            return Some((out.freeze(), (reply, None, said)));
        }
        wait(if said == 0 { reply.script.first_token_delay } else { reply.script.token_delay }).await;
        if said == 0 {
            write(&[Delta::Begin(Begin::default()), Delta::Open(Open::Text)]);
        }
        write(&[Delta::Append(WORD.to_owned())]);
        Some((out.freeze(), (reply, Some(writer), said + 1)))
    })
}

/// Tokio's timer counts in milliseconds and would turn no delay into one.
async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
