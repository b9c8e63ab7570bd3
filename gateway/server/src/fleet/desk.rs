//! The operators' address, as far as it is about models: how they are, and that they should be otherwise.
//!
//! | path | does |
//! |---|---|
//! | `GET /admin/models` | tells the state of every model of our own, and whose the memory is |
//! | `POST /admin/models/NAME/load` | loads it, or wakes it; waits until it answers or has failed |
//! | `POST /admin/models/NAME/unload` | lets no call in, lets replies end, frees its memory; it stays away until it is asked for here |
//! | `POST /admin/models/NAME/sleep` | the same, and the next call loads it again |
//! | `POST /admin/models/NAME/wake` | what `load` does, under the name that goes with `sleep` |

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::resident::{Resident, Standing};
use super::state::{Event, Phase, Rest};
use super::{Memory, parts};
use crate::app::App;
use crate::error::ApiError;

/// Everything about models on the operators' address.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/admin/models", get(list)).route("/admin/models/{name}/{wish}", post(wish))
}

async fn list(State(app): State<Arc<App>>) -> Response {
    let active = app.active();
    let models: Vec<Value> =
        active.residents().map(|resident| report(resident, &resident.standing())).collect();
    Json(json!({ "memory": memory(active.memory()), "models": models })).into_response()
}

async fn wish(
    State(app): State<Arc<App>>,
    Path((name, wish)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let event = match wish.as_str() {
        "load" | "wake" => Event::Load,
        "unload" => Event::Rest(Rest::Unloaded),
        "sleep" => Event::Rest(Rest::Asleep),
        _ => {
            let message = "a model can be asked to load, unload, sleep or wake";
            return Err(ApiError::not_found("not_found", message));
        }
    };
    let active = app.active();
    let Some(resident) = active.residents().find(|resident| resident.recipe().name.as_ref() == name) else {
        let message =
            "this gateway serves no model of that name itself; GET /admin/models lists those that it does";
        return Err(ApiError::not_found("model_not_found", message).with_param("name"));
    };
    match resident.wish(event).await {
        Ok(standing) => {
            let is_done = match event {
                Event::Load => standing.phase == Phase::Ready,
                _ => standing.phase != Phase::Failed,
            };
            let status = if is_done { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            Ok((status, Json(report(resident, &standing))).into_response())
        }
        Err(busy) => Err(ApiError::conflict("model_busy", busy.to_string())),
    }
}

fn memory(memory: &Memory) -> Value {
    json!({ "budget_bytes": memory.budget_bytes(), "held_bytes": memory.held_bytes() })
}

fn report(resident: &Resident, standing: &Standing) -> Value {
    let stats = standing.stats();
    let memory = standing.need.map(|need| {
        let parts = parts(&need).map(|(kind, bytes)| (format!("{kind}_bytes"), Value::from(bytes)));
        Value::Object(parts.into_iter().collect())
    });
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    let retry_in = standing.retry_at.map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
    json!({
        "name": resident.recipe().name.as_ref(),
        "path": resident.recipe().path.display().to_string(),
        "state": standing.phase.name(),
        "since": standing.since.to_string(),
        "reason": standing.reason.as_deref(),
        "health": standing.health.as_str(),
        "failures": standing.broken,
        "retry_in_seconds": retry_in.map(seconds),
        "load_seconds": standing.took.map(seconds),
        "memory": memory,
        "requests": stats.map(|stats| stats.requests),
        "steps": stats.map(|stats| stats.steps),
        "last_step_age_seconds": stats.and_then(|stats| stats.last_step_age).map(seconds),
    })
}
