//! A call in the engine's terms.
//!
//! What the engine cannot do is refused by name where the answer would be to another question, and noted as lost where
//! it would be a little worse: a client that asks for two answers and gets one has been lied to.

use engine::{CallLimit, Constraint, NewTokens, Prompt, Sampling, ToolDemand};
use wire::call::{Block, Call as Asked, Content, Format, Lost, Role, ToolChoice, ToolKind, Turn};
use wire::openai::completions::{self, Completion};
use wire::{Dialect, Request};

use super::Conversation;
use crate::error::ApiError;
use crate::pipeline::Call;

/// Reads the request, and says what the engine is asked and what it cannot be told.
pub(super) fn asked(call: &Call<Request>) -> Result<(Conversation, engine::Request, Lost), ApiError> {
    if call.question.dialect() == Dialect::OpenAiCompletions {
        return completion(&call.question);
    }
    let conversation = super::conversation(call)?;
    let mut lost = Lost::default();
    let request = chat(&conversation.call, call.question.dialect(), &mut lost)?;
    Ok((conversation, request, lost))
}

/// Agents ask every model for the same number of tokens, and mean as many of them as fit.
fn new_tokens(asked: Option<u32>, dialect: Dialect) -> NewTokens {
    match (asked, dialect) {
        (None, _) => NewTokens::Fitting,
        (Some(tokens), Dialect::AnthropicMessages | Dialect::OpenAiResponses) => {
            NewTokens::AtMost(tokens as usize)
        }
        (Some(tokens), _) => NewTokens::Reserved(tokens as usize),
    }
}

fn completion(request: &Request) -> Result<(Conversation, engine::Request, Lost), ApiError> {
    let read = completions::read_completion(request.body()).map_err(|error| ApiError::unreadable(&error))?;
    let Completion { prompt, max_tokens, sampling, stop, choices, echo, extras } = read;
    let mut lost = Lost::default();
    lost.note_extras(&extras);
    refuse_unsupported(&sampling, Some(choices))?;
    let (prompt, repeated) = match prompt {
        completions::Prompt::Text(text) => (Prompt::Text(text.clone()), Some(text)),
        completions::Prompt::Tokens(tokens) => (Prompt::Tokens(tokens), None),
    };
    let echo = match (echo, repeated) {
        (false, _) => String::new(),
        (true, Some(text)) => text,
        (true, None) => return Err(unsupported("echo", "send the prompt as text to have it repeated")),
    };
    let request = engine::Request {
        prompt,
        sampling: to_sampling(&sampling),
        stop,
        new_tokens: NewTokens::Reserved(max_tokens as usize),
        constraint: None,
        now: jiff::ZonedDateTime::now(),
    };
    Ok((Conversation { call: Asked::default(), echo }, request, lost))
}

/// Reads a conversation, and notes in `lost` what the engine cannot be told.
pub(crate) fn chat(call: &Asked, dialect: Dialect, lost: &mut Lost) -> Result<engine::Request, ApiError> {
    refuse_unsupported(&call.sampling, call.choices)?;
    call.lose_extras(lost);
    lost.note_if("reasoning_effort", call.thinking.effort_or_budget().as_ref());
    let offered = if call.tool_choice == ToolChoice::None { &[][..] } else { &call.tools[..] };
    let tools: Vec<engine::Tool> = offered.iter().filter_map(|tool| to_tool(tool, lost)).collect();
    let constraint = to_constraint(call, !tools.is_empty())?;
    let mut messages = Vec::with_capacity(call.turns.len());
    let (instructions, _) = call.split_instructions();
    for (index, turn) in call.turns.iter().enumerate() {
        let place = Place { index, is_leading: index < instructions.len() };
        to_messages(turn, &place, &mut messages, lost)?;
    }
    if dialect != Dialect::OpenAiChat {
        messages = joined(messages);
    }
    Ok(engine::Request {
        prompt: Prompt::Conversation(engine::Conversation { messages, tools }),
        sampling: to_sampling(&call.sampling),
        stop: call.stop.clone(),
        new_tokens: new_tokens(call.max_tokens, dialect),
        constraint,
        now: jiff::ZonedDateTime::now(),
    })
}

fn to_sampling(sampling: &wire::call::Sampling) -> Sampling {
    Sampling {
        temperature: sampling.temperature.unwrap_or(1.0) as f32,
        // On the wire 0 means all tokens.
        top_k: sampling.top_k.filter(|k| *k > 0),
        top_p: sampling.top_p.unwrap_or(1.0) as f32,
        min_p: sampling.min_p.unwrap_or(0.0) as f32,
        // The wire's seed is signed; its bits are as good a seed.
        seed: sampling.seed.map(i64::cast_unsigned),
    }
}

fn unsupported(param: &'static str, message: &str) -> ApiError {
    ApiError::invalid("unsupported_parameter", format!("{param}: {message}")).with_param(param)
}

fn refuse_unsupported(sampling: &wire::call::Sampling, choices: Option<u32>) -> Result<(), ApiError> {
    if choices.is_some_and(|choices| choices != 1) {
        return Err(unsupported("n", "this model gives one choice per request; send several requests"));
    }
    if sampling.logprobs.is_some() {
        let message = "this model does not report log probabilities yet; leave it out";
        return Err(unsupported("logprobs", message));
    }
    let penalties =
        [("frequency_penalty", sampling.frequency_penalty), ("presence_penalty", sampling.presence_penalty)];
    match penalties.into_iter().find(|(_, penalty)| penalty.is_some_and(|penalty| penalty != 0.0)) {
        Some((param, _)) => {
            Err(unsupported(param, "this model has no penalties yet; leave it out or send 0"))
        }
        None => Ok(()),
    }
}

fn to_constraint(call: &Asked, has_tools: bool) -> Result<Option<Constraint>, ApiError> {
    let calls = if call.parallel_tools == Some(false) { CallLimit::One } else { CallLimit::Any };
    let tools = |demand| Some(Constraint::Tools { demand, calls });
    let demanded = match &call.tool_choice {
        ToolChoice::Named(name) => tools(ToolDemand::Named(name.clone())),
        ToolChoice::Required => tools(ToolDemand::Required),
        ToolChoice::Auto if has_tools => tools(ToolDemand::Auto),
        ToolChoice::Auto | ToolChoice::None => None,
    };
    let form = match &call.format {
        Format::Text => return Ok(demanded),
        Format::JsonObject => Constraint::JsonObject,
        Format::JsonSchema { schema, .. } => Constraint::JsonSchema(schema.clone()),
        Format::Other { .. } => {
            return Err(unsupported("response_format", "this model knows `json_object` and `json_schema`"));
        }
    };
    match demanded {
        None => Ok(Some(form)),
        Some(_) => Err(unsupported(
            "response_format",
            "this model cannot be held to a format while tools are offered; leave one of them out",
        )),
    }
}

/// Where a turn stands.
struct Place {
    index: usize,
    /// Among the instructions that come before everything else.
    is_leading: bool,
}

fn to_messages(
    turn: &Turn,
    place: &Place,
    messages: &mut Vec<engine::Message>,
    lost: &mut Lost,
) -> Result<(), ApiError> {
    let mut message = engine::Message {
        role: match turn.role {
            Role::System if place.is_leading => engine::Role::System,
            // Most templates refuse instructions behind other turns; the words matter more than who says them.
            Role::System | Role::User => engine::Role::User,
            Role::Assistant => engine::Role::Assistant,
        },
        content: String::new(),
        tool_calls: Vec::new(),
        tool_call_id: None,
        name: turn.name.clone(),
    };
    for block in &turn.blocks {
        match &block.content {
            Content::ToolCall(called) => message.tool_calls.push(engine::ToolCall {
                id: called.id.clone(),
                name: called.name.clone(),
                arguments: called.arguments_json(),
            }),
            Content::ToolResult(result) => {
                let content = result.told(words(&result.content, place)?.into()).into_owned();
                messages.push(engine::Message {
                    role: engine::Role::Tool,
                    content,
                    tool_calls: Vec::new(),
                    tool_call_id: Some(result.call_id.clone()),
                    name: result.name.clone(),
                });
            }
            // Templates of models that think drop the thoughts of earlier turns by themselves.
            Content::Reasoning(_) => lost.note("content.reasoning"),
            _ => message.content.push_str(word(block, place)?),
        }
    }
    let only_results = turn.blocks.iter().all(|block| matches!(block.content, Content::ToolResult(_)));
    if !only_results || turn.blocks.is_empty() {
        messages.push(message);
    }
    Ok(())
}

fn words(blocks: &[Block], place: &Place) -> Result<String, ApiError> {
    blocks.iter().map(|block| word(block, place)).collect()
}

fn word<'a>(block: &'a Block, place: &Place) -> Result<&'a str, ApiError> {
    match &block.content {
        Content::Text(text) | Content::Refusal(text) => Ok(text),
        other => {
            let (index, kind) = (place.index, other.kind());
            let text = format!(
                "messages[{index}]: content of type `{kind}` is not text, and this model reads text only"
            );
            Err(ApiError::invalid("unsupported_content", text).with_param("messages"))
        }
    }
}

/// Joins what one side says in several messages: most templates want the sides to alternate.
fn joined(messages: Vec<engine::Message>) -> Vec<engine::Message> {
    let mut joined: Vec<engine::Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let is_plain = message.tool_calls.is_empty() && message.role != engine::Role::Tool;
        match joined.last_mut() {
            Some(last) if is_plain && last.role == message.role && last.tool_calls.is_empty() => {
                last.content.push_str("\n\n");
                last.content.push_str(&message.content);
            }
            // An assistant's words and the calls that follow them are one turn.
            Some(last) if message.role == engine::Role::Assistant && last.role == message.role => {
                last.content.push_str(&message.content);
                last.tool_calls.extend(message.tool_calls);
            }
            _ => joined.push(message),
        }
    }
    joined
}

fn to_tool(tool: &wire::call::Tool, lost: &mut Lost) -> Option<engine::Tool> {
    let parameters = match &tool.kind {
        ToolKind::Function { parameters, .. } => parameters.clone(),
        ToolKind::Custom { .. } => ToolKind::custom_as_parameters(),
        ToolKind::Hosted { kind, .. } => {
            // It would run on a provider's servers, and this model has none.
            lost.note(&format!("tools.{kind}"));
            return None;
        }
    };
    Some(engine::Tool { name: tool.name.clone(), description: tool.description.clone(), parameters })
}
