//! A closed loop of chat completions against one endpoint.
//!
//! So many callers, each with one request at a time: the next one leaves when the answer is complete. An endpoint
//! that slows down is therefore asked less often, and a latency here never includes a queue at the generator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::task::JoinSet;
use wire::openai::chat;
use wire::reply::{Delta, EventReader, Unreadable};
use wire::sse::Reader;

use crate::report::{Failure, Report, Tally};

/// Longest event of a stream, in bytes.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Words that most vocabularies have as one token, with the space before them.
const WORDS: [&str; 16] = [
    "the", "time", "people", "way", "water", "number", "house", "world", "school", "line", "night", "point",
    "city", "work", "name", "place",
];

/// What to ask, how often, and how many at a time.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the endpoints lie, such as `http://127.0.0.1:8080/v1`.
    pub base_url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// The `model` of each request.
    pub model: String,
    /// Requests in flight at a time.
    pub concurrency: usize,
    /// Requests in all.
    pub requests: usize,
    /// Length of each prompt in words, which is about as many tokens.
    pub prompt_tokens: usize,
    /// The `max_tokens` of each request.
    pub max_tokens: u32,
    /// How answers travel.
    pub delivery: Delivery,
    /// Longest wait for one whole answer.
    pub timeout: Duration,
}

/// How answers travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As one document; there is no first token to time.
    Whole,
    /// As events.
    Stream,
}

/// Why a plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The base URL is no plain HTTP address.
    #[error("`{0}` is not of the form http://HOST:PORT/PATH; this generator speaks plain HTTP only")]
    BaseUrl(String),
    /// The key cannot be a header value.
    #[error("the API key is not a line of printable characters")]
    ApiKey,
}

/// Carries the plan out and says what was seen. Failed requests count, and do not end the run.
///
/// # Errors
/// Returns [`PlanError`] if nothing could be asked at all.
///
/// # Panics
/// Panics if a caller's task did, which is a fault of this crate.
pub async fn run(plan: Plan) -> Result<Report, PlanError> {
    let callers = plan.concurrency.min(plan.requests);
    let requests = plan.requests;
    let caller = Arc::new(Caller::new(plan)?);
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let (caller, next) = (Arc::clone(&caller), Arc::clone(&next));
        running.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return tally;
                }
                caller.call(number, &mut tally).await;
            }
        });
    }
    let tallies = running.join_all().await;
    Ok(Report::new(started.elapsed(), &tallies))
}

/// What all callers share.
struct Caller {
    plan: Plan,
    uri: Uri,
    authorization: Option<HeaderValue>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Caller {
    fn new(plan: Plan) -> Result<Self, PlanError> {
        let uri: Option<Uri> =
            format!("{}/chat/completions", plan.base_url.trim_end_matches('/')).parse().ok();
        let uri = uri
            .filter(|uri| uri.scheme_str() == Some("http"))
            .ok_or_else(|| PlanError::BaseUrl(plan.base_url.clone()))?;
        let bearer = |key: &String| HeaderValue::try_from(format!("Bearer {key}"));
        let authorization = plan.api_key.as_ref().map(bearer).transpose().map_err(|_| PlanError::ApiKey)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // Every caller keeps its connection: what is measured is the endpoint, not TCP's handshake.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(plan.concurrency).build(connector);
        Ok(Self { plan, uri, authorization, client })
    }

    /// Makes one request and notes what came of it.
    async fn call(&self, number: usize, tally: &mut Tally) {
        let started = Instant::now();
        let answered = tokio::time::timeout(self.plan.timeout, self.exchange(number, started, tally)).await;
        match answered.unwrap_or(Err(Failure::Timeout)) {
            Ok(tokens) => tally.completed(started.elapsed(), tokens),
            Err(failure) => tally.failed(failure),
        }
    }

    /// Returns the tokens of the answer.
    async fn exchange(&self, number: usize, started: Instant, tally: &mut Tally) -> Result<u64, Failure> {
        let response = self.client.request(self.request(number)).await.map_err(|_| Failure::Transport)?;
        let status = response.status();
        if !status.is_success() {
            // Read to its end, so that the connection can be used again.
            drop(response.into_body().collect().await);
            return Err(Failure::Status(status.as_u16()));
        }
        match self.plan.delivery {
            Delivery::Whole => whole(response).await,
            Delivery::Stream => streamed(response, started, tally).await,
        }
    }

    fn request(&self, number: usize) -> Request<Full<Bytes>> {
        let Plan { model, prompt_tokens, max_tokens, .. } = &self.plan;
        let mut body = json!({
            "model": model,
            "messages": [{ "role": "user", "content": prompt(number, *prompt_tokens) }],
            "max_tokens": max_tokens,
        });
        if self.plan.delivery == Delivery::Stream {
            body["stream"] = true.into();
            body["stream_options"] = json!({ "include_usage": true });
        }
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// A prompt of about `tokens` tokens. Its first word is its number, so that no two share a prefix that a server
/// could have kept.
fn prompt(number: usize, tokens: usize) -> String {
    let words = (1..tokens).map(|i| WORDS[(number + i * 5 + i / WORDS.len()) % WORDS.len()]);
    words.fold(number.to_string(), |prompt, word| prompt + " " + word)
}

async fn whole(response: Response<Incoming>) -> Result<u64, Failure> {
    let document = response.into_body().collect().await.map_err(|_| Failure::Cut)?.to_bytes();
    let reply = chat::read_reply(&document).map_err(|error| match error {
        Unreadable::Fault(_) => Failure::Reported,
        Unreadable::Malformed(_) => Failure::Uncounted,
    })?;
    let usage = reply.usage.ok_or(Failure::Uncounted)?;
    Ok(usage.completion_tokens)
}

async fn streamed(response: Response<Incoming>, started: Instant, tally: &mut Tally) -> Result<u64, Failure> {
    let mut body = response.into_body();
    let mut reader = Reader::new(EVENT_BYTES_MAX);
    let mut events = chat::Reader::new();
    let (mut usage, mut has_ended) = (None, false);
    let mut last_output: Option<Instant> = None;
    while let Some(frame) = body.frame().await {
        // The time of arrival counts, whatever is in the piece: events that came together have no gap.
        let now = Instant::now();
        let Ok(piece) = frame.map_err(|_| Failure::Cut)?.into_data() else { continue };
        reader.push(&piece);
        while let Some(frame) = reader.next_frame().map_err(|_| Failure::Cut)? {
            let Some(event) = &frame.event else { continue };
            let mut deltas = Vec::new();
            events.read(event, &mut deltas).map_err(|_| Failure::Reported)?;
            let has_output = deltas.iter().any(|delta| matches!(delta, Delta::Append(_)));
            has_ended |= deltas.contains(&Delta::End);
            for delta in deltas {
                if let Delta::Usage(counted) = delta {
                    usage = Some(counted);
                }
            }
            if !has_output {
                continue;
            }
            match last_output.replace(now) {
                None => tally.first_token(now - started),
                Some(last) => tally.next_token(now - last),
            }
        }
    }
    if !has_ended {
        return Err(Failure::Cut);
    }
    usage.map(|usage| usage.completion_tokens).ok_or(Failure::Uncounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_has_its_words_and_a_beginning_of_its_own() {
        assert_eq!(prompt(3, 1), "3");
        assert_eq!(prompt(7, 200).split(' ').count(), 200);
        assert!(prompt(41, 5).starts_with("41 ") && prompt(42, 5).starts_with("42 "));
    }

    #[test]
    fn an_address_that_needs_tls_is_refused() {
        let plan = Plan {
            base_url: "https://api.example.com/v1".to_owned(),
            api_key: None,
            model: "auto".to_owned(),
            concurrency: 1,
            requests: 1,
            prompt_tokens: 1,
            max_tokens: 1,
            delivery: Delivery::Whole,
            timeout: Duration::from_secs(1),
        };
        assert!(matches!(Caller::new(plan), Err(PlanError::BaseUrl(_))));
    }
}
