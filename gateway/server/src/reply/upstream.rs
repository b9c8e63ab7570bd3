//! A reply from somebody else's API in the caller's own dialect: bytes pass through as they arrive.
//!
//! Beside the bytes runs an observer that learns usage, finish reason and whether the stream came to its end.
//! A stream that stops before `[DONE]` gets an error event, so it never looks finished.

use std::collections::VecDeque;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use egress::{Body, BodyError, FailureKind, Outbound, Reply, SendError};
use futures_util::{StreamExt, stream};
use policy::Hop;
use tokio::sync::OwnedSemaphorePermit;
use wire::openai::chat::UsageChunk;
use wire::openai::error::{ErrorBody, SERVER};
use wire::openai::stream::{Carries, Observer, Summary, Verdict};
use wire::sse::{Frame, Reader, Tail};

use crate::error::ApiError;
use crate::pipeline::{Attempt, Back, Call};
use crate::question::Question;
use crate::record::{Completion, Record};

/// Longest answer that is not streamed, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Longest error body that is looked into, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Longest event of a stream, in bytes.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Statuses after which another destination might do better.
const WORTH_ANOTHER: [u16; 7] = [408, 429, 500, 502, 503, 504, 529];

/// Sends the call to `hop`'s provider.
pub(crate) async fn attempt<Q: Question>(call: Call<Q>, hop: &Hop, record: Record) -> (Attempt, Back<Q>) {
    let outbound = Outbound {
        path: Q::UPSTREAM_PATH,
        headers: call.headers.clone(),
        body: call.question.forward_body(hop.upstream_model()),
        deadline: call.deadline,
    };
    let reply = match call.app.egress.send(&call.admitted, hop, outbound).await {
        Ok(reply) => reply,
        Err(error) => {
            // Nobody else may stand in for a forbidden destination, and nobody has time left after the total.
            let is_final = matches!(error.kind(), FailureKind::Denied(_) | FailureKind::TotalTimeout);
            let error = gateway_error(error);
            let attempt = if is_final { Attempt::Refused(error) } else { Attempt::Failed(error) };
            return (attempt, Some((call, record)));
        }
    };
    if !reply.status.is_success() {
        return (status_error(reply).await, Some((call, record)));
    }
    let Call { question, place, .. } = call;
    match question.stream() {
        Some(usage_chunk) if is_event_stream(&reply.headers) => {
            (Attempt::Began(streamed(reply, usage_chunk, record, place)), None)
        }
        _ => match whole::<Q>(reply, record).await {
            Ok(response) => (Attempt::Began(response), None),
            Err(error) => (Attempt::Refused(error), None),
        },
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(axum::http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// No answer came: whose fault, in the client's terms.
fn gateway_error(error: SendError) -> ApiError {
    let (provider, code) = (error.provider().clone(), error.code());
    let status = match error.kind() {
        FailureKind::FirstByteTimeout(_) | FailureKind::TotalTimeout => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::Denied(_) => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_GATEWAY,
    };
    let message = format!("the provider `{provider}` did not answer ({code}); the gateway's log says why");
    ApiError::bad_gateway(status, code, message).caused_by(error)
}

/// The upstream refused: its status, message and retry hints, in our shape.
async fn status_error(reply: Reply) -> Attempt {
    let Reply { status, mut headers, body } = reply;
    let text = collect(body, ERROR_BYTES_MAX).await.unwrap_or_default();
    let message = || format!("the provider answered with status {}", status.as_u16());
    let body = ErrorBody::from_upstream(&text)
        .unwrap_or_else(|| ErrorBody::new(SERVER, "upstream_error", message()));
    headers.remove(axum::http::header::CONTENT_TYPE);
    // The provider does not accept the gateway's own credential: nothing that the caller can mend.
    let error = if matches!(status.as_u16(), 401 | 403) {
        let message =
            "the provider does not accept this gateway's credential; your platform team has to look at it";
        ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_credential", message)
    } else {
        ApiError::of_upstream(status, body)
    };
    let error = error.with_headers(headers);
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
async fn whole<Q: Question>(reply: Reply, mut record: Record) -> Result<Response, ApiError> {
    let Reply { status, headers, body } = reply;
    let document = match collect(body, ANSWER_BYTES_MAX).await {
        Ok(document) => document,
        Err(error) => {
            let error = match error {
                CollectError::TooLong => {
                    let message = "the provider's answer is larger than this gateway takes";
                    ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_too_large", message)
                }
                CollectError::Broken(broken) => cut_error(broken),
            };
            record.fail(error.status().as_u16(), error.code()).await?;
            return Err(error);
        }
    };
    record.output();
    let Summary { usage, finish_reason, .. } = Q::summary(&document);
    record.complete(Completion { status: status.as_u16(), finish: finish_reason, usage }).await?;
    Ok(super::json(status, document, headers))
}

fn cut_error(broken: BodyError) -> ApiError {
    let code = broken.code();
    let status = match broken {
        BodyError::Idle(_) | BodyError::Total => StatusCode::GATEWAY_TIMEOUT,
        BodyError::Cut(_) => StatusCode::BAD_GATEWAY,
    };
    let message = format!("the provider's answer broke off ({code}); what came is not complete");
    ApiError::bad_gateway(status, code, message).caused_by(broken)
}

/// A stream in the making: the upstream's bytes on one side, the client's on the other.
struct Streaming {
    body: Body,
    reader: Option<Reader>,
    observer: Observer,
    record: Record,
    ready: VecDeque<Bytes>,
    _place: OwnedSemaphorePermit,
}

fn streamed(reply: Reply, usage_chunk: UsageChunk, record: Record, place: OwnedSemaphorePermit) -> Response {
    let Reply { headers, body, .. } = reply;
    let state = Streaming {
        body,
        reader: Some(Reader::new(EVENT_BYTES_MAX)),
        observer: Observer::new(usage_chunk),
        record,
        ready: VecDeque::new(),
        _place: place,
    };
    let bytes =
        stream::unfold(
            state,
            |mut state| async move { state.next_bytes().await.map(|bytes| (bytes, state)) },
        );
    super::event_stream(bytes, headers)
}

impl Streaming {
    async fn next_bytes(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            // Without a reader the last byte has been handed out.
            let reader = self.reader.take()?;
            match self.body.next().await {
                Some(Ok(bytes)) => self.take_in(reader, &bytes).await,
                Some(Err(broken)) => self.cut(cut_error(broken)).await,
                None => self.end(reader).await,
            }
        }
    }

    /// Hands on all events that `bytes` completes, as one piece.
    async fn take_in(&mut self, mut reader: Reader, bytes: &[u8]) {
        reader.push(bytes);
        let mut passed = BytesMut::new();
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    self.observe(&frame, &mut passed);
                    if self.observer.is_done() {
                        return self.finish(passed.freeze()).await;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let message = "the provider sent an event that is larger than this gateway takes";
                    let error =
                        ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "upstream_event_too_large", message)
                            .caused_by(error);
                    return self.cut(error).await;
                }
            }
        }
        self.reader = Some(reader);
        if !passed.is_empty() {
            self.ready.push_back(passed.freeze());
        }
    }

    fn observe(&mut self, frame: &Frame, passed: &mut BytesMut) {
        let Some(event) = &frame.event else {
            // A comment: the upstream keeps the connection alive.
            passed.extend_from_slice(&frame.raw);
            return;
        };
        let observed = self.observer.observe(event);
        if observed.carries == Carries::Output {
            self.record.output();
        }
        if observed.verdict == Verdict::Pass {
            passed.extend_from_slice(&frame.raw);
        }
    }

    /// The upstream closed the connection. Without `[DONE]` before, that is a cut.
    async fn end(&mut self, reader: Reader) {
        if let Tail::Frame(frame) = reader.finish() {
            let mut passed = BytesMut::new();
            self.observe(&frame, &mut passed);
            if self.observer.is_done() {
                return self.finish(passed.freeze()).await;
            }
            self.ready.push_back(passed.freeze());
        }
        let message = "the provider's stream ended before its end; what came is not complete";
        self.cut(ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "egress.cut", message)).await;
    }

    /// The last bytes of a whole stream: the record is durable before the client can see them.
    async fn finish(&mut self, last: Bytes) {
        let Summary { usage, finish_reason, error } = self.observer.summary();
        let closed = if error.is_some() {
            self.record.fail(200, "upstream_error_event").await
        } else {
            let completion = Completion { status: 200, finish: *finish_reason, usage: *usage };
            self.record.complete(completion).await
        };
        self.ready.push_back(closed.map_or_else(|unrecorded| unrecorded.to_event(), |()| last));
    }

    /// The last bytes of a stream that broke: an error event and no `[DONE]`.
    async fn cut(&mut self, error: ApiError) {
        error.log();
        // An error that the upstream sent itself has reached the client already.
        let told = self.observer.summary().error.is_some();
        if let Err(unrecorded) = self.record.fail(200, error.code()).await {
            unrecorded.log();
        }
        if !told {
            self.ready.push_back(error.to_event());
        }
    }
}
