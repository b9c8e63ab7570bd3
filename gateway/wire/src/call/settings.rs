//! How an answer is to be made.

use serde_json::Value;

/// How tokens are drawn; an absent value means the default of the model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// 0 to 2; 0 is greedy.
    pub temperature: Option<f64>,
    /// Probability mass to draw from, 0 to 1.
    pub top_p: Option<f64>,
    /// Number of tokens to draw from; 0 draws from all.
    pub top_k: Option<u32>,
    /// Least probability relative to the best token, 0 to 1.
    pub min_p: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// Makes the draw repeatable.
    pub seed: Option<i64>,
    /// Log-probabilities are asked for, with this many alternatives for each token.
    pub logprobs: Option<u8>,
}

/// The form of the text of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// Free text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema {
        /// What the caller calls the schema.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// JSON Schema.
        schema: Value,
        /// Whether it is to be followed exactly.
        strict: Option<bool>,
    },
    /// A form that only its own dialect knows.
    Other {
        /// Its `type`.
        kind: String,
        /// Its JSON, as it was written.
        json: String,
    },
}

/// How much the model is to think before it answers; all absent leaves it to the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Thinking {
    /// How hard.
    pub effort: Option<Effort>,
    /// Most tokens to think with.
    pub budget_tokens: Option<u32>,
    /// Whether to think at all; an absent value with an effort or a budget means yes.
    pub enabled: Option<bool>,
    /// How a summary of the thoughts is to be given: `auto`, `concise`, `detailed`, or a later word.
    pub summary: Option<String>,
}

/// How hard a model is to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// Little.
    Low,
    /// The usual.
    Medium,
    /// Much.
    High,
    /// More than much.
    XHigh,
    /// As much as there is.
    Max,
}

/// A field that only the caller's dialect has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its path in the caller's dialect, such as `logit_bias` or `text.verbosity`.
    pub name: String,
    /// Its JSON, as it was written.
    pub json: String,
}

impl Effort {
    /// Every effort, from least to most.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    /// Returns the word that stands on the wire in most dialects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// Returns the effort that `word` means, if it is one.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }

    /// Returns the budget, in tokens, that APIs without words for effort are given.
    pub fn budget_tokens(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Minimal => 1024,
            Self::Low => 2048,
            Self::Medium => 8192,
            Self::High => 16_384,
            Self::XHigh => 32_768,
            Self::Max => 65_536,
        }
    }

    /// Returns the least effort whose budget covers `tokens`.
    pub fn of_budget(tokens: u32) -> Self {
        Self::ALL.into_iter().find(|effort| effort.budget_tokens() >= tokens).unwrap_or(Self::Max)
    }
}

impl Thinking {
    /// Returns the effort, worked out from the budget where only that was said.
    pub fn effort_or_budget(&self) -> Option<Effort> {
        match self.enabled {
            Some(false) => Some(Effort::None),
            _ => self.effort.or_else(|| self.budget_tokens.map(Effort::of_budget)),
        }
    }
}

impl Extra {
    /// Returns whether leaving the field out would change anything: an explicit null says nothing.
    pub fn says_something(&self) -> bool {
        self.json != "null"
    }
}
