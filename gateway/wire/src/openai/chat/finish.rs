//! Why an answer ended, in the words of the API.

use serde::Serialize;

/// The closed set of reasons that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop string was met.
    Stop,
    /// A token limit was reached.
    Length,
    /// The model waits for the results of its tool calls.
    ToolCalls,
    /// Content was withheld.
    ContentFilter,
}

impl FinishReason {
    /// Returns the word that stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }

    /// Returns the reason that a client must see when the answer holds tool calls.
    ///
    /// Agents run tools only on `tool_calls`; with `stop` they would drop the calls.
    pub(super) fn with_tool_calls(self) -> Self {
        if self == Self::Stop { Self::ToolCalls } else { self }
    }
}
