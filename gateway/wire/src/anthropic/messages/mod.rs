//! Messages: calls as clients send them and as the API wants them, answers both ways, and the count of tokens.
//!
//! A call that stays within the dialect passes through and is never read here; [`vertex`] changes the few members
//! that differ there.

pub(crate) mod abilities;
mod block;
mod blocks;
mod count;
mod extras;
mod finish;
mod read_block;
mod read_tool;
mod reader;
mod reply;
mod request;
pub(crate) mod schema;
mod thinking;
mod turns;
mod usage;
pub mod vertex;
mod write_tool;
mod writer;
mod written;

pub use count::{read_count, read_count_reply, write_count_call, write_count_reply};
pub use reader::Reader;
pub use reply::{read_reply, write_reply};
pub use request::read_call;
pub use writer::Writer;
pub use written::{Host, write_call};

pub use super::error::{read_fault, write_fault};
