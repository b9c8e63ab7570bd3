//! Why an answer ended.

/// The end of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// The stop string that was met, where the provider says so.
    pub stop_sequence: Option<String>,
}

/// Why an answer ended: a closed set, because clients, records and metrics need one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model ended its turn, or a stop string was met.
    Stop,
    /// A token limit was reached.
    Length,
    /// The model waits for the results of its tool calls.
    ToolCalls,
    /// Content was withheld, or the model declined.
    ContentFilter,
    /// The provider's own turn is not over: it wants to be asked again with what came.
    Paused,
    /// A word that is not known here.
    Other,
}

impl FinishReason {
    /// Returns the word for records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Paused => "paused",
            Self::Other => "other",
        }
    }

    /// Returns the reason that a client must see when the answer holds tool calls.
    ///
    /// Agents run tools only on `tool_calls`; with `stop` they would drop the calls.
    #[must_use]
    pub fn with_tool_calls(self) -> Self {
        if matches!(self, Self::Stop | Self::Paused | Self::Other) { Self::ToolCalls } else { self }
    }
}

impl From<FinishReason> for Finish {
    fn from(reason: FinishReason) -> Self {
        Self { reason, stop_sequence: None }
    }
}
