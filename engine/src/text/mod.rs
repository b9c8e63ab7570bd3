//! From a conversation to tokens, and from sampled tokens back to text and tool calls.
//!
//! ```text
//! Conversation -> Template -> Tokenizer::encode -> the engine -> Output -> Emission
//!                                                                  |
//!                  Detokenizer -> StopMatcher -> ReasoningParser -> CallReader
//! ```
//! Everything here is pure but for `load`, which reads the files of a model folder. Nothing here knows a wire
//! format: the caller maps its dialect to a [`Conversation`] and [`Emission`]s back to its dialect.

mod calls;
mod conversation;
mod detokenizer;
pub(crate) mod files;
mod gguf;
mod output;
mod reasoning;
mod spelling;
mod stop;
mod template;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::path::PathBuf;

pub use calls::ToolForm;
pub(crate) use calls::{is_tool_name, may_be_text};
pub use conversation::{Conversation, Message, Opening, Role, Tool, ToolCall};
pub(crate) use gguf::GgufText;
pub(crate) use output::{Calls, Emission, Output, ReplyForm};
pub(crate) use reasoning::{Thinking, ThoughtTags};
pub(crate) use spelling::{Spelling, Writing};
pub(crate) use template::Template;
pub(crate) use tokenizer::Tokenizer;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a model's text files were refused at load, or a conversation at render.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A file of the model folder is missing or may not be read.
    #[error("{} cannot be read; {advice}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operator can do.
        advice: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of the model folder is damaged or of a form that is not known.
    #[error("{} is damaged or of an unknown form; fetch it again from the model's publisher", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What its parser said.
        source: BoxError,
    },
    /// No file names an end token, so no reply would ever end.
    #[error(
        "{} names no end token; add \"eos_token_id\" to generation_config.json or \"eos_token\" to \
         tokenizer_config.json", folder.display()
    )]
    NoEndToken {
        /// The model folder.
        folder: PathBuf,
    },
    /// The model has no chat template: it is a base model, or a file was left behind.
    #[error(
        "{} has no chat template; use the instruction-tuned variant of the model, or add chat_template.jinja",
        folder.display()
    )]
    NoTemplate {
        /// The model folder.
        folder: PathBuf,
    },
    /// A GGUF file has a tokenizer of a kind that is not read.
    #[error("{} has {what}; read are {supported}; use the model's folder in the hub's layout", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it has.
        what: String,
        /// What would be read.
        supported: String,
    },
    /// The chat template refused the conversation, in its own words or in the template engine's.
    #[error("the model's chat template refuses the conversation: {0}")]
    Template(String),
    /// The tokenizer refused a text.
    #[error("the text cannot be tokenised")]
    Encode(#[source] BoxError),
}
