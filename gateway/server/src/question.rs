//! What clients can ask of a model: text, or vectors.
//!
//! The pipeline is generic over this trait, so the order of a call stands once; a question brings its parser, its
//! facts for policy and trail, and the way to whatever answers it.

use bytes::Bytes;
use policy::{Hop, Target};
use wire::call::Role;
use wire::openai::embeddings;
use wire::{Dialect, Indirect, ParseError, Request};

use crate::pipeline::{Attempt, Back, Call};
use crate::record::Record;
use crate::reply;

/// A request, read and checked.
pub(crate) trait Question: Clone + Sized + Send + Sync + 'static {
    /// Reads a body of `dialect`.
    fn parse(dialect: Dialect, body: Bytes) -> Result<Self, ParseError>;

    /// The model that the client named.
    fn model(&self) -> &str;

    /// The size of the body as it came.
    fn body_bytes(&self) -> usize;

    /// The bytes that the model is to read, as they came: calls whose bytes begin alike are for the same replica.
    fn prompt(&self) -> &[u8];

    /// How the conversation began, which is the same in each of its calls: the key that the client gave it, or else
    /// its instructions and its first message.
    fn opening(&self) -> Vec<String>;

    /// Whether a copy of it says something about another model.
    fn is_comparable(&self) -> bool {
        true
    }

    /// How many tools the model is offered; nothing where the endpoint has none.
    fn tools(&self) -> Option<u64>;

    /// The names of the tools that the model is offered.
    fn offered_tools(&self) -> Vec<String>;

    /// Whether the request holds images; reads all of it.
    fn has_images(&self) -> bool;

    /// What the request asks of others beyond answering it; reads all of it.
    fn indirect(&self) -> Vec<Indirect>;

    /// Sends the call to `hop`. What was not used up comes back with a failure.
    fn send(
        call: Call<Self>,
        hop: &Hop,
        record: Record,
    ) -> impl Future<Output = (Attempt, Back<Self>)> + Send;
}

/// Up to its first words of a person, a conversation is the same in all of its calls.
pub(crate) fn opening(call: &wire::call::Call) -> Vec<String> {
    if let Some(key) = call.extras.iter().find(|extra| extra.name == "prompt_cache_key") {
        return vec![key.json.clone()];
    }
    let first = call.turns.iter().position(|turn| turn.role == Role::User);
    let turns = call.turns.iter().take(first.map_or(call.turns.len(), |first| first + 1));
    turns.flat_map(|turn| &turn.blocks).filter_map(|block| block.as_text().map(str::to_owned)).collect()
}

impl Question for Request {
    fn parse(dialect: Dialect, body: Bytes) -> Result<Self, ParseError> {
        Self::parse(dialect, body)
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn body_bytes(&self) -> usize {
        self.body().len()
    }

    fn prompt(&self) -> &[u8] {
        self.body()
    }

    fn opening(&self) -> Vec<String> {
        // What cannot be read as a conversation is one of its own.
        self.call().map_or_else(|_| Vec::new(), |call| opening(&call))
    }

    fn tools(&self) -> Option<u64> {
        Some(self.tools as u64)
    }

    fn offered_tools(&self) -> Vec<String> {
        self.offered_tools()
    }

    fn has_images(&self) -> bool {
        self.has_images()
    }

    fn indirect(&self) -> Vec<Indirect> {
        self.indirect()
    }

    async fn send(call: Call<Self>, hop: &Hop, record: Record) -> (Attempt, Back<Self>) {
        match hop.target() {
            Target::Engine(_) => reply::engine::attempt(call, hop, record).await,
            Target::Http(destination) => reply::upstream::attempt(call, hop, destination, record).await,
        }
    }
}

impl Question for embeddings::Request {
    fn parse(_: Dialect, body: Bytes) -> Result<Self, ParseError> {
        Self::parse(body)
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn body_bytes(&self) -> usize {
        self.body_bytes()
    }

    fn prompt(&self) -> &[u8] {
        &[]
    }

    fn opening(&self) -> Vec<String> {
        // Vectors are no conversation, but those of one caller should be of one model.
        Vec::new()
    }

    fn tools(&self) -> Option<u64> {
        None
    }

    fn offered_tools(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_images(&self) -> bool {
        false
    }

    fn indirect(&self) -> Vec<Indirect> {
        self.indirect()
    }

    async fn send(call: Call<Self>, hop: &Hop, record: Record) -> (Attempt, Back<Self>) {
        match hop.target() {
            Target::Engine(_) => reply::encoder::attempt(call, hop, record).await,
            Target::Http(destination) => reply::vectors::attempt(call, hop, destination, record).await,
        }
    }
}
