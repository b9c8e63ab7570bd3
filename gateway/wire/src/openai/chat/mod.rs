//! Chat completions: the request as clients send it, and the answers that the local engine gives.
//!
//! Answers of other upstreams are passed through unbuilt; see [`stream`](super::stream).

mod completion;
mod finish;
mod forward;
mod message;
mod request;
mod stream_writer;
mod tool;

pub use completion::{Answer, Completion};
pub use finish::FinishReason;
pub use forward::AskUsage;
pub(in crate::openai) use forward::Splices;
pub use message::{Content, Message, NotText, Part, Role};
pub(in crate::openai) use request::read_model;
pub use request::{Delivery, Output, Request, ResponseFormat, Sampling, UsageChunk};
pub use stream_writer::{Envelope, StreamWriter};
pub use tool::{FunctionCall, Tool, ToolCall, ToolChoice, Tooling};
