//! The messages of a conversation.
//!
//! Shapes that the API defines are checked; kinds of content that it may grow later are named and
//! kept out of the way, because an upstream may understand what the local engine does not.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::tool::{ToolCall, read_call};
use crate::ParseError;
use crate::json::read::{self, Object};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; absent only for an assistant that called tools or refused.
    pub content: Option<Content>,
    /// Tells speakers of one role apart.
    pub name: Option<String>,
    /// The calls that an assistant made.
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool message answers.
    pub tool_call_id: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// The newer name of [`Role::System`].
    Developer,
    /// The person or agent that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// The result of a call in the retired `functions` form.
    Function,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// A list of parts.
    Parts(Vec<Part>),
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// The text of a refusal in the history.
    Refusal(String),
    /// An image, sound, file or later invention.
    Other {
        /// Its `type`.
        kind: String,
    },
}

/// A part that is no text stands where only text can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("content of type `{kind}` is not text")]
pub struct NotText {
    /// The `type` of the part.
    pub kind: String,
}

impl Content {
    /// Returns the text of all parts, joined without separator.
    ///
    /// # Errors
    /// Returns the first part that is not text.
    pub fn to_text(&self) -> Result<Cow<'_, str>, NotText> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::Parts(parts) => parts.iter().map(Part::text).collect::<Result<String, _>>().map(Cow::Owned),
        }
    }
}

impl Part {
    fn text(&self) -> Result<&str, NotText> {
        match self {
            Self::Text(text) | Self::Refusal(text) => Ok(text),
            Self::Other { kind } => Err(NotText { kind: kind.clone() }),
        }
    }
}

impl Role {
    /// Returns the word that stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Function => "function",
        }
    }
}

pub(super) fn read_messages(raw: &RawValue) -> Result<Vec<Message>, ParseError> {
    let messages = read::each(raw, read_message)?;
    if messages.is_empty() { Err(ParseError::bad_value("must not be empty")) } else { Ok(messages) }
}

fn read_message(raw: &RawValue) -> Result<Message, ParseError> {
    let message = Object::read(raw)?;
    let role = message.required("role", read_role)?;
    let content = message.optional("content", read_content)?;
    let tool_calls = message.optional("tool_calls", |raw| read::each(raw, read_call))?.unwrap_or_default();
    let may_be_silent = match role {
        Role::Assistant => {
            !tool_calls.is_empty()
                || ["refusal", "function_call", "audio"].iter().any(|member| message.has(member))
        }
        // A function of the retired form may return nothing.
        Role::Function => true,
        Role::System | Role::Developer | Role::User | Role::Tool => false,
    };
    if content.is_none() && !may_be_silent {
        return Err(ParseError::missing().under_key("content"));
    }
    let tool_call_id = match role {
        Role::Tool => Some(message.required("tool_call_id", read::string)?),
        _ => None,
    };
    Ok(Message { role, content, name: message.optional("name", read::string)?, tool_calls, tool_call_id })
}

fn read_role(raw: &RawValue) -> Result<Role, ParseError> {
    match read::string(raw)?.as_str() {
        "system" => Ok(Role::System),
        "developer" => Ok(Role::Developer),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        "function" => Ok(Role::Function),
        _ => Err(ParseError::bad_value(
            "must be `system`, `developer`, `user`, `assistant`, `tool` or `function`",
        )),
    }
}

fn read_content(raw: &RawValue) -> Result<Content, ParseError> {
    match read::type_name(raw) {
        "a string" => Ok(Content::Text(read::string(raw)?)),
        "a list" => Ok(Content::Parts(read::each(raw, read_part)?)),
        other => Err(ParseError::wrong_type("a string or a list of parts", other)),
    }
}

fn read_part(raw: &RawValue) -> Result<Part, ParseError> {
    let part = Object::read(raw)?;
    let kind = part.required("type", read::string)?;
    Ok(match kind.as_str() {
        "text" => Part::Text(part.required("text", read::string)?),
        "refusal" => Part::Refusal(part.required("refusal", read::string)?),
        _ => Part::Other { kind },
    })
}
