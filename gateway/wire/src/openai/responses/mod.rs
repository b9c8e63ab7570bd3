//! Responses: the dialect of agents, and an API of several providers.
//!
//! A conversation is a row of items, and so is an answer. Clients speak it to us ([`read_call`], [`Writer`],
//! [`write_reply`], [`write_fault`]); we speak it to providers ([`write_call`], [`Reader`], [`read_reply`],
//! [`read_fault`]).
//!
//! Deliberately absent: what a store of answers would need. A request that continues a stored answer is put together
//! by [`continued`], wherever the store is; answers in the background are refused.

mod extras;
mod fault;
mod incoming;
mod input;
mod item;
mod kinds;
mod lanes;
mod object;
mod outgoing;
mod outgoing_input;
mod part;
mod reader;
mod reply;
mod request;
mod state;
mod tool_body;
mod tools;
mod writer;

pub use fault::{read_fault, write_fault};
pub use outgoing::{Host, write_call};
pub use reader::Reader;
pub use reply::{read_reply, write_reply};
pub use request::{previous_response_id, read_call};
pub use state::{continued, has_translated_seals, untranslatable};
pub use writer::Writer;

use crate::reply::Envelope;

/// Returns the id under which a client knows the answer that `envelope` identifies.
pub fn response_id(envelope: &Envelope) -> String {
    format!("resp_{}", envelope.unique)
}
