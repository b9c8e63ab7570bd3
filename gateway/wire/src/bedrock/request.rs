//! The body of `Converse` and `ConverseStream`, which is the same, and of `CountTokens`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::content::Blocks;
use super::model::Family;
use super::reply::STOP_SEQUENCE_PATHS;
use super::{message, thinking, tool};
use crate::call::{Call, Format, Lost, Outgoing, Sampling, Target, Untranslatable};

/// Writes `call` for `Converse` or `ConverseStream`; the path says which.
///
/// `betas` are those of the client's `anthropic-beta` that the policy lets through; only Claude hears of them.
///
/// # Errors
/// Returns the block whose bytes Bedrock cannot get, or whose format it does not know.
pub fn write_call(call: &Call, target: Target<'_>, betas: &[String]) -> Result<Outgoing, Untranslatable> {
    let mut blocks = Blocks::new(target);
    let mut body = conversation(call, &mut blocks)?;
    let mut inference = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        inference.extend(value.map(|value| (name.to_owned(), value)));
    };
    let mut fields = Map::new();
    let thinks = additional_fields(call, betas, &mut blocks, &mut fields);
    put("maxTokens", call.max_tokens.map(|tokens| json!(tokens)));
    let sampling =
        if thinks { lose_sampling(&call.sampling, &mut blocks.lost) } else { call.sampling.clone() };
    put("temperature", sampling.temperature.map(|temperature| json!(temperature)));
    put("topP", sampling.top_p.map(|top_p| json!(top_p)));
    put("stopSequences", (!call.stop.is_empty()).then(|| json!(call.stop)));
    if let Some(top_k) = sampling.top_k {
        match blocks.family {
            Family::Claude(_) => drop(fields.insert("top_k".to_owned(), json!(top_k))),
            Family::Nova => drop(fields.insert("inferenceConfig".to_owned(), json!({ "topK": top_k }))),
            Family::Other => blocks.lost.note("top_k"),
        }
    }
    if !inference.is_empty() {
        body.insert("inferenceConfig".to_owned(), Value::Object(inference));
    }
    if !fields.is_empty() {
        body.insert("additionalModelRequestFields".to_owned(), Value::Object(fields));
    }
    if !call.stop.is_empty() && matches!(blocks.family, Family::Claude(_)) {
        // Without it, the answer does not say which of them was met.
        body.insert("additionalModelResponseFieldPaths".to_owned(), json!(STOP_SEQUENCE_PATHS));
    }
    body.extend(format(&call.format, &mut blocks.lost).map(|format| ("outputConfig".to_owned(), format)));
    lose_rest(call, &mut blocks.lost);
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
    let (instructions, turns) = call.split_instructions();
    let mut body = Map::new();
    let system = message::system(instructions, blocks);
    body.insert("messages".to_owned(), Value::Array(message::messages(turns, blocks)?));
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
    let Family::Claude(claude) = blocks.family else {
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
    thinking::write(call, blocks.target, claude.thinks, fields, &mut blocks.lost)
}

/// A Claude that thinks accepts no other drawing than its own, but for a high `top_p`.
fn lose_sampling(sampling: &Sampling, lost: &mut Lost) -> Sampling {
    const TOP_P_MIN: f64 = 0.95;
    let top_p = sampling.top_p.filter(|top_p| *top_p >= TOP_P_MIN);
    if sampling.temperature.is_some_and(|temperature| temperature < 1.0) {
        lost.note("temperature");
    }
    if top_p != sampling.top_p {
        lost.note("top_p");
    }
    lost.note_if("top_k", sampling.top_k.as_ref());
    Sampling { temperature: None, top_p, top_k: None, ..sampling.clone() }
}

fn format(format: &Format, lost: &mut Lost) -> Option<Value> {
    let Format::JsonSchema { name, description, schema, .. } = format else {
        if *format != Format::Text {
            lost.note("response_format");
        }
        return None;
    };
    let mut definition = Map::new();
    definition.insert("schema".to_owned(), json!(schema.to_string()));
    definition.insert("name".to_owned(), json!(name));
    definition.extend(description.as_ref().map(|text| ("description".to_owned(), json!(text))));
    Some(json!({ "textFormat": { "type": "json_schema", "structure": { "jsonSchema": definition } } }))
}

fn lose_rest(call: &Call, lost: &mut Lost) {
    let sampling = &call.sampling;
    lost.note_if("min_p", sampling.min_p.as_ref());
    lost.note_if("frequency_penalty", sampling.frequency_penalty.as_ref());
    lost.note_if("presence_penalty", sampling.presence_penalty.as_ref());
    lost.note_if("seed", sampling.seed.as_ref());
    lost.note_if("logprobs", sampling.logprobs.as_ref());
    lost.note_if("choices", call.choices.filter(|choices| *choices > 1).as_ref());
    lost.note_if("parallel_tools", call.parallel_tools.filter(|parallel| !parallel).as_ref());
    lost.note_if("user", call.user.as_ref());
    lost.note_if("store", call.store.as_ref());
    call.lose_extras(lost);
}

fn to_bytes(body: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("a JSON value always serialises"))
}
