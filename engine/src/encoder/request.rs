//! What a client asks of an encoder, what it gets, and why it gets nothing.

use crate::text::TextError;

/// One text of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// As a person writes it.
    Text(String),
    /// As ids of the model's own tokenizer, special ones included; they are used as they stand.
    Tokens(Vec<u32>),
}

/// What becomes of a text that is longer than the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The request is refused.
    Refuse,
    /// The beginning of the text is used: as much as the model takes.
    Cut,
    /// The beginning of every text is used: at most so many tokens, and no more than the model takes.
    CutTo(usize),
}

/// Texts that are to become vectors.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// In the order of the answer.
    pub inputs: Vec<Input>,
    /// What becomes of the ones that are too long.
    pub overflow: Overflow,
    /// The width of the vectors; nothing is the model's own.
    pub dimensions: Option<usize>,
}

/// The vectors of a request's texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// `[texts, dimensions]`.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that went through the model, special ones included and padding not.
    pub prompt_tokens: usize,
}

/// The labels of a request's texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifications {
    /// `[texts, labels]`, in the order of [`Encoder::labels`](super::Encoder::labels).
    pub probabilities: Vec<Vec<f32>>,
    /// Tokens that went through the model, special ones included and padding not.
    pub prompt_tokens: usize,
}

/// Why a request was not taken, or not answered.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// As many requests are in the engine as it takes.
    #[error("the engine is full; try again later")]
    Overloaded,
    /// The engine thread is gone.
    #[error("the engine has stopped")]
    Stopped,
    /// The model failed on a text.
    #[error("the model failed; its log says why")]
    Failed,
    /// The model is a classifier.
    #[error("this model gives labels and no embeddings")]
    DoesNotEmbed,
    /// The model has no labels.
    #[error("this model gives embeddings and no labels")]
    DoesNotClassify,
    /// No text, or more than a request can have.
    #[error("{texts} texts in one request; 1 to {texts_max} are taken")]
    Count {
        /// As asked.
        texts: usize,
        /// The limit.
        texts_max: usize,
    },
    /// A text without tokens of its own.
    #[error("text {place} is empty")]
    Empty {
        /// Its place in the request.
        place: usize,
    },
    /// A text is longer than the model takes.
    #[error("text {place} has {tokens} tokens, and the model takes {capacity_tokens}")]
    TooLong {
        /// Its place in the request.
        place: usize,
        /// With the special ones.
        tokens: usize,
        /// The longest text.
        capacity_tokens: usize,
    },
    /// Texts cannot be cut as short as was asked.
    #[error("texts can be cut to {tokens_min} tokens at least, their special ones included")]
    CutTooShort {
        /// The least.
        tokens_min: usize,
    },
    /// A token for which the model has no embedding.
    #[error("token {token} of text {place} is unknown to the model")]
    UnknownToken {
        /// The text's place in the request.
        place: usize,
        /// The token.
        token: u32,
    },
    /// The model's vectors cannot have that width.
    #[error("the model's vectors cannot have {asked} dimensions; it gives {offered}")]
    Dimensions {
        /// As asked.
        asked: usize,
        /// In words.
        offered: String,
    },
    /// The tokenizer refused a text.
    #[error(transparent)]
    Text(#[from] TextError),
}
