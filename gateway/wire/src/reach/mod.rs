//! What a request asks others to do beyond answering it: to fetch a URL, to run a tool of theirs, to look into what
//! they stored or to keep what they are told; and everything that this version does not know and they may.
//!
//! A backend that dials on a caller's behalf is a way out of a place that has none. So each dialect has a table of all
//! that its API and the servers that speak it are known to take ([`shape`]), and a request is read along it
//! ([`walk`]). A table says what is harmless; what stands in no table is unknown, and what an unknown value most likely
//! means is guessed from its names and its looks ([`foreign`]). Schemas, arguments of tools and metadata are the
//! caller's data wherever they stand, with one exception: a schema that refers to a document elsewhere.
//!
//! Deliberately absent: what is done about it, which is the policy's to say. Nothing here fails, and nothing is read
//! of a request about which nobody asks.

mod chat;
mod foreign;
mod messages;
mod responses;
mod shape;
mod text;
mod walk;

use crate::{Dialect, Request};

use self::shape::Field;

/// One thing in a request that makes others act, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indirect {
    /// What it makes them do.
    pub kind: IndirectKind,
    /// Where it stands, such as `messages[0].content[1].image_url.url`. It may hold names of the caller's choice, never
    /// a value.
    pub path: String,
}

/// What others would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndirectKind {
    /// Fetch bytes from a URL: that of an image, a file, a video, a recording, or of a schema.
    RemoteUrl,
    /// Read something that was given to them earlier: a file, a recording, a container.
    FileId,
    /// Run a tool of their own: a search, an interpreter, an MCP client.
    HostedTool,
    /// Go to a place that the caller names, or with the caller's credentials.
    CallerDestination,
    /// Keep the exchange, or look into one that they kept.
    StoredState,
    /// Something unknown: a field that is in no table, or that has a form which is in none.
    UnknownField,
    /// Something unknown: a message, an item or a part of a type that is in no table.
    UnknownPart,
    /// Something unknown: a tool of a type that is in no table.
    UnknownTool,
}

impl IndirectKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::RemoteUrl,
        Self::FileId,
        Self::HostedTool,
        Self::CallerDestination,
        Self::StoredState,
        Self::UnknownField,
        Self::UnknownPart,
        Self::UnknownTool,
    ];
}

impl Request {
    /// Returns the first of each kind of thing that makes others act, in the order in which they were met. Reads the
    /// whole request for it.
    pub fn indirect(&self) -> Vec<Indirect> {
        find(self.dialect(), self.body())
    }
}

/// Finds the first of each kind in `body`, which has been [checked](crate::json::check).
pub(crate) fn find(dialect: Dialect, body: &[u8]) -> Vec<Indirect> {
    let tables: [&'static [Field]; 2] = match dialect {
        Dialect::OpenAiChat => [chat::REQUEST, text::OF_OPEN_SERVERS],
        Dialect::OpenAiCompletions => [text::COMPLETION, text::OF_OPEN_SERVERS],
        Dialect::OpenAiEmbeddings => [text::EMBEDDING, &[]],
        Dialect::OpenAiResponses => [responses::REQUEST, text::OF_OPEN_SERVERS],
        Dialect::AnthropicMessages => [messages::REQUEST, &[]],
    };
    walk::request(body, &tables)
}
