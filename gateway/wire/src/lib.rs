//! The wire formats of the gateway, and nothing else: bytes in, typed views out, and back.
//!
//! What agents send is read here once and strictly; what they receive is built here. Nothing in
//! this crate opens a socket, reads a clock or draws a random number: callers pass time and
//! identity in.
//!
//! ```text
//! client bytes --dialect--> call::Call --API--> provider bytes      translated, or passed through
//! client bytes <--dialect-- reply::Delta <--API-- provider bytes    if both sides speak the same
//! ```
//!
//! [`call`] and [`reply`] are what all dialects are translated through; [`openai`] and [`anthropic`] and their siblings are the dialects of
//! clients and the APIs of providers; [`json`] and [`sse`] are what they share.

pub mod anthropic;
pub mod bedrock;
pub mod call;
pub mod client;
pub mod eventstream;
pub mod gemini;
pub mod json;
pub mod openai;
pub mod reply;
pub mod sse;

mod api;
mod dialect;
mod facts;
mod forward;
mod parse_error;
mod reach;
mod request;
mod usage;

pub use api::{Api, Framing, StreamReader};
pub use dialect::Dialect;
pub use forward::AskUsage;
pub use parse_error::{ParseError, ParseErrorKind};
pub use reach::{Indirect, IndirectKind};
pub use request::{Delivery, Request, UsageChunk};
pub use usage::Usage;
