//! How much a Claude is to think, in the words that its version understands.
//!
//! From Anthropic's pages on extended and adaptive thinking, which hold behind Bedrock: a budget is at least 1,024
//! tokens and less than `max_tokens`, goes with no forced tool and no sampling, and wants the last turn with tool calls to
//! begin with its sealed thoughts. Efforts above what AWS's validator takes are lowered and reported.

use serde_json::{Map, Value, json};

use super::model::Thinks;
use crate::call::{Call, Content, Effort, Lost, Role, Target, ToolChoice};

/// Fewest tokens to think with.
const BUDGET_TOKENS_MIN: u32 = 1024;

/// Adds to `fields` what `call` says about thinking, and returns whether the model will think.
pub(super) fn write(
    call: &Call,
    target: Target<'_>,
    thinks: Thinks,
    fields: &mut Map<String, Value>,
    lost: &mut Lost,
) -> bool {
    let thinking = &call.thinking;
    let effort = thinking.effort_or_budget();
    if effort.is_none() && thinking.enabled.is_none() {
        return false;
    }
    if effort == Some(Effort::None) {
        match thinks {
            Thinks::UnlessTold => drop(fields.insert("thinking".to_owned(), json!({ "type": "disabled" }))),
            Thinks::Always => lost.note("thinking"),
            Thinks::Never | Thinks::ByBudget | Thinks::WhenAsked => {}
        }
        return false;
    }
    let written = match thinks {
        Thinks::Never => None,
        Thinks::ByBudget => {
            budget(call, target).map(|tokens| json!({ "type": "enabled", "budget_tokens": tokens }))
        }
        Thinks::WhenAsked | Thinks::UnlessTold | Thinks::Always => {
            fields.extend(effort.map(|effort| output_config(effort, thinks, lost)));
            Some(json!({ "type": "adaptive" }))
        }
    };
    let Some(written) = written else {
        lost.note("thinking");
        return false;
    };
    lost.note_if("thinking.summary", thinking.summary.as_ref());
    fields.insert("thinking".to_owned(), written);
    true
}

fn output_config(effort: Effort, thinks: Thinks, lost: &mut Lost) -> (String, Value) {
    let word = match (effort, thinks) {
        (Effort::None | Effort::Minimal | Effort::Low, _) => Effort::Low,
        (Effort::Max, Thinks::UnlessTold | Thinks::Always) => Effort::XHigh,
        (Effort::XHigh | Effort::Max, Thinks::WhenAsked) => Effort::High,
        (effort, _) => effort,
    };
    if word != effort && effort != Effort::Minimal {
        lost.note("thinking.effort");
    }
    ("output_config".to_owned(), json!({ "effort": word.as_str() }))
}

/// The budget that the model will accept together with the rest of the call, if there is one.
fn budget(call: &Call, target: Target<'_>) -> Option<u32> {
    let is_forced = matches!(call.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
    if is_forced || last_calls_are_unsealed(call, target) {
        return None;
    }
    let effort = call.thinking.effort.unwrap_or(Effort::Medium);
    let wanted = call.thinking.budget_tokens.unwrap_or(effort.budget_tokens()).max(BUDGET_TOKENS_MIN);
    let room = call.max_tokens.map_or(u32::MAX, |most| most - 1);
    Some(wanted.min(room)).filter(|tokens| *tokens >= BUDGET_TOKENS_MIN)
}

/// Whether the results of tools are on their way back to calls that nobody can show the thoughts of: another model made
/// them, or the client dropped the seals.
fn last_calls_are_unsealed(call: &Call, target: Target<'_>) -> bool {
    let last = call.turns.iter().rev().skip_while(|turn| turn.role != Role::Assistant);
    let last: Vec<_> =
        last.take_while(|turn| turn.role == Role::Assistant).flat_map(|turn| &turn.blocks).collect();
    let calls = last.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    let is_sealed = |content: &Content| match content {
        Content::Reasoning(reasoning) => {
            reasoning.seal.as_ref().is_some_and(|seal| seal.data_for(target.provider).is_some())
        }
        _ => false,
    };
    calls && !last.iter().any(|block| is_sealed(&block.content))
}
