//! How much the model is to think, in whichever of the API's three ways the model takes it.

use serde::Serialize;

use super::abilities::{Abilities, Form};
use super::block::Written;
use super::turns::Message;
use crate::call::{Effort, Lost, Thinking};

/// Least budget that the API takes, in tokens.
const BUDGET_TOKENS_MIN: u32 = 1024;

/// `thinking`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Config {
    Enabled {
        budget_tokens: u32,
    },
    Adaptive {
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
    },
    Disabled,
}

impl Config {
    /// Whether the model is told to think.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Disabled)
    }
}

/// What else is said in the request that limits how it may think.
pub(super) struct Circumstances<'a, 'b> {
    pub(super) abilities: &'a Abilities,
    pub(super) max_tokens: u32,
    /// A tool must be called.
    pub(super) is_forced: bool,
    pub(super) messages: &'a [Message<'b>],
}

/// Writes `thinking` and `output_config.effort`.
pub(super) fn write(
    thinking: &Thinking,
    circumstances: &Circumstances<'_, '_>,
    lost: &mut Lost,
) -> (Option<Config>, Option<Effort>) {
    let abilities = circumstances.abilities;
    let is_off = thinking.enabled == Some(false) || thinking.effort == Some(Effort::None);
    if is_off {
        return off(abilities, lost);
    }
    if *thinking == (Thinking { summary: thinking.summary.clone(), ..Thinking::default() }) {
        return (None, None);
    }
    let wanted = thinking.effort_or_budget();
    let effort = wanted.and_then(|effort| abilities.effort(effort));
    if circumstances.is_forced {
        // "Thinking may not be enabled when tool_choice forces tool use." The tool is what was asked for.
        lost.note("thinking");
        return (off(abilities, lost).0, effort);
    }
    match abilities.form {
        Form::Never => {
            lost.note("thinking");
            (None, None)
        }
        Form::Budget => (budget(thinking, circumstances, lost), None),
        Form::Adaptive | Form::AdaptiveByDefault | Form::Always => {
            if thinking.effort.is_none() {
                lost.note_if("thinking.budget_tokens", thinking.budget_tokens.as_ref());
            }
            // Newer models withhold their thoughts unless asked.
            let display = thinking.summary.as_ref().map(|_| "summarized");
            (Some(Config::Adaptive { display }), effort)
        }
    }
}

fn off(abilities: &Abilities, lost: &mut Lost) -> (Option<Config>, Option<Effort>) {
    match abilities.form {
        Form::Never | Form::Budget | Form::Adaptive => (None, None),
        Form::AdaptiveByDefault => (Some(Config::Disabled), None),
        Form::Always => {
            lost.note("thinking");
            (None, abilities.effort(Effort::Low))
        }
    }
}

fn budget(thinking: &Thinking, circumstances: &Circumstances<'_, '_>, lost: &mut Lost) -> Option<Config> {
    if !may_begin_to_think(circumstances.messages) {
        lost.note("thinking");
        return None;
    }
    // What models that choose for themselves do when nobody says how hard.
    let effort = thinking.effort.unwrap_or(Effort::High);
    let wanted = thinking.budget_tokens.unwrap_or(effort.budget_tokens()).max(BUDGET_TOKENS_MIN);
    // The answer has to fit behind the thoughts: both count against `max_tokens`.
    let budget_tokens = if wanted < circumstances.max_tokens { wanted } else { circumstances.max_tokens / 2 };
    if budget_tokens < BUDGET_TOKENS_MIN {
        lost.note("thinking");
        return None;
    }
    if thinking.budget_tokens.is_some_and(|asked| asked != budget_tokens) {
        lost.note("thinking.budget_tokens");
    }
    Some(Config::Enabled { budget_tokens })
}

/// Whether a model with a budget may think in this place.
///
/// Between a call and the answer to its result it may only go on: the assistant's message with the calls must begin
/// with thoughts then, and those of another provider cannot be shown to it.
fn may_begin_to_think(messages: &[Message<'_>]) -> bool {
    let [.., assistant, user] = messages else { return true };
    let follows_a_result = user.content.iter().any(|block| matches!(block, Written::ToolResult { .. }));
    let began_with_thoughts = matches!(
        assistant.content.first(),
        Some(Written::Thinking { .. } | Written::RedactedThinking { .. })
    );
    !follows_a_result || began_with_thoughts
}
