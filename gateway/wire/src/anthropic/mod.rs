//! The Anthropic dialect: what Claude Code and the official clients send, and what the API and its hosts answer.
//!
//! Deliberately absent: batches, files and stored agents, which the gateway does not offer.

pub mod error;
pub mod messages;
pub mod models;
