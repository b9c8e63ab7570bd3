//! The operators' address: which policy is in force, a reload now, and the models of our own. Off unless it is asked
//! for.
//!
//! It has a listener and a credential of its own, so that no key of an agent and no token of a scraper opens it. The
//! credential is a bearer token from a file; it is compared in constant time and never logged.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};

use crate::app::App;
use crate::command::CommandError;
use crate::error::ApiError;
use crate::fleet::desk;
use crate::reload::Outcome;
use crate::{overlay, reload};

/// Shortest token, in bytes: 16 random ones in any alphabet cannot be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// A bearer token, of which only the hash is kept.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl Token {
    /// Reads the token in `file`; white space around it does not count.
    pub(crate) fn read(file: &Path) -> Result<Self, CommandError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read the token file {}: {error}", file.display()))?;
        let token = text.trim();
        if token.len() < TOKEN_BYTES_MIN {
            let file = file.display();
            return Err(format!("the token in {file} is shorter than {TOKEN_BYTES_MIN} characters").into());
        }
        Ok(Self(Sha256::digest(token.as_bytes()).into()))
    }

    /// Lets requests that carry the token through to `router`, and no others.
    pub(crate) fn guard(self, router: Router<Arc<App>>) -> Router<Arc<App>> {
        router.route_layer(from_fn(move |request: Request, next: Next| {
            let admitted = self.admits(request.headers());
            async move { if admitted { next.run(request).await } else { refusal().into_response() } }
        }))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let shown = value.to_str().ok().and_then(|value| value.split_once(' '));
        let Some((scheme, token)) = shown else { return false };
        let shown: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        scheme.eq_ignore_ascii_case("bearer") && bool::from(self.0.ct_eq(&shown))
    }
}

fn refusal() -> ApiError {
    let message = "this address takes its own token only: send it as `Authorization: Bearer TOKEN`";
    ApiError::unauthenticated("invalid_token", message)
}

/// Whom to ask for a reload.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) policy: mpsc::Sender<reload::Asked>,
    pub(crate) revocations: mpsc::Sender<overlay::Asked>,
}

/// Everything on the operators' address.
pub(crate) fn routes(asked: Desk, token: Token) -> Router<Arc<App>> {
    let reload = move |State(app): State<Arc<App>>| {
        let asked = asked.clone();
        async move { reload(&app, &asked).await }
    };
    let routes = Router::new()
        .route("/admin/policy", get(policy))
        .route("/admin/reload", post(reload))
        .route("/admin/seal-test", post(seal_test))
        .merge(desk::routes());
    token.guard(routes)
}

/// `POST /admin/seal-test`: tries the walls of this process now; 500 if one does not hold.
async fn seal_test(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let report = app.try_seal().await.map_err(|error| ApiError::internal().caused_by(error))?;
    let status = if report.holds() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    Ok((status, Json(report)).into_response())
}

/// `GET /admin/policy`: what is in force, since when, and what failed last.
async fn policy(State(app): State<Arc<App>>) -> Response {
    let (active, list, failing) = (app.active(), app.revocations.borrow().clone(), app.failing());
    let report = serde_json::json!({
        "digest": active.policy.digest().to_string(),
        "since": active.since.to_string(),
        "source": active.source,
        "failure": failing.policy,
        "revocations": {
            "digest": list.digest().to_string(),
            "entries": list.len(),
            "failure": failing.revocations,
        },
    });
    Json(report).into_response()
}

/// `POST /admin/reload`: reads both files and waits for what comes of it.
async fn reload(app: &App, desk: &Desk) -> Result<Response, ApiError> {
    let failure = ask(&desk.revocations).await?.err();
    let outcome = ask(&desk.policy).await?;
    let is_rejected = failure.is_some() || matches!(outcome, Outcome::Rejected { .. });
    let status = if is_rejected { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let mut report = serde_json::to_value(&outcome).map_err(|error| ApiError::internal().caused_by(error))?;
    report["revocations"] = serde_json::json!({
        "entries": app.revocations.borrow().len(),
        "failure": failure,
    });
    Ok((status, Json(report)).into_response())
}

async fn ask<T>(desk: &mpsc::Sender<oneshot::Sender<T>>) -> Result<T, ApiError> {
    let (sender, answer) = oneshot::channel();
    desk.try_send(sender)
        .map_err(|_| ApiError::unavailable("overloaded", "too many reloads at once; try again"))?;
    answer.await.map_err(|_| ApiError::unavailable("draining", "this gateway is shutting down; try again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn one_token_and_only_the_right_one_is_admitted() {
        let token = Token(Sha256::digest(b"0123456789abcdef").into());
        assert!(token.admits(&headers(&["Bearer 0123456789abcdef"])));
        assert!(token.admits(&headers(&["bearer 0123456789abcdef"])));
        for wrong in [&[][..], &["Bearer "], &["Bearer 0123456789abcdeF"], &["Basic 0123456789abcdef"]] {
            assert!(!token.admits(&headers(wrong)), "{wrong:?}");
        }
        let twice = ["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"];
        assert!(!token.admits(&headers(&twice)));
    }
}
