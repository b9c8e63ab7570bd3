//! What clients can ask of a model: one implementation for each endpoint that calls one.
//!
//! The pipeline is generic over this trait, so the order of a call stands once; a question brings its parser, its
//! facts for policy and trail, and the way to an engine that can answer it.

use bytes::Bytes;
use policy::Hop;
use wire::ParseError;
use wire::openai::chat::{self, AskUsage, Delivery, UsageChunk};
use wire::openai::embeddings;
use wire::openai::stream::Summary;

use crate::pipeline::{Attempt, Back, Call};
use crate::record::Record;
use crate::reply;

/// A request of one endpoint, read and checked.
pub(crate) trait Question: Sized + Send + 'static {
    /// The path that clients call, as records name it.
    const ENDPOINT: &'static str;

    /// The path below a provider's base URL.
    const UPSTREAM_PATH: &'static str;

    /// Reads a body.
    fn parse(body: Bytes) -> Result<Self, ParseError>;

    /// The model that the client named.
    fn model(&self) -> &str;

    /// The size of the body as it came.
    fn body_bytes(&self) -> usize;

    /// How many tools the model is offered; nothing where the endpoint has none.
    fn tools(&self) -> Option<u64>;

    /// Whether the model is offered tools in any form.
    fn offers_tools(&self) -> bool;

    /// The body for a provider that calls the model `upstream_model`.
    fn forward_body(&self, upstream_model: &str) -> Bytes;

    /// Whether the answer is to be a stream, and of which kind.
    fn stream(&self) -> Option<UsageChunk>;

    /// What a provider's whole answer says of itself.
    fn summary(answer: &[u8]) -> Summary;

    /// Sends the call to the engine of `hop`'s model.
    fn to_engine(
        call: Call<Self>,
        hop: &Hop,
        record: Record,
    ) -> impl Future<Output = (Attempt, Back<Self>)> + Send;
}

impl Question for chat::Request {
    const ENDPOINT: &'static str = "/v1/chat/completions";
    const UPSTREAM_PATH: &'static str = "/chat/completions";

    fn parse(body: Bytes) -> Result<Self, ParseError> {
        Self::parse(body)
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn body_bytes(&self) -> usize {
        self.body_bytes()
    }

    fn tools(&self) -> Option<u64> {
        Some(self.tooling.tools.len() as u64)
    }

    fn offers_tools(&self) -> bool {
        self.offers_tools()
    }

    fn forward_body(&self, upstream_model: &str) -> Bytes {
        self.forward_body(upstream_model, AskUsage::Always)
    }

    fn stream(&self) -> Option<UsageChunk> {
        match self.delivery {
            Delivery::Stream(usage_chunk) => Some(usage_chunk),
            Delivery::Whole => None,
        }
    }

    fn summary(answer: &[u8]) -> Summary {
        Summary::of_body(answer)
    }

    async fn to_engine(call: Call<Self>, hop: &Hop, record: Record) -> (Attempt, Back<Self>) {
        reply::engine::attempt(call, hop, record).await
    }
}

impl Question for embeddings::Request {
    const ENDPOINT: &'static str = "/v1/embeddings";
    const UPSTREAM_PATH: &'static str = "/embeddings";

    fn parse(body: Bytes) -> Result<Self, ParseError> {
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

    fn offers_tools(&self) -> bool {
        false
    }

    fn forward_body(&self, upstream_model: &str) -> Bytes {
        self.forward_body(upstream_model)
    }

    fn stream(&self) -> Option<UsageChunk> {
        None
    }

    fn summary(answer: &[u8]) -> Summary {
        Summary { usage: embeddings::usage_of(answer), ..Summary::default() }
    }

    async fn to_engine(call: Call<Self>, hop: &Hop, record: Record) -> (Attempt, Back<Self>) {
        reply::encoder::attempt(call, hop, record).await
    }
}
