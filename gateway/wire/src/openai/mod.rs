//! The `OpenAI` dialect: what its official clients send, and what their parsers insist on.

pub mod chat;
pub mod embeddings;
pub mod error;
pub mod models;
pub mod stream;

mod usage;
