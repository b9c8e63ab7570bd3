//! The body of `POST /v1/completions`, for a model of our own.

use serde_json::value::RawValue;

use crate::ParseError;
use crate::call::{Extra, Sampling};
use crate::json::read::{self, Object};
use crate::openai::chat::{Logprobs, read_extras, read_sampling, read_stop, read_tokens};

/// Tokens of an answer whose length nobody asked for, as the API has it.
const MAX_TOKENS_DEFAULT: u32 = 16;

/// Most answers to one request.
const CHOICES_MAX: u32 = 128;
/// Most alternatives per token.
const LOGPROBS_MAX: u32 = 20;

/// The fields that have a place in a [`Completion`].
const READ: [&str; 18] = [
    "model",
    "prompt",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "n",
    "best_of",
    "echo",
    "logprobs",
    "stream",
    "stream_options",
    "user",
];

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What is to be continued.
    pub prompt: Prompt,
    /// Most tokens of the answer, at least 1.
    pub max_tokens: u32,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Strings that end the answer and are not part of it; none is empty.
    pub stop: Vec<String>,
    /// Answers to give, at least 1.
    pub choices: u32,
    /// The prompt is to be repeated before the answer.
    pub echo: bool,
    /// Fields that are not read, in order.
    pub extras: Vec<Extra>,
}

/// What is to be continued.
#[derive(Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text, perhaps empty.
    Text(String),
    /// What a tokenizer made of one.
    Tokens(Vec<u32>),
}

/// Shows the size only: prompts must not reach a log.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(formatter, "Text({} bytes)", text.len()),
            Self::Tokens(tokens) => write!(formatter, "Tokens({})", tokens.len()),
        }
    }
}

/// Reads a checked body.
///
/// # Errors
/// Returns the first field that is missing or wrong.
pub fn read_completion(body: &[u8]) -> Result<Completion, ParseError> {
    let top = Object::read_document(body)?;
    let count = |name| top.optional(name, read::count(1..=CHOICES_MAX));
    let choices = count("n")?.max(count("best_of")?).unwrap_or(1);
    // A number of alternatives here, and not a switch as in chat.
    let logprobs = top.optional("logprobs", read::count(0..=LOGPROBS_MAX))?;
    let logprobs = logprobs.map(|alternatives| u8::try_from(alternatives).unwrap_or(u8::MAX));
    let sampling = Sampling { logprobs, ..read_sampling(&top, Logprobs::Elsewhere)? };
    Ok(Completion {
        prompt: top.required("prompt", read_prompt)?,
        max_tokens: top.optional("max_tokens", read_tokens)?.unwrap_or(MAX_TOKENS_DEFAULT),
        sampling,
        stop: top.optional("stop", read_stop)?.unwrap_or_default(),
        choices,
        echo: top.optional("echo", read::boolean)?.unwrap_or(false),
        extras: read_extras(&top, &READ),
    })
}

const PROMPT: &str = "a string, a list of token ids, or a list with one of either";

/// Reads a prompt; a list of several is several requests, which clients have to send as such.
fn read_prompt(raw: &RawValue) -> Result<Prompt, ParseError> {
    if read::type_name(raw) == "a string" {
        return read::string(raw).map(Prompt::Text);
    }
    let elements = read::each(raw, Ok).map_err(|_| ParseError::wrong_type(PROMPT, read::type_name(raw)))?;
    match elements.as_slice() {
        [] => Err(ParseError::bad_value("must not be empty")),
        [first, ..] if read::type_name(first) == "a number" => read_token_ids(raw).map(Prompt::Tokens),
        [one] => read_prompt(one).map_err(|error| error.under_index(0)),
        _ => {
            Err(ParseError::bad_value("has several prompts, and a request takes one; send several requests"))
        }
    }
}

fn read_token_ids(raw: &RawValue) -> Result<Vec<u32>, ParseError> {
    read::each(raw, read::count(0..=u32::MAX))
}
