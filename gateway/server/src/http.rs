//! Transport: paths, request ids, panics. Nothing here knows what a call means.
//!
//! Layers, from the outside in: the request id first, so that even a panic's answer carries one; then the
//! catcher of panics, so that a fault of ours ends one call and not the process. Body limits and time limits
//! belong to the workflow and are applied in the pipeline.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tracing::Instrument;
use wire::openai::embeddings;
use wire::{Dialect, Request};

use crate::admin::Token;
use crate::app::{App, Failing};
use crate::error::{self, ApiError};
use crate::identity::WORKFLOW_HEADER;
use crate::pipeline::{self, Arrival};
use crate::question::Question;
use crate::reload::Failure;
use crate::tokens::Count;
use crate::{models, tokens};

/// Names the call in logs and towards the provider's support.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name that clients of Anthropic's API look for.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The path that counts a prompt's tokens.
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";

/// What a refused call may still write, in bytes, and for how long.
const DISCARD_BYTES_MAX: usize = 64 << 20;
const DISCARD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Everything on the agents' address; `metrics` are Prometheus' paths, where they have no address of their own.
pub(crate) fn router(app: &Arc<App>, metrics: Router<Arc<App>>) -> Router {
    // Where vLLM has them, and where everything else is.
    let tokens = Router::new()
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize));
    let api = Router::new()
        .route("/chat/completions", asking::<Request>(Dialect::OpenAiChat, "/v1/chat/completions"))
        .route("/completions", asking::<Request>(Dialect::OpenAiCompletions, "/v1/completions"))
        .route("/responses", asking::<Request>(Dialect::OpenAiResponses, "/v1/responses"))
        .route("/messages", asking::<Request>(Dialect::AnthropicMessages, "/v1/messages"))
        .route("/messages/count_tokens", asking::<Count>(Dialect::AnthropicMessages, COUNT_TOKENS))
        .route("/embeddings", asking::<embeddings::Request>(Dialect::OpenAiEmbeddings, "/v1/embeddings"))
        .route("/models", get(models::list))
        .route("/models/{model}", get(models::one))
        .merge(tokens.clone());
    let router = Router::new()
        .nest("/v1", api.clone())
        .nest("/w/{workflow}/v1", api)
        .nest("/w/{workflow}", tokens.clone())
        .merge(tokens)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(metrics);
    finish(router, app)
}

/// Prometheus' paths.
pub(crate) fn metrics_routes(token: Option<Token>) -> Router<Arc<App>> {
    let routes = Router::new().route("/metrics", get(metrics));
    match token {
        Some(token) => token.guard(routes),
        None => routes,
    }
}

/// What stands around every address: request ids, panics, and words for what is not there.
pub(crate) fn finish(router: Router<Arc<App>>, app: &Arc<App>) -> Router {
    router
        .fallback(|| async {
            ApiError::not_found(
                "unknown_path",
                "no such path; calls go to /v1/chat/completions, /v1/responses, /v1/messages, /v1/completions and /v1/embeddings, models are at /v1/models",
            )
        })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        // What a body says is decided about what it says unpacked; limits hold for that, too.
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(false))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(request_id))
        .with_state(Arc::clone(app))
}

/// Gives the call its id: the provider sees it, the log lines carry it, the client gets it back, and in an error too.
async fn request_id(mut request: axum::extract::Request, next: Next) -> Response {
    let id = uuid::Uuid::now_v7().to_string();
    let value = HeaderValue::from_str(&id).expect("a UUID is printable ASCII");
    request.headers_mut().insert(REQUEST_ID, value.clone());
    let dialect = dialect_of(request.uri().path(), request.headers());
    let span = tracing::info_span!("call", id = id.as_str(), method = %request.method(), path = request.uri().path());
    async {
        let mut response = next.run(request).await;
        tracing::info!(status = response.status().as_u16(), "answered");
        error::speak(&mut response, dialect, &id);
        response.headers_mut().insert(REQUEST_ID, value.clone());
        response.headers_mut().insert(ANTHROPIC_REQUEST_ID, value);
        response
    }
    .instrument(span)
    .await
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    ApiError::internal().caused_by(format!("panic: {text}")).into_response()
}

/// The dialect in which clients of a path expect to be told of an error.
fn dialect_of(path: &str, headers: &HeaderMap) -> Dialect {
    let lists_models = path.contains("/v1/models") && models::speaks_anthropic(headers);
    if path.contains("/v1/messages") || lists_models {
        Dialect::AnthropicMessages
    } else {
        Dialect::OpenAiChat
    }
}

/// The handler of calls in `dialect` at `endpoint`, as records name it.
fn asking<Q: Question>(dialect: Dialect, endpoint: &'static str) -> MethodRouter<Arc<App>> {
    post(move |State(app): State<Arc<App>>, visit: Visit, mut body: Body| async move {
        let Visit { peer, selector, headers, query } = visit;
        let arrival = Arrival { dialect, endpoint, peer, headers, query, selector, body: &mut body };
        let answer = pipeline::answer::<Q>(&app, arrival).await;
        if answer.is_err() {
            discard(body).await;
        }
        answer
    })
}

/// What every request shows of itself before its body.
pub(crate) struct Visit {
    pub(crate) peer: SocketAddr,
    /// The workflow that the path names, or else the header.
    pub(crate) selector: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let peer = ConnectInfo::<SocketAddr>::from_request_parts(parts, state).await;
        let ConnectInfo(peer) = peer.map_err(|error| ApiError::internal().caused_by(error))?;
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let named = path.and_then(|path| {
            path.iter().find(|(name, _)| *name == "workflow").map(|(_, workflow)| workflow.to_owned())
        });
        let header = parts.headers.get(WORKFLOW_HEADER);
        let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Self {
            peer,
            selector: named.or(header),
            headers: parts.headers.clone(),
            query: parts.uri.query().map(str::to_owned),
        })
    }
}

/// Reads what is left of a body and throws it away: a client that still writes its request when the connection
/// closes sees a broken pipe, and never the answer that says why.
async fn discard(mut body: Body) {
    let mut bytes = 0;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > DISCARD_BYTES_MAX {
                break;
            }
        }
    };
    // Whoever takes longer, or writes more, has had its chance.
    let _ = tokio::time::timeout(DISCARD_WAIT_MAX, reading).await;
}

/// Whether calls can be taken, and if not, why.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let draining = app.draining.load(Acquire);
    let active = app.active();
    let engines: Vec<_> = active
        .residents()
        .map(|resident| (resident.recipe().name.to_string(), resident.standing()))
        .collect();
    // One that somebody unloaded or put to sleep is as it should be.
    let troubled = engines.iter().filter(|(_, standing)| standing.is_troubled());
    let stopped: Vec<&str> = troubled.map(|(model, _)| model.as_str()).collect();
    let states: serde_json::Map<_, _> =
        engines.iter().map(|(model, standing)| (model.clone(), standing.phase.name().into())).collect();
    let seal = app.seal.last();
    let is_ready = !draining && stopped.is_empty() && app.audit.is_healthy() && seal.holds();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let report = serde_json::json!({
        "ready": is_ready,
        "draining": draining,
        "audit_healthy": app.audit.is_healthy(),
        "engines_stopped": stopped,
        "engines": states,
        "seal": seal,
        "policy_digest": active.policy.digest().to_string(),
        "policy_since": active.since.to_string(),
        "policy_source": active.source,
        "degraded": degraded(&app.failing()),
    });
    (status, Json(report)).into_response()
}

/// The files whose present state is not in force. What is wrong with them is for the operators' address: agents read
/// this one.
fn degraded(failing: &Failing) -> serde_json::Value {
    let told = |failure: &Option<Failure>| {
        failure.as_ref().map(|failure| serde_json::json!({ "stage": failure.stage, "at": failure.at }))
    };
    serde_json::json!({ "policy": told(&failing.policy), "revocations": told(&failing.revocations) })
}

async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app.metrics.render(&app).map_err(|error| ApiError::internal().caused_by(error))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
