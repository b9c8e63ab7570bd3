//! Server-sent events: reading them from an upstream in any split, writing our own.
//!
//! Follows the event stream format of the HTML standard. Every byte read belongs to exactly one
//! frame, so a pass-through can forward what it received and not what was understood.
//! Deliberately absent: reconnection (`id`, `retry`), which no model API uses; such lines stay in
//! the raw bytes.

mod event;
mod reader;

pub(crate) use event::put_json;
pub use event::{Event, encode_data};
pub use reader::{Frame, Reader, SseError, Tail};
