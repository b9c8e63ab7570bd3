//! The body of `Converse` and `ConverseStream`, which is the same, and of `CountTokens`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::content::Blocks;
use super::model::Family;
use super::reply::STOP_SEQUENCE_PATHS;
use super::{message, thinking, tool};
use crate::anthropic::messages::abilities::{Sampling, Schemas};
use crate::anthropic::messages::schema::restrict;
use crate::call::{Call, Format, Lost, Outgoing, Target, Untranslatable};

/// Least `top_p` with which a Claude thinks.
const THINKING_TOP_P_MIN: f64 = 0.95;

/// Writes `call` for `Converse` or `ConverseStream`; the path says which.
///
/// `betas` are those of the client's `anthropic-beta` that the policy lets through; only Claude hears of them.
///
/// # Errors
/// Returns the block whose bytes Bedrock cannot get, or whose format it does not know; that no message is left; or that
/// several answers are asked for.
pub fn write_call(call: &Call, target: Target<'_>, betas: &[String]) -> Result<Outgoing, Untranslatable> {
    if call.choices.is_some_and(|choices| choices > 1) {
        return Err(Untranslatable::new("n", "this API gives one answer to a call; ask several times"));
    }
    let mut blocks = Blocks::new(target);
    let mut body = conversation(call, &mut blocks)?;
    let mut fields = Map::new();
    let thinks = additional_fields(call, betas, &mut blocks, &mut fields);
    let mut inference = Map::new();
    inference.extend(max_tokens(call, &mut blocks).map(|tokens| ("maxTokens".to_owned(), json!(tokens))));
    sample(call, thinks, &mut blocks, &mut inference, &mut fields);
    stop(call, &mut blocks, &mut inference, &mut body);
    if !inference.is_empty() {
        body.insert("inferenceConfig".to_owned(), Value::Object(inference));
    }
    if !fields.is_empty() {
        body.insert("additionalModelRequestFields".to_owned(), Value::Object(fields));
    }
    body.extend(format(&call.format, &mut blocks).map(|format| ("outputConfig".to_owned(), format)));
    lose_what_the_api_has_not(call, &mut blocks.lost);
    Ok(Outgoing { body: to_bytes(&Value::Object(body)), lost: blocks.lost })
}

/// Writes `call` for `CountTokens`.
///
/// # Errors
/// As [`write_call`].
pub fn write_count(call: &Call, target: Target<'_>) -> Result<Outgoing, Untranslatable> {
    let mut blocks = Blocks::new(target);
    let conversation = conversation(call, &mut blocks)?;
    let body = json!({ "input": { "converse": conversation } });
    Ok(Outgoing { body: to_bytes(&body), lost: blocks.lost })
}

/// Reads the answer of `CountTokens`: the tokens of the prompt; nothing if it is none.
pub fn read_count(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Count {
        input_tokens: u64,
    }
    serde_json::from_slice::<Count>(body).ok().map(|count| count.input_tokens)
}

fn conversation(call: &Call, blocks: &mut Blocks<'_>) -> Result<Map<String, Value>, Untranslatable> {
    let (system, messages) = message::write(&call.turns, blocks)?;
    let mut body = Map::new();
    body.insert("messages".to_owned(), Value::Array(messages));
    if !system.is_empty() {
        body.insert("system".to_owned(), Value::Array(system));
    }
    body.extend(tool::config(call, blocks).map(|config| ("toolConfig".to_owned(), config)));
    Ok(body)
}

/// Writes what only the model's family understands, and returns whether the model will think.
fn additional_fields(
    call: &Call,
    betas: &[String],
    blocks: &mut Blocks<'_>,
    fields: &mut Map<String, Value>,
) -> bool {
    let Some(abilities) = blocks.family.abilities() else {
        if call.thinking.effort_or_budget().is_some() || call.thinking.enabled.is_some() {
            blocks.lost.note("thinking");
        }
        if !betas.is_empty() {
            blocks.lost.note("anthropic-beta");
        }
        return false;
    };
    if !betas.is_empty() {
        fields.insert("anthropic_beta".to_owned(), json!(betas));
    }
    thinking::write(call, blocks.target, &abilities, fields, &mut blocks.lost)
}

/// Absent leaves it to the API, which lets the model say as much as it can.
fn max_tokens(call: &Call, blocks: &mut Blocks<'_>) -> Option<u32> {
    let asked = call.max_tokens?;
    let most = blocks.family.abilities().and_then(|abilities| abilities.max_tokens).unwrap_or(u32::MAX);
    if asked > most {
        blocks.lost.note("max_tokens");
    }
    Some(asked.min(most))
}

/// Writes how tokens are drawn. Newer Claudes, and all that think, do that as they like.
fn sample(
    call: &Call,
    thinks: bool,
    blocks: &mut Blocks<'_>,
    inference: &mut Map<String, Value>,
    fields: &mut Map<String, Value>,
) {
    let accepted = blocks.family.abilities().map_or(Sampling::All, |abilities| abilities.sampling);
    let is_free = !thinks && accepted != Sampling::None;
    let asked = &call.sampling;
    // A Claude draws at 1 at most, and at 1 while it thinks.
    let most = if accepted == Sampling::All && blocks.family.abilities().is_none() { 2.0 } else { 1.0 };
    let temperature = asked.temperature.filter(|_| is_free).map(|temperature| temperature.min(most));
    if temperature != asked.temperature && !(thinks && asked.temperature == Some(1.0)) {
        blocks.lost.note("temperature");
    }
    let top_p = asked.top_p.filter(|top_p| match accepted {
        Sampling::None => false,
        _ if thinks => *top_p >= THINKING_TOP_P_MIN,
        Sampling::One => temperature.is_none(),
        Sampling::All => true,
    });
    if top_p != asked.top_p && asked.top_p != Some(1.0) {
        blocks.lost.note("top_p");
    }
    inference.extend(temperature.map(|temperature| ("temperature".to_owned(), json!(temperature))));
    inference.extend(top_p.map(|top_p| ("topP".to_owned(), json!(top_p))));
    // Zero draws from all tokens, which is what every model does without the member.
    let Some(top_k) = asked.top_k.filter(|top_k| *top_k > 0) else {
        return;
    };
    match blocks.family {
        Family::Claude(_) if is_free => drop(fields.insert("top_k".to_owned(), json!(top_k))),
        Family::Nova => drop(fields.insert("inferenceConfig".to_owned(), json!({ "topK": top_k }))),
        Family::Claude(_) | Family::Other => blocks.lost.note("top_k"),
    }
}

fn stop(
    call: &Call,
    blocks: &mut Blocks<'_>,
    inference: &mut Map<String, Value>,
    body: &mut Map<String, Value>,
) {
    let is_claude = blocks.family.abilities().is_some();
    // Of white space alone, a Claude takes none.
    let stop: Vec<&String> = call.stop.iter().filter(|stop| !is_claude || !stop.trim().is_empty()).collect();
    if stop.len() < call.stop.len() {
        blocks.lost.note("stop");
    }
    if stop.is_empty() {
        return;
    }
    inference.insert("stopSequences".to_owned(), json!(stop));
    if is_claude {
        // Without it, the answer does not say which of them was met.
        body.insert("additionalModelResponseFieldPaths".to_owned(), json!(STOP_SEQUENCE_PATHS));
    }
}

fn format(format: &Format, blocks: &mut Blocks<'_>) -> Option<Value> {
    let follows = blocks.family.abilities().is_none_or(|abilities| abilities.schemas == Schemas::Followed);
    let (name, description, schema) = match format {
        Format::Text => return None,
        Format::JsonSchema { name, description, schema, .. } if follows => (name, description, schema),
        Format::JsonSchema { .. } | Format::JsonObject | Format::Other { .. } => {
            blocks.lost.note("response_format");
            return None;
        }
    };
    let schema = restrict(schema, "response_format.schema", &mut blocks.lost);
    let mut definition = Map::new();
    definition.insert("schema".to_owned(), json!(schema.to_string()));
    definition.insert("name".to_owned(), json!(name));
    definition.extend(description.as_ref().map(|text| ("description".to_owned(), json!(text))));
    Some(json!({ "textFormat": { "type": "json_schema", "structure": { "jsonSchema": definition } } }))
}

fn lose_what_the_api_has_not(call: &Call, lost: &mut Lost) {
    let sampling = &call.sampling;
    let says = |value: Option<f64>| value.filter(|value| *value != 0.0);
    lost.note_if("min_p", says(sampling.min_p).as_ref());
    lost.note_if("frequency_penalty", says(sampling.frequency_penalty).as_ref());
    lost.note_if("presence_penalty", says(sampling.presence_penalty).as_ref());
    lost.note_if("seed", sampling.seed.as_ref());
    lost.note_if("logprobs", sampling.logprobs.as_ref());
    lost.note_if("parallel_tools", call.parallel_tools.filter(|parallel| !parallel).as_ref());
    lost.note_if("user", call.user.as_ref());
    // The API stores no answers, so a caller who wants none stored has got it without a word.
    lost.note_if("store", call.store.filter(|store| *store).as_ref());
    call.lose_extras(lost);
}

fn to_bytes(body: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("a JSON value always serialises"))
}
