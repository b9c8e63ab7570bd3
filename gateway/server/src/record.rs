//! One call's record: the audit trail's intent and result, and the metrics, opened and closed together.
//!
//! Opening waits until the intent is durable; nothing is sent before. Closing happens exactly once: by
//! [`Record::complete`], by [`Record::fail`], or by dropping it, which is a client that went away, or a call that was
//! revoked before its reply began.

use std::sync::Arc;
use std::time::Duration;

use audit::{AuditError, Carried, DialId, Ending, Intent, Outcome, PolicyRef, RequestFacts, Route, Tokens};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use egress::Passage;
use policy::{Admitted, Caller, Hop, KeyId, Revoked};
use tokio::time::Instant;
use wire::Usage;
use wire::call::Lost;

use crate::app::App;
use crate::error::ApiError;
use crate::question::Question;
use crate::revoked::{self, Watch};

/// Names a call's record in the audit trail.
const RECORD_HEADER: HeaderName = HeaderName::from_static("x-portcullis-record");

/// Says which fields of the request the destination could not be told.
const DROPPED_HEADER: HeaderName = HeaderName::from_static("x-portcullis-dropped");

/// Longest id of a provider that is recorded, in characters; it is the provider's word.
const UPSTREAM_ID_CHARS_MAX: usize = 128;

/// How long a disk may take to make a record durable.
const AUDIT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Bytes of a request per token, for the estimate that the route's conditions use.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

/// What is known of a request that was refused before it was read.
pub(crate) fn unread_facts(endpoint: &'static str) -> RequestFacts {
    RequestFacts { endpoint: endpoint.into(), model_requested: None, bytes: 0, tokens_est: None, tools: None }
}

/// What the policy and the trail know of a request: sizes, never text.
pub(crate) fn request_facts<Q: Question>(endpoint: &'static str, question: &Q) -> RequestFacts {
    RequestFacts {
        endpoint: endpoint.into(),
        model_requested: Some(question.model().into()),
        bytes: question.body_bytes() as u64,
        tokens_est: Some(tokens_estimate(question)),
        tools: question.tools(),
    }
}

/// A guess at the prompt's length in tokens.
pub(crate) fn tokens_estimate<Q: Question>(question: &Q) -> u64 {
    question.body_bytes() as u64 / BYTES_PER_TOKEN
}

/// An open call.
pub(crate) struct Record {
    app: Arc<App>,
    pending: Option<audit::Pending>,
    workflow: String,
    watch: Watch,
    route: Route,
    /// How the present try goes over the network, if it does.
    passage: Passage,
    /// The dials of the tries before.
    earlier: Vec<DialId>,
    /// The provider's own id of the call.
    upstream_id: Option<String>,
    /// The try that is on its way, for those who choose upstreams.
    attempt: Option<routing::Attempt>,
    started: Instant,
    first_output: Option<Instant>,
    last_output: Option<Instant>,
}

/// What is known of a call when its record is opened.
pub(crate) struct Opening<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) admitted: &'a Admitted,
    /// Where it will most likely go first.
    pub(crate) hop: &'a Hop,
    pub(crate) request: RequestFacts,
    pub(crate) purpose: Purpose,
    pub(crate) started: Instant,
}

/// Who gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The caller.
    Answer,
    /// Nobody: it is recorded so that two models can be compared, and counts for no caller and no workflow.
    Shadow,
}

/// How a call that was answered ended.
pub(crate) struct Completion {
    /// HTTP status.
    pub(crate) status: u16,
    /// The model's reason to stop.
    pub(crate) finish: Option<&'static str>,
    /// What was counted, if anything was.
    pub(crate) usage: Option<Usage>,
}

impl Record {
    /// Writes the intent and waits until it is durable.
    pub(crate) async fn open(app: &Arc<App>, opening: Opening<'_>) -> Result<Self, ApiError> {
        let Opening { caller, admitted, hop, request, purpose, started } = opening;
        let route = Route { shadow: purpose == Purpose::Shadow, ..route(hop, 1) };
        let intent = Intent {
            workflow: admitted.workflow().as_ref().into(),
            owner: admitted.owner().into(),
            caller: caller_text(caller),
            policy: PolicyRef {
                digest: admitted.digest().to_string().into(),
                rule: Some(admitted.rule().into()),
            },
            request,
            route: route.clone(),
        };
        let pending = recorded(app.audit.begin(intent)).await?;
        let mut watch = Watch::new(app.revocations.subscribe(), caller, admitted.workflow());
        watch.toward(hop);
        let workflow = admitted.workflow().to_string();
        if purpose == Purpose::Answer {
            app.metrics.in_flight.with_label_values(&[&workflow]).inc();
        }
        let app = Arc::clone(app);
        Ok(Self {
            app,
            pending: Some(pending),
            workflow,
            watch,
            route,
            passage: Passage::default(),
            earlier: Vec::new(),
            upstream_id: None,
            attempt: None,
            started,
            first_output: None,
            last_output: None,
        })
    }

    /// The header that tells the client which record is its call's, so that it can be asked about.
    pub(crate) fn header(&self) -> HeaderMap {
        let id = self.pending.as_ref().map(|pending| pending.receipt().id.to_string());
        let value = id.and_then(|id| HeaderValue::from_str(&id).ok());
        value.map(|value| (RECORD_HEADER, value)).into_iter().collect()
    }

    /// The header that names what the destination could not be told, if anything.
    pub(crate) fn dropped_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let names: Vec<&str> = self.route.dropped.iter().map(audit::Text::as_str).collect();
        // Names of unknown fields are the caller's own words, and may be no header text.
        let text: String = names
            .join(", ")
            .chars()
            .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
            .collect();
        let value = HeaderValue::from_str(&text).ok().filter(|_| !names.is_empty())?;
        Some((DROPPED_HEADER, value))
    }

    /// Notes that the call now goes to `hop`, as its try number `number`.
    pub(crate) fn routed(&mut self, hop: &Hop, number: u32, attempt: routing::Attempt) {
        self.route = route(hop, number);
        self.watch.toward(hop);
        self.attempt = Some(attempt);
        let before = std::mem::take(&mut self.passage);
        self.earlier.extend(dial(&before));
    }

    /// Where whoever sends the present try notes how it goes.
    pub(crate) fn passage(&self) -> Passage {
        self.passage.clone()
    }

    /// Hands the try that failed back; what becomes of it is the plan's to say.
    pub(crate) fn tried(&mut self) -> Option<routing::Attempt> {
        self.attempt.take()
    }

    /// Notes what the end of the try says of the upstream.
    pub(crate) fn blame(&mut self, failure: routing::Failure) {
        if let Some(attempt) = &mut self.attempt {
            attempt.failed(failure, self.app.router.now());
        }
    }

    /// Watches the list of revocations for this call.
    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// What of the call has been revoked since the last look.
    pub(crate) fn news_of_revocation(&mut self) -> Option<Revoked> {
        self.watch.news()
    }

    /// Waits until some of the call is revoked. Cancel safe.
    pub(crate) async fn revoked(&mut self) -> Revoked {
        self.watch.happens().await
    }

    fn is_shadow(&self) -> bool {
        self.route.shadow
    }

    /// Notes what could not be said to the present destination.
    pub(crate) fn lost(&mut self, lost: &Lost) {
        self.route.dropped = lost.names().map(Into::into).collect();
    }

    /// Notes under which id the provider knows the call.
    pub(crate) fn answered_as(&mut self, id: Option<&str>) {
        self.upstream_id = id.map(|id| id.chars().take(UPSTREAM_ID_CHARS_MAX).collect());
    }

    /// Notes that a piece of output is about to leave for the client.
    pub(crate) fn output(&mut self) {
        let now = Instant::now();
        if self.is_shadow() {
            self.first_output.get_or_insert(now);
            return;
        }
        let (metrics, model) = (&self.app.metrics, [self.route.model.as_str()]);
        match self.last_output {
            None => {
                self.first_output = Some(now);
                if let Some(attempt) = &mut self.attempt {
                    attempt.answered(self.app.router.now());
                }
                let seconds = (now - self.started).as_secs_f64();
                metrics.time_to_first_token.with_label_values(&model).observe(seconds);
            }
            Some(last) => metrics.inter_token.with_label_values(&model).observe((now - last).as_secs_f64()),
        }
        self.last_output = Some(now);
    }

    /// Closes the record of a call that was answered, durably: call it before the client can see the end.
    pub(crate) async fn complete(&mut self, completion: Completion) -> Result<(), ApiError> {
        let Completion { status, finish, usage } = completion;
        if let Some(attempt) = &mut self.attempt {
            // An answer without a word is one too.
            attempt.answered(self.app.router.now());
        }
        if let Some(usage) = usage.as_ref().filter(|_| !self.is_shadow()) {
            let count = |kind, tokens: u64| {
                let labels = [self.workflow.as_str(), self.route.model.as_str(), kind];
                self.app.metrics.tokens.with_label_values(&labels).inc_by(tokens);
            };
            count("prompt", usage.prompt_tokens);
            count("completion", usage.completion_tokens);
            if let Some(cached) = usage.cached_tokens {
                count("cached", cached);
            }
        }
        let tokens = usage.map_or_else(no_tokens, |usage| Tokens {
            input: Some(usage.prompt_tokens),
            output: Some(usage.completion_tokens),
            cached: usage.cached_tokens,
            reasoning: usage.reasoning_tokens,
        });
        let finish = finish.map(Into::into);
        self.close("ok", Ending::Completed, (Some(status), finish, tokens)).await
    }

    /// Closes the record of a call that failed.
    pub(crate) async fn fail(&mut self, status: u16, code: &'static str) -> Result<(), ApiError> {
        self.close("failed", Ending::Failed { code: code.into() }, (Some(status), None, no_tokens())).await
    }

    async fn close(&mut self, label: &'static str, ending: Ending, seen: Seen) -> Result<(), ApiError> {
        let Some((pending, outcome)) = self.settle(label, ending, seen) else { return Ok(()) };
        recorded(pending.finish(outcome)).await.map(drop)
    }

    /// Settles the metrics and hands out what the trail has to be told; nothing if that was done before.
    fn settle(&mut self, label: &str, ending: Ending, seen: Seen) -> Option<(audit::Pending, Outcome)> {
        let pending = self.pending.take()?;
        self.attempt = None;
        let elapsed = self.started.elapsed();
        let (metrics, model) = (&self.app.metrics, self.route.model.as_str());
        if self.is_shadow() {
            metrics.shadow.with_label_values(&[model, label]).inc();
        } else {
            metrics.in_flight.with_label_values(&[&self.workflow]).dec();
            metrics.requests.with_label_values(&[&self.workflow, model, label]).inc();
            metrics.request_seconds.with_label_values(&[model, label]).observe(elapsed.as_secs_f64());
        }
        let (status, finish, tokens) = seen;
        let dial = dial(&self.passage);
        let of_dial = |bytes: u64| dial.is_some().then_some(bytes);
        let carried = Carried {
            earlier: std::mem::take(&mut self.earlier),
            bytes_sent: of_dial(self.passage.bytes_sent()),
            bytes_received: of_dial(self.passage.bytes_received()),
        };
        let outcome = Outcome {
            ending,
            status,
            finish,
            tokens,
            ttft_ms: self.first_output.map(|first| (first - self.started).as_millis() as u64),
            dur_ms: elapsed.as_millis() as u64,
            upstream_request_id: self.upstream_id.take().map(Into::into),
            carried,
            route: Some(Route { dial, ..self.route.clone() }),
        };
        Some((pending, outcome))
    }
}

/// Status, finish reason and tokens of an ended call, as far as there were any.
type Seen = (Option<u16>, Option<audit::Text>, Tokens);

impl Drop for Record {
    fn drop(&mut self) {
        if self.pending.is_none() {
            return;
        }
        let (label, ending) = match self.watch.found() {
            Some(_) => ("failed", Ending::Failed { code: revoked::CODE.into() }),
            None => ("aborted", Ending::Aborted),
        };
        if let Some((pending, outcome)) = self.settle(label, ending, (None, None, no_tokens())) {
            pending.abandon(outcome);
        }
    }
}

/// The caller, as the trail writes it.
pub(crate) fn caller_text(caller: &Caller) -> audit::Caller {
    let key = caller.key().map(KeyId::as_str).filter(|key| *key != caller.id());
    audit::Caller { kind: caller.kind().as_str().into(), id: caller.id().into(), key: key.map(Into::into) }
}

/// Waits until something is on record. A call that cannot be recorded in time is not made.
pub(crate) async fn recorded<T>(written: impl Future<Output = Result<T, AuditError>>) -> Result<T, ApiError> {
    let message = "the call cannot be recorded and is therefore refused; try again later";
    let refusal = || ApiError::unavailable("audit_unavailable", message);
    match tokio::time::timeout(AUDIT_WAIT_MAX, written).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(refusal().caused_by(error)),
        Err(late) => Err(refusal().caused_by(late)),
    }
}

fn route(hop: &Hop, attempt: u32) -> Route {
    Route {
        model: hop.model().as_ref().into(),
        provider: hop.provider().as_ref().into(),
        locality: hop.locality().as_str().into(),
        attempt,
        shadow: false,
        dial: None,
        dropped: Vec::new(),
    }
}

/// The dial of a try, as the trail writes it.
fn dial(passage: &Passage) -> Option<DialId> {
    passage.dial().map(|dial| dial.as_str().into())
}

fn no_tokens() -> Tokens {
    Tokens { input: None, output: None, cached: None, reasoning: None }
}
