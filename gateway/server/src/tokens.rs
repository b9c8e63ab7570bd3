//! How many tokens something is, and which: counting a conversation, and the tokenizers of our own models.
//!
//! Agents decide by a count when to shorten their history. Where the destination counts, it is asked; where it cannot,
//! the gateway estimates and says so in a header, because an agent without any number does worse.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use egress::Outbound;
use engine::{Engine, Prompt, SpecialTokens};
use policy::{Destination, Hop, Target, Workflow};
use tokio::time::{Instant, timeout_at};
use wire::anthropic::messages;
use wire::call::{Call as Asked, Target as Addressee};
use wire::openai::tokens::{self, Detokenize, Text, Tokenize};
use wire::{Api, AskUsage, Dialect, Indirect, ParseError, Request, Usage};
use wire::{bedrock, gemini};

use crate::active::Active;
use crate::app::App;
use crate::error::ApiError;
use crate::http::Visit;
use crate::pipeline::{self, Attempt, Back, Call};
use crate::question::Question;
use crate::record::{BYTES_PER_TOKEN, Completion, Record};
use crate::reply::upstream::{document, head};
use crate::reply::{engine as local, to_engine, way};

/// Marks a count that nobody made.
const ESTIMATED: HeaderName = HeaderName::from_static("x-portcullis-estimated");

/// How many tokens a conversation is, in the dialect of Messages.
#[derive(Clone)]
pub(crate) struct Count(Request);

impl Question for Count {
    fn parse(dialect: Dialect, body: Bytes) -> Result<Self, ParseError> {
        Request::parse(dialect, body).map(Self)
    }

    fn model(&self) -> &str {
        &self.0.model
    }

    fn body_bytes(&self) -> usize {
        self.0.body().len()
    }

    fn prompt(&self) -> &[u8] {
        Question::prompt(&self.0)
    }

    fn opening(&self) -> Vec<String> {
        read(&self.0).map_or_else(|_| Vec::new(), |call| crate::question::opening(&call))
    }

    fn is_comparable(&self) -> bool {
        false
    }

    fn tools(&self) -> Option<u64> {
        Some(self.0.tools as u64)
    }

    fn offered_tools(&self) -> Vec<String> {
        self.0.offered_tools()
    }

    fn has_images(&self) -> bool {
        self.0.has_images()
    }

    fn indirect(&self) -> Vec<Indirect> {
        self.0.indirect()
    }

    async fn send(call: Call<Self>, hop: &Hop, mut record: Record) -> (Attempt, Back<Self>) {
        let counted = match hop.target() {
            Target::Engine(_) => count_here(&call, hop).await.map(Counted::exactly),
            Target::Http(destination) => count_there(&call, hop, destination, &mut record).await,
        };
        let Counted { tokens, headers } = match counted {
            Ok(counted) => counted,
            Err(attempt) => return (attempt, Some((call, record))),
        };
        record.output();
        let completion = Completion { status: 200, finish: None, usage: Some(Usage::of(tokens, 0)) };
        match record.complete(completion).await {
            Ok(()) => {
                let document = messages::write_count_reply(tokens);
                (Attempt::began(crate::reply::json(StatusCode::OK, document, headers)), None)
            }
            // The record is closed already; nothing is left to fall back with.
            Err(unrecorded) => (Attempt::Refused(unrecorded), None),
        }
    }
}

/// A count, and what stands beside it.
struct Counted {
    tokens: u64,
    headers: HeaderMap,
}

impl Counted {
    fn exactly(tokens: u64) -> Self {
        Self { tokens, headers: HeaderMap::new() }
    }

    fn roughly(body_bytes: usize) -> Self {
        let headers = HeaderMap::from_iter([(ESTIMATED, HeaderValue::from_static("input_tokens"))]);
        Self { tokens: body_bytes as u64 / BYTES_PER_TOKEN, headers }
    }
}

fn read(request: &Request) -> Result<Asked, Attempt> {
    messages::read_count(request.body()).map_err(|error| Attempt::Refused(ApiError::unreadable(&error)))
}

async fn count_here(call: &Call<Count>, hop: &Hop) -> Result<u64, Attempt> {
    let (generator, _) = local::generator(call, hop).await?;
    let asked = read(&call.question.0)?;
    let request = to_engine::chat(&asked, Dialect::AnthropicMessages, &mut wire::call::Lost::default())
        .map_err(Attempt::Refused)?;
    let Prompt::Conversation(conversation) = request.prompt else {
        return Err(Attempt::Failed(ApiError::internal()));
    };
    let counting = generator.count(conversation, request.now);
    match timeout_at(call.deadline, counting).await {
        Ok(counted) => counted.map(|tokens| tokens as u64).map_err(|error| local::refusal(&error)),
        Err(_) => Err(Attempt::Failed(crate::reply::timed_out())),
    }
}

async fn count_there(
    call: &Call<Count>,
    hop: &Hop,
    destination: &Destination,
    record: &mut Record,
) -> Result<Counted, Attempt> {
    let request = &call.question.0;
    let model = hop.upstream_model();
    let api = way::native(destination.api(), model);
    let (Some(path), Some(body)) = (way::counting_path(api, model), counting_body(call, hop, api)?) else {
        return Ok(Counted::roughly(request.body().len()));
    };
    let outbound = Outbound {
        path,
        headers: call.headers.clone(),
        body,
        deadline: call.deadline,
        passage: record.passage(),
    };
    let reply = head(call, hop, outbound, (api, Dialect::AnthropicMessages), record).await?;
    let document = document(reply).await?;
    let counted = match api {
        Api::Gemini(_) => gemini::read_count(&document),
        Api::Converse => bedrock::read_count(&document),
        _ => messages::read_count_reply(&document),
    };
    // A provider that answers something else has not counted.
    Ok(counted.map_or_else(|| Counted::roughly(request.body().len()), Counted::exactly))
}

/// What a provider is asked, to count; nothing if the conversation cannot be said to it.
fn counting_body(call: &Call<Count>, hop: &Hop, api: Api) -> Result<Option<Bytes>, Attempt> {
    let (request, model) = (&call.question.0, hop.upstream_model());
    let target = Addressee { provider: hop.provider().as_ref(), model };
    let written = match api {
        Api::Messages if !request.has_translated_seals() => {
            return Ok(Some(request.forward_body(model, AskUsage::AsCaller)));
        }
        Api::MessagesOnVertex => {
            let body = messages::vertex::count_body(request.body(), way::without_publisher(model), &[]);
            return body.map(Some).map_err(|error| Attempt::Refused(ApiError::unreadable(&error)));
        }
        Api::Gemini(host) => gemini::write_count(&read(request)?, target, host),
        Api::Converse => bedrock::write_count(&read(request)?, target),
        _ => return Ok(None),
    };
    Ok(written.ok().map(|outgoing| outgoing.body))
}

const TOKENIZE: &str = "/tokenize";
const DETOKENIZE: &str = "/detokenize";

/// `POST /tokenize`: the tokens of a text or a conversation, by the tokenizer of a model of our own.
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    visit: Visit,
    body: Body,
) -> Result<Response, ApiError> {
    let active = app.active();
    let (workflow, body) = enter((&app, &active), TOKENIZE, &visit, body).await?;
    let Tokenize { model, text, special, wants_strings } =
        tokens::read_tokenize(&body).map_err(|error| ApiError::unreadable(&error))?;
    let generator = generator(&active, workflow, &model).await?;
    let prompt = match text {
        Text::Plain(text) => Prompt::Text(text),
        Text::Conversation(call) => {
            let mut lost = wire::call::Lost::default();
            to_engine::chat(&call, Dialect::OpenAiChat, &mut lost)?.prompt
        }
    };
    // A template writes its own.
    let adds = special.unwrap_or(!matches!(prompt, Prompt::Conversation(_)));
    let special = if adds { SpecialTokens::Add } else { SpecialTokens::Omit };
    let ids = generator.tokenize(prompt, special, jiff::ZonedDateTime::now()).await;
    let ids = ids.map_err(|error| into_error(local::refusal(&error)))?;
    let strings = if wants_strings {
        let strings = generator.token_text(ids.clone()).await;
        Some(strings.map_err(|error| into_error(local::refusal(&error)))?)
    } else {
        None
    };
    Ok(json(tokens::write_tokenized(&ids, strings.as_deref(), generator.capacity_tokens() as u64)))
}

/// `POST /detokenize`: the text of tokens.
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    visit: Visit,
    body: Body,
) -> Result<Response, ApiError> {
    let active = app.active();
    let (workflow, body) = enter((&app, &active), DETOKENIZE, &visit, body).await?;
    let Detokenize { model, tokens } =
        tokens::read_detokenize(&body).map_err(|error| ApiError::unreadable(&error))?;
    let text = generator(&active, workflow, &model).await?.detokenize(tokens).await;
    let text = text.map_err(|error| into_error(local::refusal(&error)).with_param("tokens"))?;
    Ok(json(tokens::write_detokenized(&text)))
}

async fn enter<'a>(
    at: (&App, &'a Active),
    endpoint: &'static str,
    visit: &Visit,
    mut body: Body,
) -> Result<(&'a Workflow, Bytes), ApiError> {
    let (_, workflow) =
        pipeline::enter(at, endpoint, visit.peer, &visit.headers, visit.selector.as_deref()).await?;
    let deadline = Instant::now() + workflow.limits().total;
    let body = pipeline::read_body(&mut body, workflow.limits().max_body_bytes, deadline).await?;
    Ok((workflow, body))
}

/// Nothing leaves the process for a tokenizer, so only our own models have one.
async fn generator(active: &Active, workflow: &Workflow, model: &str) -> Result<engine::Handle, ApiError> {
    let unknown = || {
        let message =
            "only a model that this gateway serves itself has a tokenizer here; /v1/models lists the names";
        ApiError::not_found("model_not_found", message).with_param("model")
    };
    let reachable = workflow.reachable_models().find(|reachable| reachable.name().as_ref() == model);
    let resident = reachable.and_then(|model| active.resident(model.name())).ok_or_else(unknown)?;
    let deadline = Instant::now() + workflow.limits().total;
    match resident.lease(deadline).await?.engine {
        Engine::Generator(generator) => Ok(generator),
        Engine::Encoder(_) => Err(unknown()),
    }
}

fn into_error(attempt: Attempt) -> ApiError {
    match attempt {
        Attempt::Failed(error) | Attempt::Refused(error) => error,
        Attempt::Began(_) => ApiError::internal(),
    }
}

fn json(document: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}
