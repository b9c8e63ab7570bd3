//! Why an answer ended, in the words of the API.

use crate::reply::FinishReason;

/// Returns the word that stands on the wire; foreign words never do.
pub(super) fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Paused | FinishReason::Other => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}
