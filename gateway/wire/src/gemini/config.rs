//! How to answer, as `generationConfig`.

use serde_json::{Map, Value, json};

use super::schema;
use super::version::Version;
use crate::call::{Call, Effort, Format, Lost, Thinking};

/// Writes the settings; empty if the caller has none.
pub(super) fn config(call: &Call, version: Version, lost: &mut Lost) -> Map<String, Value> {
    let mut config = Map::new();
    let mut put =
        |name: &str, value: Option<Value>| config.extend(value.map(|value| (name.to_owned(), value)));
    let sampling = &call.sampling;
    put("temperature", sampling.temperature.map(|value| json!(value)));
    put("topP", sampling.top_p.map(|value| json!(value)));
    // 0 draws from all, which is what absence says here.
    put("topK", sampling.top_k.filter(|value| *value > 0).map(|value| json!(value)));
    put("frequencyPenalty", sampling.frequency_penalty.map(|value| json!(value)));
    put("presencePenalty", sampling.presence_penalty.map(|value| json!(value)));
    // A seed is 32 bits wide there.
    let seed = sampling.seed.and_then(|seed| i32::try_from(seed).ok());
    if seed.is_none() {
        lost.note_if("seed", sampling.seed.as_ref());
    }
    put("seed", seed.map(|seed| json!(seed)));
    put("maxOutputTokens", call.max_tokens.map(|value| json!(value)));
    put("stopSequences", (!call.stop.is_empty()).then(|| json!(call.stop)));
    put("thinkingConfig", thinking(&call.thinking, version, lost));
    format(call, version, &mut config, lost);
    lost.note_if("min_p", sampling.min_p.filter(|min_p| *min_p > 0.0).as_ref());
    // Nothing carries them back: see `reply`.
    lost.note_if("logprobs", sampling.logprobs.as_ref());
    config
}

fn format(call: &Call, version: Version, config: &mut Map<String, Value>, lost: &mut Lost) {
    let schema = match &call.format {
        Format::Text => return,
        // Before Gemini 3, JSON and functions exclude each other, and the call would fail.
        _ if !version.is_3() && !call.tools.is_empty() => return lost.note("response_format"),
        Format::Other { .. } => return lost.note("response_format"),
        Format::JsonObject => None,
        Format::JsonSchema { schema, .. } => Some(schema::written(schema)),
    };
    config.insert("responseMimeType".to_owned(), json!("application/json"));
    config.extend(schema.map(|schema| ("responseJsonSchema".to_owned(), schema)));
}

fn thinking(thinking: &Thinking, version: Version, lost: &mut Lost) -> Option<Value> {
    let effort = thinking.effort_or_budget();
    let shows =
        thinking.enabled != Some(false) && thinking.summary.as_deref().is_some_and(|word| word != "omitted");
    let shows = shows || (thinking.enabled == Some(true) && thinking.summary.is_none());
    let mut config = Map::new();
    match version {
        Version::Plain => {
            if effort.is_some_and(|effort| effort != Effort::None) || shows {
                lost.note("thinking");
            }
            return None;
        }
        Version::Budget { least, most } => {
            let tokens = match (effort, thinking.budget_tokens) {
                (Some(Effort::None), _) => Some(0),
                (_, Some(tokens)) => Some(tokens),
                (effort, None) => effort.map(Effort::budget_tokens),
            };
            if effort == Some(Effort::None) && least > 0 {
                lost.note("thinking");
            }
            config
                .extend(tokens.map(|tokens| ("thinkingBudget".to_owned(), json!(tokens.clamp(least, most)))));
        }
        Version::Level { has_minimal } => {
            config.extend(
                effort.map(|effort| ("thinkingLevel".to_owned(), json!(level(effort, has_minimal, lost)))),
            );
        }
    }
    if shows && effort != Some(Effort::None) {
        config.insert("includeThoughts".to_owned(), json!(true));
    }
    (!config.is_empty()).then_some(Value::Object(config))
}

/// A level that every model of the generation has; none of them can be told not to think.
fn level(effort: Effort, has_minimal: bool, lost: &mut Lost) -> &'static str {
    let least = if has_minimal { "MINIMAL" } else { "LOW" };
    match effort {
        Effort::None => {
            lost.note("thinking");
            least
        }
        Effort::Minimal => least,
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High => "HIGH",
        Effort::XHigh | Effort::Max => {
            lost.note("thinking.effort");
            "HIGH"
        }
    }
}
