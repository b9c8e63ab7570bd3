//! Chat completions: the dialect of most clients, and the API of most servers.
//!
//! Seen from a client: [`read_call`], then [`Writer`] or [`write_reply`]. Seen from a provider: [`write_call`], then
//! [`Reader`] or [`read_reply`]. A client that speaks it to a provider that does gets its bytes passed through.

mod compat;
mod finish;
mod read;
mod reader;
mod slots;
mod whole;
mod write_call;
mod write_message;
mod writer;

pub use compat::Server;
pub use read::read_call;
pub(in crate::openai) use read::{Logprobs, read_extras, read_sampling, read_stop};
pub use reader::Reader;
pub(in crate::openai) use reader::finish_reason;
pub use whole::{read_reply, write_reply};
pub use write_call::write_call;
pub use writer::Writer;

use crate::reply::Envelope;

/// The id that clients see.
fn id_of(envelope: &Envelope) -> String {
    format!("chatcmpl-{}", envelope.unique)
}
