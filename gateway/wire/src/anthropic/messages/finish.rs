//! Why an answer ended, in the words of the API, both ways.

use crate::reply::{Finish, FinishReason};

/// Reads `stop_reason` and `stop_sequence`.
pub(super) fn read(stop_reason: &str, stop_sequence: Option<String>) -> Finish {
    let reason = match stop_reason {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        "pause_turn" => FinishReason::Paused,
        _ => FinishReason::Other,
    };
    Finish { reason, stop_sequence }
}

/// What an answer held, as far as it decides which reason its client must see.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) tool_calls: bool,
    pub(super) refusal: bool,
}

/// Returns the word for `stop_reason`: one of the API's, whatever the provider's was.
pub(super) fn word(finish: &Finish, held: Held) -> &'static str {
    let reason = if held.tool_calls { finish.reason.with_tool_calls() } else { finish.reason };
    match reason {
        // The dialect has no block for the words of a refusal; this reason is what clients know one by.
        FinishReason::Stop if held.refusal => "refusal",
        FinishReason::Stop if finish.stop_sequence.is_some() => "stop_sequence",
        FinishReason::Stop | FinishReason::Other => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
        FinishReason::Paused => "pause_turn",
    }
}
