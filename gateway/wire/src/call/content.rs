//! The turns of a conversation and what they consist of.

use std::borrow::Cow;

use super::{Seal, ToolCall};

/// Everything that one side says before the other does.
///
/// Turns of one role may follow each other; APIs that want them to alternate get them joined.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// Tells speakers of one role apart.
    pub name: Option<String>,
    /// What is said, in order; empty only for an assistant that said nothing.
    pub blocks: Vec<Block>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator; `system` and `developer` are two names of it.
    System,
    /// The person or agent that asks. Results of tools are blocks of this role.
    User,
    /// The model.
    Assistant,
}

/// One piece of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// What it is.
    pub content: Content,
    /// The caller wants the prompt up to and with this block to be cached.
    pub cache: Option<CacheMark>,
}

/// How long a marked prefix should be kept by the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMark {
    /// As long as the provider does by itself; minutes.
    Default,
    /// An hour.
    OneHour,
}

/// The kinds of blocks.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture.
    Image(Image),
    /// A file to read, such as a PDF.
    Document(Document),
    /// Sound: its format, such as `wav`, and the base64 of its bytes.
    Audio {
        /// Such as `wav` or `mp3`.
        format: String,
        /// Base64.
        data: String,
    },
    /// A call that the assistant made.
    ToolCall(ToolCall),
    /// What a call gave.
    ToolResult(ToolResult),
    /// What the assistant thought.
    Reasoning(Reasoning),
    /// The words with which the assistant declined.
    Refusal(String),
    /// A block that only its own dialect knows.
    Other {
        /// Its `type`.
        kind: String,
        /// Its JSON, as it was written.
        json: String,
    },
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub source: Source,
    /// How closely it is to be looked at: `low`, `high`, `auto` or a later word.
    pub detail: Option<String>,
}

/// A file that the model is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is.
    pub source: Source,
    /// Its name.
    pub name: Option<String>,
}

/// Where the bytes of a picture or file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the call itself.
    Inline {
        /// Such as `image/png`.
        media_type: String,
        /// Base64, without white space.
        data: String,
    },
    /// At a URL that the provider is to fetch.
    Url(String),
    /// In the provider's store, under this id.
    Stored(String),
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call that it answers.
    pub call_id: String,
    /// The tool's name, where the dialect repeats it.
    pub name: Option<String>,
    /// Text and pictures.
    pub content: Vec<Block>,
    /// The tool failed.
    pub is_error: bool,
}

/// A piece of the assistant's reasoning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasoning {
    /// Its words, or a summary of them; empty if they are withheld.
    pub text: String,
    /// The provider's proof or ciphertext of it, which it wants back unchanged.
    pub seal: Option<Seal>,
    /// The words are in the seal alone.
    pub is_redacted: bool,
}

impl Turn {
    /// Creates a turn of nameless `role`.
    pub fn new(role: Role, blocks: Vec<Block>) -> Self {
        Self { role, name: None, blocks }
    }
}

impl ToolResult {
    /// Returns `text`, the words of the result, for an API that has no place for [`is_error`](Self::is_error): the
    /// model has to hear of it all the same.
    pub fn told<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if self.is_error && !text.starts_with("Error") { format!("Error: {text}").into() } else { text }
    }
}

impl From<Content> for Block {
    fn from(content: Content) -> Self {
        Self { content, cache: None }
    }
}

impl Block {
    /// Creates a block of text.
    pub fn text(text: impl Into<String>) -> Self {
        Content::Text(text.into()).into()
    }

    /// Returns the text, if it is a block of text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Content {
    /// Returns the kind in one word, for messages and the names of what is lost.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text(_) => "text",
            Self::Image(_) => "image",
            Self::Document(_) => "document",
            Self::Audio { .. } => "audio",
            Self::ToolCall(_) => "tool_call",
            Self::ToolResult(_) => "tool_result",
            Self::Reasoning(_) => "reasoning",
            Self::Refusal(_) => "refusal",
            Self::Other { kind, .. } => kind,
        }
    }
}
