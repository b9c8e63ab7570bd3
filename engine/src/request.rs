//! What a client asks of a generator, and why it may be refused.

use std::sync::Arc;
use std::time::Duration;

use crate::constrain::{Constraint, ConstraintError};
use crate::sampler::{ALTERNATIVES_MAX, Sampling, SamplingError};
use crate::schedule::queue::Priority;
use crate::text::{Conversation, TextError, Tool};

/// Most choices of one prompt, as the `OpenAI` API has it.
pub const CHOICES_MAX: usize = 128;

/// What a client asks of the model.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the model continues.
    pub prompt: Prompt,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Strings that end the reply; they are not part of it.
    pub stop: Vec<String>,
    /// What else ends the reply, and what does not.
    pub ending: Ending,
    /// How many tokens the reply may have.
    pub new_tokens: NewTokens,
    /// The form that the reply has to have; `None` leaves the model free.
    pub constraint: Option<Constraint>,
    /// What is told of the tokens beside the text.
    pub report: Report,
    /// When the conversation takes place, for templates that write the date.
    pub now: jiff::ZonedDateTime,
}

impl Request {
    /// Checks what can be checked without the prompt's tokens, for a model with `vocabulary` tokens.
    pub(crate) fn validate(&self, vocabulary: usize) -> Result<(), SubmitError> {
        self.sampling.validate(vocabulary)?;
        let wrong = |setting, expected| Err(SubmitError::Sampling(SamplingError { setting, expected }));
        match self.new_tokens {
            NewTokens::AtMost(0) | NewTokens::Reserved(0) => return Err(SubmitError::NothingAsked),
            NewTokens::AtMost(most) | NewTokens::Reserved(most) if self.ending.min_tokens > most => {
                return wrong("min_tokens", "at most the number of tokens that the reply may have");
            }
            _ => {}
        }
        for detail in [self.report.prompt, self.report.reply] {
            if matches!(detail, Detail::Logprobs { alternatives } if alternatives > ALTERNATIVES_MAX) {
                return wrong("logprobs", "of at most 20 alternatives for each token");
            }
        }
        Ok(())
    }

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

/// When a reply ends, beside its stop strings and its length.
///
/// As vLLM has it: no end token, stop token or stop string ends a reply before `min_tokens` tokens. End and stop
/// tokens are not drawn until then; a stop string counts only from the token after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Tokens that end the reply, beside the model's own; their text is not part of it.
    pub stop_tokens: Vec<u32>,
    /// Least number of tokens, unless the form of the reply has an end before.
    pub min_tokens: usize,
    /// What the model's own end tokens do.
    pub eos: EndTokens,
}

/// What a model's end tokens do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndTokens {
    /// They end the reply.
    #[default]
    End,
    /// They are tokens like any other, for measurements; a reply with a constraint ends at them all the same.
    Ignored,
}

/// What is told of the tokens beside the text: [`crate::Event::Prompt`] and [`crate::Event::Token`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of the prompt's tokens. Their log-probabilities take one row of logits for each.
    pub prompt: Detail,
    /// Of the reply's tokens.
    pub reply: Detail,
}

/// How much is told of each token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    #[default]
    Nothing,
    /// Which one it is.
    Ids,
    /// Its log-probability as well, and those of the likeliest tokens in its place.
    Logprobs {
        /// So many likeliest ones, at most [`ALTERNATIVES_MAX`].
        alternatives: u32,
    },
}

impl Detail {
    /// The alternatives for each token, if log-probabilities are wanted.
    pub(crate) fn alternatives(self) -> Option<u32> {
        match self {
            Self::Nothing | Self::Ids => None,
            Self::Logprobs { alternatives } => Some(alternatives),
        }
    }
}

/// How many tokens a reply may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTokens {
    /// None: only the prompt is put through the model, for what is reported of it.
    Nothing,
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
    /// More choices of one prompt than a request may have.
    #[error("{asked} choices were asked for, and a request may have {max}")]
    TooManyChoices {
        /// As asked.
        asked: usize,
        /// [`CHOICES_MAX`], or the places of the engine if it has fewer.
        max: usize,
    },
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
