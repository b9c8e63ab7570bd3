//! How much a Claude is to think, in the words that its version understands.
//!
//! The same fields as at Anthropic's own API, under `additionalModelRequestFields` ("Extended thinking" and "Adaptive thinking" in
//! the Bedrock user guide). A budget is at least 1,024 tokens and less than the answer's, and wants the last turn with tool
//! calls to hold its sealed thoughts; nobody thinks who is forced to use a tool.

use serde_json::{Map, Value, json};

use crate::anthropic::messages::abilities::{Abilities, Form};
use crate::call::{Call, Content, Effort, Lost, Role, Target, Thinking, ToolChoice};

/// Fewest tokens to think with.
const BUDGET_TOKENS_MIN: u32 = 1024;

/// Adds to `fields` what `call` says about thinking, and returns whether the model will think.
pub(super) fn write(
    call: &Call,
    target: Target<'_>,
    abilities: &Abilities,
    fields: &mut Map<String, Value>,
    lost: &mut Lost,
) -> bool {
    let thinking = &call.thinking;
    if *thinking == (Thinking { summary: thinking.summary.clone(), ..Thinking::default() }) {
        return false;
    }
    let wanted = thinking.effort_or_budget();
    let is_off = wanted == Some(Effort::None);
    if is_off || matches!(call.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) {
        match abilities.form {
            Form::AdaptiveByDefault => {
                fields.insert("thinking".to_owned(), json!({ "type": "disabled" }));
            }
            Form::Always => lost.note("thinking"),
            Form::Never | Form::Budget | Form::Adaptive => {}
        }
        if !is_off {
            lost.note("thinking");
        }
        return false;
    }
    let written = match abilities.form {
        Form::Never => None,
        Form::Budget => budget(call, target, abilities, lost)
            .map(|tokens| json!({ "type": "enabled", "budget_tokens": tokens })),
        Form::Adaptive | Form::AdaptiveByDefault | Form::Always => {
            if let Some(effort) = wanted.and_then(|effort| abilities.effort(effort)) {
                fields.insert("output_config".to_owned(), json!({ "effort": effort.as_str() }));
            }
            if thinking.effort.is_none() {
                lost.note_if("thinking.budget_tokens", thinking.budget_tokens.as_ref());
            }
            // Newer models withhold their thoughts unless asked.
            Some(match thinking.summary {
                Some(_) => json!({ "type": "adaptive", "display": "summarized" }),
                None => json!({ "type": "adaptive" }),
            })
        }
    };
    let Some(written) = written else {
        lost.note("thinking");
        return false;
    };
    fields.insert("thinking".to_owned(), written);
    true
}

/// The budget that the model will accept together with the rest of the call, if there is one.
fn budget(call: &Call, target: Target<'_>, abilities: &Abilities, lost: &mut Lost) -> Option<u32> {
    if last_calls_are_unsealed(call, target) {
        return None;
    }
    let asked = call.thinking.budget_tokens;
    let effort = call.thinking.effort.unwrap_or(Effort::High);
    let wanted = asked.unwrap_or(effort.budget_tokens()).max(BUDGET_TOKENS_MIN);
    // The answer has to fit behind the thoughts: both count against the most tokens of an answer.
    let most = call.max_tokens.or(abilities.max_tokens).unwrap_or(u32::MAX);
    let tokens = if wanted < most { wanted } else { most / 2 };
    if tokens < BUDGET_TOKENS_MIN {
        return None;
    }
    if asked.is_some_and(|asked| asked != tokens) {
        lost.note("thinking.budget_tokens");
    }
    Some(tokens)
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
