//! The `OpenAI` dialect: what its official clients send, and what their parsers insist on.

pub mod chat;
pub mod completions;
pub mod embeddings;
pub mod error;
pub mod local;
pub mod models;
pub mod responses;
pub mod tokens;

mod chunk;
mod logprobs;
mod stage;
mod usage;
