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
use wire::Usage;
use wire::openai::chat::{Answer, Completion, Delivery, Envelope, FinishReason, Request, StreamWriter};
use wire::openai::error::ErrorBody;

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
    let request = match Request::parse(body) {
        Ok(request) => request,
        Err(error) => {
            let headers = [(CONTENT_TYPE, "application/json")];
            return (StatusCode::BAD_REQUEST, headers, ErrorBody::from(&error).to_json()).into_response();
        }
    };
    let unique = mock.answers.fetch_add(1, Ordering::Relaxed);
    let envelope = Envelope::new(&format!("mock{unique}"), 0, &request.model);
    let reply = Reply::new(mock.script, &request);
    match request.delivery {
        Delivery::Whole => whole(reply, envelope).await,
        Delivery::Stream(usage_chunk) => {
            let events = streamed(reply, StreamWriter::new(envelope, 1, usage_chunk));
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
    fn new(script: Script, request: &Request) -> Self {
        let asked = request.output.max_tokens.unwrap_or(u32::MAX);
        Self {
            script,
            tokens: script.tokens.min(asked),
            finish_reason: if asked < script.tokens { FinishReason::Length } else { FinishReason::Stop },
            usage: Usage::of(request.body_bytes() as u64 / 4, u64::from(script.tokens.min(asked))),
        }
    }
}

async fn whole(reply: Reply, envelope: Envelope) -> Response {
    let Reply { script, tokens, finish_reason, usage } = reply;
    wait(script.first_token_delay + script.token_delay * tokens.saturating_sub(1)).await;
    let answer = Answer { text: WORD.repeat(tokens as usize), tool_calls: Vec::new(), finish_reason };
    let document = Completion { envelope, answers: vec![answer], usage }.to_json();
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

fn streamed(reply: Reply, writer: StreamWriter) -> impl Stream<Item = Bytes> + Send + 'static {
    // The writer is gone once the end was written.
    stream::unfold((reply, Some(writer), 0), |(reply, writer, said)| async move {
        let mut writer = writer?;
        if said == reply.tokens {
            let mut last = BytesMut::from(writer.finish(0, reply.finish_reason));
            last.extend_from_slice(&writer.end(&reply.usage));
            return Some((last.freeze(), (reply, None, said)));
        }
        wait(if said == 0 { reply.script.first_token_delay } else { reply.script.token_delay }).await;
        let event = writer.text(0, WORD);
        Some((event, (reply, Some(writer), said + 1)))
    })
}

/// Tokio's timer counts in milliseconds and would turn no delay into one.
async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
