//! Embeddings: the request as clients send it, and the answer that the local engine gives.
//!
//! Answers of other upstreams are passed through unbuilt; only their usage is looked at.

mod answer;
mod request;

pub use answer::{Answer, usage_of};
pub use request::{Encoding, Input, Request, Truncation};
