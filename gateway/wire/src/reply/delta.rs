//! The pieces of an answer as they come, who reads them and who writes them.

use bytes::BytesMut;

use super::{Fault, Finish, Token};
use crate::Usage;
use crate::sse::Event;

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// The answer begins. Always first, and once.
    Begin(Begin),
    /// A block begins; the one before it has been closed.
    Open(Open),
    /// More of the open block: of its text, or of its tool call's arguments.
    Append(String),
    /// The seal of the open block of reasoning.
    Seal(String),
    /// The open block is complete.
    Close,
    /// What follows belongs to the choice with this index; to the first one if none was named.
    Choice(u32),
    /// The tokens of the choice's prompt.
    Prompt(Vec<Token>),
    /// The next token of the choice, before the text that it completes.
    Token(Token),
    /// What has been consumed so far; a later report stands for all before it.
    Usage(Usage),
    /// The answer is complete; only usage may follow.
    Finish(Finish),
    /// Nothing, said to keep the connection alive.
    Ping,
    /// The provider's stream has come to its own end. Always last.
    End,
}

/// What is known when an answer begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Begin {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// What the prompt takes, where the provider counts before it answers.
    pub usage: Option<Usage>,
}

/// What kind of block begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// Text.
    Text,
    /// Reasoning; its words, or a summary of them.
    Reasoning,
    /// Reasoning whose words are withheld; only a seal follows.
    RedactedReasoning,
    /// The words with which the model declines.
    Refusal,
    /// A call of a tool, whose arguments follow.
    ToolCall {
        /// What its result will refer to, never empty.
        id: String,
        /// The tool.
        name: String,
    },
}

/// What identifies an answer to its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Letters and digits that no other answer has; dialects put their own prefix before it.
    pub unique: String,
    /// When the answer began, in seconds since the Unix epoch.
    pub created_s: u64,
    /// The model's name as the client is to see it.
    pub model: String,
    /// The provider's name in the policy, for [seals](crate::call::Seal).
    pub provider: String,
}

/// Reads a provider's stream, one event at a time, into deltas that keep the [grammar](super).
pub trait EventReader: Send {
    /// Adds to `deltas` what `event` says; unknown events say nothing.
    ///
    /// # Errors
    /// Returns the provider's own error, or that an event is not what its name promises. The stream is over then.
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable>;

    /// Adds to `deltas` what it means that the connection has ended cleanly; call it once, after the last event.
    ///
    /// Some APIs have no event for the end: there the connection's end is the stream's, if the answer was complete.
    fn end(&mut self, deltas: &mut Vec<Delta>) {
        let _ = deltas;
    }
}

/// Why a provider's stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The provider reports an error inside an answer that had begun.
    #[error("the provider reported an error inside its stream")]
    Fault(Fault),
    /// An event is not what the dialect demands.
    #[error("the provider's stream is malformed: {0}")]
    Malformed(&'static str),
}

/// Writes an answer as the client's dialect streams it.
///
/// Takes deltas that keep the [grammar](super). The bytes of [`Delta::End`] make the stream look finished, so the
/// caller writes it only when the call is on record.
pub trait StreamWriter: Send {
    /// Appends to `out` what the client sees of `delta`, perhaps nothing.
    fn write(&mut self, delta: &Delta, out: &mut BytesMut);

    /// Appends what ends a stream that broke: an error, and nothing that looks like a regular end.
    fn fail(&mut self, fault: &Fault, out: &mut BytesMut);

    /// Appends what a client ignores and a proxy takes for a sign of life.
    fn keep_alive(&mut self, out: &mut BytesMut);
}
