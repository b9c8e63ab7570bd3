//! A chat with a model that this process serves itself.
//!
//! What the engine cannot do yet is refused by name rather than ignored: a client that asks for a JSON schema
//! and gets prose has been lied to.

use std::collections::VecDeque;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use engine::{Conversation, Engine, Event, Events, FinishReason, Prompt, Sampling, SubmitError};
use futures_util::stream;
use policy::Hop;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use wire::Usage;
use wire::openai::chat::{
    Answer, Completion, Delivery, Envelope, FunctionCall, Request, ResponseFormat, Role, StreamWriter, Tool,
    ToolCall, ToolChoice,
};

use crate::error::ApiError;
use crate::pipeline::{Attempt, Back, Call};
use crate::record::{self, Record};

/// Sends the call to the engine of `hop`'s model.
pub(crate) async fn attempt(call: Call<Request>, hop: &Hop, record: Record) -> (Attempt, Back<Request>) {
    let (mut events, first) = match begin(&call, hop).await {
        Ok(begun) => begun,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    let created_s = jiff::Timestamp::now().as_second().unsigned_abs();
    let unique = uuid::Uuid::now_v7().simple().to_string();
    let envelope = Envelope::new(&unique, created_s, hop.model().as_ref());
    let reply = Reply { record, deadline: call.deadline, _place: call.place };
    match call.question.delivery {
        Delivery::Stream(usage_chunk) => {
            let writer = StreamWriter::new(envelope, 1, usage_chunk);
            (Attempt::Began(streamed(reply, events, first, writer)), None)
        }
        Delivery::Whole => match whole(reply, &mut events, first, envelope).await {
            Ok(response) => (Attempt::Began(response), None),
            // The record is closed already; nothing is left to fall back with.
            Err(error) => (Attempt::Refused(error), None),
        },
    }
}

/// What a reply holds until its last byte.
struct Reply {
    record: Record,
    deadline: Instant,
    _place: OwnedSemaphorePermit,
}

/// Submits the request and waits for the first event, so that a failure before it still has its own status.
async fn begin(call: &Call<Request>, hop: &Hop) -> Result<(Events, Event), Attempt> {
    let generator = match call.app.engines.get(hop.model()) {
        Some(Engine::Generator(generator)) => generator,
        Some(Engine::Encoder(_)) => return Err(wrong_kind(hop)),
        None => return Err(Attempt::Failed(ApiError::internal())),
    };
    let request = to_engine(&call.question).map_err(Attempt::Refused)?;
    let mut events = generator.submit(request).await.map_err(|error| refusal(&error))?;
    match next(&mut events, call.deadline).await {
        Ok(first) => Ok((events, first)),
        Err(error) => Err(Attempt::Failed(error)),
    }
}

/// Another model of the route may well be of the right kind.
fn wrong_kind(hop: &Hop) -> Attempt {
    let text = format!(
        "the model `{}` cannot chat: it turns texts into vectors or labels; name another model, or send texts to /v1/embeddings",
        hop.model()
    );
    Attempt::Failed(ApiError::invalid("model_does_not_chat", text).with_param("model"))
}

/// The next event; a failed or stuck engine is an error.
async fn next(events: &mut Events, deadline: Instant) -> Result<Event, ApiError> {
    match timeout_at(deadline, events.next()).await {
        Err(_) => Err(super::engine_timeout()),
        Ok(Some(Event::Failed) | None) => {
            Err(ApiError::unavailable("engine_failed", "the model failed while it answered; try again"))
        }
        Ok(Some(event)) => Ok(event),
    }
}

fn refusal(error: &SubmitError) -> Attempt {
    let text = error.to_string();
    match error {
        SubmitError::Overloaded => Attempt::Failed(ApiError::unavailable("engine_overloaded", text)),
        SubmitError::Stopped => Attempt::Failed(ApiError::unavailable("engine_stopped", text)),
        SubmitError::NeverFits { .. } => {
            let hint = format!("{text}; shorten the conversation or ask for fewer tokens");
            Attempt::Refused(ApiError::invalid("context_length_exceeded", hint).with_param("messages"))
        }
        SubmitError::NothingAsked => {
            Attempt::Refused(ApiError::invalid("invalid_value", text).with_param("max_tokens"))
        }
        SubmitError::Sampling(wrong) => {
            Attempt::Refused(ApiError::invalid("invalid_value", text).with_param(wrong.setting))
        }
        SubmitError::UnknownToken(_) | SubmitError::EmptyPrompt => {
            Attempt::Refused(ApiError::invalid("invalid_value", text).with_param("messages"))
        }
        SubmitError::Text(_) => {
            Attempt::Refused(ApiError::invalid("template_refused", text).with_param("messages"))
        }
        SubmitError::Constraint(_) => {
            Attempt::Refused(ApiError::invalid("invalid_value", text).with_param("response_format"))
        }
    }
}

/// Collects the reply into one document.
async fn whole(
    mut reply: Reply,
    events: &mut Events,
    first: Event,
    envelope: Envelope,
) -> Result<Response, ApiError> {
    let (mut text, mut tool_calls, mut event) = (String::new(), Vec::new(), first);
    let (finish_reason, usage) = loop {
        match event {
            Event::Text(more) => {
                reply.record.output();
                text.push_str(&more);
            }
            Event::ToolCallBegin { name } => {
                reply.record.output();
                tool_calls.push(FunctionCall { id: tool_call_id(), name, arguments: String::new() });
            }
            Event::ToolArguments(more) => {
                if let Some(call) = tool_calls.last_mut() {
                    call.arguments.push_str(&more);
                }
            }
            Event::Reasoning(_) | Event::ToolCallEnd => {}
            Event::Finished { reason, usage, .. } => break (finish_reason(reason), usage),
            Event::Failed => return Err(ApiError::internal()),
        }
        event = match next(events, reply.deadline).await {
            Ok(event) => event,
            Err(error) => {
                reply.record.fail(error.status().as_u16(), error.code()).await?;
                return Err(error);
            }
        };
    };
    let usage = wire_usage(usage);
    let completion =
        record::Completion { status: 200, finish: Some(finish_reason.as_str()), usage: Some(usage) };
    reply.record.complete(completion).await?;
    let answer = Answer { text, tool_calls, finish_reason };
    let document = Completion { envelope, answers: vec![answer], usage }.to_json();
    Ok(super::json(StatusCode::OK, document, HeaderMap::new()))
}

/// A stream in the making: the engine's events on one side, the client's bytes on the other.
struct Streaming {
    reply: Reply,
    events: Events,
    /// `None` once the last byte is in `ready`.
    writer: Option<StreamWriter>,
    ready: VecDeque<Bytes>,
    first: Option<Event>,
}

fn streamed(reply: Reply, events: Events, first: Event, writer: StreamWriter) -> Response {
    let state = Streaming { reply, events, writer: Some(writer), ready: VecDeque::new(), first: Some(first) };
    let bytes =
        stream::unfold(
            state,
            |mut state| async move { state.next_bytes().await.map(|bytes| (bytes, state)) },
        );
    super::event_stream(bytes, HeaderMap::new())
}

impl Streaming {
    async fn next_bytes(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            let mut writer = self.writer.take()?;
            let event = match self.first.take() {
                Some(event) => Ok(event),
                None => next(&mut self.events, self.reply.deadline).await,
            };
            match event {
                Ok(Event::Text(text)) => {
                    self.reply.record.output();
                    self.ready.push_back(writer.text(0, &text));
                    self.writer = Some(writer);
                }
                Ok(Event::ToolCallBegin { name }) => {
                    self.reply.record.output();
                    self.ready.push_back(writer.begin_tool_call(0, &tool_call_id(), &name));
                    self.writer = Some(writer);
                }
                Ok(Event::ToolArguments(more)) => {
                    self.ready.push_back(writer.tool_arguments(0, &more));
                    self.writer = Some(writer);
                }
                Ok(Event::Reasoning(_) | Event::ToolCallEnd) => self.writer = Some(writer),
                Ok(Event::Finished { reason, usage, .. }) => {
                    self.end(writer, finish_reason(reason), wire_usage(usage)).await;
                }
                Ok(Event::Failed) => self.cut(&ApiError::internal()).await,
                Err(error) => self.cut(&error).await,
            }
        }
    }

    /// The last bytes of a whole reply: the record is durable before the client can see them.
    async fn end(
        &mut self,
        mut writer: StreamWriter,
        finish: wire::openai::chat::FinishReason,
        usage: Usage,
    ) {
        let completion =
            record::Completion { status: 200, finish: Some(finish.as_str()), usage: Some(usage) };
        match self.reply.record.complete(completion).await {
            Ok(()) => {
                self.ready.push_back(writer.finish(0, finish));
                self.ready.push_back(writer.end(&usage));
            }
            Err(unrecorded) => self.ready.push_back(unrecorded.to_event()),
        }
    }

    /// The last bytes of a reply that broke: an error event and no `[DONE]`.
    async fn cut(&mut self, error: &ApiError) {
        error.log();
        if let Err(unrecorded) = self.reply.record.fail(200, error.code()).await {
            unrecorded.log();
        }
        self.ready.push_back(error.to_event());
    }
}

fn tool_call_id() -> String {
    format!("call_{}", uuid::Uuid::now_v7().simple())
}

fn finish_reason(reason: FinishReason) -> wire::openai::chat::FinishReason {
    use wire::openai::chat::FinishReason as Wire;
    match reason {
        FinishReason::Stop => Wire::Stop,
        FinishReason::Length => Wire::Length,
        FinishReason::ToolCalls => Wire::ToolCalls,
    }
}

fn wire_usage(usage: engine::Usage) -> Usage {
    let engine::Usage { prompt_tokens, completion_tokens } = usage;
    Usage::of(prompt_tokens as u64, completion_tokens as u64)
}

/// The request in the engine's terms.
fn to_engine(request: &Request) -> Result<engine::Request, ApiError> {
    refuse_unsupported(request)?;
    let messages = request.messages.iter().enumerate().map(|(i, message)| to_message(i, message));
    let tools = request.tooling.tools.iter().enumerate().map(|(i, tool)| to_tool(i, tool));
    let offered = match request.tooling.choice {
        Some(ToolChoice::None) => Vec::new(),
        _ => tools.collect::<Result<_, _>>()?,
    };
    let sampling = &request.sampling;
    Ok(engine::Request {
        prompt: Prompt::Conversation(Conversation {
            messages: messages.collect::<Result<_, _>>()?,
            tools: offered,
        }),
        sampling: Sampling {
            temperature: sampling.temperature.unwrap_or(1.0) as f32,
            // On the wire 0 means all tokens.
            top_k: sampling.top_k.filter(|k| *k > 0),
            top_p: sampling.top_p.unwrap_or(1.0) as f32,
            min_p: sampling.min_p.unwrap_or(0.0) as f32,
            // The wire's seed is signed; its bits are as good a seed.
            seed: sampling.seed.map(i64::cast_unsigned),
        },
        stop: request.output.stop.clone(),
        max_new_tokens: request.output.max_tokens.map(|tokens| tokens as usize),
        constraint: None,
        now: jiff::ZonedDateTime::now(),
    })
}

fn refuse_unsupported(request: &Request) -> Result<(), ApiError> {
    let refuse = |param: &'static str, message: &str| {
        Err(ApiError::invalid("unsupported_parameter", format!("{param}: {message}")).with_param(param))
    };
    let (output, sampling) = (&request.output, &request.sampling);
    if output.choices != 1 {
        return refuse("n", "this model gives one choice per request; send several requests");
    }
    if output.format != ResponseFormat::Text {
        return refuse(
            "response_format",
            "this model cannot be held to a format yet; ask for JSON in the prompt",
        );
    }
    if output.logprobs.is_some() {
        return refuse("logprobs", "this model does not report log probabilities yet; leave it out");
    }
    if sampling.frequency_penalty.is_some_and(|x| x != 0.0) {
        return refuse("frequency_penalty", "this model has no penalties yet; leave it out or send 0");
    }
    if sampling.presence_penalty.is_some_and(|x| x != 0.0) {
        return refuse("presence_penalty", "this model has no penalties yet; leave it out or send 0");
    }
    match request.tooling.choice {
        None | Some(ToolChoice::None | ToolChoice::Auto) => Ok(()),
        Some(_) => {
            refuse("tool_choice", "this model cannot be forced to call a tool yet; send `auto` or `none`")
        }
    }
}

fn to_message(index: usize, message: &wire::openai::chat::Message) -> Result<engine::Message, ApiError> {
    let content = match &message.content {
        None => String::new(),
        Some(content) => content
            .to_text()
            .map_err(|error| {
                let text = format!("messages[{index}]: {error}, and this model reads text only");
                ApiError::invalid("unsupported_content", text).with_param("messages")
            })?
            .into_owned(),
    };
    let role = match message.role {
        Role::System | Role::Developer => engine::Role::System,
        Role::User => engine::Role::User,
        Role::Assistant => engine::Role::Assistant,
        Role::Tool | Role::Function => engine::Role::Tool,
    };
    let calls = message.tool_calls.iter().map(|call| match call {
        ToolCall::Function(FunctionCall { id, name, arguments }) => {
            Ok(engine::ToolCall { id: id.clone(), name: name.clone(), arguments: arguments.clone() })
        }
        ToolCall::Other(kind) => {
            let text = format!("messages[{index}]: a tool call of type `{kind}` is not known to this model");
            Err(ApiError::invalid("unsupported_content", text).with_param("messages"))
        }
    });
    Ok(engine::Message {
        role,
        content,
        tool_calls: calls.collect::<Result<_, _>>()?,
        tool_call_id: message.tool_call_id.clone(),
        name: message.name.clone(),
    })
}

fn to_tool(index: usize, tool: &Tool) -> Result<engine::Tool, ApiError> {
    match tool {
        Tool::Function { name, definition } => {
            let function = &definition["function"];
            Ok(engine::Tool {
                name: name.clone(),
                description: function["description"].as_str().map(str::to_owned),
                parameters: function.get("parameters").cloned().unwrap_or_else(|| serde_json::json!({})),
            })
        }
        Tool::Other { kind } => {
            let text = format!(
                "tools[{index}]: a tool of type `{kind}` runs on a provider's servers; this model has functions only"
            );
            Err(ApiError::invalid("unsupported_tool", text).with_param("tools"))
        }
    }
}
