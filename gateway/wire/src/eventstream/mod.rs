//! AWS event streams (`application/vnd.amazon.eventstream`): reading them from an upstream in any split, and writing
//! them for tests and for providers that are not there.
//!
//! ```text
//! message = total length u32 | headers length u32 | CRC-32 of these 8 bytes      the prelude; all numbers big-endian
//!         | headers | payload | CRC-32 of everything before
//! header  = length of the name u8 | name | type u8 | value                        lengths of texts and bytes are u16
//! ```
//!
//! From the "Amazon Event Stream Specification" of Smithy (smithy.io), whose nine types of values are all read. The
//! crate `aws-smithy-eventstream` reads the same, but without a limit on the size of a message, and it brings the types of a
//! whole SDK with it. Deliberately absent: signed messages, which only clients that stream to AWS send.

mod error;
mod message;
mod reader;
mod value;

pub use error::EventStreamError;
pub use message::{Message, decode, encode, encode_event, encode_exception};
pub use reader::{Reader, Tail};
pub use value::Value;
