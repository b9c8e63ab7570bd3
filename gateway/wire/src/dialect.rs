//! The names of the wire formats that a client may speak to the gateway.
//!
//! An error must be answered in the dialect of the request, so whoever answers carries this value.

use std::fmt;

/// The wire format of one request and of everything that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `POST /v1/chat/completions` of the `OpenAI` API.
    OpenAiChat,
    /// `POST /v1/completions` of the `OpenAI` API.
    OpenAiCompletions,
    /// `POST /v1/embeddings` of the `OpenAI` API.
    OpenAiEmbeddings,
    /// `POST /v1/responses` of the `OpenAI` API.
    OpenAiResponses,
    /// `POST /v1/messages` of the Anthropic API.
    AnthropicMessages,
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OpenAiChat => "openai.chat",
            Self::OpenAiCompletions => "openai.completions",
            Self::OpenAiEmbeddings => "openai.embeddings",
            Self::OpenAiResponses => "openai.responses",
            Self::AnthropicMessages => "anthropic.messages",
        })
    }
}
