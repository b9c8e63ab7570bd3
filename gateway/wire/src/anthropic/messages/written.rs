//! A call in the words of the API, for the API itself and for its host on Vertex AI.

use serde::Serialize;
use serde_json::Value;

use super::abilities::{Abilities, Sampling, Schemas};
use super::block::Written;
use super::schema::restrict;
use super::thinking::{self, Circumstances};
use super::turns::{Message, Turns};
use super::vertex::VERSION;
use super::write_tool::{self, Choice};
use crate::call::{Call, Effort, Format, Lost, Outgoing, Target, Untranslatable};
use crate::openai::error::to_json;

/// Tokens of an answer where the caller set no limit; the API wants one.
///
/// The most that every model since Claude 4 takes, and enough for an agent's turn with its thoughts.
const MAX_TOKENS_DEFAULT: u32 = 32_000;

/// Who serves the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// Anthropic, or a server that speaks its API. Beta features are switched on by the header `anthropic-beta`.
    Direct,
    /// Vertex AI: the model stands in the path, and the version of the API and its beta features in the body.
    Vertex {
        /// The beta features that the caller's header names and the policy allows.
        betas: &'a [String],
    },
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    anthropic_version: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    anthropic_beta: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Written<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<write_tool::Written<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<thinking::Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// What has no bearing on the number of tokens of a prompt.
#[derive(Serialize, Default)]
struct Rest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

#[derive(Serialize)]
struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Schema>,
}

#[derive(Serialize)]
struct Schema {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: Value,
}

/// Writes `call` for the API as `host` serves it.
///
/// # Errors
/// Returns what the API cannot be asked for at all: several answers at once, or an answer to nothing.
pub fn write_call(call: &Call, target: Target<'_>, host: Host<'_>) -> Result<Outgoing, Untranslatable> {
    let mut lost = Lost::default();
    let abilities = Abilities::of(target.model);
    let mut body = Body::of(call, target, &abilities, &mut lost)?;
    let thinks = body.thinking.as_ref().is_some_and(thinking::Config::is_on);
    body.rest = rest(call, &abilities, thinks, &mut lost);
    match host {
        Host::Direct => body.model = Some(target.model),
        Host::Vertex { betas } => {
            body.anthropic_version = Some(VERSION);
            body.anthropic_beta = betas;
        }
    }
    lose_what_the_api_has_not(call, &mut lost);
    Ok(Outgoing { body: to_json(&body), lost })
}

/// Writes the question how many tokens the prompt of `call` has.
pub(super) fn write_count(
    call: &Call,
    target: Target<'_>,
    host: Host<'_>,
) -> Result<Outgoing, Untranslatable> {
    let mut lost = Lost::default();
    let mut body = Body::of(call, target, &Abilities::of(target.model), &mut lost)?;
    // Here the model stands in the body at both hosts; Vertex AI has one path for all of them.
    body.model = Some(target.model);
    body.max_tokens = None;
    if let Host::Vertex { betas } = host {
        body.anthropic_version = Some(VERSION);
        body.anthropic_beta = betas;
    }
    Ok(Outgoing { body: to_json(&body), lost })
}

impl<'a> Body<'a> {
    fn of(
        call: &'a Call,
        target: Target<'_>,
        abilities: &Abilities,
        lost: &mut Lost,
    ) -> Result<Self, Untranslatable> {
        if call.choices.is_some_and(|choices| choices > 1) {
            return Err(Untranslatable::new("n", "this API gives one answer to a call; ask several times"));
        }
        let (system, messages) = Turns::write(call, target.provider, lost);
        if messages.is_empty() {
            return Err(Untranslatable::new(
                "messages",
                "this API needs a message of the user that is not empty",
            ));
        }
        let max_tokens = max_tokens(call, abilities, lost);
        let tools = write_tool::tools(call, abilities, lost);
        let tool_choice = write_tool::choice(call, &tools, abilities, lost);
        let is_forced = tool_choice.as_ref().is_some_and(Choice::is_forced);
        let circumstances = Circumstances { abilities, max_tokens, is_forced, messages: &messages };
        let (thinking, effort) = thinking::write(&call.thinking, &circumstances, lost);
        Ok(Self {
            anthropic_version: None,
            anthropic_beta: &[],
            model: None,
            max_tokens: Some(max_tokens),
            system,
            messages,
            tools,
            tool_choice,
            thinking,
            output_config: output_config(effort, format(&call.format, abilities, lost)),
            rest: Rest::default(),
        })
    }
}

fn max_tokens(call: &Call, abilities: &Abilities, lost: &mut Lost) -> u32 {
    let most = abilities.max_tokens.unwrap_or(u32::MAX);
    if call.max_tokens.is_some_and(|asked| asked > most) {
        lost.note("max_tokens");
    }
    call.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT).min(most)
}

fn rest<'a>(call: &'a Call, abilities: &Abilities, thinks: bool, lost: &mut Lost) -> Rest<'a> {
    let stop: Vec<_> = call.stop.iter().map(String::as_str).filter(|stop| !stop.trim().is_empty()).collect();
    if stop.len() < call.stop.len() {
        // Of white space alone, the API takes none.
        lost.note("stop");
    }
    let mut rest = Rest {
        stop_sequences: stop,
        metadata: call.user.as_deref().map(|user_id| Metadata { user_id }),
        stream: call.stream.then_some(true),
        ..Rest::default()
    };
    sample(&mut rest, call, abilities, thinks, lost);
    rest
}

fn sample(rest: &mut Rest<'_>, call: &Call, abilities: &Abilities, thinks: bool, lost: &mut Lost) {
    let sampling = &call.sampling;
    // Zero draws from all tokens, which is what the API does without the member.
    let top_k = sampling.top_k.filter(|top_k| *top_k > 0);
    if abilities.sampling == Sampling::None {
        lost.note_if("temperature", sampling.temperature.as_ref());
        lost.note_if("top_p", sampling.top_p.as_ref());
        lost.note_if("top_k", top_k.as_ref());
        return;
    }
    let temperature = sampling.temperature.map(|temperature| temperature.min(1.0));
    if temperature != sampling.temperature {
        lost.note("temperature");
    }
    if thinks {
        // While it thinks, the API draws at temperature 1 from nearly everything.
        lost.note_if("temperature", temperature.filter(|temperature| *temperature < 1.0).as_ref());
        lost.note_if("top_k", top_k.as_ref());
        rest.top_p = sampling.top_p.filter(|top_p| *top_p >= 0.95);
        lost.note_if("top_p", sampling.top_p.filter(|top_p| *top_p < 0.95).as_ref());
        return;
    }
    rest.temperature = temperature;
    rest.top_k = top_k;
    if abilities.sampling == Sampling::One && temperature.is_some() {
        lost.note_if("top_p", sampling.top_p.filter(|top_p| *top_p < 1.0).as_ref());
    } else {
        rest.top_p = sampling.top_p;
    }
}

fn format(format: &Format, abilities: &Abilities, lost: &mut Lost) -> Option<Schema> {
    match format {
        Format::Text => None,
        Format::JsonSchema { schema, description, .. } if abilities.schemas == Schemas::Followed => {
            lost.note_if("response_format.description", description.as_ref());
            Some(Schema { kind: "json_schema", schema: restrict(schema, "response_format.schema", lost) })
        }
        // The API has nothing for "any object". Dialects that have it demand that the prompt asks for JSON too, so
        // the model still hears of it.
        Format::JsonSchema { .. } | Format::JsonObject | Format::Other { .. } => {
            lost.note("response_format");
            None
        }
    }
}

fn output_config(effort: Option<Effort>, format: Option<Schema>) -> Option<OutputConfig> {
    let effort = effort.map(Effort::as_str);
    (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format })
}

fn lose_what_the_api_has_not(call: &Call, lost: &mut Lost) {
    let sampling = &call.sampling;
    lost.note_if("min_p", sampling.min_p.filter(|min_p| *min_p > 0.0).as_ref());
    let penalty = |penalty: Option<f64>| penalty.filter(|penalty| *penalty != 0.0);
    lost.note_if("frequency_penalty", penalty(sampling.frequency_penalty).as_ref());
    lost.note_if("presence_penalty", penalty(sampling.presence_penalty).as_ref());
    lost.note_if("seed", sampling.seed.as_ref());
    lost.note_if("logprobs", sampling.logprobs.as_ref());
    // The API stores no answers, so a caller who wants none stored has got it without a word.
    lost.note_if("store", call.store.filter(|store| *store).as_ref());
    call.lose_extras(lost);
}
