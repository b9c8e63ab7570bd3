//! `GET /v1/models`: the models that a caller may name, in the form that its client knows.

use std::sync::Arc;

use axum::extract::{RawPathParams, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use policy::Workflow;
use wire::{anthropic, openai};

use crate::active::Active;
use crate::app::App;
use crate::error::ApiError;
use crate::http::Visit;
use crate::pipeline;

/// The header by which clients of Anthropic's API are known.
const ANTHROPIC_VERSION: &str = "anthropic-version";

const ENDPOINT: &str = "/v1/models";

/// All models of the caller's workflow.
pub(crate) async fn list(State(app): State<Arc<App>>, visit: Visit) -> Result<Response, ApiError> {
    let active = app.active();
    let workflow = enter((&app, &active), &visit).await?;
    let document = if speaks_anthropic(&visit.headers) {
        let models: Vec<_> = names(workflow).map(|name| anthropic_model(&app, name)).collect();
        anthropic::models::list(&models)
    } else {
        let models: Vec<_> = names(workflow).map(|name| openai_model(&app, workflow, name)).collect();
        openai::models::list(&models)
    };
    Ok(json(document))
}

/// One of them.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    visit: Visit,
    path: RawPathParams,
) -> Result<Response, ApiError> {
    let active = app.active();
    let workflow = enter((&app, &active), &visit).await?;
    let asked = path.iter().find(|(name, _)| *name == "model").map(|(_, model)| model).unwrap_or_default();
    let missing =
        || ApiError::not_found("model_not_found", "no such model; /v1/models lists those that there are");
    let name = names(workflow).find(|name| *name == asked).ok_or_else(missing)?;
    Ok(json(if speaks_anthropic(&visit.headers) {
        anthropic::models::one(&anthropic_model(&app, name))
    } else {
        openai::models::one(&openai_model(&app, workflow, name))
    }))
}

async fn enter<'a>(at: (&App, &'a Active), visit: &Visit) -> Result<&'a Workflow, ApiError> {
    let entered = pipeline::enter(at, ENDPOINT, visit.peer, &visit.headers, visit.selector.as_deref()).await;
    entered.map(|(_, workflow)| workflow)
}

/// Whether the client is one of Anthropic's API.
pub(crate) fn speaks_anthropic(headers: &HeaderMap) -> bool {
    headers.contains_key(ANTHROPIC_VERSION)
}

fn names(workflow: &Workflow) -> impl Iterator<Item = &str> {
    workflow.reachable_models().map(|model| model.name().as_ref())
}

fn openai_model(app: &App, workflow: &Workflow, name: &str) -> openai::models::Model {
    openai::models::Model {
        id: name.to_owned(),
        created_s: app.started_s,
        owned_by: workflow.owner().to_owned(),
    }
}

fn anthropic_model(app: &App, name: &str) -> anthropic::models::Model {
    anthropic::models::Model { id: name.to_owned(), display_name: name.to_owned(), created_s: app.started_s }
}

fn json(document: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}
