//! Completions: text in, text that continues it out; no roles, no tools.
//!
//! The form that evaluation harnesses and code completion use. Providers that speak it get the bytes passed through; the
//! local engine is asked through [`Completion`]; nobody else can be asked, since a prompt is no conversation.

mod answer;
mod request;

pub use answer::{Reader, Writer, read_reply, write_reply};
pub use request::{Completion, Prompt, read_completion};
