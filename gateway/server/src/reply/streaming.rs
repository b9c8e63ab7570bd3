//! A streamed answer in the making: a source of deltas or bytes on one side, the client's bytes on the other.
//!
//! The same for a model of our own and for every provider. A stream ends in exactly one way: with the dialect's end,
//! once the call is on record, or with an error in the client's dialect that nobody can take for one.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use routing::Failure;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use wire::Usage;
use wire::client::Asked;
use wire::reply::{Begin, Delta, Envelope, Finish, Reply, StreamWriter};

use super::choices::EngineSource;
use super::source::UpstreamSource;
use crate::active::Active;
use crate::error::ApiError;
use crate::record::{Completion, Record};
use crate::revoked;
use crate::stored::Keeper;

/// How long a client hears nothing before it is told that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long an answer that has begun without saying anything may still turn into a failure that another destination
/// can mend. Providers accept a call, say so in events, and only then find that a quota is used up.
const UNDECIDED_MAX: Duration = Duration::from_secs(10);

/// Where an answer comes from.
pub(super) enum Source {
    Engine(Box<EngineSource>),
    Upstream(Box<UpstreamSource>),
}

/// What a source gave beside its deltas.
pub(super) enum Step {
    /// Nothing: the deltas are to be written in the client's dialect.
    Write,
    /// What the client gets, byte for byte; the deltas say what it means.
    Pass(Bytes),
}

/// A step with the deltas that belong to it.
type Seen = (Step, Vec<Delta>);

impl Source {
    /// Waits for more of the answer. Cancel safe.
    async fn next(&mut self, deltas: &mut Vec<Delta>) -> Result<Step, ApiError> {
        match self {
            Self::Engine(source) => source.next(deltas).await.map(|()| Step::Write),
            Self::Upstream(source) => source.next(deltas).await,
        }
    }

    /// Waits until it is certain that an answer comes: until it says something, or has been undecided for too long.
    pub(super) async fn begin(&mut self, deadline: Instant) -> Result<Vec<Seen>, ApiError> {
        let mut seen: Vec<Seen> = Vec::new();
        let undecided = (Instant::now() + UNDECIDED_MAX).min(deadline);
        loop {
            let mut deltas = Vec::new();
            match timeout_at(undecided, self.next(&mut deltas)).await {
                Ok(step) => {
                    let says_something = deltas.iter().any(is_decisive);
                    seen.push((step?, deltas));
                    if says_something {
                        return Ok(seen);
                    }
                }
                Err(_) if Instant::now() >= deadline => return Err(super::timed_out()),
                Err(_) => return Ok(seen),
            }
        }
    }
}

/// Whether the delta is of the answer itself, and not of its frame.
pub(super) fn is_decisive(delta: &Delta) -> bool {
    matches!(delta, Delta::Open(_) | Delta::Append(_) | Delta::Finish(_) | Delta::End)
}

/// What every answer holds until its last byte.
pub(super) struct Holding {
    pub(super) record: Record,
    pub(super) asked: Asked,
    pub(super) envelope: Envelope,
    /// Keeps what was answered, for a call that continues it.
    pub(super) keeper: Option<Keeper>,
    pub(super) deadline: Instant,
    /// A guess at the prompt's tokens, for clients of a dialect that has to name a number before anybody counts.
    pub(super) prompt_estimate: Option<u64>,
    /// The generation that answers, and the call's place among all calls.
    pub(super) _kept: (Arc<Active>, OwnedSemaphorePermit),
}

/// What an answer says of itself as a whole.
#[derive(Default)]
struct Summary {
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Summary {
    fn note(&mut self, delta: &Delta) {
        match delta {
            Delta::Begin(begin) => self.usage = begin.usage.or(self.usage),
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Finish(finish) => self.finish = Some(finish.clone()),
            _ => {}
        }
    }

    fn completion(&self, status: u16) -> Completion {
        let finish = self.finish.as_ref().map(|finish| finish.reason.as_str());
        Completion { status, finish, usage: self.usage }
    }
}

/// Answers with a stream that began with `seen` and goes on with what `source` gives.
pub(super) fn streamed(source: Source, seen: Vec<Seen>, holding: Holding, headers: HeaderMap) -> Response {
    let mut headers = headers;
    headers.extend(holding.record.dropped_header());
    let writer = holding.asked.stream_writer(&holding.envelope);
    let state =
        Streaming { source, seen: seen.into(), holding, writer, summary: Summary::default(), is_over: false };
    let bytes =
        stream::unfold(
            state,
            |mut state| async move { state.next_bytes().await.map(|bytes| (bytes, state)) },
        );
    super::event_stream(bytes, headers)
}

struct Streaming {
    source: Source,
    /// What was seen before it was certain that an answer comes.
    seen: std::collections::VecDeque<Seen>,
    holding: Holding,
    writer: Box<dyn StreamWriter>,
    summary: Summary,
    is_over: bool,
}

impl Streaming {
    async fn next_bytes(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.is_empty() {
            if self.is_over {
                return None;
            }
            self.advance(&mut out).await;
        }
        Some(out.freeze())
    }

    async fn advance(&mut self, out: &mut BytesMut) {
        if let Some(revoked) = self.holding.record.news_of_revocation() {
            return self.cut(&revoked::error(revoked), out).await;
        }
        if let Some((step, deltas)) = self.seen.pop_front() {
            return self.take(&step, &deltas, out).await;
        }
        let mut deltas = Vec::new();
        let next = timeout_at(self.holding.deadline, self.source.next(&mut deltas));
        let step = tokio::select! {
            biased;
            step = timeout(KEEP_ALIVE, next) => step,
            revoked = self.holding.record.revoked() => {
                return self.cut(&revoked::error(revoked), out).await;
            }
        };
        match step {
            Err(_) => self.writer.keep_alive(out),
            Ok(Ok(Ok(step))) => self.take(&step, &deltas, out).await,
            Ok(Err(_)) => self.cut(&super::timed_out(), out).await,
            Ok(Ok(Err(error))) => {
                // What came before the fault was said, and is passed on.
                self.write(&deltas, out);
                self.cut(&error, out).await;
            }
        }
    }

    async fn take(&mut self, step: &Step, deltas: &[Delta], out: &mut BytesMut) {
        for delta in deltas {
            self.summary.note(delta);
            if matches!(delta, Delta::Append(_)) {
                self.holding.record.output();
            }
            if let (Delta::Begin(_), Step::Pass(_)) = (delta, step) {
                // The client has the provider's own beginning: should the stream break, there is no second one.
                self.writer.write(delta, &mut BytesMut::new());
            }
            if let Some(keeper) = &mut self.holding.keeper {
                if let (Delta::Begin(begin), Step::Pass(_)) = (delta, step) {
                    keeper.under(begin.id.clone());
                }
                keeper.push(delta.clone(), &self.holding.envelope);
            }
        }
        if deltas.contains(&Delta::End) {
            return self.end(step, deltas, out).await;
        }
        match step {
            Step::Write => self.write(deltas, out),
            Step::Pass(bytes) => out.extend_from_slice(bytes),
        }
    }

    fn write(&mut self, deltas: &[Delta], out: &mut BytesMut) {
        for delta in deltas {
            match delta {
                Delta::Begin(begin) if begin.usage.is_none() => {
                    // Agents measure their context by the first event and refuse one without a size; the count that
                    // comes with the end, and the record, are the provider's.
                    let usage = self.holding.prompt_estimate.map(|tokens| Usage::of(tokens, 0));
                    self.writer.write(&Delta::Begin(Begin { usage, ..begin.clone() }), out);
                }
                delta => self.writer.write(delta, out),
            }
        }
    }

    /// The last bytes of a whole stream: the record is durable before the client can see them.
    async fn end(&mut self, step: &Step, deltas: &[Delta], out: &mut BytesMut) {
        self.is_over = true;
        let record = &mut self.holding.record;
        let closed = if self.source.has_faulted() {
            record.blame(Failure::Cut);
            record.fail(200, "upstream_error_event").await
        } else {
            record.complete(self.summary.completion(200)).await
        };
        match (closed, step) {
            (Ok(()), Step::Write) => self.write(deltas, out),
            (Ok(()), Step::Pass(bytes)) => out.extend_from_slice(bytes),
            (Err(unrecorded), _) => return self.writer.fail(unrecorded.fault(), out),
        }
        if let Some(keeper) = self.holding.keeper.take() {
            keeper.keep(&self.holding.envelope);
        }
    }

    /// The last bytes of a stream that broke.
    async fn cut(&mut self, error: &ApiError, out: &mut BytesMut) {
        self.is_over = true;
        error.log();
        self.holding.record.blame(error.failure());
        if let Err(unrecorded) = self.holding.record.fail(200, error.code()).await {
            unrecorded.log();
        }
        // An error that passed through as it was has reached the client already.
        if !self.source.has_faulted() {
            self.writer.fail(error.fault(), out);
        }
    }
}

impl Source {
    /// Whether the provider reported an error that the client has seen.
    fn has_faulted(&self) -> bool {
        matches!(self, Self::Upstream(source) if source.has_faulted())
    }
}

/// Waits for all of an answer and gives it in one document.
pub(super) async fn collected(
    mut source: Source,
    seen: Vec<Seen>,
    mut holding: Holding,
) -> Result<Response, ApiError> {
    let mut assembler = wire::reply::Assembler::default();
    let mut deltas: Vec<Delta> = seen.into_iter().flat_map(|(_, deltas)| deltas).collect();
    loop {
        let has_ended = deltas.contains(&Delta::End);
        for delta in deltas.drain(..) {
            if matches!(delta, Delta::Append(_)) {
                holding.record.output();
            }
            assembler.push(delta, &holding.envelope);
        }
        if has_ended {
            break;
        }
        let step = timeout_at(holding.deadline, source.next(&mut deltas)).await;
        if let Err(error) = step.unwrap_or_else(|_| Err(super::timed_out())) {
            holding.record.fail(error.status().as_u16(), error.code()).await?;
            return Err(error);
        }
    }
    let reply = assembler.finish().ok_or_else(ApiError::internal)?;
    finished(reply, holding, HeaderMap::new()).await
}

/// Answers with one document, in the client's dialect.
pub(super) async fn finished(
    reply: Reply,
    mut holding: Holding,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut headers = headers;
    headers.extend(holding.record.dropped_header());
    let finish = Some(reply.finish.reason.as_str());
    holding.record.output();
    holding.record.complete(Completion { status: 200, finish, usage: reply.usage }).await?;
    let document = holding.asked.write_reply(&reply, &holding.envelope);
    if let Some(keeper) = holding.keeper.take() {
        keeper.keep_reply(reply, &holding.envelope);
    }
    Ok(super::json(axum::http::StatusCode::OK, document, headers))
}
