//! The provider's side of a call, whatever its API: the request, the stream, the whole answer, the error.

use crate::call::{Call, Outgoing, Target, Untranslatable};
use crate::openai::error::ErrorBody;
use crate::openai::{chat, completions};
use crate::reply::{Delta, EventReader, Fault, Reply, Unreadable};
use crate::sse::Event;

/// An API that models are reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Chat completions, as one of its servers speaks it.
    Chat(chat::Server),
    /// Completions; bytes only pass through.
    Completions,
}

/// How a streamed answer is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
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
        _betas: &[String],
    ) -> Result<Outgoing, Untranslatable> {
        match self {
            Self::Chat(server) => chat::write_call(call, target, server),
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
        }
    }

    /// Returns how a streamed answer is cut into events.
    pub fn framing(self) -> Framing {
        match self {
            Self::Chat(_) | Self::Completions => Framing::Sse,
        }
    }

    /// Reads a whole answer of the provider that the policy calls `provider`.
    ///
    /// # Errors
    /// Returns the error that an answer with a good status holds, or that it is no answer of this API.
    pub fn read_reply(self, body: &[u8], _provider: &str) -> Result<Reply, Unreadable> {
        match self {
            Self::Chat(_) => chat::read_reply(body),
            Self::Completions => completions::read_reply(body),
        }
    }

    /// Reads the body of an answer with a bad `status`; nothing if it is not this API's error. Some services name the
    /// error in a header, which is `named`.
    pub fn read_fault(self, status: u16, body: &[u8], _named: Option<&str>) -> Option<Fault> {
        match self {
            Self::Chat(_) | Self::Completions => {
                ErrorBody::from_upstream(body).map(|error| error.to_fault(Some(status)))
            }
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

    /// Returns whether the last event held usage and nothing else, which a caller who did not ask must not see.
    pub fn is_usage_alone(&self) -> bool {
        match self {
            Self::Chat(reader) => reader.is_usage_alone(),
            Self::Completions(reader) => reader.is_usage_alone(),
            Self::Other(_) => false,
        }
    }
}
