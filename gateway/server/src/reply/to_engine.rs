//! A call in the engine's terms.
//!
//! What the engine cannot do is refused by name where the answer would be to another question, and noted as lost where
//! it would be a little worse: a client that asks for a picture and gets a text has been lied to.

use engine::{
    CallLimit, Constraint, Detail, EndTokens, Ending, NewTokens, Penalties, Prompt, Report, Sampling,
    ToolDemand,
};
use wire::call::{Block, Call as Asked, Content, Format, Lost, Role, ToolChoice, ToolKind, Turn};
use wire::openai::completions::{self, Completion};
use wire::openai::local::Local;
use wire::reply::Shown;
use wire::{Dialect, Request};

use super::Conversation;
use crate::error::ApiError;
use crate::pipeline::Call;

/// What the engine is asked.
pub(super) struct Question {
    pub(super) conversation: Conversation,
    /// One for each prompt; a conversation is one.
    pub(super) requests: Vec<engine::Request>,
    /// Answers to each prompt.
    pub(super) choices: usize,
    /// What the engine cannot be told.
    pub(super) lost: Lost,
}

/// Reads the request, and says what the engine is asked.
pub(super) fn asked(call: &Call<Request>) -> Result<Question, ApiError> {
    if call.question.dialect() == Dialect::OpenAiCompletions {
        return completion(&call.question);
    }
    let mut conversation = super::conversation(call)?;
    let mut lost = Lost::default();
    let mut asked = conversation.call.clone();
    let dialect = call.question.dialect();
    let local = local_settings(&mut asked, dialect)?;
    let mut request = chat(&asked, dialect, &mut lost)?;
    let shown =
        Shown { logprobs: asked.sampling.logprobs.is_some(), echo: false, token_ids: local.return_token_ids };
    request.report = report(&asked.sampling, shown);
    tell(&mut request, &local);
    conversation.shown = shown;
    let choices = asked.choices.unwrap_or(1) as usize;
    Ok(Question { conversation, requests: vec![request], choices, lost })
}

/// Takes the settings that only a model of our own is told. Other dialects have no such fields.
fn local_settings(asked: &mut Asked, dialect: Dialect) -> Result<Local, ApiError> {
    if dialect != Dialect::OpenAiChat {
        return Ok(Local::default());
    }
    Local::take(&mut asked.extras).map_err(|error| ApiError::unreadable(&error))
}

fn tell(request: &mut engine::Request, local: &Local) {
    request.sampling.penalties.repetition = local.repetition_penalty.unwrap_or(1.0) as f32;
    request.sampling.bias = local.logit_bias.iter().map(|(token, bias)| (*token, *bias as f32)).collect();
    request.ending = Ending {
        stop_tokens: local.stop_token_ids.clone(),
        min_tokens: local.min_tokens.unwrap_or(0) as usize,
        eos: if local.ignore_eos { EndTokens::Ignored } else { EndTokens::End },
    };
}

/// What the engine has to report for what is shown.
fn report(sampling: &wire::call::Sampling, shown: Shown) -> Report {
    let alternatives = u32::from(sampling.logprobs.unwrap_or(0));
    let detail = |has_logprobs| match (has_logprobs, shown.token_ids) {
        (true, _) => Detail::Logprobs { alternatives },
        (false, true) => Detail::Ids,
        (false, false) => Detail::Nothing,
    };
    Report { prompt: detail(shown.logprobs && shown.echo), reply: detail(shown.logprobs) }
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

fn completion(request: &Request) -> Result<Question, ApiError> {
    let read = completions::read_completion(request.body()).map_err(|error| ApiError::unreadable(&error))?;
    let Completion { prompts, max_tokens, sampling, stop, choices, echo, local, extras } = read;
    let mut lost = Lost::default();
    lost.note_extras(&extras);
    let shown = Shown { logprobs: sampling.logprobs.is_some(), echo, token_ids: local.return_token_ids };
    let request = |prompt| {
        let mut request = engine::Request {
            prompt: match prompt {
                completions::Prompt::Text(text) => Prompt::Text(text),
                completions::Prompt::Tokens(tokens) => Prompt::Tokens(tokens),
            },
            sampling: to_sampling(&sampling),
            stop: stop.clone(),
            ending: Ending::default(),
            new_tokens: match max_tokens {
                0 => NewTokens::Nothing,
                tokens => NewTokens::Reserved(tokens as usize),
            },
            constraint: None,
            report: report(&sampling, shown),
            now: jiff::ZonedDateTime::now(),
        };
        tell(&mut request, &local);
        request
    };
    let requests = prompts.into_iter().map(request).collect();
    let conversation = Conversation { call: Asked::default(), shown };
    Ok(Question { conversation, requests, choices: choices as usize, lost })
}

/// Reads a conversation, and notes in `lost` what the engine cannot be told.
pub(crate) fn chat(call: &Asked, dialect: Dialect, lost: &mut Lost) -> Result<engine::Request, ApiError> {
    if call.sampling.logprobs.is_some() && dialect != Dialect::OpenAiChat {
        let message = "this model reports log probabilities in chat completions and completions only";
        return Err(unsupported("top_logprobs", message));
    }
    let told = super::templated::told(&call.extras, lost)?;
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
        prompt: Prompt::Conversation(engine::Conversation { messages, tools, ..told }),
        sampling: to_sampling(&call.sampling),
        stop: call.stop.clone(),
        ending: Ending::default(),
        new_tokens: new_tokens(call.max_tokens, dialect),
        constraint,
        report: Report::default(),
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
        penalties: Penalties {
            presence: sampling.presence_penalty.unwrap_or(0.0) as f32,
            frequency: sampling.frequency_penalty.unwrap_or(0.0) as f32,
            repetition: 1.0,
        },
        bias: Vec::new(),
    }
}

fn unsupported(param: &'static str, message: &str) -> ApiError {
    ApiError::invalid("unsupported_parameter", format!("{param}: {message}")).with_param(param)
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
