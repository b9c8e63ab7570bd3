//! The way of one call, in order. Each stage takes what the one before it proved.
//!
//! ```text
//! arrival -> caller -> workflow -> body -> question -> admitted -> record (durable) -> reply
//! ```
//!
//! All of it is done with one generation of the policy, the one in force when the call arrives.
//!
//! Nothing is sent before the record's intent is on disk; only the policy makes an `Admitted`, and only its
//! hops can be sent to. `routed` says in which order they are tried, and whether again; all tries end when the first
//! byte is about to leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use audit::{ControlEvent, PolicyRef};
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use policy::{
    Admitted, Caller, Decision, DenyCode, Facts, Hop, Revoked, SelectError, Workflow, WorkflowName,
};
use routing::Plan;
use tokio::time::{Instant, timeout_at};
use wire::Dialect;

use crate::active::Active;
use crate::app::App;
use crate::error::ApiError;
use crate::facts;
use crate::identity;
use crate::question::Question;
use crate::record::{Opening, Purpose, Record, caller_text, recorded, request_facts, unread_facts};
use crate::revoked;
use crate::routed::{Asked, NoTry};
use crate::shadow;

/// A request for a model, as the transport hands it over.
pub(crate) struct Arrival<'a> {
    pub(crate) dialect: Dialect,
    /// The path that was called, as records name it.
    pub(crate) endpoint: &'static str,
    pub(crate) peer: SocketAddr,
    pub(crate) headers: HeaderMap,
    /// What stands behind the path's question mark.
    pub(crate) query: Option<String>,
    /// The workflow that the path or the header names.
    pub(crate) selector: Option<String>,
    pub(crate) body: &'a mut Body,
}

/// Answers a call.
pub(crate) async fn answer<Q: Question>(app: &Arc<App>, arrival: Arrival<'_>) -> Result<Response, ApiError> {
    let started = Instant::now();
    let place = Arc::clone(&app.places).try_acquire_owned();
    let place =
        place.map_err(|_| ApiError::unavailable("overloaded", "too many calls at once; try again"))?;
    if app.draining.load(Acquire) {
        return Err(ApiError::unavailable("draining", "this gateway is shutting down; try again"));
    }
    let Arrival { dialect, endpoint, peer, headers, query, selector, body } = arrival;
    let active = app.active();
    let (caller, workflow) = enter((app, &active), endpoint, peer, &headers, selector.as_deref()).await?;
    let deadline = started + workflow.limits().total;
    let body = read_body(body, workflow.limits().max_body_bytes, deadline).await?;
    let question = Q::parse(dialect, body).map_err(|error| ApiError::unreadable(&error))?;
    let told = facts::facts(workflow, &question, &headers)?;
    let facts = request_facts(endpoint, &question);
    let admitted = decide((app, &active), &caller, workflow, &told, facts.clone()).await?;
    check_places((app, &active), &caller, &admitted, &facts).await?;
    let owner = format!("{}/{}/{}", workflow.name(), caller.kind().as_str(), caller.id());
    let asked =
        Asked { admitted: &admitted, question: &question, owner: &owner, headers: &headers, deadline };
    let plan = app.router.plan(&asked);
    let hop = plan.first().and_then(|first| admitted.hops().get(first)).ok_or_else(ApiError::internal)?;
    let (request, purpose) = (facts.clone(), Purpose::Answer);
    let opening = Opening { caller: &caller, admitted: &admitted, hop, request, purpose, started };
    let record = Record::open(app, opening).await?;
    let named = record.header();
    let app = Arc::clone(app);
    let active = Arc::clone(&active);
    let call = Call { app, active, admitted, question, owner, headers, query, deadline, place, purpose };
    shadow::send(&call, &caller, facts);
    match send(call, record, plan).await {
        Ok(mut response) => {
            response.headers_mut().extend(named);
            Ok(response)
        }
        Err(error) => Err(error.with_headers(named)),
    }
}

/// An admitted call and what sending it takes.
pub(crate) struct Call<Q> {
    pub(crate) app: Arc<App>,
    /// The generation that admitted it; everything until its last byte comes from there.
    pub(crate) active: Arc<Active>,
    pub(crate) admitted: Admitted,
    pub(crate) question: Q,
    /// Workflow and caller: what is kept for later calls is kept for these alone.
    pub(crate) owner: String,
    pub(crate) headers: HeaderMap,
    /// What stood behind the path's question mark.
    pub(crate) query: Option<String>,
    /// When the whole call must be over, by the workflow's limit.
    pub(crate) deadline: Instant,
    /// Held until the last byte of the reply.
    pub(crate) place: tokio::sync::OwnedSemaphorePermit,
    /// Who gets the answer.
    pub(crate) purpose: Purpose,
}

/// What became of one hop.
pub(crate) enum Attempt {
    /// The reply has begun; no other hop may be tried.
    Began(Box<Response>),
    /// Nothing reached the client, and another destination might do better.
    Failed(ApiError),
    /// Nothing reached the client, and no destination would do better: the request itself is wrong.
    Refused(ApiError),
}

impl Attempt {
    /// The reply has begun.
    pub(crate) fn began(response: Response) -> Self {
        Self::Began(Box::new(response))
    }
}

/// Tries hops, as the plan says, until one begins to answer.
async fn send<Q: Question>(
    mut call: Call<Q>,
    mut record: Record,
    mut plan: Plan,
) -> Result<Response, ApiError> {
    let app = Arc::clone(&call.app);
    let mut heard = None;
    for number in 1.. {
        let attempt = match app.router.next(&mut plan).await {
            Ok(attempt) => attempt,
            Err(none) => {
                return Err(fail(heard.unwrap_or_else(|| untried(&none)), Some((call, record))).await);
            }
        };
        let hop = call.admitted.hops().get(attempt.place().hop).ok_or_else(ApiError::internal)?.clone();
        record.routed(&hop, number, attempt);
        match unrevoked(call, &hop, record).await {
            (Attempt::Began(response), _) => return Ok(*response),
            (Attempt::Failed(error), Some((again, mut open))) => {
                tracing::warn!(model = %hop.model(), code = error.code(), number, "a try failed");
                if let Some(attempt) = open.tried() {
                    plan.failed(attempt, error.failure(), app.router.now());
                }
                (heard, call, record) = (Some(error), again, open);
            }
            (Attempt::Refused(error) | Attempt::Failed(error), back) => return Err(fail(error, back).await),
        }
    }
    Err(ApiError::internal())
}

/// Nothing was sent: every upstream of the route failed too often, or asked to be left alone.
fn untried(none: &NoTry) -> ApiError {
    let wait = match none {
        NoTry::Spent => return ApiError::internal(),
        NoTry::Barred(wait) => wait.as_secs() + 1,
    };
    let message = "no upstream of this route can be asked at the moment; try again after the time that `retry-after` names";
    ApiError::unavailable("upstreams_unavailable", message).with_retry_after(wait)
}

/// Sends the call to one hop, as long as nothing of it is revoked.
pub(crate) async fn unrevoked<Q: Question>(call: Call<Q>, hop: &Hop, record: Record) -> (Attempt, Back<Q>) {
    let mut watch = record.watch();
    if let Some(revoked) = watch.found() {
        return (Attempt::Failed(revoked::error(revoked)), Some((call, record)));
    }
    tokio::select! {
        biased;
        sent = Q::send(call, hop, record) => sent,
        // The record goes down with the call, and says why.
        revoked = watch.happens() => (Attempt::Refused(revoked::error(revoked)), None),
    }
}

/// What a failed attempt did not use up.
pub(crate) type Back<Q> = Option<(Call<Q>, Record)>;

pub(crate) async fn fail<Q>(error: ApiError, back: Back<Q>) -> ApiError {
    let Some((_, mut record)) = back else { return error };
    record.blame(error.failure());
    // The record's own failure is in the log; the client hears of the first one.
    match record.fail(error.status().as_u16(), error.code()).await {
        Ok(()) => error,
        Err(unrecorded) => {
            unrecorded.log();
            error
        }
    }
}

/// Who calls, and on whose behalf. What is refused here is on record before the caller hears of it.
pub(crate) async fn enter<'a>(
    (app, active): (&App, &'a Active),
    endpoint: &'static str,
    peer: SocketAddr,
    headers: &HeaderMap,
    selector: Option<&str>,
) -> Result<(Caller, &'a Workflow), ApiError> {
    let caller = match identity::identify(&active.policy, peer, headers) {
        Ok(caller) => caller,
        Err(refusal) => {
            let peer = peer.ip().to_string().into();
            let event =
                ControlEvent::AuthnFail { code: refusal.code().into(), endpoint: endpoint.into(), peer };
            return Err(refuse(app, refusal, event).await);
        }
    };
    let list = Arc::clone(&app.revocations.borrow());
    if let Some(revoked) = list.of_caller(&caller) {
        return Err(deny((app, active), (&caller, None), revoked, unread_facts(endpoint)).await);
    }
    match active.policy.select(&caller, selector) {
        Ok(workflow) => match list.of_workflow(workflow.name()) {
            Some(revoked) => {
                let facts = unread_facts(endpoint);
                Err(deny((app, active), (&caller, Some(workflow.name())), revoked, facts).await)
            }
            None => Ok((caller, workflow)),
        },
        Err(error) => {
            let refusal = unselected(&error);
            let event = ControlEvent::Denied(audit::Denial {
                code: refusal.code().into(),
                workflow: None,
                caller: caller_text(&caller),
                policy: PolicyRef { digest: active.policy.digest().to_string().into(), rule: None },
                request: unread_facts(endpoint),
            });
            Err(refuse(app, refusal, event).await)
        }
    }
}

/// Refuses a call whose every place to go is revoked.
async fn check_places(
    at: (&App, &Active),
    caller: &Caller,
    admitted: &Admitted,
    facts: &audit::RequestFacts,
) -> Result<(), ApiError> {
    let list = Arc::clone(&at.0.revocations.borrow());
    match revoked::everywhere(&list, admitted) {
        Some(revoked) => Err(deny(at, (caller, Some(admitted.workflow())), revoked, facts.clone()).await),
        None => Ok(()),
    }
}

/// Refuses, counts and records a call because of the list of revocations.
async fn deny(
    (app, active): (&App, &Active),
    (caller, workflow): (&Caller, Option<&WorkflowName>),
    revoked: Revoked,
    request: audit::RequestFacts,
) -> ApiError {
    let event = ControlEvent::Denied(audit::Denial {
        code: revoked::CODE.into(),
        workflow: workflow.map(|workflow| workflow.as_ref().into()),
        caller: caller_text(caller),
        policy: PolicyRef {
            digest: active.policy.digest().to_string().into(),
            rule: Some(format!("revocations.{}", revoked.as_str()).into()),
        },
        request,
    });
    refuse(app, revoked::error(revoked), event).await
}

/// Counts and records a refusal; if it cannot be recorded, that is what the caller hears.
async fn refuse(app: &App, refusal: ApiError, event: ControlEvent) -> ApiError {
    app.metrics.denials.with_label_values(&[refusal.code()]).inc();
    match recorded(app.audit.note(event)).await {
        Ok(_) => refusal,
        Err(unrecorded) => unrecorded,
    }
}

fn unselected(error: &SelectError) -> ApiError {
    match error {
        SelectError::NotEntitled => ApiError::forbidden("workflow_not_allowed", error.to_string()),
        SelectError::Ambiguous(_) => {
            let header = identity::WORKFLOW_HEADER;
            let hint = format!("{error}; name it by the header `{header}` or the path /w/NAME/v1");
            ApiError::invalid("workflow_ambiguous", hint)
        }
    }
}

/// Reads a whole body within the workflow's limits.
pub(crate) async fn read_body(
    body: &mut Body,
    limit_bytes: u64,
    deadline: Instant,
) -> Result<Bytes, ApiError> {
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let collected = timeout_at(deadline, Limited::new(body, limit).collect()).await;
    let late = |_| ApiError::invalid("body_timeout", "the request body did not arrive in time");
    collected.map_err(late)?.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            ApiError::too_large(limit_bytes)
        } else {
            ApiError::invalid("body_incomplete", "the request body did not arrive whole").caused_by(error)
        }
    })
}

async fn decide(
    (app, active): (&App, &Active),
    caller: &Caller,
    workflow: &Workflow,
    facts: &Facts,
    request: audit::RequestFacts,
) -> Result<Admitted, ApiError> {
    let denial = match active.policy.decide(workflow, facts) {
        Decision::Allow(admitted) => return Ok(admitted),
        Decision::Deny(denial) => denial,
    };
    let event = ControlEvent::Denied(audit::Denial {
        code: denial.code.as_str().into(),
        workflow: Some(workflow.name().as_ref().into()),
        caller: caller_text(caller),
        policy: PolicyRef {
            digest: active.policy.digest().to_string().into(),
            rule: Some(denial.rule.as_str().into()),
        },
        request,
    });
    let refusal = match denial.code {
        DenyCode::UnknownModel => ApiError::not_found("model_not_found", denial.message),
        DenyCode::ToolDenied => ApiError::forbidden("tool_not_allowed", denial.message),
        DenyCode::Content(kind) => ApiError::forbidden(kind.code(), denial.message),
    };
    Err(refuse(app, refusal.with_param(denial.param), event).await)
}
