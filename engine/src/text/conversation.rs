//! A conversation as a model's chat template sees it.
//!
//! Plain data without a wire form: every dialect maps to it. What a template cannot render (images, audio) is
//! absent on purpose; the caller refuses it by name.

use serde_json::{Map, Value};

/// The messages so far and the tools that the model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Empty if the model may call none.
    pub tools: Vec<Tool>,
    /// What the model may answer from, as the client wrote it; most templates read `title` and `text`.
    pub documents: Vec<Map<String, Value>>,
    /// What the client tells the template besides, such as `enable_thinking`. What this type has a field for cannot be
    /// told so.
    pub variables: Map<String, Value>,
    /// How the reply begins.
    pub opening: Opening,
}

/// How a reply begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// As a message of its own.
    #[default]
    Turn,
    /// In the last message, which goes on.
    Continued,
    /// Not at all: the conversation is rendered as it is.
    Closed,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text; empty if there is none.
    pub content: String,
    /// What the assistant called in this message.
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool's message answers.
    pub tool_call_id: Option<String>,
    /// The speaker's or the tool's name.
    pub name: Option<String>,
}

impl Message {
    /// A message that holds text alone.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None, name: None }
    }
}

/// Who speaks. A dialect's `developer` is `System` here, which is the name that templates know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The instructions.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// The name that templates compare with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A call that the model made earlier in the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// What the tool's answer refers to.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// JSON text as the model wrote it, which need not be valid.
    pub arguments: String,
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// What the model calls it by.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
}
