//! The tokens of an answer, for clients that measure a model and not only read it.

/// A token as its model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its number in the model's vocabulary.
    pub id: u32,
    /// The bytes that it stands for, which may be a part of a character; the name of a special token.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability; absent if nobody asked, and for the first token of a prompt.
    pub logprob: Option<f32>,
    /// The likeliest tokens in its place, the likeliest first.
    pub alternatives: Vec<Alternative>,
}

/// A token that could have stood in another's place.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// Its number in the model's vocabulary.
    pub id: u32,
    /// The bytes that it stands for.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

/// What is known of the tokens of one answer; empty unless the client asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// The prompt's.
    pub prompt: Vec<Token>,
    /// The answer's own, the one that ended it included.
    pub tokens: Vec<Token>,
}

/// Which of it the client is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// Log-probabilities.
    pub logprobs: bool,
    /// The prompt stands before the answer, with its log-probabilities if those are shown.
    pub echo: bool,
    /// The tokens' numbers.
    pub token_ids: bool,
}
