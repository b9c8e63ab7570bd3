//! What clients can ask of a model: text, or vectors.
//!
//! The pipeline is generic over this trait, so the order of a call stands once; a question brings its parser, its
//! facts for policy and trail, and the way to whatever answers it.

use bytes::Bytes;
use policy::{Hop, Target};
use wire::openai::embeddings;
use wire::{Dialect, ParseError, Request};

use crate::pipeline::{Attempt, Back, Call};
use crate::record::Record;
use crate::reply;

/// A request, read and checked.
pub(crate) trait Question: Sized + Send + Sync + 'static {
    /// Reads a body of `dialect`.
    fn parse(dialect: Dialect, body: Bytes) -> Result<Self, ParseError>;

    /// The model that the client named.
    fn model(&self) -> &str;

    /// The size of the body as it came.
    fn body_bytes(&self) -> usize;

    /// How many tools the model is offered; nothing where the endpoint has none.
    fn tools(&self) -> Option<u64>;

    /// The names of the tools that the model is offered.
    fn offered_tools(&self) -> Vec<String>;

    /// Whether the request holds images; reads all of it.
    fn has_images(&self) -> bool;

    /// Sends the call to `hop`. What was not used up comes back with a failure.
    fn send(
        call: Call<Self>,
        hop: &Hop,
        record: Record,
    ) -> impl Future<Output = (Attempt, Back<Self>)> + Send;
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

    fn tools(&self) -> Option<u64> {
        Some(self.tools as u64)
    }

    fn offered_tools(&self) -> Vec<String> {
        self.offered_tools()
    }

    fn has_images(&self) -> bool {
        self.has_images()
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

    fn tools(&self) -> Option<u64> {
        None
    }

    fn offered_tools(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_images(&self) -> bool {
        false
    }

    async fn send(call: Call<Self>, hop: &Hop, record: Record) -> (Attempt, Back<Self>) {
        match hop.target() {
            Target::Engine(_) => reply::encoder::attempt(call, hop, record).await,
            Target::Http(destination) => reply::vectors::attempt(call, hop, destination, record).await,
        }
    }
}
