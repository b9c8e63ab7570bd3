//! The Gemini API and Vertex AI: `generateContent`, `streamGenerateContent?alt=sse`, counts of tokens and embeddings.
//!
//! One API under two roofs. Names and types are those of Google's Python SDK (`google-genai` 3.6.1: `types.py`, and
//! `models.py` for what only one of the [`Host`]s takes). The model's id is no part of the body: it stands in the path,
//! `models/{id}:generateContent`.
//!
//! Thought signatures (ai.google.dev, "Thought signatures") are on parts of any kind, and Gemini 3 refuses calls of
//! functions that come back without theirs. Clients have no place for a seal on text or on a call, but for one on
//! reasoning: so a signature becomes the seal of a block of reasoning in front of its part, perhaps without words,
//! and on the way back it goes to the part that follows. Where a call has none, because another model made it or the
//! client dropped it, it gets the word that Google documents for that.
//!
//! There is no event for the end of a stream: the connection's end is, if a `finishReason` was seen. Deliberately absent:
//! files and cached contents, which are calls of their own; more than one candidate; parts that are pictures, sound or
//! code that the provider ran.

mod config;
mod content;
mod count;
mod embed;
mod fault;
mod media;
mod parts;
mod reply;
mod request;
mod schema;
mod stream;
mod tool;
mod version;

pub use count::{read_count, write_count};
pub use embed::{read_embeddings, write_embeddings};
pub use fault::read_fault;
pub use reply::read_reply;
pub use request::write_call;
pub use stream::Reader;

/// Where the API is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// `generativelanguage.googleapis.com`, with a key.
    GeminiApi,
    /// A project's own endpoint at Google Cloud.
    Vertex,
}
