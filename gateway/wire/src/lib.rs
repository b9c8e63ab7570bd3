//! The wire formats of the gateway, and nothing else: bytes in, typed views out, and back.
//!
//! What agents send is read here once and strictly; what they receive is built here. Nothing in
//! this crate opens a socket, reads a clock or draws a random number: callers pass time and
//! identity in. Each dialect is a sibling of [`openai`]; [`json`] and [`sse`] are what all share.

pub mod json;
pub mod openai;
pub mod sse;

mod dialect;
mod parse_error;
mod usage;

pub use dialect::Dialect;
pub use parse_error::{ParseError, ParseErrorKind};
pub use usage::Usage;
