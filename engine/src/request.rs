//! What a client asks of a generator, and why it may be refused.

use std::sync::Arc;
use std::time::Duration;

use crate::constrain::{Constraint, ConstraintError};
use crate::sampler::{Sampling, SamplingError};
use crate::schedule::queue::Priority;
use crate::text::{Conversation, TextError, Tool};

/// What a client asks of the model.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the model continues.
    pub prompt: Prompt,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Strings that end the reply; they are not part of it.
    pub stop: Vec<String>,
    /// How many tokens the reply may have.
    pub new_tokens: NewTokens,
    /// The form that the reply has to have; `None` leaves the model free.
    pub constraint: Option<Constraint>,
    /// When the conversation takes place, for templates that write the date.
    pub now: jiff::ZonedDateTime,
}

impl Request {
    /// The tools that a constraint is about.
    pub(crate) fn offered_tools(&self) -> Vec<Tool> {
        match (&self.constraint, &self.prompt) {
            (Some(Constraint::Tools { .. }), Prompt::Conversation(conversation)) => {
                conversation.tools.clone()
            }
            _ => Vec::new(),
        }
    }
}

/// On whose behalf a request comes, and how urgent it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who shares: tenants get equal shares of a busy engine, and what the prefix cache holds of one is found by no other.
    pub tenant: Arc<str>,
    /// Whether somebody waits for it.
    pub priority: Priority,
    /// How long the first token may take; who would wait longer is refused at once. `None` waits.
    pub patience: Option<Duration>,
}

impl Claim {
    /// Interactive work of `tenant` that waits as long as it takes.
    pub fn of(tenant: impl Into<Arc<str>>) -> Self {
        Self { tenant: tenant.into(), priority: Priority::Interactive, patience: None }
    }
}

/// How many tokens a reply may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTokens {
    /// As many as fit.
    Fitting,
    /// So many, at least 1, or as many as fit if those are fewer.
    AtMost(usize),
    /// So many, at least 1; if they do not fit, the request is refused.
    Reserved(usize),
}

/// What the model continues.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Messages, which the model's chat template writes down. The reply is text, reasoning and tool calls.
    Conversation(Conversation),
    /// A text as it stands, after the begin token if the model has one. The reply is text.
    Text(String),
    /// Token ids as they stand. The reply is text.
    Tokens(Vec<u32>),
}

/// Whether tokenising a text adds the tokens that stand around a text on its own, such as the begin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialTokens {
    /// As the tokenizer does for a plain text, and the begin token only once.
    Add,
    /// Only what is written.
    Omit,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// As many requests are in the engine as it takes.
    #[error("the engine is full; try again later")]
    Overloaded,
    /// What is before it takes longer than the client waits for a first token.
    #[error("a first token would take about {} s, longer than the client waits; try again later", expected.as_secs())]
    TooLate {
        /// From now to the first token, by the pace of the last steps.
        expected: Duration,
        /// After how long the same request could be in time.
        retry_after: Duration,
    },
    /// The engine thread is gone.
    #[error("the engine has stopped")]
    Stopped,
    /// The request is longer than the model or its cache can ever hold.
    #[error(
        "{prompt_tokens} prompt tokens and {new_tokens} new tokens do not fit the {capacity_tokens} tokens that a sequence can have"
    )]
    NeverFits {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens asked for, at least 1.
        new_tokens: usize,
        /// The longest sequence.
        capacity_tokens: usize,
    },
    /// The prompt has no token, so there is nothing to continue.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// [`NewTokens`] of 0.
    #[error("at least one new token must be asked for")]
    NothingAsked,
    /// A sampling setting is out of range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The template refused the conversation.
    #[error(transparent)]
    Text(TextError),
    /// A token for which the model has no embedding, or its vocabulary no text.
    #[error("token {0} is unknown to the model")]
    UnknownToken(u32),
    /// The constraint cannot be held.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
}
