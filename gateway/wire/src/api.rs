//! The provider's side of a call, whatever its API: the request, the stream, the whole answer, the error.

use crate::anthropic::messages;
use crate::call::{Call, Outgoing, Target, Untranslatable};
use crate::openai::error::ErrorBody;
use crate::openai::{chat, completions, responses};
use crate::reply::{Delta, EventReader, Fault, Reply, Unreadable};
use crate::sse::Event;
use crate::{bedrock, gemini};

/// An API that models are reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Chat completions, as one of its servers speaks it.
    Chat(chat::Server),
    /// Completions; bytes only pass through.
    Completions,
    /// Responses, as one of its hosts speaks it.
    Responses(responses::Host),
    /// Anthropic's Messages.
    Messages,
    /// Anthropic's Messages, as Vertex AI serves them.
    MessagesOnVertex,
    /// Amazon Bedrock's Converse.
    Converse,
    /// Google's `generateContent`, as one of its hosts serves it.
    Gemini(gemini::Host),
}

/// How a streamed answer is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// Binary messages of AWS.
    EventStream,
}

/// Reads a provider's stream, and knows the one event that may have to be hidden.
pub enum StreamReader {
    /// Of chat completions.
    Chat(chat::Reader),
    /// Of completions.
    Completions(completions::Reader),
    /// Of any other API.
    Other(Box<dyn EventReader>),
}

impl Api {
    /// Writes `call` for the model of `target`. `betas` are the provider's experiments that the caller switched on.
    ///
    /// # Errors
    /// Returns what the API has no place for, where leaving it out would change the question.
    pub fn write_call(
        self,
        call: &Call,
        target: Target<'_>,
        betas: &[String],
    ) -> Result<Outgoing, Untranslatable> {
        match self {
            Self::Chat(server) => chat::write_call(call, target, server),
            Self::Responses(host) => responses::write_call(call, target, host),
            Self::Messages => messages::write_call(call, target, messages::Host::Direct),
            Self::MessagesOnVertex => messages::write_call(call, target, messages::Host::Vertex { betas }),
            Self::Converse => bedrock::write_call(call, target, betas),
            Self::Gemini(host) => gemini::write_call(call, target, host),
            Self::Completions => Err(Untranslatable::new(
                "messages",
                "the provider continues texts and holds no conversations",
            )),
        }
    }

    /// Returns a reader of a stream that has not begun.
    pub fn stream_reader(self) -> StreamReader {
        match self {
            Self::Chat(_) => StreamReader::Chat(chat::Reader::new()),
            Self::Completions => StreamReader::Completions(completions::Reader::new()),
            Self::Responses(_) => StreamReader::Other(Box::new(responses::Reader::new())),
            Self::Messages | Self::MessagesOnVertex => StreamReader::Other(Box::new(messages::Reader::new())),
            Self::Converse => StreamReader::Other(Box::new(bedrock::Reader::new())),
            Self::Gemini(_) => StreamReader::Other(Box::new(gemini::Reader::new())),
        }
    }

    /// Returns how a streamed answer is cut into events.
    pub fn framing(self) -> Framing {
        match self {
            Self::Chat(_)
            | Self::Completions
            | Self::Responses(_)
            | Self::Messages
            | Self::MessagesOnVertex
            | Self::Gemini(_) => Framing::Sse,
            Self::Converse => Framing::EventStream,
        }
    }

    /// Reads a whole answer of the provider that the policy calls `provider`.
    ///
    /// # Errors
    /// Returns the error that an answer with a good status holds, or that it is no answer of this API.
    pub fn read_reply(self, body: &[u8], provider: &str) -> Result<Reply, Unreadable> {
        match self {
            Self::Chat(_) => chat::read_reply(body),
            Self::Completions => completions::read_reply(body),
            Self::Responses(_) => responses::read_reply(body, provider),
            Self::Messages | Self::MessagesOnVertex => messages::read_reply(body, provider),
            Self::Converse => bedrock::read_reply(body, provider),
            Self::Gemini(_) => gemini::read_reply(body, provider),
        }
    }

    /// Reads the body of an answer with a bad `status`; nothing if it is not this API's error. Some services name the
    /// error in a header, which is `named`.
    pub fn read_fault(self, status: u16, body: &[u8], named: Option<&str>) -> Option<Fault> {
        match self {
            Self::Chat(_) | Self::Completions => {
                ErrorBody::from_upstream(body).map(|error| error.to_fault(Some(status)))
            }
            Self::Responses(_) => responses::read_fault(body),
            Self::Messages | Self::MessagesOnVertex => messages::read_fault(body),
            Self::Converse => bedrock::read_fault(body, named),
            Self::Gemini(_) => gemini::read_fault(body),
        }
    }
}

impl StreamReader {
    /// Adds to `deltas` what `event` says.
    ///
    /// # Errors
    /// Returns the provider's own error, or that an event is not what its name promises.
    pub fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        match self {
            Self::Chat(reader) => reader.read(event, deltas),
            Self::Completions(reader) => reader.read(event, deltas),
            Self::Other(reader) => reader.read(event, deltas),
        }
    }

    /// Adds what the end of the connection says, after the last event; only for some APIs it is an end at all.
    pub fn end(&mut self, deltas: &mut Vec<Delta>) {
        match self {
            Self::Chat(reader) => reader.end(deltas),
            Self::Completions(reader) => reader.end(deltas),
            Self::Other(reader) => reader.end(deltas),
        }
    }

    /// Returns whether the last event held usage and nothing else, which a caller who did not ask must not see.
    pub fn is_usage_alone(&self) -> bool {
        match self {
            Self::Chat(reader) => reader.is_usage_alone(),
            Self::Completions(reader) => reader.is_usage_alone(),
            Self::Other(_) => false,
        }
    }
}
