//! An answer from somebody else's API: passed through byte for byte, or translated into the client's dialect.
//!
//! Both ways read the provider's stream, and learn usage, finish reason and whether it came to its end. A stream that
//! stops before that gets an error, so it never looks finished.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use egress::{Body, BodyError, DialFailure, FailureKind, Outbound, Reply, SendError};
use futures_util::StreamExt;
use policy::{Destination, Hop};
use routing::Failure;
use wire::reply::{Unreadable, deltas_of};
use wire::{Api, Dialect, Request, client};

use super::source::UpstreamSource;
use super::streaming::{Holding, Source, Step, finished, streamed};
use super::way::Way;
use super::{Conversation, headers};
use crate::error::ApiError;
use crate::pipeline::{Attempt, Back, Call};
use crate::record::{Completion, Record};
use crate::revoked;
use crate::routed;

/// Longest answer that is not streamed, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Longest error body that is looked into, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Statuses after which another destination might do better.
const WORTH_ANOTHER: [u16; 7] = [408, 429, 500, 502, 503, 504, 529];

/// Sends the call to `hop`'s provider.
pub(crate) async fn attempt(
    call: Call<Request>,
    hop: &Hop,
    destination: &Destination,
    mut record: Record,
) -> (Attempt, Back<Request>) {
    let (way, outbound, conversation) = match prepare(&call, hop, destination, &mut record) {
        Ok(prepared) => prepared,
        Err(error) => return (Attempt::Failed(error), Some((call, record))),
    };
    let dialect = call.question.dialect();
    let reply = match head(&call, hop, outbound, (way.api, dialect), &mut record).await {
        Ok(reply) => reply,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    if call.question.is_streamed() && is_stream(&reply.headers) {
        return stream(call, hop, record, (way, reply, conversation)).await;
    }
    let (status, named) = (reply.status, headers::to_client(&reply.headers, dialect));
    let document = match document(reply).await {
        Ok(document) => document,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    let holding = super::holding(call, hop, conversation, record);
    let began = if way.passes {
        passed((status, document), named, (way.api, holding)).await
    } else {
        translated(&document, named, (way.api, holding)).await
    };
    // The record is closed in any case; nothing is left to fall back with.
    (began.map_or_else(Attempt::Refused, Attempt::began), None)
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        kind.starts_with("text/event-stream") || kind.starts_with("application/vnd.amazon.eventstream")
    })
}

/// Everything that can be known before anything is sent.
fn prepare(
    call: &Call<Request>,
    hop: &Hop,
    destination: &Destination,
    record: &mut Record,
) -> Result<(Way, Outbound, Conversation), ApiError> {
    let is_continued = call.question.previous_response.is_some();
    let mut way = Way::find(&call.question, hop, destination, is_continued)?;
    let conversation = if way.passes { Conversation::unread(call) } else { super::conversation(call)? };
    let (body, lost) = way.body(&call.question, &conversation.call, hop, &call.headers)?;
    super::must_survive(call, hop, &lost)?;
    record.lost(&lost);
    if let Some(query) =
        call.query.as_deref().filter(|query| way.passes && way.api == Api::Messages && *query == "beta=true")
    {
        way.path = format!("{}?{query}", way.path);
    }
    let outbound = Outbound {
        path: way.path.clone(),
        headers: call.headers.clone(),
        body,
        deadline: call.deadline,
        passage: record.passage(),
    };
    Ok((way, outbound, conversation))
}

/// Sends a request and waits for the head of a good answer; an error comes in `api` and is told in `dialect`.
pub(crate) async fn head<Q>(
    call: &Call<Q>,
    hop: &Hop,
    outbound: Outbound,
    (api, dialect): (Api, Dialect),
    record: &mut Record,
) -> Result<Reply, Attempt> {
    let sent = call.active.egress.send(&call.admitted, hop, outbound).await;
    let reply = sent.map_err(|error| {
        // Nobody else may stand in for a forbidden destination, and nobody has time left after the total.
        let is_final = error.is_denied() || matches!(error.kind(), FailureKind::TotalTimeout);
        // For a revoked one it may: the policy allows the other, and nothing was sent.
        let is_final = is_final && error.code() != revoked::CODE;
        let error = gateway_error(error);
        if is_final { Attempt::Refused(error) } else { Attempt::Failed(error) }
    })?;
    record.answered_as(headers::upstream_id(&reply.headers));
    if reply.status.is_success() { Ok(reply) } else { Err(status_error(reply, api, dialect).await) }
}

/// Takes in a whole answer.
pub(crate) async fn document(reply: Reply) -> Result<Bytes, Attempt> {
    collect(reply.body, ANSWER_BYTES_MAX).await.map_err(|error| Attempt::Refused(error.into_api()))
}

/// No answer came: whose fault, in the client's terms.
fn gateway_error(error: SendError) -> ApiError {
    let (provider, code) = (error.provider().clone(), error.code());
    let status = match error.kind() {
        FailureKind::FirstByteTimeout(_) | FailureKind::TotalTimeout => StatusCode::GATEWAY_TIMEOUT,
        _ if code == revoked::CODE => StatusCode::FORBIDDEN,
        _ if error.is_denied() => StatusCode::FORBIDDEN,
        FailureKind::Dial(dial) if dial.failure() == DialFailure::Unavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::BAD_GATEWAY,
    };
    let message = format!("the provider `{provider}` did not answer ({code}); the gateway's log says why");
    let failure = routed::failure_of_send(&error);
    ApiError::bad_gateway(status, code, message).meaning(failure).caused_by(error)
}

/// The upstream refused: its status, message and retry hints, in our shape.
async fn status_error(reply: Reply, api: Api, dialect: Dialect) -> Attempt {
    let Reply { status, headers, body, .. } = reply;
    let text = collect(body, ERROR_BYTES_MAX).await.unwrap_or_default();
    let named = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let message = || format!("the provider answered with status {}", status.as_u16());
    let fault = api.read_fault(status.as_u16(), &text, named).unwrap_or_else(|| {
        let kind = wire::reply::FaultKind::of_status(status.as_u16());
        wire::reply::Fault::new(kind, "upstream_error", message())
    });
    // The provider does not accept the gateway's own credential: nothing that the caller can mend.
    let error = if matches!(status.as_u16(), 401 | 403) {
        let message =
            "the provider does not accept this gateway's credential; your platform team has to look at it";
        ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_credential", message)
    } else {
        ApiError::of_upstream(status, fault, client::pass_fault(dialect, api, &text))
    };
    let error =
        error.meaning(routed::failure_of_status(status, &headers)).with_headers(headers::of_error(&headers));
    if WORTH_ANOTHER.contains(&status.as_u16()) || error.code() == "upstream_credential" {
        Attempt::Failed(error)
    } else {
        Attempt::Refused(error)
    }
}

/// Why an answer could not be taken in whole.
enum CollectError {
    TooLong,
    Broken(BodyError),
}

impl CollectError {
    fn into_api(self) -> ApiError {
        match self {
            Self::TooLong => {
                let message = "the provider's answer is larger than this gateway takes";
                ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_too_large", message)
            }
            Self::Broken(broken) => cut_error(broken),
        }
    }
}

async fn collect(mut body: Body, limit_bytes: usize) -> Result<Bytes, CollectError> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece.map_err(CollectError::Broken)?);
        if all.len() > limit_bytes {
            return Err(CollectError::TooLong);
        }
    }
    Ok(all.freeze())
}

/// Passes a whole document on.
async fn passed(
    (status, document): (StatusCode, Bytes),
    headers: HeaderMap,
    (api, mut holding): (Api, Holding),
) -> Result<Response, ApiError> {
    holding.record.output();
    // What cannot be read teaches nothing, and passes all the same.
    let reply = api.read_reply(&document, "").ok();
    let finish = reply.as_ref().map(|reply| reply.finish.reason.as_str());
    let usage = reply.as_ref().and_then(|reply| reply.usage);
    holding.record.complete(Completion { status: status.as_u16(), finish, usage }).await?;
    if let (Some(mut keeper), Some(reply)) = (holding.keeper.take(), reply) {
        keeper.under(reply.id.clone());
        keeper.keep_reply(reply, &holding.envelope);
    }
    Ok(super::json(status, document, headers))
}

/// Gives a whole document in the client's dialect, as a document or as the stream that the client asked for.
async fn translated(
    document: &[u8],
    headers: HeaderMap,
    (api, mut holding): (Api, Holding),
) -> Result<Response, ApiError> {
    let reply = match api.read_reply(document, &holding.envelope.provider) {
        Ok(reply) => reply,
        Err(unreadable) => {
            let error = unreadable_error(unreadable);
            holding.record.blame(error.failure());
            holding.record.fail(error.status().as_u16(), error.code()).await?;
            return Err(error);
        }
    };
    if holding.asked.is_streamed() {
        let seen = vec![(Step::Write, deltas_of(reply))];
        let source = Source::Upstream(Box::new(UpstreamSource::over()));
        return Ok(streamed(source, seen, holding, headers));
    }
    finished(reply, holding, headers).await
}

/// An answer that is no answer, in the client's terms.
pub(super) fn unreadable_error(unreadable: Unreadable) -> ApiError {
    match unreadable {
        Unreadable::Fault(fault) => ApiError::of_upstream_event(fault),
        Unreadable::Malformed(_) => {
            let message = "the provider's answer is not what its API promises; the gateway's log says more";
            ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_malformed", message)
                .meaning(Failure::Broken)
                .caused_by(unreadable)
        }
    }
}

/// An answer that broke off, in the client's terms.
pub(super) fn cut_error(broken: BodyError) -> ApiError {
    let code = broken.code();
    let status = match broken {
        BodyError::Idle(_) | BodyError::Total => StatusCode::GATEWAY_TIMEOUT,
        BodyError::Cut(_) => StatusCode::BAD_GATEWAY,
    };
    let failure = if matches!(broken, BodyError::Total) { Failure::Blameless } else { Failure::Cut };
    let message = format!("the provider's answer broke off ({code}); what came is not complete");
    ApiError::bad_gateway(status, code, message).meaning(failure).caused_by(broken)
}

/// Answers with a stream, once the provider has said something.
async fn stream(
    call: Call<Request>,
    hop: &Hop,
    record: Record,
    (way, reply, conversation): (Way, Reply, Conversation),
) -> (Attempt, Back<Request>) {
    let named = headers::to_client(&reply.headers, call.question.dialect());
    let mut source = Source::Upstream(Box::new(UpstreamSource::new(reply.body, &way, &call.question)));
    let seen = match source.begin(call.deadline).await {
        Ok(seen) => seen,
        // Nothing has reached the client: another destination may do better.
        Err(error) => return (Attempt::Failed(error), Some((call, record))),
    };
    let holding = super::holding(call, hop, conversation, record);
    (Attempt::began(streamed(source, seen, holding, named)), None)
}
