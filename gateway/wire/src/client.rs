//! The client's side of a call, whatever its dialect: the stream, the whole answer, the error.

use bytes::Bytes;

use crate::anthropic::messages;
use crate::call::Call;
use crate::openai::error::ErrorBody;
use crate::openai::{chat, completions, responses};
use crate::reply::{Envelope, Fault, Reply, Shown, StreamWriter};
use crate::{Api, Delivery, Dialect, Request, UsageChunk};

/// What a client asked, as far as the form of its answer depends on it.
#[derive(Debug, Clone)]
pub struct Asked {
    dialect: Dialect,
    usage_chunk: UsageChunk,
    is_streamed: bool,
    /// The conversation; empty where the bytes pass through unread.
    call: Call,
    /// What of the tokens is shown.
    shown: Shown,
}

impl Asked {
    /// Notes what `request`, which was read as `call`, wants its answer to be like.
    pub fn of(request: &Request, call: Call) -> Self {
        let usage_chunk = match request.delivery {
            Delivery::Stream(usage_chunk) => usage_chunk,
            Delivery::Whole => UsageChunk::Wanted,
        };
        Self {
            dialect: request.dialect(),
            usage_chunk,
            is_streamed: request.is_streamed(),
            call,
            shown: Shown::default(),
        }
    }

    /// Returns whether the answer is to be streamed.
    pub fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Shows so much of the tokens.
    #[must_use]
    pub fn showing(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }

    /// Returns the writer of a streamed answer.
    pub fn stream_writer(&self, envelope: &Envelope) -> Box<dyn StreamWriter> {
        match self.dialect {
            Dialect::OpenAiCompletions => {
                Box::new(completions::Writer::new(envelope, self.usage_chunk, self.shown))
            }
            Dialect::OpenAiResponses => Box::new(responses::Writer::new(envelope.clone(), &self.call)),
            Dialect::AnthropicMessages => Box::new(messages::Writer::new(envelope)),
            Dialect::OpenAiChat | Dialect::OpenAiEmbeddings => {
                Box::new(chat::Writer::new(envelope, self.usage_chunk).showing(self.shown))
            }
        }
    }

    /// Returns the document of a whole answer.
    pub fn write_reply(&self, reply: &Reply, envelope: &Envelope) -> Bytes {
        match self.dialect {
            Dialect::OpenAiCompletions => completions::write_reply(reply, envelope, self.shown),
            Dialect::OpenAiResponses => responses::write_reply(reply, envelope, &self.call),
            Dialect::AnthropicMessages => messages::write_reply(reply, envelope),
            Dialect::OpenAiChat | Dialect::OpenAiEmbeddings => chat::write_reply(reply, envelope, self.shown),
        }
    }

    /// Returns what was asked.
    pub fn call(&self) -> &Call {
        &self.call
    }
}

/// Returns the body with which a provider of `api` refused a call, if a client of `dialect` understands it as it is.
pub fn pass_fault(dialect: Dialect, api: Api, body: &[u8]) -> Option<Bytes> {
    match (dialect, api) {
        (Dialect::AnthropicMessages, Api::Messages | Api::MessagesOnVertex) => {
            messages::read_fault(body).map(|_| Bytes::copy_from_slice(body))
        }
        (Dialect::AnthropicMessages, _) => None,
        // Older servers leave members out that clients index.
        (_, Api::Chat(_) | Api::Completions | Api::Responses(_)) => {
            ErrorBody::from_upstream(body).map(|error| error.to_json())
        }
        _ => None,
    }
}

/// Returns the body of an HTTP error, in the dialect of the path that was called.
pub fn write_fault(dialect: Dialect, fault: &Fault, request_id: &str) -> Bytes {
    match dialect {
        Dialect::AnthropicMessages => messages::write_fault(fault, request_id),
        Dialect::OpenAiResponses => responses::write_fault(fault, request_id),
        Dialect::OpenAiChat | Dialect::OpenAiCompletions | Dialect::OpenAiEmbeddings => {
            ErrorBody::from(fault).to_json()
        }
    }
}
