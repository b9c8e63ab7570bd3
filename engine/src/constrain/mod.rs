//! Replies that are held to a form: JSON, a schema, a regular expression, a grammar, a call of a tool.
//!
//! ```text
//! Constraint -> Grammar (text, within limits) -> Compiler (a thread of its own, kept) -> Matcher -> engine thread:
//!     mask the logits -> sample -> take the token, until the grammar is complete
//! ```
//! llguidance compiles and matches; decision 0011 says why. Deliberately absent: tokens that are put in without the
//! model where the grammar leaves no choice. They would change which tokens are in a step, and save little: a mask
//! with one token costs a step like any other.

mod calls;
mod compiler;
mod grammar;
#[cfg(test)]
mod malformed;
mod matcher;
mod spelling;
#[cfg(test)]
mod tests;
mod vocabulary;

use serde_json::Value;

pub(crate) use compiler::Compiler;
pub(crate) use matcher::{Broken, Matcher, Progress};

/// The form that a reply has to have.
#[derive(Clone, Debug, PartialEq)]
pub enum Constraint {
    /// One JSON object.
    JsonObject,
    /// JSON that a JSON Schema holds for.
    JsonSchema(Value),
    /// A text that a regular expression matches as a whole.
    Regex(String),
    /// A text of a grammar in llguidance's variant of Lark.
    Lark(String),
    /// Calls of the conversation's tools, with arguments that the tool's schema holds for.
    Tools {
        /// What must be called.
        demand: ToolDemand,
        /// How often.
        calls: CallLimit,
    },
}

impl Constraint {
    /// What an error calls it.
    fn what(&self) -> &'static str {
        match self {
            Self::JsonObject => "JSON object",
            Self::JsonSchema(_) => "JSON schema",
            Self::Regex(_) => "regular expression",
            Self::Lark(_) => "grammar",
            Self::Tools { .. } => "tools",
        }
    }
}

/// Which tools a reply has to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolDemand {
    /// None; but a call that is begun is a valid one, unless this model's calls or these tools cannot be held to that.
    Auto,
    /// Any of them; nothing is written but calls.
    Required,
    /// This one; nothing is written but its call.
    Named(String),
}

/// How many calls a reply may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallLimit {
    /// One.
    One,
    /// As many as the model wants.
    Any,
}

/// Why a constraint was refused. None of them has a part of the constraint in its text but for the names of tools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// It is no valid schema, regular expression or grammar, or uses what is not supported.
    #[error("the {what} cannot be held: {reason}")]
    Invalid {
        /// What it was meant to be.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It exceeds a limit.
    #[error("the {what} is too large: {limit}")]
    TooLarge {
        /// What it was meant to be.
        what: &'static str,
        /// The limit with its unit.
        limit: String,
    },
    /// Calls are demanded of a conversation without tools.
    #[error("a tool call is demanded and no tool is offered")]
    NoTools,
    /// A call of a tool is demanded that is not offered.
    #[error("a call of the tool `{0}` is demanded, which is not offered")]
    UnknownTool(String),
    /// Calls are demanded of a model whose form of calls is not known.
    #[error("this model writes tool calls in a form that cannot be held")]
    NoToolForm,
    /// The model's vocabulary has no known form.
    #[error("this model's tokenizer cannot be held to a form")]
    NoVocabulary,
}
