//! The Converse API of Amazon Bedrock: calls out, answers back, whole or as an event stream.
//!
//! Names, types, limits and closed sets of words are those of AWS's own model of the service (`bedrock-runtime` 2023-09-30,
//! as botocore 1.44 ships it). The model's id is no part of the body: it stands in the path, `/model/{id}/converse`
//! or `/model/{id}/converse-stream`. Streams come in [event stream framing](crate::eventstream).
//!
//! What only one family of models understands goes in `additionalModelRequestFields`, so the writer looks at the model's
//! id for its family. An id that hides it, such as that of an application inference profile, is of no family, and what
//! would need one is reported as lost.
//!
//! Deliberately absent: guardrails, prompts kept by AWS and performance settings, which belong to the account and not to a
//! call; signing, which needs a key and a clock; blobs in S3 other than by their own `s3://` URL.

mod blocks;
mod content;
mod fault;
mod message;
mod model;
mod reply;
mod request;
mod stream;
mod thinking;
mod tool;

pub use fault::read_fault;
pub use reply::read_reply;
pub use request::{read_count, write_call, write_count};
pub use stream::Reader;
