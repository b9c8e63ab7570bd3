//! The Responses dialect: what clients send and get, and what providers get and send.

pub(crate) mod codex;
mod faults;
mod outgoing;
mod reader;
mod replies;
mod request;
mod state;
mod support;
mod writer;
