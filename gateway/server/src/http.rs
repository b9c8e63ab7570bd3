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
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use wire::openai::{chat, embeddings, models};

use crate::app::App;
use crate::error::ApiError;
use crate::identity::WORKFLOW_HEADER;
use crate::pipeline::{self, Arrival};
use crate::question::Question;

/// Names the call in logs and towards the provider's support.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The provider's own id of a forwarded call.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-portcullis-upstream-request-id");

/// What a refused call may still write, in bytes, and for how long.
const DISCARD_BYTES_MAX: usize = 64 << 20;
const DISCARD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Everything on the agents' address.
pub(crate) fn router(app: &Arc<App>, with_metrics: bool) -> Router {
    let api = Router::new()
        .route("/chat/completions", post(ask::<chat::Request>))
        .route("/embeddings", post(ask::<embeddings::Request>))
        .route("/models", get(list_models));
    let mut router = Router::new()
        .nest("/v1", api.clone())
        .nest("/w/{workflow}/v1", api)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    if with_metrics {
        router = router.route("/metrics", get(metrics));
    }
    finish(router, app)
}

/// Everything on the address for Prometheus.
pub(crate) fn metrics_router(app: &Arc<App>) -> Router {
    finish(Router::new().route("/metrics", get(metrics)), app)
}

fn finish(router: Router<Arc<App>>, app: &Arc<App>) -> Router {
    router
        .fallback(|| async {
            ApiError::not_found(
                "unknown_path",
                "no such path; calls go to /v1/chat/completions and /v1/embeddings, models are at /v1/models",
            )
        })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(request_id))
        .with_state(Arc::clone(app))
}

/// Gives the call its id: the provider sees it, the log lines carry it, the client gets it back.
async fn request_id(mut request: Request, next: Next) -> Response {
    let id = uuid::Uuid::now_v7().to_string();
    let value = HeaderValue::from_str(&id).expect("a UUID is printable ASCII");
    request.headers_mut().insert(REQUEST_ID, value.clone());
    let span = tracing::info_span!("call", id, method = %request.method(), path = request.uri().path());
    async {
        let mut response = next.run(request).await;
        tracing::info!(status = response.status().as_u16(), "answered");
        if let Some(upstream) = response.headers_mut().insert(REQUEST_ID, value) {
            response.headers_mut().insert(UPSTREAM_REQUEST_ID, upstream);
        }
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

/// The workflow that the path names, or else the header.
fn selector(path: Option<Path<String>>, headers: &HeaderMap) -> Option<String> {
    let header =
        || headers.get(WORKFLOW_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    path.map(|Path(name)| name).or_else(header)
}

async fn ask<Q: Question>(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    workflow: Option<Path<String>>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, ApiError> {
    let selector = selector(workflow, &headers);
    let answer = pipeline::answer::<Q>(&app, Arrival { peer, headers, selector, body: &mut body }).await;
    if answer.is_err() {
        discard(body).await;
    }
    answer
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

/// The models that this caller may name.
async fn list_models(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    workflow: Option<Path<String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let selector = selector(workflow, &headers);
    let (_, workflow) = pipeline::enter(&app, "/v1/models", peer, &headers, selector.as_deref()).await?;
    let entry = |model: &policy::Model| models::Model {
        id: model.name().to_string(),
        created_s: app.started_s,
        owned_by: workflow.owner().to_owned(),
    };
    let list: Vec<models::Model> = workflow.reachable_models().map(entry).collect();
    Ok(([(CONTENT_TYPE, "application/json")], models::list(&list)).into_response())
}

/// Whether calls can be taken, and if not, why.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let draining = app.draining.load(Acquire);
    let stopped: Vec<&str> = app
        .engines
        .iter()
        .filter(|(_, engine)| !engine.stats().healthy)
        .map(|(model, _)| model.as_ref())
        .collect();
    let is_ready = !draining && stopped.is_empty() && app.audit.is_healthy();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let report = serde_json::json!({
        "ready": is_ready,
        "draining": draining,
        "audit_healthy": app.audit.is_healthy(),
        "engines_stopped": stopped,
        "policy_digest": app.policy.digest().to_string(),
    });
    (status, Json(report)).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app.metrics.render(&app).map_err(|error| ApiError::internal().caused_by(error))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
